"""The cosine loss with constant norms: a sixth-order equation per mode.

In many dimensions the norms of prediction and target hardly vary between samples. With
their root mean squares in their place a balanced mode (``s = p^2``) follows ``dp/dt =
p^2 / (N_P N_T) - (1 + noise^2) (N_x p^3 + 2 p^6) / (N_P^3 N_T) - decay p``. The last
power comes from the fourth moment of one mode. It is as small as the terms that
constant norms leave out, so that it improves nothing; the checklist measures both.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import check_modes, check_not_negative, check_positive
from ssljax.analytic.precision import in_float64


@in_float64
def concentrated_norms(
    predictor: ArrayLike, variances: ArrayLike, *, noise: ArrayLike = 0.0
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the constants in the place of norms, and the overlap.

    Args:
        predictor: eigenvalues p, ``[modes]``.
        variances: eigenvalues s of ``W W^T``, ``[modes]``; white inputs.
        noise: standard deviation of the augmentations' noise in both views.

    Returns:
        ``N_P = sqrt((1 + noise^2) sum p^2 s)``, the root mean square of the prediction;
        ``N_T = sqrt((1 + noise^2) sum s)``, that of the target; ``N_x = sum p s``.

    Raises:
        ValueError: for vectors of other lengths.

    Source: derived, under the assumption of Bao, 2023 (arXiv 2309.16109), that norms
    concentrate.

    >>> [float(x) for x in concentrated_norms([1.0, 1.0], [2.0, 2.0])]
    [2.0, 2.0, 4.0]
    """
    s = check_modes("variances", variances)
    p = check_modes("predictor", predictor, like=s)
    total = 1.0 + jnp.asarray(noise, float) ** 2
    return (
        jnp.sqrt(total * jnp.sum(p**2 * s)),
        jnp.sqrt(total * jnp.sum(s)),
        jnp.sum(p * s),
    )


@in_float64
def sixth_order_rate(
    predictor: ArrayLike,
    variances: ArrayLike | None = None,
    *,
    norms: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
    noise: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
    fourth_moment: bool = True,
) -> jax.Array:
    """Return the rate of the predictor's eigenvalues where norms are constants.

    Args:
        predictor: eigenvalues p, ``[modes]``.
        variances: eigenvalues s of ``W W^T``, ``[modes]``; None takes the balanced
            ``p^2``.
        norms: N_P, N_T and N_x; None takes `concentrated_norms`.
        noise: standard deviation of the augmentations' noise in both views.
        weight_decay: per unit of time.
        fourth_moment: keep ``2 p^2 s^2``, of sixth order where s = p^2.

    Returns:
        ``s / (N_P N_T) - (1 + noise^2) (N_x p s + 2 p^2 s^2) / (N_P^3 N_T) - decay p``,
        ``[modes]``.

    Raises:
        ValueError: for vectors of other lengths.

    Source: derived, after Bao, 2023 (arXiv 2309.16109), whose dynamics are of this
    order; how its constants are named and grouped was not compared.

    >>> sixth_order_rate([1.0], norms=(1.0, 1.0, 0.5)).tolist()
    [-1.5]
    """
    p = check_modes("predictor", predictor)
    s = p**2 if variances is None else check_modes("variances", variances, like=p)
    if norms is None:
        norms = concentrated_norms(p, s, noise=noise)
    of_prediction, of_target, overlap = (jnp.asarray(x, float) for x in norms)
    total = 1.0 + jnp.asarray(noise, float) ** 2
    pull = overlap * p * s + (2.0 * p**2 * s**2 if fourth_moment else 0.0)
    rate = s / (of_prediction * of_target)
    rate -= total * pull / (of_prediction**3 * of_target)
    return rate - jnp.asarray(weight_decay, float) * p


@in_float64
def sixth_order_limits(
    weight_decay: ArrayLike,
    *,
    norms: tuple[ArrayLike, ArrayLike, ArrayLike],
    noise: ArrayLike = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """Return threshold and limit of a balanced mode while the norms are held.

    For positive eigenvalues the equation has two fixed points beside zero, one unstable
    and one stable, or none: collapse. The decay enters as ``decay N_P^3 N_T``, so that
    two appear once the norms have shrunk. They are not fixed points of the flow, whose
    norms shrink forever, but the ratio of the modes does not.

    Args:
        weight_decay: per unit of time, > 0.
        norms: N_P, N_T and N_x, all > 0, numbers.
        noise: standard deviation of the augmentations' noise in both views.

    Returns:
        The two positive roots of ``2 p^5 + N_x p^2 - N_P^2 p / (1 + noise^2) + decay
        N_P^3 N_T / (1 + noise^2)``; infinite and 0 where there is none.

    Raises:
        ValueError: for numbers that are not positive, or a negative noise.

    Source: derived, after Bao, 2023 (arXiv 2309.16109). That paper names three regimes
    of this curve; on positive eigenvalues the number of roots distinguishes two.

    >>> low, high = sixth_order_limits(0.1, norms=(1.0, 1.0, 1.0))
    >>> round(float(low), 4), round(float(high), 4)
    (0.1127, 0.5892)
    >>> [float(x) for x in sixth_order_limits(0.1, norms=(3.0, 3.0, 1.0))]
    [inf, 0.0]
    """
    check_positive("weight_decay", weight_decay)
    check_not_negative("noise", noise)
    for name, value in zip(("N_P", "N_T", "N_x"), norms, strict=True):
        check_positive(name, value)
    of_prediction, of_target, overlap = (jnp.asarray(x, float) for x in norms)
    total = 1.0 + jnp.asarray(noise, float) ** 2
    drive = of_prediction**2 / total
    rest = jnp.asarray(weight_decay, float) * of_prediction**3 * of_target / total
    return _positive_roots(overlap, drive, rest)


@jax.jit
def _positive_roots(
    overlap: jax.Array, drive: jax.Array, rest: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Find the positive roots of ``2 p^5 + overlap p^2 - drive p + rest``."""

    def curve(p: jax.Array) -> jax.Array:
        return 2.0 * p**5 + overlap * p**2 - drive * p + rest

    def slope(p: jax.Array) -> jax.Array:
        return 10.0 * p**4 + 2.0 * overlap * p - drive

    def bend(p: jax.Array) -> jax.Array:
        return 40.0 * p**3 + 2.0 * overlap

    # Curve and slope are convex for p > 0: Newton's steps from outside never pass a
    # root. Right of both bounds each of them is positive.
    right = jnp.minimum((drive / 2.0) ** 0.25, drive / overlap)
    bottom = _root(slope, bend, right)
    alive = curve(bottom) < 0.0
    low = _root(curve, slope, jnp.zeros_like(right))
    high = _root(curve, slope, right)
    return jnp.where(alive, low, jnp.inf), jnp.where(alive, high, 0.0)


def _root(
    function: Callable[[jax.Array], jax.Array],
    slope: Callable[[jax.Array], jax.Array],
    start: jax.Array,
) -> jax.Array:
    """Find a root by Newton's method, with its first two derivatives."""
    stop = jax.lax.stop_gradient

    def step(_: int, p: jax.Array) -> jax.Array:
        return p - stop(function(p) / slope(p))

    p = stop(jax.lax.fori_loop(0, 60, step, stop(start)))
    # Each step doubles the order of the correct derivatives.
    for _ in range(2):
        p = p - function(p) / slope(p)
    return p
