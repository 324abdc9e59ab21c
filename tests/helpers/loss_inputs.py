"""Embeddings that tests of the losses share: recorded, random and degenerate ones."""

import numpy as np


def golden_pair(dtype=np.float64):
    """Return the two views ``[6, 4]`` that recorded values belong to."""
    i, j = np.arange(6)[:, None], np.arange(4)[None, :]
    z1 = np.sin(1 + 0.7 * j + 1.3 * i + 0.1 * i * j)
    z2 = z1 + 0.1 * np.cos(0.5 + 1.1 * j - 0.9 * i)
    return z1.astype(dtype), z2.astype(dtype)


def normal(n, d, seed=0):
    """Return Gaussian numbers ``[n, d]`` in float64."""
    return np.random.default_rng(seed).normal(size=(n, d))


def pair(n, d, seed=0, noise=0.3):
    """Return a Gaussian view ``[n, d]`` and a noisy copy of it, in float64."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    return z, z + noise * rng.normal(size=(n, d))


def rotation(n, seed=0):
    """Return a random orthogonal matrix ``[n, n]``."""
    return np.linalg.qr(normal(n, n, seed))[0]


def positive_definite(d, seed=1):
    """Return a predictor ``[d, d]``: symmetric, all eigenvalues positive."""
    root = normal(d, 2 * d, seed)
    return root @ root.T / (2 * d)


def degenerate(n=6, d=4):
    """Return embeddings at the edges of what a loss may meet, by name, in float64."""
    z = normal(n, d)
    ones = np.ones((n, d))
    row, column = np.arange(n)[:, None], np.arange(d)[None, :]
    return {
        "zeros": 0 * z,
        "zero_row": np.where(row == 1, 0.0, z),
        "growing_rows": row * z,
        "one_value": 0.7 * ones,
        "identical_rows": ones * z[:1],
        "constant_column": np.where(column == 2, 3.0, z),
        "rank_one": np.outer(z[:, 0], np.resize([1.0, -2.0, 0.5, 1.0], d)),
        "opposite_rows": np.where(row % 2 == 0, ones, -ones),
        "orthogonal_rows": np.eye(n, d),
        "tiny": 1e-4 * z,
        "large": 1e4 * z,
        "tiny_constant": 1e-4 * ones,
        "large_constant": 1e4 * ones,
        "large_identical_rows": 1e4 * ones * z[:1],
    }
