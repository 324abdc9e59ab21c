"""Modes of a linear network under the two Euclidean losses, one by one."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssljax.analytic.curves import lambert_curve, logistic_curve
from ssljax.analytic.inputs import (
    check_choice,
    check_not_negative,
    check_positive,
    check_spectrum,
    check_times,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import integrate

LOSSES = ("euclidean", "isoloss_euclidean")
STOP_GRADIENTS = ("target", "prediction", "none")

Solution = Callable[[jax.Array], jax.Array]


@in_float64
def predictor_eigenvalues(
    lambda0: jax.Array,
    t: jax.Array,
    *,
    loss: str = "euclidean",
    alpha: float = 1.0,
) -> jax.Array:
    """Return the predictor's eigenvalues over time, in closed form.

    The Euclidean loss has ``d lambda / dt = 2 alpha lambda^2 (1 - lambda)``, whose
    solution is a Lambert function: small modes wait. IsoLoss has one factor lambda
    less and gives a logistic curve.

    Args:
        lambda0: eigenvalues of the predictor at the start, ``[modes]``, >= 0; above 1
            they fall to 1, and 0 stays 0.
        t: times, ``[times]``, >= 0, learning rate x step.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        alpha: exponent of the predictor, ``W_P = (W W^T)^alpha``, > 0: 1/2 is
            DirectPred, 1 is DirectCopy.

    Returns:
        Eigenvalues ``[times, modes]``; differentiable in all three numbers.

    Raises:
        ValueError: for a loss of another name, an alpha that is not positive, or
            inputs that are not such vectors.

    Source: Halvagal, Laborieux and Zenke, "Implicit variance regularization in
    non-contrastive SSL", NeurIPS 2023; white inputs, noise in the target's view only.

    >>> found = predictor_eigenvalues(jnp.array([0.02, 0.5]), jnp.array([0.0, 15.0]))
    >>> [[round(float(x), 4) for x in row] for row in found]
    [[0.02, 0.5], [0.0478, 1.0]]
    """
    check_choice("loss", loss, LOSSES)
    check_positive("alpha", alpha)
    lambda0 = check_spectrum("lambda0", lambda0)
    tau = 2.0 * alpha * check_times("t", t, from_zero=True)
    if loss == "euclidean":
        return lambert_curve(lambda0[None, :], tau[:, None])
    return logistic_curve(lambda0[None, :], tau[:, None], 1.0, -1.0)


@in_float64
def recruitment_time(
    lambda0: jax.Array,
    level: float | jax.Array = 0.9,
    *,
    loss: str = "euclidean",
    alpha: float = 1.0,
) -> jax.Array:
    """Time at which each mode of `predictor_eigenvalues` passes a level.

    Args:
        lambda0: eigenvalues of the predictor at the start, ``[modes]``, > 0.
        level: the eigenvalue to reach.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        alpha: exponent of the predictor, > 0.

    Returns:
        Times ``[modes]``, learning rate x step; infinite where 1 lies before the level
        or the mode runs away from it.

    Raises:
        ValueError: as `predictor_eigenvalues`.

    Source: Halvagal, Laborieux and Zenke, NeurIPS 2023.

    >>> found = recruitment_time(jnp.array([0.02]), loss="isoloss_euclidean")
    >>> round(float(found[0]), 2)
    3.04
    """
    check_choice("loss", loss, LOSSES)
    check_positive("alpha", alpha)
    lambda0 = check_spectrum("lambda0", lambda0)
    level = jnp.full_like(lambda0, level)

    def passed(x: jax.Array) -> jax.Array:
        log_odds = jnp.log(x) - jnp.log(jnp.abs(1.0 - x))
        return log_odds - 1.0 / x if loss == "euclidean" else log_odds

    time = (passed(level) - passed(lambda0)) / (2.0 * alpha)
    between = (level - lambda0) * (1.0 - level) >= 0
    return jnp.where(between & (time >= 0), time, jnp.inf)


class Growth(NamedTuple):
    """Half the rate of ``ln s`` as a polynomial of the mode's predictor eigenvalue.

    ``ds/dt = 2 s (constant + linear lambda + quadratic lambda^2)``.
    """

    constant: float | jax.Array
    linear: float | jax.Array
    quadratic: float | jax.Array


def euclidean_growth(
    *,
    loss: str = "euclidean",
    stop_gradient: str = "target",
    predictor: bool = True,
    online_noise: float | jax.Array = 0.0,
    target_noise: float | jax.Array = 0.0,
    weight_decay: float | jax.Array = 0.0,
) -> Growth:
    """Return what a setting does to a mode: nothing, recruit it or let it collapse.

    Args:
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        stop_gradient: which branch is held fixed: the ``"target"``, as it should be,
            the ``"prediction"`` (the wrong side) or ``"none"``.
        predictor: False puts the identity in its place.
        online_noise: standard deviation of white noise on the online view.
        target_noise: the same of the target's view.
        weight_decay: ``dW = -weight_decay W`` per unit of time.

    Returns:
        The polynomial; its roots are the fixed points.

    Raises:
        ValueError: for an unknown name, or IsoLoss with another stop-gradient, which it
            is not defined for.

    >>> euclidean_growth(weight_decay=0.1)
    Growth(constant=-0.1, linear=1.0, quadratic=-1.0)
    """
    check_choice("loss", loss, LOSSES)
    check_choice("stop_gradient", stop_gradient, STOP_GRADIENTS)
    if loss != "euclidean" and stop_gradient != "target":
        raise ValueError(
            f"{loss} has its stop-gradient on the target, got {stop_gradient!r}"
        )
    online, target = online_noise**2, target_noise**2
    if stop_gradient == "target":
        constant, linear, quadratic = 0.0, 1.0, -1.0 - online
        if loss == "isoloss_euclidean":
            constant, linear, quadratic = 1.0, -1.0 - online, 0.0
    elif stop_gradient == "prediction":
        constant, linear, quadratic = -1.0 - target, 1.0, 0.0
    else:
        constant, linear, quadratic = -1.0 - target, 2.0, -1.0 - online
    if not predictor:  # the polynomial at lambda = 1
        constant, linear, quadratic = constant + linear + quadratic, 0.0, 0.0
    return Growth(constant - weight_decay, linear, quadratic)


@in_float64
def solve_euclidean(
    variances: jax.Array,
    *,
    loss: str = "euclidean",
    alpha: float | jax.Array = 1.0,
    stop_gradient: str = "target",
    predictor: bool = True,
    online_noise: float | jax.Array = 0.0,
    target_noise: float | jax.Array = 0.0,
    weight_decay: float | jax.Array = 0.0,
) -> Solution:
    """Solve for the representation's variances in any Euclidean setting.

    Args:
        variances: eigenvalues of ``W W^T`` at the start, ``[modes]``, >= 0.
        loss: see `euclidean_growth`, as all that follow but one.
        alpha: exponent of the predictor, ``lambda = s^alpha``, > 0.
        stop_gradient: ``"target"``, ``"prediction"`` or ``"none"``.
        predictor: False puts the identity in its place.
        online_noise: standard deviation of the noise on the online view.
        target_noise: the same of the target's view.
        weight_decay: per unit of time.

    Returns:
        ``solution(t)``: eigenvalues of ``W W^T``, ``[times, modes]``, at times >= 0 in
        units of learning rate x step. In closed form unless the polynomial has all of
        its three terms; infinite after a blow-up.

    Raises:
        ValueError: see `euclidean_growth`, or for an alpha that is not positive.

    Source: Halvagal, Laborieux and Zenke, NeurIPS 2023; white inputs, gradient flow.

    >>> wrong = solve_euclidean(jnp.array([0.5, 2.0]), stop_gradient="prediction")
    >>> [round(float(x), 3) for x in wrong(jnp.array([0.3]))[0]]  # collapse, blow-up
    [0.354, 11.243]
    """
    check_positive("alpha", alpha)
    variances = check_spectrum("variances", variances)
    growth = euclidean_growth(
        loss=loss,
        stop_gradient=stop_gradient,
        predictor=predictor,
        online_noise=online_noise,
        target_noise=target_noise,
        weight_decay=weight_decay,
    )
    lambda0 = variances**alpha
    constant, linear, quadratic = growth

    # Named, so that a second call finds the program of the first.
    def velocity(x: jax.Array) -> jax.Array:
        return 2.0 * alpha * x * (constant + linear * x + quadratic * x**2)

    def of_eigenvalues(t: jax.Array) -> jax.Array:
        tau = 2.0 * alpha * t
        if _is_zero(quadratic):
            return logistic_curve(lambda0[None, :], tau[:, None], constant, linear)
        if _is_zero(constant):
            # In units of its own fixed point the mode follows the standard curve.
            limit = -linear / quadratic
            scaled = (lambda0 / limit)[None, :]
            return limit * lambert_curve(scaled, linear * limit * tau[:, None])
        return integrate(velocity, lambda0, t, estimate_error=False).values

    return lambda t: (
        of_eigenvalues(check_times("t", t, from_zero=True)) ** (1.0 / alpha)
    )


def weight_decay_limits(
    weight_decay: float, *, loss: str = "euclidean"
) -> tuple[float, float]:
    """Return the threshold that an eigenvalue must exceed, and its limit then.

    Args:
        weight_decay: per unit of time, >= 0.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.

    Returns:
        Threshold and limit of the predictor's eigenvalues. IsoLoss has threshold 0.
        Where every mode dies: infinity and 0.

    Raises:
        ValueError: for a negative weight decay or a loss of another name.

    Source: follows from Halvagal, Laborieux and Zenke, NeurIPS 2023: the roots of
    ``lambda (1 - lambda) = weight_decay``, and of ``1 - lambda = weight_decay``.

    >>> [round(x, 3) for x in weight_decay_limits(0.1)]
    [0.113, 0.887]
    """
    check_choice("loss", loss, LOSSES)
    check_not_negative("weight_decay", weight_decay)
    if loss == "isoloss_euclidean":
        return (0.0, 1.0 - weight_decay) if weight_decay < 1 else (float("inf"), 0.0)
    if weight_decay > 0.25:
        return float("inf"), 0.0
    root = (1.0 - 4.0 * weight_decay) ** 0.5
    return (1.0 - root) / 2.0, (1.0 + root) / 2.0


def _is_zero(x: float | jax.Array) -> bool:
    return not isinstance(x, jax.Array) and x == 0
