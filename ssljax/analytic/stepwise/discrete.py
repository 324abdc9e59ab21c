"""Steps of finite size: the modified flow that descent with momentum follows."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_between,
    check_modes,
    check_not_negative,
    check_positive,
)
from ssljax.analytic.ode import integrate
from ssljax.analytic.precision import in_float64
from ssljax.analytic.solution import Solution, as_numbers


@in_float64
def descent_velocity(
    singular_values: ArrayLike,
    *,
    gamma: ArrayLike,
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> jax.Array:
    """Return the rate of aligned singular values, with the step's first correction.

    With ``f = 4 gamma s (1 - gamma s^2)``, h the learning rate and m the momentum:
    ``f / (1 - m) - h (1 + m) / (2 (1 - m)^3) f' f``. Without momentum this is the flow
    of ``L + h |grad L|^2 / 4``.

    Args:
        singular_values: s, ``[modes]``.
        gamma: eigenvalues of the cross moment, ``[modes]``.
        learning_rate: h, > 0.
        momentum: m of heavy-ball momentum, in [0, 1).

    Returns:
        ``ds/dt``, ``[modes]``, time being learning rate x step. Terms of the order of
        h^2 are left out; they are small where ``8 |gamma| h << (1 - m)^2``.

    Raises:
        ValueError: for vectors of other lengths or numbers out of their range.

    Source: derived, by backward error analysis of descent on the loss of Simon et al.,
    ICML 2023; Barrett and Dherin, "Implicit gradient regularization", ICLR 2021
    (without momentum).

    >>> found = descent_velocity([0.1], gamma=[1.0], learning_rate=0.1)
    >>> found.round(6).tolist()  # .396 (1 - .05 * 3.88)
    [0.319176]
    """
    gamma = check_modes("gamma", gamma)
    s = check_modes("singular_values", singular_values, like=gamma)
    check_positive("learning_rate", learning_rate)
    check_between("momentum", momentum, 0, 1, "[)")
    h, m = jnp.asarray(learning_rate, float), jnp.asarray(momentum, float)
    force = 4.0 * gamma * s * (1.0 - gamma * s**2)
    slope = 4.0 * gamma * (1.0 - 3.0 * gamma * s**2)
    correction = h * (1.0 + m) / (2.0 * (1.0 - m) ** 3) * slope * force
    return force / (1.0 - m) - correction


@in_float64
def solve_descent(
    start: ArrayLike,
    *,
    gamma: ArrayLike,
    learning_rate: ArrayLike,
    momentum: ArrayLike = 0.0,
    adjoint: str = "auto",
) -> Solution:
    """Solve for aligned singular values under descent, to second order in the step.

    Args:
        start: singular values at time 0, ``[modes]``, not negative.
        gamma: see `descent_velocity`, as the two that follow.
        learning_rate: of gradient descent, > 0.
        momentum: of heavy-ball momentum, in [0, 1), from rest. The flow then starts
            behind, at ``s - h m f / (1 - m)^2``: what the momentum, not yet built up,
            has failed to move. Within the first ``1 / (1 - m)`` steps it is not right.
        adjoint: derivatives to support: see `ssljax.analytic.integrate`.

    Returns:
        ``solution(t)``: singular values after ``t / learning_rate`` steps, ``[times,
        modes]``, with an error that falls as the square of the learning rate.

    Raises:
        ValueError: see `descent_velocity`, and for a negative start.

    Source: derived: see `descent_velocity`.

    >>> solution = solve_descent([0.1], gamma=[1.0], learning_rate=0.05)
    >>> flow = 0.1 * jnp.exp(4.0 * 0.5)  # of a mode this small, but for its saturation
    >>> round(float(solution(0.5)[0]), 3), round(float(flow), 3)
    (0.54, 0.739)
    """
    gamma = check_modes("gamma", gamma)
    start = check_modes("start", start, like=gamma)
    check_not_negative("start", start)
    numbers = {"learning_rate": learning_rate, "momentum": momentum}
    descent_velocity(start, gamma=gamma, **numbers)
    return Solution(
        params={"start": start, "gamma": gamma, **as_numbers(numbers)},
        law=_descent_law,
        settings=(("adjoint", adjoint),),
        title="linearised Barlow Twins, descent",
        quantity="singular value",
    )


def _descent_law(params: dict, t: jax.Array, *, adjoint: str) -> jax.Array:
    start, gamma = params["start"], params["gamma"]
    h, m = params["learning_rate"], params["momentum"]
    numbers = {"gamma": gamma, "learning_rate": h, "momentum": m}
    force = 4.0 * gamma * start * (1.0 - gamma * start**2)
    return integrate(
        lambda s: descent_velocity(s, **numbers),
        start - h * m * force / (1.0 - m) ** 2,
        t,
        rtol=1e-10,
        atol=1e-12,
        estimate_error=False,
        adjoint=adjoint,
    ).values
