"""The two curves that a single mode can follow, free of overflow."""

import jax
import jax.numpy as jnp


@jax.jit
def logistic_curve(
    x0: jax.Array,
    tau: jax.Array,
    constant: float | jax.Array,
    linear: float | jax.Array,
) -> jax.Array:
    """Solution of ``dx/dtau = x (constant + linear x)``, infinite once it has burst."""
    constant = jnp.asarray(constant, jnp.float64)
    y = constant * tau
    flat = constant == 0.0
    # (exp(y) - 1) / constant, without the factor exp(max(y, 0)) that both share.
    grown = -jnp.sign(y) * jnp.expm1(-jnp.abs(y)) / jnp.where(flat, 1.0, constant)
    grown = jnp.where(flat, tau, grown)
    below = jnp.exp(-jnp.maximum(y, 0.0)) - linear * x0 * grown
    return jnp.where(
        below > 0,
        x0 * jnp.exp(jnp.minimum(y, 0.0)) / jnp.where(below > 0, below, 1.0),
        jnp.where(x0 > 0, jnp.inf, 0.0),
    )


@jax.jit
def lambert_curve(x0: jax.Array, tau: jax.Array) -> jax.Array:
    """Solution of ``dx/dtau = x^2 (1 - x)``: ``x = 1 / (1 + W(y0 exp(y0 - tau)))``."""
    alive = x0 > 0
    x0 = jnp.where(alive, x0, 1.0)
    return jnp.where(alive, 1.0 / (1.0 + _odds(x0, tau)), 0.0)


@jax.custom_jvp
def _odds(x0: jax.Array, tau: jax.Array) -> jax.Array:
    """``y = 1/x - 1``, the root of ``y exp(y) = y0 exp(y0 - tau)`` on y0's side of 0.

    Solved for its logarithm, so that neither a tiny ``x0`` nor a long time overflows.
    """
    below = jnp.where(x0 < 1.0, x0, 0.5)
    above = jnp.where(x0 > 1.0, x0, 2.0)

    # ln y + y = c; from the right of the root Newton's steps never cross it.
    c = jnp.log1p(-below) - jnp.log(below) + (1.0 / below - 1.0) - tau
    u = jnp.where(c > 1.0, jnp.log(jnp.maximum(c, 1.0)), c)

    def up(_: int, u: jax.Array) -> jax.Array:
        return u - (u + jnp.exp(u) - c) / (1.0 + jnp.exp(u))

    # -y = exp(-p) and p + exp(-p) - 1 = d >= 0, a double root where d = 0.
    d = -jnp.log1p(-1.0 / above) - 1.0 / above + tau
    d = jnp.maximum(d, 1e-300)
    p = jnp.minimum(jnp.sqrt(2.0 * d) + d, 1.0 + d)

    def down(_: int, p: jax.Array) -> jax.Array:
        return p - (p + jnp.expm1(-p) - d) / -jnp.expm1(-p)

    u = jax.lax.fori_loop(0, 12, up, u)
    p = jax.lax.fori_loop(0, 12, down, p)
    side = jnp.where(x0 < 1.0, jnp.exp(u), -jnp.exp(-p))
    return jnp.where(x0 == 1.0, 0.0, side)


@_odds.defjvp
def _odds_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    x0, tau = primals
    y, y0 = _odds(x0, tau), 1.0 / x0 - 1.0
    close = jnp.abs(y0) < 1e-2
    # Both expressions are y / y0; the first needs no division by zero at x0 = 1.
    ratio = jnp.where(close, jnp.exp(y0 - y - tau), y / jnp.where(close, 1.0, y0))
    x = 1.0 / (1.0 + y)
    return y, -ratio * x / x0**3 * tangents[0] - y * x * tangents[1]
