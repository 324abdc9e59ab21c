"""The two curves that a single mode can follow, free of overflow."""

import jax
import jax.numpy as jnp

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
    below = jnp.where(rises, jnp.exp(z), 1.0) - linear * x0 * tau * _mean_growth(z)
    alive = below > 0
    # A blow-up, or growth from 0 beyond what float64 holds.
    late = jnp.where(((x0 > 0) & (linear > 0)) | rises, jnp.inf, 0.0)
    return jnp.where(alive, above / jnp.where(alive, below, 1.0), late)


def _mean_growth(z: jax.Array) -> jax.Array:
    """Return ``(exp(z) - 1) / z`` for ``z <= 0``, smooth at 0."""
    near = z > -0.02
    small = jnp.where(near, z, 0.0)
    series, term = jnp.ones_like(z), jnp.ones_like(z)
    for k in range(2, 9):
        term = term * small / k
        series += term
    far = jnp.where(near, -1.0, z)
    return jnp.where(near, series, jnp.expm1(far) / far)


@jax.jit
def lambert_gain(x0: jax.Array, tau: jax.Array) -> jax.Array:
    """Solve ``dx/dtau = x^2 (1 - x)`` for ``x / x0``, 1 at ``x0 = 0``.

    In closed form ``x = 1 / (1 + W(y0 exp(y0 - tau)))`` with ``y0 = 1/x0 - 1``.
    """
    # A series where the mode still waits, so that derivatives are right at 0 too.
    waits = x0 * jnp.maximum(tau, 1.0) < 1e-6
    z = jnp.where(waits, x0, 0.0)
    start = jnp.where(waits, 0.5, x0)
    series = 1.0 + tau * z * (1.0 + (tau - 1.0) * z)
    return jnp.where(waits, series, 1.0 / ((1.0 + _odds(start, tau)) * start))


@jax.custom_jvp
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
    # A start needs few digits, and the logarithm in float64 is the slowest part.
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
    return y, -ratio * x / x0**3 * tangents[0] - y * x * tangents[1]
