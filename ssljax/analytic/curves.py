"""The two curves that a single mode can follow, free of overflow and smooth."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ssljax.analytic.inputs import check_finite, check_not_negative, check_real
from ssljax.losses.custom_rule import CustomRule

HUGE = 1e30
"""Beyond this ``exp(u)`` and ``exp(u) + u`` are one number."""


@jax.jit
def logistic_gain(
    x0: jax.Array,
    tau: jax.Array,
    constant: float | jax.Array,
    linear: float | jax.Array,
) -> jax.Array:
    """Solve ``dx/dtau = x (constant + linear x)`` for ``x / x0``.

    Infinite after a blow-up, and the limit of small starts at ``x0 = 0``.
    """
    y = jnp.asarray(constant, jnp.float64) * tau
    # Both by the factor exp(-max(y, 0)), selected rather than multiplied: smooth at 0.
    rises = y > 0
    z = jnp.where(rises, -y, y)
    above = jnp.where(rises, 1.0, jnp.exp(z))
    below = jnp.where(rises, jnp.exp(z), 1.0) - linear * x0 * tau * mean_decay(-z)
    alive = below > 0
    # A blow-up, or growth from 0 beyond what float64 holds.
    late = jnp.where(((x0 > 0) & (linear > 0)) | rises, jnp.inf, 0.0)
    return jnp.where(alive, above / jnp.where(alive, below, 1.0), late)


def logistic_curve(
    x0: jax.Array,
    tau: jax.Array,
    constant: float | jax.Array,
    linear: float | jax.Array,
) -> jax.Array:
    """Solve ``dx/dtau = x (constant + linear x)``, infinite after a blow-up.

    Smooth in everything, also where ``constant`` or ``x0`` is zero.
    """
    gain = logistic_gain(x0, tau, constant, linear)
    # Zero stays zero, however late.
    return x0 * jnp.where((x0 > 0) | jnp.isfinite(gain), gain, 0.0)


@CustomRule
def mean_decay(x: jax.Array) -> jax.Array:
    """Return ``(1 - exp(-x)) / x``, 1 at zero, with right derivatives of every order.

    >>> with jax.enable_x64(True):
    ...     float(mean_decay(jnp.array(0.0))), float(jax.grad(mean_decay)(0.0))
    (1.0, -0.5)
    """
    return jnp.where(x == 0, 1.0, -jnp.expm1(-x) / jnp.where(x == 0, 1.0, x))


@mean_decay.defjvp
def _mean_decay_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    (x,), (tangent,) = primals, tangents
    value = mean_decay(x)
    # The closed form of the slope cancels near zero, where its series converges fast.
    small = jnp.abs(x) < 0.5
    far = jnp.where(small, 1.0, x)
    slope = (jnp.exp(-far) - mean_decay(far)) / far
    near = _series(_DECAY_SLOPE, jnp.where(small, x, 0.0))
    return value, jnp.where(small, near, slope) * tangent


@CustomRule
def mean_growth(x: jax.Array) -> jax.Array:
    """Return ``-log(1 - x) / x`` for x < 1, with right derivatives of every order.

    >>> with jax.enable_x64(True):
    ...     float(mean_growth(jnp.array(0.0))), float(jax.grad(mean_growth)(0.0))
    (1.0, 0.5)
    """
    return jnp.where(x == 0, 1.0, -jnp.log1p(-x) / jnp.where(x == 0, 1.0, x))


@mean_growth.defjvp
def _mean_growth_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    (x,), (tangent,) = primals, tangents
    small = jnp.abs(x) < 0.1
    far = jnp.where(small, 0.5, x)
    slope = (1.0 / (1.0 - far) - mean_growth(far)) / far
    near = _series(_GROWTH_SLOPE, jnp.where(small, x, 0.0))
    return mean_growth(x), jnp.where(small, near, slope) * tangent


# Taylor coefficients of the two slopes at zero, to float64 precision.
_DECAY_SLOPE = [(-1.0) ** k * k / math.factorial(k + 1) for k in range(1, 18)]
_GROWTH_SLOPE = [k / (k + 1.0) for k in range(1, 22)]


def _series(coefficients: list[float], x: jax.Array) -> jax.Array:
    total = jnp.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * x + coefficient
    return total


def root(x: jax.Array) -> jax.Array:
    """Return the square root, with slope zero at zero and below.

    The true slope is infinite there. Zero is that of a number which stays at zero, and
    keeps everything else finite.

    >>> float(jax.grad(root)(0.0))
    0.0
    """
    return jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0)


def over_times(law: Callable[[jax.Array], jax.Array], t: Any) -> jax.Array:
    """Evaluate a function of ``[times]`` at times >= 0 of any shape.

    Raises:
        ValueError: for times that are not real, finite and >= 0.

    >>> with jax.enable_x64(True):
    ...     over_times(lambda t: t[:, None], jnp.ones((2, 3))).shape
    (2, 3, 1)
    """
    t = check_real("t", t)
    check_not_negative("t", t)
    check_finite("t", t)
    values = law(t.ravel())
    return values.reshape(*t.shape, *values.shape[1:])


@jax.jit
def lambert_gain(x0: jax.Array, tau: jax.Array) -> jax.Array:
    """Solve ``dx/dtau = x^2 (1 - x)`` for ``x / x0``, 1 at ``x0 = 0``.

    In closed form ``x = 1 / (1 + W(y0 exp(y0 - tau)))`` with ``y0 = 1/x0 - 1``.
    """
    # A series while the mode still waits, so that derivatives at 0 are correct, too.
    waits = x0 * jnp.maximum(tau, 1.0) < 1e-6
    z = jnp.where(waits, x0, 0.0)
    start = jnp.where(waits, 0.5, x0)
    series = 1.0 + tau * z * (1.0 + (tau - 1.0) * z)
    return jnp.where(waits, series, 1.0 / ((1.0 + _odds(start, tau)) * start))


def lambert_curve(x0: jax.Array, tau: jax.Array) -> jax.Array:
    """Solve ``dx/dtau = x^2 (1 - x)``, smooth at ``x0 = 0`` too."""
    return x0 * lambert_gain(x0, tau)


@CustomRule
def _odds(x0: jax.Array, tau: jax.Array) -> jax.Array:
    """Return ``1/x - 1``, the root of ``y exp(y) = y0 exp(y0 - tau)`` beside y0.

    Solved for its logarithm, so that neither a tiny ``x0`` nor a long time overflows.
    """
    # ln y + y = c below 1; above it -y = exp(-p) and p + exp(-p) - 1 = d.
    below = jnp.where(x0 < 1.0, x0, 0.5)
    c = jnp.log1p(-below) - jnp.log(below) + (1.0 / below - 1.0) - tau
    u = log_lambert_start(c)
    for _ in range(2):
        u = _lambert_step(u, jnp.exp(u), c)
    rise = jnp.where(c > HUGE, c, jnp.exp(u))

    def falling() -> jax.Array:
        above = jnp.where(x0 > 1.0, x0, 2.0)
        d = -jnp.log1p(-1.0 / above) - 1.0 / above + tau
        return jnp.where(x0 > 1.0, -jnp.exp(-_fall(d)), rise)

    side = jax.lax.cond(jnp.any(x0 > 1.0), falling, lambda: rise)
    return jnp.where(x0 == 1.0, 0.0, side)


def log_lambert_start(c: jax.Array) -> jax.Array:
    """Find the root of ``exp(u) + u = c <= HUGE``, log W(exp(c)), to 0.01."""
    large = c > 1.0
    # A starting value needs few digits, and a float64 logarithm is the slowest part.
    rough = jnp.log(jnp.clip(c, 1.0, HUGE).astype(jnp.float32)).astype(c.dtype)
    u = jnp.where(large, rough, c)
    # Its exponential costs nothing where u = log(c).
    return _lambert_step(u, jnp.where(large, c, jnp.exp(jnp.minimum(c, 1.0))), c)


def _lambert_step(u: jax.Array, exp_u: jax.Array, c: jax.Array) -> jax.Array:
    return root_step(u, exp_u + u - c, 1.0 + exp_u, exp_u, exp_u)


def _fall(d: jax.Array) -> jax.Array:
    """Find ``p >= 0`` with ``p + exp(-p) - 1 = d >= 0``, a double one at d = 0."""
    d = jnp.maximum(d, 1e-300)
    root = jnp.sqrt(2.0 * d)
    near = root * (1.0 + root / 6.0 + root**2 / 36.0)
    p = jnp.where(d < 1.0, near, 1.0 + d - jnp.exp(-1.0 - d))
    for _ in range(2):
        slope = -jnp.expm1(-p)
        p = root_step(p, p - slope - d, slope, 1.0 - slope, slope - 1.0)
    return p


def root_step(
    x: jax.Array,
    value: jax.Array,
    slope: jax.Array,
    second: jax.Array,
    third: jax.Array,
) -> jax.Array:
    """Take a step to a root, after which four times as many digits are right.

    Args:
        x: where it is taken.
        value: of the function there.
        slope: its first derivative.
        second: its second derivative.
        third: its third derivative.

    Source: Householder's method of order three.
    """
    # Ratios, because powers of a slope overflow; of one division, the slowest part.
    share = 1.0 / slope
    newton, bend, twist = value * share, second * share, third * share
    below = 1.0 - newton * bend + newton**2 * twist / 6.0
    return x - newton * (1.0 - 0.5 * newton * bend) / below


@_odds.defjvp
def _odds_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    x0, tau = primals
    y, y0 = _odds(x0, tau), 1.0 / x0 - 1.0
    close = jnp.abs(y0) < 1e-2
    # Both expressions are y / y0; the first needs no division by zero at x0 = 1.
    ratio = jnp.where(close, jnp.exp(y0 - y - tau), y / jnp.where(close, 1.0, y0))
    x = 1.0 / (1.0 + y)
    # Divided one after the other: the third power of a tiny start underflows.
    slope = -ratio * (x / x0) / x0 / x0
    return y, slope * tangents[0] - y * x * tangents[1]
