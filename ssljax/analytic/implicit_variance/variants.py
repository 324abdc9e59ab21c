"""Euclidean modes with a moving target or a normalised predictor: no closed form."""

import jax
import jax.numpy as jnp

from ssljax.analytic.implicit_variance.euclidean import alive_power
from ssljax.analytic.implicit_variance.growth import LOSSES
from ssljax.analytic.inputs import (
    check_choice,
    check_finite,
    check_positive,
    check_rate,
    check_spectrum,
)
from ssljax.analytic.ode import integrate
from ssljax.analytic.precision import in_float64
from ssljax.analytic.solution import Solution, as_numbers


@in_float64
def solve_moving_target(
    start: jax.Array,
    *,
    rate: float | jax.Array,
    loss: str = "euclidean",
    alpha: float | jax.Array = 1.0,
    adjoint: str = "auto",
) -> Solution:
    """Solve for the variances with a target that follows the online network.

    Per unit of time the target's weights approach the online ones at ``rate``: for a
    decay ``tau`` per step, ``rate = (1 - tau) / learning rate``. The fixed point is
    that without a moving target; a slow one delays it.

    Args:
        start: eigenvalues of ``W W^T`` at time 0, ``[modes]``, >= 0; both networks
            start alike.
        rate: of the moving average, > 0.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        alpha: exponent of the predictor, > 0.
        adjoint: derivatives to support: see `ssljax.analytic.integrate`.

    Returns:
        ``solution(t)``: eigenvalues of ``W W^T``, ``[times, modes]``.

    Raises:
        ValueError: for a loss of another name, a rate or an alpha that is not positive,
            or a start that is not such a vector.

    Source: follows from Halvagal, Laborieux and Zenke, NeurIPS 2023; white inputs.

    >>> from ssljax.analytic.implicit_variance import predictor_eigenvalues
    >>> slow = solve_moving_target(jnp.array([0.2]), rate=0.1)
    >>> bool(slow(4.0) < predictor_eigenvalues([0.2], 4.0))
    True
    """
    check_choice("loss", loss, LOSSES)
    for name, value in (("rate", rate), ("alpha", alpha)):
        check_positive(name, value)
        check_finite(name, value)
    start = check_spectrum("start", start)
    return Solution(
        params={"start": start, **as_numbers({"rate": rate, "alpha": alpha})},
        law=_moving_law,
        settings=(("loss", loss), ("adjoint", adjoint)),
        title=f"variances under {loss} with a moving target",
        quantity="variance",
    )


def _moving_law(params: dict, t: jax.Array, *, loss: str, adjoint: str) -> jax.Array:
    start, rate, alpha = (params[name] for name in ("start", "rate", "alpha"))
    at_start = alive_power(start, alpha)

    # The log of a variance over its start, and the target's singular value over the
    # online one: unlike singular values themselves, smooth where a mode starts at 0.
    def velocity(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        logs, ratio = state
        eigenvalue = at_start * jnp.exp(alpha * logs)
        drive = ratio - eigenvalue
        if loss == "euclidean":
            drive = eigenvalue * drive
        return 2.0 * drive, rate * (1.0 - ratio) - ratio * drive

    path = integrate(
        velocity,
        (jnp.zeros_like(start), jnp.ones_like(start)),
        t,
        estimate_error=False,
        adjoint=adjoint,
    )
    return start[None, :] * jnp.exp(path.values[0])


@in_float64
def solve_normalized_predictor(
    start: jax.Array,
    *,
    epsilon: float | jax.Array,
    loss: str = "euclidean",
    alpha: float | jax.Array = 1.0,
    adjoint: str = "auto",
) -> Solution:
    """Solve for the variances with the predictor ``(C/||C|| + epsilon)^alpha``.

    With epsilon 0 the largest mode rests and all others grow up to it. Any epsilon > 0
    puts every eigenvalue above 1 in the end, and the common scale decays.

    Args:
        start: eigenvalues of ``W W^T`` at time 0, ``[modes]``, > 0.
        epsilon: added to the normalised eigenvalues, inside of the power, >= 0.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        alpha: exponent of the predictor, > 0.
        adjoint: derivatives to support: see `ssljax.analytic.integrate`.

    Returns:
        ``solution(t)``: eigenvalues of ``W W^T``, ``[times, modes]``.

    Raises:
        ValueError: for a loss of another name, a start or an alpha that is not
            positive, or a negative epsilon.

    Source: follows from Halvagal, Laborieux and Zenke, NeurIPS 2023; white inputs.

    >>> solution = solve_normalized_predictor(jnp.array([0.2, 0.8]), epsilon=0.0)
    >>> [round(float(x), 3) for x in solution(40.0)]
    [0.8, 0.8]
    """
    check_choice("loss", loss, LOSSES)
    check_positive("alpha", alpha)
    check_finite("alpha", alpha)
    check_rate("epsilon", epsilon)
    start = check_spectrum("start", start)
    check_positive("start", start)
    return Solution(
        params={"start": start, **as_numbers({"epsilon": epsilon, "alpha": alpha})},
        law=_normalized_law,
        settings=(("loss", loss), ("adjoint", adjoint)),
        title=f"variances under {loss} with a normalised predictor",
        quantity="variance",
    )


def _normalized_law(
    params: dict, t: jax.Array, *, loss: str, adjoint: str
) -> jax.Array:
    epsilon, alpha = params["epsilon"], params["alpha"]

    def velocity(logs: jax.Array) -> jax.Array:
        share = jnp.exp(logs - jnp.max(logs))
        eigenvalue = (share + epsilon) ** alpha
        rate = 2.0 * (1.0 - eigenvalue)
        return eigenvalue * rate if loss == "euclidean" else rate

    return integrate(
        velocity,
        jnp.log(params["start"]),
        t,
        record=jnp.exp,
        estimate_error=False,
        adjoint=adjoint,
    ).values
