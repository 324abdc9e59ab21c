"""Modes that share one direction of the embedding and displace each other."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ssljax.analytic.inputs import check_positive, check_rates, check_spectrum
from ssljax.analytic.ode import integrate
from ssljax.analytic.precision import in_float64, known
from ssljax.analytic.solution import Solution


@in_float64
def solve_competition(
    start: ArrayLike, gamma: ArrayLike, sigma: ArrayLike, *, adjoint: str = "auto"
) -> Solution:
    """Solve for modes that displace each other along one embedding direction.

    Under the spectral contrastive loss ``ds_j/dt = 4 s_j (gamma_j - sigma_j M)`` with
    the shared ``M = sum_k sigma_k s_k^2``. All that decides is ``nu = gamma / sigma``:
    ``log(s_j) / sigma_j - log(s_k) / sigma_k`` drifts at the constant rate ``4 (nu_j -
    nu_k)``. What is left, one integral of M, is integrated.

    Args:
        start: size of each mode along the direction at time 0, ``[modes]``, not
            negative.
        gamma: eigenvalues of the cross moment, ``[modes]``.
        sigma: eigenvalues of the second moment, ``[modes]``, positive.
        adjoint: derivatives to support: see `ssljax.analytic.integrate`.

    Returns:
        ``solution(t)``: sizes, ``[times, modes]``.

    Raises:
        ValueError: for other shapes, numbers that are not finite or out of range.

    Source: derived from HaoChen et al.'s loss, NeurIPS 2021.

    >>> gamma, sigma = jnp.array([1.0, 0.6]), jnp.array([4.0, 1.0])
    >>> solution = solve_competition(jnp.array([0.1, 0.1]), gamma, sigma)
    >>> [round(float(s**2), 4) for s in solution(20.0)]
    [0.0, 0.6]
    """
    gamma = check_rates("gamma", gamma)
    start = check_spectrum("start", start, like=gamma)
    sigma = check_rates("sigma", sigma, like=gamma)
    check_positive("sigma", sigma)
    return Solution(
        params={"start": start, "gamma": gamma, "sigma": sigma},
        law=_competition_law,
        settings=(("adjoint", adjoint),),
        title="sizes of competing modes",
        quantity="size",
    )


def _competition_law(params: dict, t: jax.Array, *, adjoint: str) -> jax.Array:
    start, gamma, sigma = (params[name] for name in ("start", "gamma", "sigma"))

    def sizes(t: jax.Array, spent: jax.Array) -> jax.Array:
        return start * jnp.exp(4.0 * (gamma * t - sigma * spent))

    def velocity(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return jnp.ones_like(state[0]), jnp.sum(sigma * sizes(*state) ** 2)

    first = (jnp.zeros(()), jnp.zeros(()))
    path = integrate(velocity, first, t, estimate_error=False, adjoint=adjoint)
    return jax.vmap(sizes)(t, path.values[1])


@in_float64
def displacement_time(
    start: ArrayLike, gamma: ArrayLike, sigma: ArrayLike
) -> jax.Array:
    """Return when a mode and the one that displaces it are equally strong.

    Args:
        start: sizes at time 0 of the mode that is learned first and of the other one,
            along one direction of the embedding, ``[2]``, positive.
        gamma: eigenvalues of the cross moment of the two, ``[2]``.
        sigma: eigenvalues of the second moment of the two, ``[2]``.

    Returns:
        The time at which ``sigma s^2`` of both agree, in units of learning rate x step.
        It takes the handover to be slow beside the relaxation of their sum.

    Raises:
        ValueError: for other shapes, numbers out of range, gammas whose sum is not
            positive, or unless the second has the larger ``gamma / sigma``.

    Source: derived; see `solve_competition`.

    >>> gamma, sigma = jnp.array([1.0, 0.6]), jnp.array([4.0, 1.0])
    >>> round(float(displacement_time(jnp.array([1e-6, 1e-6]), gamma, sigma)), 2)
    7.03
    """
    gamma = check_rates("gamma", gamma)
    start = check_rates("start", start, like=gamma)
    sigma = check_rates("sigma", sigma, like=gamma)
    check_positive("start", start)
    check_positive("sigma", sigma)
    nu = gamma / sigma
    if gamma.shape[0] != 2 or (known(nu) and not np.diff(np.asarray(nu))[0] > 0):
        raise ValueError("two modes are needed, the second with the larger gamma/sigma")
    check_positive("the sum of gamma", jnp.sum(gamma))
    # Both at p: a steady sum means sum sigma s^2 (gamma - 2 p sigma) = 0.
    p = jnp.sum(gamma) / (2.0 * jnp.sum(sigma))
    distance = jnp.log(jnp.sqrt(p / sigma) / start) / sigma
    return (distance[1] - distance[0]) / (4.0 * (nu[1] - nu[0]))
