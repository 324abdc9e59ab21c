"""How long a feature takes: closed forms, and the leading terms for a small start."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ssljax.analytic.inputs import check_modes, check_positive
from ssljax.analytic.jepa.modes import encoder_limits
from ssljax.analytic.precision import in_float64


@in_float64
def encoder_time(
    start: ArrayLike,
    level: ArrayLike,
    *,
    covariance: ArrayLike,
    variance: ArrayLike,
    depth: int,
    objective: str = "jepa",
) -> jax.Array:
    """Return when the values of a balanced encoder pass a level, in closed form.

    With u the size of a layer over its limit, and L the depth: JEPA takes ``(F(u1) -
    F(u0)) / (covariance rho^(2L - 1))``, ``F = log(u / (1 - u)) - sum_n u^-n / n`` up
    to n = 2L - 1; MAE the integral of ``u^-L / (1 - u^(L + 1))`` over ``covariance
    rho^((L - 1) / (L + 1))``, by partial fractions.

    Args:
        start: values of the encoder at time 0, ``[features]``, > 0.
        level: value to reach, > 0, a number or ``[features]``.
        covariance: see `encoder_velocity`, as the three that follow.
        variance: of the source.
        depth: number L of the encoder's layers.
        objective: ``"jepa"`` or ``"mae"``.

    Returns:
        Times ``[features]``, learning rate x step; infinite for a level that the
        feature moves away from or that lies at its limit or beyond.

    Raises:
        ValueError: for numbers that are not positive or an unknown objective.

    Source: derived, from the equations of Littwin et al., NeurIPS 2024.

    >>> found = encoder_time([0.1], 0.5, covariance=1.0, variance=1.0, depth=1)
    >>> round(float(found[0]), 4)  # 10 - 2 + log(9)
    10.1972
    """
    given = {"covariance": covariance, "variance": variance}
    limit = encoder_limits(**given, depth=depth, objective=objective)
    w0 = check_modes("start", start)
    check_positive("start", w0)
    check_positive("level", level)
    w1, limit, joint = (
        jnp.broadcast_to(jnp.asarray(x, float), w0.shape)
        for x in (level, limit, covariance)
    )
    # Towards the limit and not as far.
    reached = (w1 - w0) * (limit - w1) > 0.0
    ends = [
        (jnp.where(reached, w, 0.5 * limit) / limit) ** (1.0 / depth) for w in (w0, w1)
    ]
    first, last = (_antiderivative(u, depth, objective) for u in ends)
    power = 2 * depth - 1 if objective == "jepa" else depth - 1
    time = (last - first) / (joint * limit ** (power / depth))
    return jnp.where(w0 == w1, 0.0, jnp.where(reached, time, jnp.inf))


@in_float64
def critical_time(
    start: ArrayLike,
    *,
    covariance: ArrayLike,
    variance: ArrayLike,
    depth: int,
    objective: str = "jepa",
) -> jax.Array:
    """Return the leading terms of the time that a small start takes.

    The first term of both objectives knows the covariance alone. JEPA has the
    regression coefficient in the next, smaller by ``start^(1/L)``, so that the order
    of learning turns on it for deep encoders and starts that are not too small.

    Args:
        start: values of the encoder at time 0, ``[features]``, > 0, small.
        covariance: see `encoder_velocity`, as the three that follow.
        variance: of the source.
        depth: number L of the encoder's layers.
        objective: ``"jepa"`` or ``"mae"``.

    Returns:
        ``sum_n 1 / (n covariance rho^(2L - 1 - n) start^(n / L))``, n from 1 to 2L - 1,
        for JEPA; ``start^(1/L - 1) / ((L - 1) covariance)`` for MAE, and ``log(1 /
        start) / covariance`` at depth 1. What is left out is of the order of ``log(1 /
        start)`` for JEPA, and of 1 for MAE.

    Raises:
        ValueError: for numbers that are not positive or an unknown objective.

    Source: Littwin et al., NeurIPS 2024 (the sum for JEPA, but for the unit of time);
    derived again from the closed form.

    >>> critical_time([0.1], covariance=2.0, variance=1.0, depth=1).round(6).tolist()
    [5.0]
    """
    given = {"covariance": covariance, "variance": variance}
    encoder_limits(**given, depth=depth, objective=objective)
    w = check_modes("start", start)
    check_positive("start", w)
    joint, own = (jnp.asarray(x, float) for x in (covariance, variance))
    if objective == "mae":
        if depth == 1:
            return -jnp.log(w) / joint
        return w ** (1.0 / depth - 1.0) / ((depth - 1) * joint)
    rho = joint / own
    terms = [
        1.0 / (n * joint * rho ** (2 * depth - 1 - n) * w ** (n / depth))
        for n in range(1, 2 * depth)
    ]
    return jnp.sum(jnp.stack(terms), axis=0)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _antiderivative(u: jax.Array, depth: int, objective: str) -> jax.Array:
    """Integrate ``u^-2L / (1 - u)`` for JEPA, ``u^-L / (1 - u^(L + 1))`` for MAE."""
    if objective == "jepa":
        poles = sum(u**-n / n for n in range(1, 2 * depth))
        return jnp.log(u) - jnp.log(jnp.abs(1.0 - u)) - poles
    roots = depth + 1
    pole = jnp.log(u) if depth == 1 else u ** (1 - depth) / (1 - depth)
    # What is left, u / (1 - u^(L + 1)), over the roots of one: the pairs are real.
    total = jnp.log(jnp.abs(1.0 - u))
    for k in range(1, roots):
        angle = 2.0 * np.pi * k / roots
        cos, sin = np.cos(angle), np.sin(angle)
        size = 0.5 * jnp.log((1.0 - u * cos) ** 2 + (u * sin) ** 2)
        turn = jnp.arctan2(u * sin, 1.0 - u * cos)
        total += np.cos(2.0 * angle) * size - np.sin(2.0 * angle) * turn
    return pole - total / roots
