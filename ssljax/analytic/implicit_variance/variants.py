"""Euclidean modes with a moving target or a normalised predictor: no closed form."""

import jax
import jax.numpy as jnp

from ssljax.analytic.implicit_variance.euclidean import LOSSES, Solution
from ssljax.analytic.inputs import (
    check_choice,
    check_positive,
    check_spectrum,
    check_times,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import integrate


@in_float64
def solve_moving_target(
    variances: jax.Array,
    *,
    rate: float | jax.Array,
    loss: str = "euclidean",
    alpha: float = 1.0,
) -> Solution:
    """Solve for the variances with a target that follows the online network.

    Per unit of time the target's weights approach the online ones at ``rate``: for a
    decay ``tau`` per step, ``rate = (1 - tau) / learning rate``. The fixed point is
    that without a moving target; a slow one delays it.

    Args:
        variances: eigenvalues of ``W W^T`` at the start, ``[modes]``; both networks
            start alike.
        rate: of the moving average, > 0.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        alpha: exponent of the predictor, > 0.

    Returns:
        ``solution(t)``: eigenvalues of ``W W^T``, ``[times, modes]``.

    Raises:
        ValueError: for a loss of another name, a rate or an alpha that is not positive.

    Source: follows from Halvagal, Laborieux and Zenke, NeurIPS 2023; white inputs.

    >>> from ssljax.analytic.implicit_variance import predictor_eigenvalues
    >>> slow = solve_moving_target(jnp.array([0.2]), rate=0.1)
    >>> bool(slow(jnp.array([4.0])) < predictor_eigenvalues([0.2], [4.0]))
    True
    """
    check_choice("loss", loss, LOSSES)
    check_positive("rate", rate)
    check_positive("alpha", alpha)
    sigma0 = jnp.sqrt(check_spectrum("variances", variances))
    power = 1.0 if loss == "euclidean" else 0.0

    def velocity(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        sigma, target = state
        eigenvalue = sigma ** (2.0 * alpha)
        drive = eigenvalue**power * (target - eigenvalue * sigma)
        return drive, rate * (sigma - target)

    # Named, so that the next call finds the program of this one.
    def variances_of(state: tuple[jax.Array, jax.Array]) -> jax.Array:
        return state[0] ** 2

    return lambda t: (
        integrate(
            velocity,
            (sigma0, sigma0),
            check_times("t", t, from_zero=True),
            record=variances_of,
            estimate_error=False,
        ).values
    )


@in_float64
def solve_normalized_predictor(
    variances: jax.Array,
    *,
    epsilon: float | jax.Array,
    loss: str = "euclidean",
    alpha: float = 1.0,
) -> Solution:
    """Solve for the variances with the predictor ``(C/||C|| + epsilon)^alpha``.

    With epsilon 0 the largest mode rests and all others grow up to it. Any epsilon > 0
    puts every eigenvalue above 1 in the end, and the common scale decays.

    Args:
        variances: eigenvalues of ``W W^T`` at the start, ``[modes]``, > 0.
        epsilon: added to the normalised eigenvalues, inside of the power.
        loss: ``"euclidean"`` or ``"isoloss_euclidean"``.
        alpha: exponent of the predictor.

    Returns:
        ``solution(t)``: eigenvalues of ``W W^T``, ``[times, modes]``.

    Source: follows from Halvagal, Laborieux and Zenke, NeurIPS 2023; white inputs.

    >>> solution = solve_normalized_predictor(jnp.array([0.2, 0.8]), epsilon=0.0)
    >>> [round(float(x), 3) for x in solution(jnp.array([40.0]))[0]]
    [0.8, 0.8]
    """
    check_choice("loss", loss, LOSSES)
    check_positive("alpha", alpha)
    variances = check_spectrum("variances", variances)
    power = 1.0 if loss == "euclidean" else 0.0

    def velocity(s: jax.Array) -> jax.Array:
        eigenvalue = (s / jnp.max(s) + epsilon) ** alpha
        return 2.0 * eigenvalue**power * (1.0 - eigenvalue) * s

    return lambda t: (
        integrate(
            velocity,
            variances,
            check_times("t", t, from_zero=True),
            estimate_error=False,
        ).values
    )
