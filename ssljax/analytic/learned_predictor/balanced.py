"""The balanced mode of a learned predictor: limits, thresholds, times, collapse.

Weight decay brings every mode to the parabola ``w^2 = p^2 / predictor_rate``, on which
one equation is left: ``dp/dt = p^2 (x tau - (x + noise^2) p) - weight_decay p``. Here x
is the variance of the clean inputs along the mode, and tau the ratio of the target to
the online network.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ssljax.analytic.curves import lambert_curve
from ssljax.analytic.inputs import check_modes, check_positive
from ssljax.analytic.learned_predictor.dynamics import check_rates
from ssljax.analytic.ode import integrate
from ssljax.analytic.precision import in_float64, known
from ssljax.analytic.solution import Solution, as_numbers


@in_float64
def largest_weight_decay(
    *, signal: ArrayLike = 1.0, noise: ArrayLike = 0.0, target_ratio: ArrayLike = 1.0
) -> jax.Array:
    """Return the weight decay above which every mode collapses.

    Args:
        signal: variance x of the clean inputs along the mode, > 0.
        noise: standard deviation of the augmentations' noise.
        target_ratio: tau. A moving average reaches 1 at any fixed point, so that 1 is
            right for the end of training; a smaller constant is the paper's model of
            the way there.

    Returns:
        ``(x tau)^2 / (4 (x + noise^2))``, of the arguments' common shape.

    Raises:
        ValueError: for a signal or ratio that is not positive, or a negative noise.

    Source: Tian, Chen and Ganguli, ICML 2021, section 3.2, with x = 1.

    >>> float(largest_weight_decay(noise=1.0))
    0.125
    """
    check_rates({"signal": signal, "noise": noise})
    check_positive("target_ratio", target_ratio)
    drive, damping = _terms(signal, noise, target_ratio)
    return drive**2 / (4.0 * damping)


@in_float64
def predictor_limits(
    weight_decay: ArrayLike,
    *,
    signal: ArrayLike = 1.0,
    noise: ArrayLike = 0.0,
    target_ratio: ArrayLike = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """Return the eigenvalue below which a balanced mode collapses, and its limit.

    A moving target that starts equal to the online network moves neither number, only
    the time: the flow of (p, target) is cooperative, so that a start on the diagonal
    goes one way, up above the threshold and down below it.

    Args:
        weight_decay: per unit of time, >= 0.
        signal: see `largest_weight_decay`, as the two that follow.
        noise: standard deviation of the augmentations' noise.
        target_ratio: tau.

    Returns:
        ``(x tau -+ sqrt((x tau)^2 - 4 (x + noise^2) weight_decay)) / (2 (x +
        noise^2))``, the unstable and the stable root; infinite and 0 where
        the decay exceeds `largest_weight_decay` and every mode collapses.

    Raises:
        ValueError: for a negative decay, or see `largest_weight_decay`.

    Source: Tian, Chen and Ganguli, ICML 2021, section 3.2; the moving target is
    derived here.

    >>> [round(float(x), 4) for x in predictor_limits(0.1)]
    [0.1127, 0.8873]
    >>> [float(x) for x in predictor_limits(0.3)]
    [inf, 0.0]
    """
    check_rates({"signal": signal, "noise": noise, "weight_decay": weight_decay})
    check_positive("target_ratio", target_ratio)
    drive, damping = _terms(signal, noise, target_ratio)
    inside = drive**2 - 4.0 * damping * jnp.asarray(weight_decay, float)
    alive = inside >= 0.0
    # The square root has no derivative at zero, where no mode survives anyway.
    root = jnp.sqrt(jnp.where(alive, inside, 1.0))
    high = (drive + root) / (2.0 * damping)
    # By the product of the roots, which does not cancel for a small decay.
    low = 2.0 * jnp.asarray(weight_decay, float) / (drive + root)
    return jnp.where(alive, low, jnp.inf), jnp.where(alive, high, 0.0)


@in_float64
def solve_balanced_predictor(
    start: ArrayLike,
    *,
    weight_decay: ArrayLike = 0.0,
    signal: ArrayLike = 1.0,
    noise: ArrayLike = 0.0,
    target_ratio: ArrayLike = 1.0,
    adjoint: str = "auto",
) -> Solution:
    """Solve for the predictor's eigenvalues on the balanced parabola.

    Args:
        start: eigenvalues of the predictor at time 0, ``[modes]``, > 0.
        weight_decay: per unit of time, >= 0; a known 0 gives the closed form, a Lambert
            function without that parameter, and any other number is integrated.
        signal: see `largest_weight_decay`, as the two that follow.
        noise: standard deviation of the augmentations' noise.
        target_ratio: tau.
        adjoint: derivatives to support: see `ssljax.analytic.integrate`.

    Returns:
        ``solution(t)``: eigenvalues p, ``[times, modes]``. The online singular values
        are ``p / sqrt(predictor_rate)``, and the predictor's own rate drops out.

    Raises:
        ValueError: for a start that is not positive, or see `largest_weight_decay`.

    Source: Tian, Chen and Ganguli, ICML 2021, section 3.2; the closed form follows.

    >>> solution = solve_balanced_predictor(jnp.array([0.2]))
    >>> round(float(solution(10.0)[0]), 4)
    0.9903
    """
    start = check_modes("start", start)
    check_positive("start", start)
    numbers = {"weight_decay": weight_decay, "signal": signal, "noise": noise}
    check_rates(numbers)
    check_positive("target_ratio", target_ratio)
    numbers |= {"target_ratio": target_ratio}
    decays = not (known(weight_decay) and not np.any(np.asarray(weight_decay)))
    if not decays:
        # Not a parameter of the closed form, whose derivative in it would be zero.
        del numbers["weight_decay"]
    return Solution(
        params={"start": start, **as_numbers(numbers)},
        law=_decaying_law if decays else _lambert_law,
        settings=(("adjoint", adjoint),) if decays else (),
        title="balanced predictor",
        quantity="predictor eigenvalue",
    )


def _lambert_law(params: dict, t: jax.Array) -> jax.Array:
    drive, damping = _terms(params["signal"], params["noise"], params["target_ratio"])
    limit, start = drive / damping, params["start"]
    tau = jnp.broadcast_to(drive * limit, start.shape)[None, :] * t[:, None]
    return limit * lambert_curve((start / limit)[None, :], tau)


def _decaying_law(params: dict, t: jax.Array, *, adjoint: str) -> jax.Array:
    drive, damping = _terms(params["signal"], params["noise"], params["target_ratio"])
    decay = params["weight_decay"]

    # In logarithms a mode that dies cannot turn negative.
    def velocity(log: jax.Array) -> jax.Array:
        p = jnp.exp(log)
        return p * (drive - damping * p) - decay

    return integrate(
        velocity,
        jnp.log(params["start"]),
        t,
        record=jnp.exp,
        # A second derivative is ten thousand times less exact than the value.
        rtol=1e-11,
        atol=1e-14,
        estimate_error=False,
        adjoint=adjoint,
    ).values


@in_float64
def balanced_time(
    start: ArrayLike,
    level: ArrayLike,
    *,
    weight_decay: ArrayLike = 0.0,
    signal: ArrayLike = 1.0,
    noise: ArrayLike = 0.0,
    target_ratio: ArrayLike = 1.0,
) -> jax.Array:
    """Return when balanced modes pass a level, in closed form.

    Args:
        start: eigenvalues of the predictor at time 0, ``[modes]``, > 0.
        level: eigenvalue to reach, > 0, a number or ``[modes]``.
        weight_decay: per unit of time, >= 0.
        signal: see `largest_weight_decay`, as the two that follow.
        noise: standard deviation of the augmentations' noise.
        target_ratio: tau.

    Returns:
        Times ``[modes]``, learning rate x step; infinite for a level that the mode
        moves away from or that lies at or beyond a fixed point.

    Raises:
        ValueError: for numbers that are not positive, or see `largest_weight_decay`.

    Source: derived, from the partial fractions of the equation of Tian, Chen and
    Ganguli, ICML 2021, section 3.2.

    >>> found = balanced_time(jnp.array([0.2]), 0.9, weight_decay=0.05)
    >>> round(float(found[0]), 4)
    10.2452
    """
    p0 = check_modes("start", start)
    check_positive("start", p0)
    check_positive("level", level)
    check_rates({"signal": signal, "noise": noise, "weight_decay": weight_decay})
    check_positive("target_ratio", target_ratio)
    drive, damping = _terms(signal, noise, target_ratio)
    decay = jnp.asarray(weight_decay, float)
    p1 = jnp.broadcast_to(jnp.asarray(level, float), p0.shape)

    def rate(p: jax.Array) -> jax.Array:
        return p * (drive - damping * p) - decay

    # Without a root between the two the rate keeps its sign, and the mode gets there.
    low, high = predictor_limits(
        weight_decay, signal=signal, noise=noise, target_ratio=target_ratio
    )
    ends = jnp.minimum(p0, p1), jnp.maximum(p0, p1)
    blocked = jnp.zeros(p0.shape, bool)
    for root in (low, high):
        blocked |= (root >= ends[0]) & (root <= ends[1]) & (root > 0.0)
    reached = ~blocked & ((p1 - p0) * rate(p0) > 0.0)
    time = _antiderivative(p1, drive, damping, decay) - _antiderivative(
        p0, drive, damping, decay
    )
    return jnp.where(p0 == p1, 0.0, jnp.where(reached, time, jnp.inf))


def _terms(signal: ArrayLike, noise: ArrayLike, ratio: ArrayLike) -> tuple:
    """Return an eigenvalue's drive, ``x tau``, and damping, ``x + noise^2``."""
    signal = jnp.asarray(signal, float)
    return signal * jnp.asarray(ratio, float), signal + jnp.asarray(noise, float) ** 2


@jax.jit
def _antiderivative(
    p: jax.Array, drive: jax.Array, damping: jax.Array, decay: jax.Array
) -> jax.Array:
    """Integrate ``1 / (p (-damping p^2 + drive p - decay))`` by partial fractions."""
    middle, product = drive / (2.0 * damping), decay / damping
    gap = middle**2 - product
    # A double root is treated as a pair whose parts are equal to eight digits.
    real = gap > 1e-16 * middle**2
    root = jnp.sqrt(jnp.where(real, gap, 1.0))
    high = middle + root
    low = product / high
    # The poles at 0 and at the low root, joined: for a small decay they cancel.
    ratio = low / p
    near = jnp.abs(ratio) < 1e-4
    safe = jnp.where(near, 0.5, ratio)
    series = 1.0 + ratio / 2.0 + ratio**2 / 3.0 + ratio**3 / 4.0
    joined = jnp.where(near, series, -jnp.log(jnp.abs(1.0 - safe)) / safe) / (high * p)
    rest = jnp.log(jnp.abs(p - high)) - jnp.log(jnp.abs(p - low))
    split = joined + rest / (high * (high - low))
    # Without a real root the mode collapses.
    width = jnp.sqrt(jnp.where(real, 1.0, jnp.maximum(-gap, 1e-16 * middle**2)))
    product = jnp.where(real, 1.0, product)
    square = (p - middle) ** 2 + width**2
    angle = middle / width * jnp.arctan((p - middle) / width)
    collapse = (jnp.log(p) - 0.5 * jnp.log(square) + angle) / product
    return -jnp.where(real, split, collapse) / damping
