"""Linearised Barlow Twins, mode by mode: sizes, critical times and step counts."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_modes,
    check_not_negative,
    check_positive,
    check_times,
)
from ssljax.analytic.precision import in_float64, known


@in_float64
def aligned_singular_values(s0: ArrayLike, gamma: ArrayLike, t: ArrayLike) -> jax.Array:
    """Return singular values of a linear embedding that starts aligned with the data.

    With ``W(0) = U diag(s0) V^T``, U any rotation and the columns of V eigenvectors of
    the cross moment, ``W(t) = U diag(s(t)) V^T``: each mode solves ``ds/dt = 4 gamma s
    (1 - gamma s^2)`` by itself.

    Args:
        s0: singular values at the start, ``[modes]``, not negative.
        gamma: eigenvalues of the cross moment, ``[modes]``, of any sign.
        t: times in units of learning rate x step, ``[times]``.

    Returns:
        ``s(t)``, ``[times, modes]``; towards ``gamma^-1/2`` where gamma is positive,
        towards zero where it is negative.

    Raises:
        ValueError: for other shapes or a negative ``s0``.

    Source: Simon et al., "On the stepwise nature of self-supervised learning", ICML
    2023, proposition 4.1.

    >>> s = aligned_singular_values(jnp.array([1e-3]), jnp.array([4.0]), jnp.arange(3.))
    >>> s.shape, round(float(s[-1, 0]), 6)
    ((3, 1), 0.5)
    """
    gamma = check_modes("gamma", gamma)
    s0 = check_modes("s0", s0, like=gamma)
    check_not_negative("s0", s0)
    return _aligned(s0, gamma, check_times("t", t))


@jax.jit
def _aligned(s0: jax.Array, gamma: jax.Array, t: jax.Array) -> jax.Array:
    # One decaying exponential for either sign: nothing overflows at late times.
    half = jnp.exp(-4.0 * jnp.abs(gamma)[None, :] * t[:, None])
    decay = half**2
    filled = jnp.abs(gamma * s0**2)[None, :] * (1.0 - decay)
    rises = (gamma >= 0)[None, :]
    bottom = jnp.where(rises, decay, 1.0) + filled
    # A mode of size zero stays there; the floor only keeps 0 / 0 away.
    bottom = jnp.maximum(bottom, jnp.finfo(bottom.dtype).tiny)
    return s0[None, :] * jnp.where(rises, 1.0, half) / jnp.sqrt(bottom)


@in_float64
def aligned_eigenvalues(s0: ArrayLike, gamma: ArrayLike, t: ArrayLike) -> jax.Array:
    """Return the eigenvalues of the cross moment C: a sigmoid in time per mode.

    ``lambda = gamma s^2`` solves ``d lambda / dt = 8 gamma lambda (1 - lambda)``, and
    the loss is ``sum_j (1 - lambda_j)^2``.

    Args:
        s0: singular values of W at the start, ``[modes]``.
        gamma: eigenvalues of the data's cross moment, ``[modes]``.
        t: times in units of learning rate x step, ``[times]``.

    Returns:
        ``lambda(t)``, ``[times, modes]``.

    Source: Simon et al., ICML 2023, section 4.2.

    >>> late = aligned_eigenvalues(jnp.array([1e-3]), jnp.array([4.0]), jnp.array([9.]))
    >>> round(float(late[0, 0]), 6)
    1.0
    """
    gamma = check_modes("gamma", gamma)
    return gamma[None, :] * aligned_singular_values(s0, gamma, t) ** 2


@in_float64
def critical_times(s0: ArrayLike, gamma: ArrayLike) -> jax.Array:
    """Return times at which the modes are learned, ``-log(gamma s0^2) / (8 gamma)``.

    There ``lambda = 1 / (2 - lambda(0))``, just above a half, and the loss falls at the
    rate 2 gamma. A mode rises from a tenth to nine tenths within ``0.55 / gamma``.

    Args:
        s0: singular values of W at the start, ``[modes]``, positive.
        gamma: eigenvalues of the cross moment, ``[modes]``.

    Returns:
        ``[modes]``, in units of learning rate x step; infinite for a mode with gamma
        <= 0, which is never learned.

    Raises:
        ValueError: for other shapes.

    Source: Simon et al., ICML 2023, section 4.2.

    >>> s0, gamma = jnp.array([1e-3, 1e-3]), jnp.array([1.0, -1.0])
    >>> critical_times(s0, gamma).round(4).tolist()
    [1.7269, inf]
    """
    rises, gamma, start = _rising(s0, gamma)
    return jnp.where(rises, -jnp.log(start) / (8.0 * gamma), jnp.inf)


@in_float64
def half_times(s0: ArrayLike, gamma: ArrayLike) -> jax.Array:
    """Return when lambda is one half, ``[modes]``; infinite for gamma <= 0.

    Args:
        s0: singular values of W at the start, ``[modes]``, positive, with ``gamma s0^2
            < 1``.
        gamma: eigenvalues of the cross moment, ``[modes]``.

    Raises:
        ValueError: for other shapes or a ``gamma s0^2`` that is 1 or more.

    >>> round(float(half_times(jnp.array([0.5]), jnp.array([2.0]))[0]), 9)
    0.0
    """
    rises, gamma, start = _rising(s0, gamma)
    if known(start) and np.any(np.asarray(start) >= 1):
        raise ValueError(
            "gamma s0^2 must be below 1; a mode that starts higher never crosses a half"
        )
    return jnp.where(rises, jnp.log(1.0 / start - 1.0) / (8.0 * gamma), jnp.inf)


@in_float64
def critical_steps(
    s0: ArrayLike,
    gamma: ArrayLike,
    *,
    learning_rate: float | jax.Array,
    momentum: float | jax.Array = 0.0,
) -> jax.Array:
    """Return the number of descent steps until the modes are learned.

    A small mode grows per step by the larger root r of ``r^2 - (1 + momentum + 4
    learning_rate gamma) r + momentum = 0``. The rule ``time = learning_rate x steps /
    (1 - momentum)`` holds only where ``4 learning_rate gamma << (1 - momentum)^2``.

    Args:
        s0: singular values of W at the start, ``[modes]``, positive.
        gamma: eigenvalues of the cross moment, ``[modes]``.
        learning_rate: of gradient descent, > 0.
        momentum: of heavy-ball momentum, in [0, 1).

    Returns:
        ``-log(gamma s0^2) / (2 log r)`` steps, ``[modes]``, not rounded; infinite for
        gamma <= 0. Momentum starts from rest and overshoots; together these shift the
        count by about one step, whatever the start.

    Source: derived, for gradient descent on Simon et al.'s loss, ICML 2023.

    >>> s0, gamma = jnp.array([1e-4]), jnp.array([1.0])
    >>> round(float(critical_steps(s0, gamma, learning_rate=0.02)[0]), 1)
    119.7
    """
    rises, gamma, start = _rising(s0, gamma)
    middle = 1.0 + momentum + 4.0 * learning_rate * gamma
    largest = (middle + jnp.sqrt(middle**2 - 4.0 * momentum)) / 2.0
    steps = -jnp.log(start) / (2.0 * jnp.log(largest))
    return jnp.where(rises, steps, jnp.inf)


@in_float64
def expected_critical_times(gamma: ArrayLike, scale: float | jax.Array) -> jax.Array:
    """Return the mean over random starts of the critical times.

    Args:
        gamma: the d largest eigenvalues of the cross moment from the largest down,
            ``[d]``, positive, d the dimension of the embedding.
        scale: standard deviation of the normally distributed weights, > 0.

    Returns:
        ``[d]``: the j-th singular value of the start has a squared size over
        ``scale^2`` that is chi-squared with ``d - j + 1`` degrees of freedom.

    Raises:
        ValueError: for other shapes, or unless gamma and the scale are positive.

    Source: Simon et al., ICML 2023, result 4.6, averaged over the start.

    >>> expected_critical_times(jnp.array([1.0, 0.5]), 1e-6).round(2).tolist()
    [3.44, 7.4]
    """
    gamma = check_modes("gamma", gamma)
    check_positive("gamma", gamma)
    check_positive("scale", scale)
    freedom = jnp.arange(gamma.shape[0], 0, -1.0)
    log_size = jax.scipy.special.digamma(freedom / 2.0) + jnp.log(2.0)
    return -(jnp.log(scale**2 * gamma) + log_size) / (8.0 * gamma)


def _rising(s0: ArrayLike, gamma: ArrayLike) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return which modes grow, and gamma and lambda(0), harmless in the others."""
    gamma = check_modes("gamma", gamma)
    s0 = check_modes("s0", s0, like=gamma)
    rises = gamma > 0
    gamma = jnp.where(rises, gamma, 1.0)
    return rises, gamma, gamma * jnp.where(rises, s0, 0.5) ** 2
