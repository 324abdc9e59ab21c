"""Averages over Gaussian embeddings on which cosine losses depend."""

import functools
import math

import jax
import jax.numpy as jnp

from ssljax.analytic.inputs import check_positive, check_spectrum, check_whole
from ssljax.analytic.precision import in_float64
from ssljax.losses.custom_rule import CustomRule


@in_float64
def sphere_averages(
    variances: jax.Array,
    eigenvalues: jax.Array,
    *,
    prediction_power: int = 3,
    target_power: int = 1,
) -> jax.Array:
    """Compute ``E[z_m^2 z_k^2 / (|D z|^p |z|^q)]`` over ``z ~ N(0, diag(s))``.

    Feynman's formula joins the two norms into one quadratic form at the price of an
    integral, a Gamma integral takes it into the exponent, and what is left of the
    Gaussian average is elementary. The trapezoidal rule in the logarithms of the two
    variables converges exponentially, whatever the number of modes: to about 1e-6 while
    the eigenvalues lie within a factor of 10^4.

    Args:
        variances: s, ``[modes]``, > 0.
        eigenvalues: the diagonal of D, ``[modes]``, > 0.
        prediction_power: p, >= 0.
        target_power: q, >= 1. Where ``p + q - 4 >= modes`` the average is infinite.

    Returns:
        Symmetric ``[modes, modes]``.

    Raises:
        ValueError: if the two vectors differ in length, a number in them is not
            positive, a power is not such a whole number, or the average is infinite.

    Source: follows from Halvagal, Laborieux and Zenke, NeurIPS 2023; the powers (3, 1)
    are those of their cosine loss.

    >>> k = sphere_averages(jnp.ones(4), jnp.ones(4))  # E[u_m^2 u_k^2] on the sphere
    >>> round(float(k[0, 0]) * 24, 5), round(float(k[0, 1]) * 24, 5)
    (3.0, 1.0)
    """
    s = check_spectrum("variances", variances)
    eigenvalues = check_spectrum("eigenvalues", eigenvalues, like=s)
    check_positive("variances", s)
    check_positive("eigenvalues", eigenvalues)
    modes = s.shape[0]
    p = check_whole("prediction_power", prediction_power, 0)
    q = check_whole("target_power", target_power, 1)
    if p + q - 4 >= modes:
        raise ValueError(f"the average over {modes} modes is infinite for {p} and {q}")
    return _averages(p, q, s, eigenvalues)


@CustomRule
def _ends(form: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the smallest and the largest along the last axis, as constants.

    A stop-gradient would be opened in a flow that is differentiated in full.
    """
    return jnp.min(form, axis=-1), jnp.max(form, axis=-1)


@_ends.defjvp  # type: ignore[arg-type]
def _ends_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    ends = _ends(*primals)
    return ends, tuple(jnp.zeros_like(x) for x in ends)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _averages(p: int, q: int, s: jax.Array, x: jax.Array) -> jax.Array:
    modes, power = s.shape[0], (p + q) / 2.0
    # Where the nodes lie does not change the integral: no gradient goes through it.
    # Only ratios of x matter for where the nodes have to be.
    unit = jnp.sqrt(jnp.sum(x**2 * s) / jnp.sum(s))
    if p == 0:
        share, weight = jnp.zeros(1), jnp.ones(1) / math.gamma(power)
        form = s[None, :]
    else:
        squares = (x / unit)[None, :] ** 2
        spread = -jnp.log(jnp.clip(_ends(squares)[0][0], 1e-16, 1.0))
        logit = jnp.linspace(-48.0 / p, 40.0 / q + spread, 64)
        share, rest = jax.nn.sigmoid(logit), jax.nn.sigmoid(-logit)
        weight = (logit[1] - logit[0]) * share ** (p / 2) * rest ** (q / 2)
        weight = weight / (math.gamma(p / 2) * math.gamma(q / 2))
        form = s[None, :] * (share[:, None] * squares + rest[:, None])  # [nodes, modes]
    # Nodes range from before the first mode's decay to after the last one's.
    smallest, largest = _ends(form)
    low = -jnp.log(largest) - 40.0 / (p + q)
    high = -jnp.log(jnp.maximum(smallest, 1e-14 * largest))
    step = (high + max(36.0 / (modes + 4 - p - q), 6.0) - low) / 47
    rho = jnp.exp(low[:, None] + step[:, None] * jnp.arange(48.0)[None, :])
    decay = 1.0 + 2.0 * rho[:, :, None] * form[:, None, :]  # [nodes, radii, modes]
    volume = jnp.exp(-0.5 * jnp.sum(jnp.log(decay), axis=2))
    mass = (weight * step)[:, None] * rho**power * volume
    second = (s[None, None, :] / decay).reshape(-1, modes)
    average = second.T @ (mass.reshape(-1, 1) * second)
    return unit**-p * average * (1.0 + 2.0 * jnp.eye(modes))
