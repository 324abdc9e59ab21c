"""Preconditioned flows of linearised Barlow Twins, and spectra that are power laws."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.curves import log_lambert_start, over_times, root_step
from ssljax.analytic.inputs import (
    check_between,
    check_definite,
    check_finite,
    check_moment,
    check_not_negative,
    check_positive,
    check_rates,
    check_shape,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.solution import Solution, as_numbers
from ssljax.analytic.stepwise.symmetric import matrix_root
from ssljax.losses.custom_rule import CustomRule


@in_float64
def left_preconditioned_times(
    start: ArrayLike,
    gamma: ArrayLike,
    *,
    eps: float | jax.Array,
    level: float | jax.Array = 0.5,
) -> jax.Array:
    """Return when modes reach a level under the factor ``(C + eps I)^-1``.

    ``d lambda / dt = 8 gamma lambda (1 - lambda) / (lambda + eps)`` in each mode: small
    modes no longer wait for their exponential growth, yet keep their order.

    Args:
        start: singular values of W at time 0, ``[modes]``, positive and small.
        gamma: eigenvalues of the cross moment, ``[modes]``, positive.
        eps: of the preconditioner, > 0.
        level: of lambda, between its start and 1; one number or ``[modes]``.

    Returns:
        ``[modes]``, in units of learning rate x step, negative for a level below the
        start; at a half nearly ``(eps log(1 / (2 lambda(0))) + (1 + eps) log 2) / (8
        gamma)``.

    Raises:
        ValueError: for other shapes, a ``gamma start^2`` or a level that is not in (0,
            1), or an eps that is not positive.

    Source: derived; the idea is in Simon et al., ICML 2023, appendix G.

    >>> start, gamma = jnp.array([1e-6]), jnp.array([1.0])
    >>> round(float(left_preconditioned_times(start, gamma, eps=0.01)[0]), 3)
    0.121
    """
    _, gamma, first = _preconditioned_start(start, gamma, eps)
    check_between("level", level, 0, 1, "()")
    rising = eps * jnp.log(level / first)
    return (rising - (1.0 + eps) * jnp.log((1.0 - level) / (1.0 - first))) / (8 * gamma)


@in_float64
def solve_left_preconditioned(
    start: ArrayLike, gamma: ArrayLike, *, eps: float | jax.Array
) -> Solution:
    """Solve for the eigenvalues of C under the factor ``(C + eps I)^-1``.

    Args:
        start: singular values of W at time 0, ``[modes]``, with ``0 < gamma start^2 <
            1``.
        gamma: eigenvalues of the cross moment, ``[modes]``, positive.
        eps: of the preconditioner, > 0.

    Returns:
        ``solution(t)``: ``lambda(t)``, ``[times, modes]``, the inverse of
        `left_preconditioned_times`.

    Raises:
        ValueError: for other shapes, a ``gamma start^2`` that is not in (0, 1), or an
            eps that is not positive.

    Source: derived; the idea is in Simon et al., ICML 2023, appendix G.

    >>> start, gamma = jnp.array([0.1]), jnp.array([1.0])
    >>> solution = solve_left_preconditioned(start, gamma, eps=0.1)
    >>> half = left_preconditioned_times(start, gamma, eps=0.1)
    >>> round(float(solution(half[0])[0]), 9)
    0.5
    """
    start, gamma, _ = _preconditioned_start(start, gamma, eps)
    return Solution(
        params={"start": start, "gamma": gamma, **as_numbers({"eps": eps})},
        law=_left_preconditioned_law,
        title="eigenvalues under a left preconditioner",
    )


def _left_preconditioned_law(params: dict, t: jax.Array) -> jax.Array:
    gamma = params["gamma"]
    first = gamma * params["start"] ** 2
    return _left_preconditioned(first, gamma, t, params["eps"])


@in_float64
def left_preconditioned_eigenvalues(
    start: ArrayLike, gamma: ArrayLike, t: ArrayLike, *, eps: float | jax.Array
) -> jax.Array:
    """Return the eigenvalues of `solve_left_preconditioned` at times.

    Args:
        start: singular values of W at time 0, ``[modes]``.
        gamma: eigenvalues of the cross moment, ``[modes]``, positive.
        t: times >= 0 in units of learning rate x step, of any shape.
        eps: of the preconditioner, > 0.

    Returns:
        ``lambda(t)``, ``[*t.shape, modes]``.

    Raises:
        ValueError: see `solve_left_preconditioned`, and for negative times.

    Source: derived.

    >>> start, gamma = jnp.array([0.1]), jnp.array([1.0])
    >>> t = left_preconditioned_times(start, gamma, eps=0.1, level=0.3)
    >>> round(float(left_preconditioned_eigenvalues(start, gamma, t, eps=0.1)[0, 0]), 9)
    0.3
    """
    _, gamma, first = _preconditioned_start(start, gamma, eps)
    eps = jnp.asarray(eps, jnp.float64)
    return over_times(lambda t: _left_preconditioned(first, gamma, t, eps), t)


def _preconditioned_start(
    start: ArrayLike, gamma: ArrayLike, eps: float | jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the start, gamma, and the eigenvalues of C at the start."""
    gamma = check_rates("gamma", gamma)
    start = check_rates("start", start, like=gamma)
    check_positive("start", start)
    check_positive("eps", eps)
    first = gamma * start**2
    check_between("gamma start^2", first, 0, 1, "()")
    return start, gamma, first


@jax.jit
def _left_preconditioned(
    first: jax.Array, gamma: jax.Array, t: jax.Array, eps: jax.Array
) -> jax.Array:
    logit = jnp.log(first) - jnp.log1p(-first)
    clock = jax.nn.softplus(logit) + eps * logit
    reading = clock[None, :] + 8.0 * gamma[None, :] * t[:, None]
    return jax.nn.sigmoid(_logit_at(reading, eps))


@CustomRule
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
    # There softplus(x) is x to the last digit; the steps' squares may overflow.
    return jnp.where(right > 40.0, right, x)


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
def solve_right_preconditioned(start: ArrayLike, gamma_matrix: ArrayLike) -> Solution:
    """Solve the flow under the factor ``Gamma^-1``, from any start.

    All modes grow at one rate, and W only turns and stretches within its first row
    space: a full second-order method selects no features.

    Args:
        start: weights at time 0, ``[D, M]``.
        gamma_matrix: cross moment of the data, ``[M, M]``, invertible, with ``start
            Gamma start^T`` positive definite.

    Returns:
        ``solution(t)``: W, ``[times, D, M]``: ``W = C(t)^1/2 C_0^-1/2 W_0``, ``C(t) =
        (I + (C_0^-1 - I) e^(-8 t))^-1``.

    Raises:
        ValueError: for other shapes, numbers that are not finite, or a start without
            positive definite C.

    Source: derived.

    >>> solution = solve_right_preconditioned(0.1 * jnp.eye(2), 4 * jnp.eye(2))
    >>> solution(jnp.array([0.0, 9.0])).round(6).tolist()
    [[[0.1, 0.0], [0.0, 0.1]], [[0.5, 0.0], [0.0, 0.5]]]
    """
    moment = check_moment("gamma_matrix", gamma_matrix)
    start = check_shape("start", start, "D", moment.shape[0])
    check_finite("start", start)
    check_definite("start Gamma start^T", jnp.linalg.eigvalsh(start @ moment @ start.T))
    return Solution(
        params={"start": start, "gamma_matrix": moment},
        law=_right_preconditioned_law,
        title="weights under a right preconditioner",
        quantity="weight",
    )


def _right_preconditioned_law(params: dict, t: jax.Array) -> jax.Array:
    start, moment = params["start"], params["gamma_matrix"]
    first = start @ moment @ start.T

    # C_0 C(t)^-1 = C_0 + (I - C_0) e^(-8 t). A root of the matrix has derivatives where
    # its eigenvalues are equal, their own roots along eigenvectors have not.
    def at(t: jax.Array) -> jax.Array:
        decay = jnp.exp(-8.0 * t)
        left = decay * jnp.eye(len(first)) + (1.0 - decay) * first
        return jnp.linalg.solve(matrix_root(left), start)

    return jax.vmap(at)(t)


@in_float64
def power_law_modes(
    t: ArrayLike, *, exponent: float | jax.Array, scale: float | jax.Array
) -> jax.Array:
    """Return how many modes are learned by a time if ``gamma_j = j^-exponent``.

    Args:
        t: times >= 0 in units of learning rate x step, of any shape; before the first
            mode's critical time the index is 1.
        exponent: a of the power law, > 0.
        scale: singular values of W at the start, below 1.

    Returns:
        The index j whose critical time is t, of the shape of t, not rounded: ``(8 t /
        log(j^a / scale^2))^(1 / a)``, so nearly ``t^(1 / a)``. The loss is d less this.

    Raises:
        ValueError: for negative times, an exponent that is not positive, or a scale
            that is not in (0, 1).

    Source: derived from Simon et al., ICML 2023, section 4.2.

    >>> j = power_law_modes(jnp.array([100.0]), exponent=1.5, scale=1e-8)
    >>> wait = -jnp.log(1e-16 * j**-1.5) / (8 * j**-1.5)  # the critical time of mode j
    >>> round(float(wait[0]), 3)
    100.0
    """
    t = jnp.asarray(t, jnp.float64)
    check_not_negative("t", t)
    check_positive("exponent", exponent)
    check_between("scale", scale, 0, 1, "()")

    # Each iteration contracts by 1 / log(j^a / scale^2).
    def turn(_, j: jax.Array) -> jax.Array:
        wait = exponent * jnp.log(j) - 2.0 * jnp.log(scale)
        return jnp.maximum(8.0 * t / wait, 1.0) ** (1.0 / exponent)

    return jax.lax.fori_loop(0, 40, turn, jnp.ones_like(t))
