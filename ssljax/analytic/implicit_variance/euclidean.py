"""Modes of a linear network under the two Euclidean losses, one by one."""

from typing import Any

import jax
import jax.numpy as jnp

from ssljax.analytic.curves import lambert_gain, logistic_gain
from ssljax.analytic.implicit_variance.growth import LOSSES, euclidean_growth
from ssljax.analytic.inputs import (
    check_choice,
    check_finite,
    check_positive,
    check_spectrum,
)
from ssljax.analytic.ode import integrate
from ssljax.analytic.precision import in_float64, known
from ssljax.analytic.solution import Solution, as_numbers


@in_float64
def predictor_eigenvalues(
    start: jax.Array,
    t: Any,
    *,
    loss: str = "euclidean",
    alpha: float | jax.Array = 1.0,
) -> jax.Array:
    """Return the predictor's eigenvalues over time, in closed form.

    The Euclidean loss has ``d lambda / dt = 2 alpha lambda^2 (1 - lambda)``, whose
    solution is a Lambert function: small modes wait. IsoLoss has one factor lambda
    less and gives a logistic curve.

    Args:
        start: eigenvalues of the predictor at time 0, ``[modes]``, >= 0; above 1 they
            fall to 1, and 0 stays 0.
        t: times >= 0, learning rate x step, a number or of any shape.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        alpha: exponent of the predictor, ``W_P = (W W^T)^alpha``, > 0: 1/2 is
            DirectPred, 1 is DirectCopy.

    Returns:
        Eigenvalues ``[*t.shape, modes]``; differentiable in all three numbers, at a
        start of 0 from above.

    Raises:
        ValueError: for a loss of another name, an alpha that is not positive, negative
            times, or a start that is not such a vector.

    Source: Halvagal, Laborieux and Zenke, "Implicit variance regularization in
    non-contrastive SSL", NeurIPS 2023; white inputs, noise in the target's view only.

    >>> found = predictor_eigenvalues(jnp.array([0.02, 0.5]), jnp.array([0.0, 15.0]))
    >>> [[round(float(x), 4) for x in row] for row in found]
    [[0.02, 0.5], [0.0478, 1.0]]
    """
    return solve_predictor(start, loss=loss, alpha=alpha)(t)


@in_float64
def solve_predictor(
    start: jax.Array, *, loss: str = "euclidean", alpha: float | jax.Array = 1.0
) -> Solution:
    """Solve for the predictor's eigenvalues: `predictor_eigenvalues` as a solution.

    Args:
        start: eigenvalues of the predictor at time 0, ``[modes]``, >= 0.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        alpha: exponent of the predictor, > 0.

    Returns:
        ``solution(t)``: eigenvalues of the predictor, ``[times, modes]``.

    Raises:
        ValueError: see `predictor_eigenvalues`.

    Source: see `predictor_eigenvalues`.

    >>> solution = solve_predictor(jnp.array([0.02, 0.5]), loss="isoloss_euclidean")
    >>> [round(float(x), 3) for x in solution(3.0)]
    [0.892, 0.998]
    """
    check_choice("loss", loss, LOSSES)
    check_positive("alpha", alpha)
    check_finite("alpha", alpha)
    return Solution(
        params={
            "start": check_spectrum("start", start),
            **as_numbers({"alpha": alpha}),
        },
        law=_predictor_law,
        settings=(("loss", loss),),
        title=f"predictor under {loss}",
    )


def _predictor_law(params: dict, t: jax.Array, *, loss: str) -> jax.Array:
    start, tau = params["start"][None, :], (2.0 * params["alpha"] * t)[:, None]
    if loss == "euclidean":
        return _grown(start, lambert_gain(start, tau))
    return _grown(start, logistic_gain(start, tau, 1.0, -1.0))


@in_float64
def recruitment_time(
    start: jax.Array,
    level: float | jax.Array = 0.9,
    *,
    loss: str = "euclidean",
    alpha: float | jax.Array = 1.0,
) -> jax.Array:
    """Time at which each mode of `predictor_eigenvalues` passes a level.

    Args:
        start: eigenvalues of the predictor at time 0, ``[modes]``, >= 0.
        level: the eigenvalue to reach, > 0.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        alpha: exponent of the predictor, > 0.

    Returns:
        Times ``[modes]``, learning rate x step; infinite where 1 lies before the level
        or the mode runs away from it, and for a mode that starts at 0.

    Raises:
        ValueError: as `predictor_eigenvalues`, and for a level that is not positive.

    Source: Halvagal, Laborieux and Zenke, NeurIPS 2023.

    >>> found = recruitment_time(jnp.array([0.02]), loss="isoloss_euclidean")
    >>> round(float(found[0]), 2)
    3.04
    """
    check_choice("loss", loss, LOSSES)
    check_positive("alpha", alpha)
    check_positive("level", level)
    check_finite("level", level)
    start = check_spectrum("start", start)
    level = jnp.full_like(start, level)
    # Moves towards 1, with the level on its way.
    reached = (level - start) * (1.0 - level) >= 0
    reached &= (1.0 - start) * (level - start) >= 0
    reached &= (start > 0) & (level != 1.0)
    x, y = jnp.where(reached, start, 0.25), jnp.where(reached, level, 0.5)

    def passed(x: jax.Array) -> jax.Array:
        log_odds = jnp.log(x) - jnp.log(jnp.abs(1.0 - x))
        return log_odds - 1.0 / x if loss == "euclidean" else log_odds

    time = (passed(y) - passed(x)) / (2.0 * alpha)
    return jnp.where(reached, time, jnp.inf)


@in_float64
def solve_euclidean(
    start: jax.Array,
    *,
    loss: str = "euclidean",
    alpha: float | jax.Array = 1.0,
    stop_gradient: str = "target",
    predictor: bool = True,
    online_noise: float | jax.Array = 0.0,
    target_noise: float | jax.Array = 0.0,
    weight_decay: float | jax.Array = 0.0,
    adjoint: str = "auto",
) -> Solution:
    """Solve for the representation's variances in any Euclidean setting.

    Args:
        start: eigenvalues of ``W W^T`` at time 0, ``[modes]``, >= 0.
        loss: see `euclidean_growth`, as all that follow but two.
        alpha: exponent of the predictor, ``lambda = s^alpha``, > 0.
        stop_gradient: ``"target"``, ``"prediction"`` or ``"none"``.
        predictor: False puts the identity in its place.
        online_noise: standard deviation of the noise on the online view.
        target_noise: the same of the target's view.
        weight_decay: per unit of time. The plain number 0 leaves it out of the
            parameters and takes the closed form; an array is a parameter, also at 0.
        adjoint: derivatives to support where it is integrated: see
            `ssljax.analytic.integrate`.

    Returns:
        ``solution(t)``: eigenvalues of ``W W^T``, ``[times, modes]``, at times >= 0 in
        units of learning rate x step. In closed form unless the polynomial has all of
        its three terms; infinite after a blow-up.

    Raises:
        ValueError: see `euclidean_growth`, for an alpha that is not positive, or a
            start that is not such a vector.

    Source: Halvagal, Laborieux and Zenke, NeurIPS 2023; white inputs, gradient flow.

    >>> wrong = solve_euclidean(jnp.array([0.5, 2.0]), stop_gradient="prediction")
    >>> [round(float(x), 3) for x in wrong(0.3)]  # collapse, blow-up
    [0.354, 11.243]
    """
    check_positive("alpha", alpha)
    check_finite("alpha", alpha)
    start = check_spectrum("start", start)
    noises = {"online_noise": online_noise, "target_noise": target_noise}
    # Check names and ranges.
    euclidean_growth(
        loss=loss,
        stop_gradient=stop_gradient,
        predictor=predictor,
        weight_decay=weight_decay,
        **noises,
    )
    settings = {"loss": loss, "stop_gradient": stop_gradient, "predictor": predictor}
    numbers = {"alpha": alpha, **noises}
    if not _plain_zero(weight_decay):
        numbers["weight_decay"] = weight_decay
    return Solution(
        params={"start": start, **as_numbers(numbers)},
        law=_euclidean_law,
        settings=(*settings.items(), ("adjoint", adjoint)),
        title=f"variances under {loss}",
        quantity="variance",
    )


def _euclidean_law(
    params: dict, t: jax.Array, *, adjoint: str, **settings
) -> jax.Array:
    start, alpha = params["start"], params["alpha"]
    numbers = {k: x for k, x in params.items() if k not in ("start", "alpha")}
    constant, linear, quadratic = euclidean_growth(**settings, **numbers)
    eigenvalues = alive_power(start, alpha)[None, :]
    tau = (2.0 * alpha * t)[:, None]
    if _plain_zero(quadratic):
        gain = logistic_gain(eigenvalues, tau, constant, linear)
    elif _plain_zero(constant):
        # In units of its own fixed point the mode follows the standard curve.
        limit = -linear / quadratic
        gain = lambert_gain(eigenvalues / limit, linear * limit * tau)
    else:

        def velocity(logs: jax.Array) -> jax.Array:
            x = eigenvalues[0] * jnp.exp(alpha * logs)
            return 2.0 * (constant + linear * x + quadratic * x**2)

        # In logarithms, so that a dying mode keeps its digits.
        path = integrate(
            velocity, jnp.zeros_like(start), t, estimate_error=False, adjoint=adjoint
        )
        return _grown(start[None, :], jnp.exp(path.values))
    return _grown(start[None, :], gain ** (1.0 / alpha))


def alive_power(x: jax.Array, power: jax.Array) -> jax.Array:
    """Return ``x^power`` without the infinite slope that a dead mode would have at 0.

    What multiplies it there is a variance, 0, and so is the product's derivative.

    >>> bool(jnp.isfinite(jax.grad(lambda x: x * alive_power(x, 0.5))(0.0)))
    True
    """
    dead = x == 0
    raised = jnp.where(dead, 1.0, x) ** power
    return jnp.where(dead, jnp.where(power == 1, x, 0.0), raised)


def _grown(start: jax.Array, gain: jax.Array) -> jax.Array:
    """Return the product, 0 where a gain that overflows meets a mode at 0."""
    over = jnp.isinf(gain)
    product = start * jnp.where(over, 1.0, gain)
    return jnp.where(over, jnp.where(start > 0, jnp.inf, 0.0), product)


def _plain_zero(x: float | jax.Array) -> bool:
    return known(x) and not isinstance(x, jax.Array) and x == 0
