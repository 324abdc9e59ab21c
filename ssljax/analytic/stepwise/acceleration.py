"""Preconditioned flows of linearised Barlow Twins, and spectra that are power laws."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.curves import log_lambert_start, root_step
from ssljax.analytic.inputs import (
    check_between,
    check_definite,
    check_modes,
    check_moment,
    check_positive,
    check_shape,
    check_times,
)
from ssljax.analytic.precision import in_float64


@in_float64
def left_preconditioned_times(
    s0: ArrayLike,
    gamma: ArrayLike,
    *,
    eps: float | jax.Array,
    level: float | jax.Array = 0.5,
) -> jax.Array:
    """Return when modes reach a level under the factor ``(C + eps I)^-1``.

    ``d lambda / dt = 8 gamma lambda (1 - lambda) / (lambda + eps)`` in each mode: small
    modes no longer wait for their exponential growth, yet keep their order.

    Args:
        s0: singular values of W at the start, ``[modes]``, positive and small.
        gamma: eigenvalues of the cross moment, ``[modes]``, positive.
        eps: of the preconditioner, > 0.
        level: of lambda, between its start and 1; one number or ``[modes]``.

    Returns:
        ``[modes]``, in units of learning rate x step; at a half nearly ``(eps log(1 /
        (2 lambda(0))) + (1 + eps) log 2) / (8 gamma)``.

    Raises:
        ValueError: for other shapes, a ``gamma s0^2`` or a level that is not in (0, 1),
            or an eps that is not positive.

    Source: derived; the idea is in Simon et al., ICML 2023, appendix G.

    >>> s0, gamma = jnp.array([1e-6]), jnp.array([1.0])
    >>> round(float(left_preconditioned_times(s0, gamma, eps=0.01)[0]), 3)
    0.121
    """
    gamma, start = _preconditioned_start(s0, gamma, eps)
    check_between("level", level, 0, 1, "()")
    rising = eps * jnp.log(level / start)
    return (rising - (1.0 + eps) * jnp.log((1.0 - level) / (1.0 - start))) / (8 * gamma)


@in_float64
def left_preconditioned_eigenvalues(
    s0: ArrayLike, gamma: ArrayLike, t: ArrayLike, *, eps: float | jax.Array
) -> jax.Array:
    """Return the eigenvalues of C under the factor ``(C + eps I)^-1``.

    Args:
        s0: singular values of W at the start, ``[modes]``, with ``0 < gamma s0^2 < 1``.
        gamma: eigenvalues of the cross moment, ``[modes]``, positive.
        t: times in units of learning rate x step, ``[times]``.
        eps: of the preconditioner, > 0.

    Returns:
        ``lambda(t)``, ``[times, modes]``: the inverse of `left_preconditioned_times`.

    Raises:
        ValueError: for other shapes, a ``gamma s0^2`` that is not in (0, 1), or an eps
            that is not positive.

    Source: derived.

    >>> s0, gamma = jnp.array([0.1]), jnp.array([1.0])
    >>> half = left_preconditioned_times(s0, gamma, eps=0.1)
    >>> round(float(left_preconditioned_eigenvalues(s0, gamma, half, eps=0.1)[0, 0]), 9)
    0.5
    """
    gamma, start = _preconditioned_start(s0, gamma, eps)
    return _left_preconditioned(
        start, gamma, check_times("t", t), jnp.asarray(eps, float)
    )


def _preconditioned_start(
    s0: ArrayLike, gamma: ArrayLike, eps: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return eigenvalues of the data's cross moment and the embedding's first."""
    gamma = check_modes("gamma", gamma)
    start = gamma * check_modes("s0", s0, like=gamma) ** 2
    check_positive("eps", eps)
    check_between("gamma s0^2", start, 0, 1, "()")
    return gamma, start


@jax.jit
def _left_preconditioned(
    start: jax.Array, gamma: jax.Array, t: jax.Array, eps: jax.Array
) -> jax.Array:
    logit = jnp.log(start) - jnp.log1p(-start)
    first = jax.nn.softplus(logit) + eps * logit
    reading = first[None, :] + 8.0 * gamma[None, :] * t[:, None]
    return jax.nn.sigmoid(_logit_at(reading, eps))


@jax.custom_jvp
def _logit_at(reading: jax.Array, eps: jax.Array) -> jax.Array:
    """Return the logit at which ``softplus(x) + eps x``, convex, has a value."""
    middle = jnp.log(2.0)
    # To the right of zero the curve lies above its tangent there and its asymptote, to
    # the left of it softplus(x) is nearly exp(x).
    right = jnp.minimum(reading / (1.0 + eps), (reading - middle) / (0.5 + eps))
    scale = jnp.log(eps)
    left = jnp.minimum(log_lambert_start(reading / eps - scale) + scale, 0.0)
    x = jnp.where(reading > middle, right, left)
    for _ in range(2):
        small = jnp.exp(-jnp.abs(x))
        value = jnp.maximum(x, 0.0) + _log1p(small) + eps * x - reading
        level = jnp.where(x > 0, 1.0, small) / (1.0 + small)
        bend = small / (1.0 + small) ** 2
        x = root_step(x, value, eps + level, bend, bend * (1.0 - 2.0 * level))
    return x


@_logit_at.defjvp
def _logit_at_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    reading, eps = primals
    x = _logit_at(reading, eps)
    change = tangents[0] - x * tangents[1]
    return x, change / (eps + jax.nn.sigmoid(x))


def _log1p(x: jax.Array) -> jax.Array:
    """Return ``log(1 + x)`` for x in [0, 1], faster than `jnp.log1p`."""
    z = x / (2.0 + x)
    total = jnp.zeros_like(x)
    for power in range(31, 0, -2):  # of 2 artanh(z), z <= 1/3
        total = total * z**2 + 1.0 / power
    return 2.0 * z * total


@in_float64
def solve_right_preconditioned(
    w0: ArrayLike, gamma_matrix: ArrayLike
) -> Callable[[jax.Array], jax.Array]:
    """Solve the flow under the factor ``Gamma^-1``, from any start.

    All modes grow at one rate, and W only turns and stretches within its first row
    space: a full second-order method selects no features.

    Args:
        w0: weights at the start, ``[D, M]``.
        gamma_matrix: cross moment of the data, ``[M, M]``, invertible, with ``w0 Gamma
            w0^T`` positive definite.

    Returns:
        ``solution(t)``: W at times ``t`` (``[times]``), ``[times, D, M]``:
        ``W = C(t)^1/2 C_0^-1/2 W_0``, ``C(t) = (I + (C_0^-1 - I) e^(-8 t))^-1``.

    Raises:
        ValueError: for other shapes or a start without positive definite C.

    Source: derived.

    >>> solution = solve_right_preconditioned(0.1 * jnp.eye(2), 4 * jnp.eye(2))
    >>> solution(jnp.array([0.0, 9.0])).round(6).tolist()
    [[[0.1, 0.0], [0.0, 0.1]], [[0.5, 0.0], [0.0, 0.5]]]
    """
    moment = check_moment("gamma_matrix", gamma_matrix)
    w0 = check_shape("w0", w0, "D", moment.shape[0])
    start, axes = jnp.linalg.eigh(w0 @ moment @ w0.T)
    check_definite("w0 Gamma w0^T", start)
    rotated = axes.T @ w0

    def solution(t: jax.Array) -> jax.Array:
        decay = jnp.exp(-8.0 * check_times("t", t))[:, None]
        stretch = 1.0 / jnp.sqrt(start[None, :] + (1.0 - start)[None, :] * decay)
        return jnp.einsum("dj,tj,jm->tdm", axes, stretch, rotated)

    return solution


@in_float64
def power_law_modes(
    t: ArrayLike, *, exponent: float | jax.Array, scale: float | jax.Array
) -> jax.Array:
    """Return how many modes are learned by a time if ``gamma_j = j^-exponent``.

    Args:
        t: times in units of learning rate x step, ``[times]``, past the first mode's.
        exponent: a of the power law, > 0.
        scale: singular values of W at the start, below 1.

    Returns:
        The index j whose critical time is t, ``[times]``, not rounded: ``(8 t /
        log(j^a / scale^2))^(1 / a)``, so nearly ``t^(1 / a)``. The loss is d less this.

    Raises:
        ValueError: for other shapes.

    Source: derived from Simon et al., ICML 2023, section 4.2.

    >>> j = power_law_modes(jnp.array([100.0]), exponent=1.5, scale=1e-8)
    >>> wait = -jnp.log(1e-16 * j**-1.5) / (8 * j**-1.5)  # the critical time of mode j
    >>> round(float(wait[0]), 3)
    100.0
    """
    t = check_times("t", t)

    # A contraction by 1 / log(j^a / scale^2) per turn.
    def turn(_, j: jax.Array) -> jax.Array:
        wait = exponent * jnp.log(j) - 2.0 * jnp.log(scale)
        return jnp.maximum(8.0 * t / wait, 1.0) ** (1.0 / exponent)

    return jax.lax.fori_loop(0, 40, turn, jnp.ones_like(t))
