"""Linearised Barlow Twins, mode by mode: sizes, critical times and step counts."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ssljax.analytic.curves import over_times
from ssljax.analytic.inputs import (
    check_between,
    check_positive,
    check_rates,
    check_spectrum,
)
from ssljax.analytic.precision import in_float64, known
from ssljax.analytic.solution import Solution


@in_float64
def solve_aligned(start: ArrayLike, gamma: ArrayLike) -> Solution:
    """Solve for the singular values of a linear embedding that starts aligned.

    With ``W(0) = U diag(start) V^T``, U any rotation and the columns of V eigenvectors
    of the cross moment, ``W(t) = U diag(s(t)) V^T``: each mode solves ``ds/dt = 4 gamma
    s (1 - gamma s^2)`` by itself.

    Args:
        start: singular values of W at time 0, ``[modes]``, not negative.
        gamma: eigenvalues of the cross moment, ``[modes]``, of any sign.

    Returns:
        ``solution(t)``: singular values, ``[times, modes]``; towards ``gamma^-1/2``
        where gamma is positive, towards zero where it is negative.

    Raises:
        ValueError: for other shapes, numbers that are not finite, or a negative start.

    Source: Simon et al., "On the stepwise nature of self-supervised learning", ICML
    2023, proposition 4.1.

    >>> solution = solve_aligned(jnp.array([1e-3]), jnp.array([4.0]))
    >>> solution, round(float(solution(2.0)[0]), 6)
    (Solution(singular values: start [1], gamma [1]), 0.5)
    """
    start, gamma = _aligned_start(start, gamma)
    return Solution(
        params={"start": start, "gamma": gamma},
        law=_aligned_law,
        title="singular values",
        quantity="singular value",
    )


def _aligned_law(params: dict, t: jax.Array) -> jax.Array:
    return _aligned(params["start"], params["gamma"], t)


@in_float64
def aligned_singular_values(
    start: ArrayLike, gamma: ArrayLike, t: ArrayLike
) -> jax.Array:
    """Return the singular values of `solve_aligned` at times.

    Args:
        start: singular values at time 0, ``[modes]``, not negative.
        gamma: eigenvalues of the cross moment, ``[modes]``, of any sign.
        t: times >= 0 in units of learning rate x step, of any shape.

    Returns:
        ``s(t)``, ``[*t.shape, modes]``.

    Raises:
        ValueError: see `solve_aligned`, and for negative times.

    Source: Simon et al., ICML 2023, proposition 4.1.

    >>> s = aligned_singular_values(jnp.array([1e-3]), jnp.array([4.0]), jnp.arange(3.))
    >>> s.shape, round(float(s[-1, 0]), 6)
    ((3, 1), 0.5)
    """
    start, gamma = _aligned_start(start, gamma)
    return over_times(lambda t: _aligned(start, gamma, t), t)


def _aligned_start(start: ArrayLike, gamma: ArrayLike) -> tuple[jax.Array, jax.Array]:
    gamma = check_rates("gamma", gamma)
    return check_spectrum("start", start, like=gamma), gamma


@jax.jit
def _aligned(start: jax.Array, gamma: jax.Array, t: jax.Array) -> jax.Array:
    # One decaying exponential for either sign: nothing overflows at late times. Not an
    # absolute value, whose slope at zero is that of neither sign.
    rises = gamma >= 0
    size = jnp.where(rises, gamma, -gamma)
    half = jnp.exp(-4.0 * size[None, :] * t[:, None])
    decay = half**2
    filled = (size * start**2)[None, :] * (1.0 - decay)
    bottom = jnp.where(rises[None, :], decay, 1.0) + filled
    # A mode of size zero stays there; the floor only avoids 0 / 0.
    bottom = jnp.maximum(bottom, jnp.finfo(bottom.dtype).tiny)
    return start[None, :] * jnp.where(rises[None, :], 1.0, half) / jnp.sqrt(bottom)


@in_float64
def aligned_eigenvalues(start: ArrayLike, gamma: ArrayLike, t: ArrayLike) -> jax.Array:
    """Return the eigenvalues of the cross moment C: a sigmoid in time per mode.

    ``lambda = gamma s^2`` solves ``d lambda / dt = 8 gamma lambda (1 - lambda)``, and
    the loss is ``sum_j (1 - lambda_j)^2``.

    Args:
        start: singular values of W at time 0, ``[modes]``, not negative.
        gamma: eigenvalues of the data's cross moment, ``[modes]``.
        t: times >= 0 in units of learning rate x step, of any shape.

    Returns:
        ``lambda(t)``, ``[*t.shape, modes]``.

    Raises:
        ValueError: see `aligned_singular_values`.

    Source: Simon et al., ICML 2023, section 4.2.

    >>> late = aligned_eigenvalues(jnp.array([1e-3]), jnp.array([4.0]), jnp.array([9.]))
    >>> round(float(late[0, 0]), 6)
    1.0
    """
    start, gamma = _aligned_start(start, gamma)
    return over_times(lambda t: gamma[None, :] * _aligned(start, gamma, t) ** 2, t)


@in_float64
def critical_times(start: ArrayLike, gamma: ArrayLike) -> jax.Array:
    """Return times at which the modes are learned, ``-log(lambda(0)) / (8 gamma)``.

    At the start ``lambda(0) = gamma start^2``, at this time ``1 / (2 - lambda(0))``,
    just above a half, where the loss falls at the rate 2 gamma. A mode rises from a
    tenth to nine tenths within ``0.55 / gamma``.

    Args:
        start: singular values of W at time 0, ``[modes]``, not negative.
        gamma: eigenvalues of the cross moment, ``[modes]``.

    Returns:
        ``[modes]``, in units of learning rate x step; infinite for a mode with gamma
        <= 0 or of size 0, which is never learned.

    Raises:
        ValueError: for other shapes, numbers that are not finite, or a negative start.

    Source: Simon et al., ICML 2023, section 4.2.

    >>> start, gamma = jnp.array([1e-3, 1e-3]), jnp.array([1.0, -1.0])
    >>> critical_times(start, gamma).round(4).tolist()
    [1.7269, inf]
    """
    rises, gamma, log_first = _rising(start, gamma)
    return jnp.where(rises, -log_first / (8.0 * gamma), jnp.inf)


@in_float64
def half_times(start: ArrayLike, gamma: ArrayLike) -> jax.Array:
    """Return when the eigenvalues of C are one half.

    Args:
        start: singular values of W at time 0, ``[modes]``, not negative, with ``gamma
            start^2 < 1``.
        gamma: eigenvalues of the cross moment, ``[modes]``.

    Returns:
        ``[modes]``, in units of learning rate x step, negative for a start above a
        half; infinite for a mode with gamma <= 0 or of size 0.

    Raises:
        ValueError: for other shapes, numbers that are not finite, a negative start, or
            a ``gamma start^2`` that is 1 or more.

    Source: Simon et al., ICML 2023, section 4.2.

    >>> round(float(half_times(jnp.array([0.5]), jnp.array([2.0]))[0]), 9)
    0.0
    """
    rises, gamma, log_first = _rising(start, gamma)
    if known(log_first) and np.any(np.asarray(log_first) >= 0):
        raise ValueError(
            "gamma start^2 must be below 1; a mode that starts higher never crosses "
            "a half"
        )
    missing = jnp.log1p(-jnp.exp(log_first))
    return jnp.where(rises, (missing - log_first) / (8.0 * gamma), jnp.inf)


@in_float64
def critical_steps(
    start: ArrayLike,
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
        start: singular values of W at time 0, ``[modes]``, not negative.
        gamma: eigenvalues of the cross moment, ``[modes]``.
        learning_rate: of gradient descent, > 0 and below ``(1 + momentum) / (4
            gamma)`` of the largest gamma, beyond which descent diverges.
        momentum: of heavy-ball momentum, in [0, 1).

    Returns:
        ``-log(gamma start^2) / (2 log r)`` steps, ``[modes]``, not rounded; infinite
        for a mode with gamma <= 0 or of size 0. Momentum starts from rest and
        overshoots; together these shift the count by about one step, whatever the
        start.

    Raises:
        ValueError: for other shapes, numbers that are not finite, a negative start, a
            momentum that is not in [0, 1), or an unstable learning rate.

    Source: derived, for gradient descent on Simon et al.'s loss, ICML 2023.

    >>> start, gamma = jnp.array([1e-4]), jnp.array([1.0])
    >>> round(float(critical_steps(start, gamma, learning_rate=0.02)[0]), 1)
    119.7
    """
    rises, gamma, log_first = _rising(start, gamma)
    check_positive("learning_rate", learning_rate)
    check_between("momentum", momentum, 0, 1, "[)")
    _require_stable(learning_rate, momentum, jnp.where(rises, gamma, 0.0))
    middle = 1.0 + momentum + 4.0 * learning_rate * gamma
    largest = (middle + jnp.sqrt(middle**2 - 4.0 * momentum)) / 2.0
    steps = -log_first / (2.0 * jnp.log(largest))
    return jnp.where(rises, steps, jnp.inf)


def _require_stable(rate: ArrayLike, momentum: ArrayLike, gamma: jax.Array) -> None:
    """Raise for a learning rate with which descent diverges at the minimum."""
    if not all(known(x) for x in (rate, momentum, gamma)):
        return
    # The largest curvature there is 8 gamma_1, and heavy-ball momentum is stable up to
    # 2 (1 + momentum) over it.
    highest = 4.0 * np.max(np.asarray(gamma))
    if np.any(np.asarray(rate) * highest >= 1.0 + np.asarray(momentum)):
        limit = float(np.min(1.0 + np.asarray(momentum))) / highest
        raise ValueError(
            f"learning_rate must be below (1 + momentum) / (4 gamma) = {limit:.4g}, "
            f"where descent is stable, got {float(np.max(np.asarray(rate))):g}"
        )


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
    gamma = check_rates("gamma", gamma)
    check_positive("gamma", gamma)
    check_positive("scale", scale)
    freedom = jnp.arange(gamma.shape[0], 0, -1.0)
    log_size = jax.scipy.special.digamma(freedom / 2.0) + jnp.log(2.0)
    return -(jnp.log(scale**2 * gamma) + log_size) / (8.0 * gamma)


def _rising(
    start: ArrayLike, gamma: ArrayLike
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return which modes grow, and gamma and log lambda(0), harmless in the others."""
    start, gamma = _aligned_start(start, gamma)
    rises = (gamma > 0) & (start > 0)
    gamma = jnp.where(rises, gamma, 1.0)
    # In logarithms, so that the square of a tiny start does not underflow.
    return rises, gamma, jnp.log(gamma) + 2.0 * jnp.log(jnp.where(rises, start, 0.5))
