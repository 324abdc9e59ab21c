"""Spectral transformations and alignment, one scalar or one sample at a time."""

import numpy as np
from loss_inputs import rotation


def centred(z, axis):
    """Return observations as rows, one scalar mean at a time."""
    x = np.array(z if axis == "batch" else np.asarray(z).T)
    for j in range(x.shape[1]):
        x[:, j] -= sum(x[:, j]) / len(x)
    return x


def covariance_of(x):
    """Return the covariance of centred rows, one outer product at a time."""
    return sum(np.outer(row, row) for row in x) / (len(x) - 1)


def covariance(z, axis="batch"):
    """Return NumPy's covariance over the samples or the channels."""
    return np.cov(np.asarray(z), rowvar=axis == "channel")


def transformed(z, axis, g):
    """Apply ``g(lambda, trace)`` to each eigenvalue above rounding."""
    x = centred(z, axis)
    values, vectors = np.linalg.eigh(covariance_of(x))
    out = np.zeros_like(x)
    for value, u in zip(values, vectors.T, strict=True):
        if value > 1e-12 * values.max():
            out += np.array([g(value, values.sum()) * (row @ u) * u for row in x])
    return out if axis == "batch" else out.T


def newton_gain(x, iterations):
    """Return ``f_T`` by its scalar recursion; ``x`` is a fraction of the trace."""
    f = np.ones_like(x)
    for _ in range(iterations):
        f = 1.5 * f - 0.5 * x * f**3
    return f


def output_variance(x, iterations):
    """Return ``h_T``, the variance of a direction after T iterations."""
    return x * newton_gain(x, iterations) ** 2


def normalized(z, axis, iterations):
    """Return the iterative normalisation by its action on each eigenvalue."""
    return transformed(
        z, axis, lambda v, t: newton_gain(v / t, iterations) / np.sqrt(t)
    )


def trace_loss(t, axis):
    """Return the trace loss, one variance at a time."""
    t = np.asarray(t) if axis == "batch" else np.asarray(t).T
    return sum((np.var(t[:, j], ddof=1) - 1) ** 2 for j in range(t.shape[1]))


def distance(a, b):
    """Return ``2 - 2 cos``, mean over the samples."""
    total = 0.0
    for x, y in zip(np.asarray(a), np.asarray(b), strict=True):
        total += 2 - 2 * (x @ y) / np.sqrt((x @ x) * (y @ y))
    return total / len(a)


def squared_difference(a, b):
    """Return the mean squared difference of all entries."""
    return np.mean((np.asarray(a) - np.asarray(b)) ** 2)


def with_spectrum(values, seed=0):
    """Return a symmetric matrix with these eigenvalues along random directions."""
    q = rotation(len(values), seed)
    return (q * np.asarray(values)) @ q.T


def batch_with_covariance(matrix, n, seed=0):
    """Return a batch ``[n, d]`` whose covariance over the samples is the matrix."""
    x = np.random.default_rng(seed).normal(size=(n, len(matrix)))
    x -= x.mean(axis=0, keepdims=True)
    white = np.linalg.qr(x)[0] * np.sqrt(n - 1)
    values, vectors = np.linalg.eigh(matrix)
    return white @ (vectors * np.sqrt(values)) @ vectors.T
