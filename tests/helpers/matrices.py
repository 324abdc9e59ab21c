"""Symmetric matrices with given spectra, and random ones."""

import numpy as np
from loss_inputs import rotation

SPECTRA = {
    "distinct": [0.3, 0.9, 1.7, 4.0],
    "all equal": [2.0, 2.0, 2.0, 2.0],
    "two pairs": [0.5, 0.5, 3.0, 3.0],
    "nearly equal": [1.0, 1.0 + 1e-9, 1.0 + 1e-4, 2.0],
}


def with_spectrum(values, seed=0):
    q = rotation(len(values), seed)
    return (q * np.asarray(values)) @ q.T


def symmetric(n, seed):
    a = np.random.default_rng(seed).normal(size=(n, n))
    return a + a.T
