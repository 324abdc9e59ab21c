"""Other losses on the same linear network: which modes are learned, in what order."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_definite,
    check_modes,
    check_moment,
    check_rank,
    check_shape,
    check_times,
)
from ssljax.analytic.precision import in_float64, known
from ssljax.analytic.simulate import integrate
from ssljax.analytic.stepwise.moments import descending_eigh


@in_float64
def merged_vicreg_singular_values(
    s0: ArrayLike,
    gamma: ArrayLike,
    sigma: ArrayLike,
    t: ArrayLike,
    *,
    invariance_weight: float = 1.0,
    spread_weight: float = 1.0,
) -> jax.Array:
    """Return singular values under VICReg with one square for both its terms.

    The loss is ``invariance_weight E|f(x) - f(x')|^2 + spread_weight ||W Sigma W^T -
    I||_F^2``. At weights 1 and 1 it is the population's spectral contrastive loss plus
    d, and so is its flow.

    Args:
        s0: singular values of W at the start, ``[modes]``, in an embedding that is
            aligned with common eigenvectors of both moments, one mode per direction.
        gamma: eigenvalues of the cross moment, ``[modes]``.
        sigma: eigenvalues of the second moment, ``[modes]``, positive.
        t: times in units of learning rate x step, ``[times]``.
        invariance_weight: a, >= 0.
        spread_weight: b, > 0.

    Returns:
        ``s(t)``, ``[times, modes]``: ``s^2`` is logistic with the rate ``8 r, r = (b -
        a) sigma + a gamma``, and ends at ``r / (b sigma^2)``, or at zero for r < 0.

    Raises:
        ValueError: for other shapes.

    Source: derived from the losses; the flow as in Simon et al., "On the stepwise
    nature of self-supervised learning", ICML 2023.

    >>> one = jnp.ones(1)
    >>> s = merged_vicreg_singular_values(1e-3 * one, one, 2 * one, jnp.array([9.0]))
    >>> round(float(s[0, 0]) ** 2, 6)  # gamma / sigma^2
    0.25
    """
    gamma = check_modes("gamma", gamma)
    s0 = check_modes("s0", s0, like=gamma)
    sigma = check_modes("sigma", sigma, like=gamma)
    rate = (spread_weight - invariance_weight) * sigma + invariance_weight * gamma
    growth = 8.0 * spread_weight * (sigma * s0) ** 2
    return _logistic_sizes(s0, rate, growth, check_times("t", t))


@jax.jit
def _logistic_sizes(
    s0: jax.Array, rate: jax.Array, growth: jax.Array, t: jax.Array
) -> jax.Array:
    x = 8.0 * jnp.abs(rate)[None, :] * t[:, None]
    decay = jnp.exp(-x)
    # (1 - exp(-x)) / x is one where a mode has no rate of its own.
    ratio = jnp.where(x > 0, -jnp.expm1(-x) / jnp.where(x > 0, x, 1.0), 1.0)
    filled = growth[None, :] * t[:, None] * ratio
    rises = (rate >= 0)[None, :]
    bottom = jnp.where(rises, decay, 1.0) + filled
    bottom = jnp.maximum(bottom, jnp.finfo(bottom.dtype).tiny)
    return s0[None, :] * jnp.sqrt(jnp.where(rises, 1.0, decay) / bottom)


@in_float64
def spectral_contrastive_singular_values(
    s0: ArrayLike, gamma: ArrayLike, sigma: ArrayLike, t: ArrayLike
) -> jax.Array:
    """Return singular values under the spectral contrastive loss, modes apart.

    Modes are learned in the order of gamma, as under linearised Barlow Twins, but
    ``sigma s^2`` ends at ``nu = gamma / sigma``.

    Args:
        s0: singular values of W at the start, ``[modes]``.
        gamma: eigenvalues of the cross moment, ``[modes]``.
        sigma: eigenvalues of the second moment, ``[modes]``, positive.
        t: times in units of learning rate x step, ``[times]``.

    Returns:
        ``s(t)``, ``[times, modes]``.

    Source: HaoChen et al., NeurIPS 2021 (the loss); derived.

    >>> one = jnp.ones(1)
    >>> s = spectral_contrastive_singular_values(one, 0 * one, one, jnp.zeros(1))
    >>> s.tolist()
    [[1.0]]
    """
    return merged_vicreg_singular_values(s0, gamma, sigma, t)


@in_float64
def spectral_contrastive_minimum(
    gamma_matrix: ArrayLike, sigma_matrix: ArrayLike, d: int
) -> tuple[jax.Array, jax.Array]:
    """Return where the spectral contrastive loss of a linear network is least.

    Its d modes are the largest of the *whitened* cross moment ``Sigma^-1/2 Gamma
    Sigma^-1/2``, not the first that training learns: a mode with a large gamma and a
    larger sigma is learned early and displaced later.

    Args:
        gamma_matrix: cross moment, ``[M, M]``.
        sigma_matrix: second moment, ``[M, M]``, positive definite.
        d: dimension of the embedding.

    Returns:
        Weights ``[d, M]`` up to a rotation, and the whitened eigenvalues ``nu``
        ``[d]``: the eigenvalues of ``W Sigma W^T`` are nu, and the least loss is
        ``-sum nu^2``; a negative nu counts as zero in both.

    Raises:
        ValueError: for other shapes or a sigma that is not positive definite.

    Source: HaoChen et al., NeurIPS 2021, for a linear network.

    >>> gamma, sigma = jnp.diag(jnp.array([1.0, 0.75])), jnp.diag(jnp.array([4.0, 1.0]))
    >>> spectral_contrastive_minimum(gamma, sigma, 1)[1].tolist()
    [0.75]
    """
    gamma = check_moment("gamma_matrix", gamma_matrix)
    sigma = check_shape("sigma_matrix", sigma_matrix, *gamma.shape)
    sigma = check_moment("sigma_matrix", sigma)
    check_rank(d, gamma.shape[0])
    spread, axes = jnp.linalg.eigh(sigma)
    check_definite("sigma_matrix", spread)
    whiten = (axes / jnp.sqrt(spread)[None, :]) @ axes.T
    nu, vectors = descending_eigh(whiten @ gamma @ whiten)
    size = jnp.sqrt(jnp.maximum(nu[:d], 0.0))
    return size[:, None] * (vectors[:, :d].T @ whiten), nu[:d]


@in_float64
def solve_competition(
    s0: ArrayLike, gamma: ArrayLike, sigma: ArrayLike
) -> Callable[[jax.Array], jax.Array]:
    """Solve for modes that displace each other along one embedding direction.

    Under the spectral contrastive loss ``ds_j/dt = 4 s_j (gamma_j - sigma_j M)`` with
    the shared ``M = sum_k sigma_k s_k^2``. All that decides is ``nu = gamma / sigma``:
    ``log(s_j) / sigma_j - log(s_k) / sigma_k`` drifts at the constant rate ``4 (nu_j -
    nu_k)``. What is left, one integral of M, is integrated.

    Args:
        s0: size of each mode along the direction at the start, ``[modes]``, positive.
        gamma: eigenvalues of the cross moment, ``[modes]``.
        sigma: eigenvalues of the second moment, ``[modes]``, positive.

    Returns:
        ``solution(t)``: sizes ``[times, modes]`` at ascending times from 0 on.

    Raises:
        ValueError: for other shapes.

    Source: derived from HaoChen et al.'s loss, NeurIPS 2021.

    >>> gamma, sigma = jnp.array([1.0, 0.6]), jnp.array([4.0, 1.0])
    >>> solution = solve_competition(jnp.array([0.1, 0.1]), gamma, sigma)
    >>> [round(float(s**2), 4) for s in solution(jnp.array([0.0, 20.0]))[-1]]
    [0.0, 0.6]
    """
    gamma = check_modes("gamma", gamma)
    s0 = check_modes("s0", s0, like=gamma)
    sigma = check_modes("sigma", sigma, like=gamma)

    def sizes(t: jax.Array, spent: jax.Array) -> jax.Array:
        return s0 * jnp.exp(4.0 * (gamma * t - sigma * spent))

    def velocity(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        return jnp.ones_like(state[0]), jnp.sum(sigma * sizes(*state) ** 2)

    def solution(t: jax.Array) -> jax.Array:
        t, start = check_times("t", t), (jnp.zeros(()), jnp.zeros(()))
        spent = integrate(velocity, start, t, estimate_error=False).values[1]
        return jax.vmap(sizes)(t, spent)

    return solution


@in_float64
def displacement_time(s0: ArrayLike, gamma: ArrayLike, sigma: ArrayLike) -> jax.Array:
    """Return when a mode and the one that displaces it are equally strong.

    Args:
        s0: sizes at the start of the mode that is learned first and of the other one,
            along one direction of the embedding, ``[2]``.
        gamma: eigenvalues of the cross moment of the two, ``[2]``.
        sigma: eigenvalues of the second moment of the two, ``[2]``.

    Returns:
        The time at which ``sigma s^2`` of both agree, in units of learning rate x step.
        It takes the handover to be slow beside the relaxation of their sum.

    Raises:
        ValueError: unless the second has the larger ``gamma / sigma``.

    Source: derived; see `solve_competition`.

    >>> gamma, sigma = jnp.array([1.0, 0.6]), jnp.array([4.0, 1.0])
    >>> round(float(displacement_time(jnp.array([1e-6, 1e-6]), gamma, sigma)), 2)
    7.03
    """
    gamma = check_modes("gamma", gamma)
    s0 = check_modes("s0", s0, like=gamma)
    sigma = check_modes("sigma", sigma, like=gamma)
    nu = gamma / sigma
    if gamma.shape[0] != 2 or (known(nu) and not bool(nu[1] > nu[0])):
        raise ValueError("two modes are needed, the second with the larger gamma/sigma")
    # Both at p: a steady sum means sum sigma s^2 (gamma - 2 p sigma) = 0.
    p = jnp.sum(gamma) / (2.0 * jnp.sum(sigma))
    distance = jnp.log(jnp.sqrt(p / sigma) / s0) / sigma
    return (distance[1] - distance[0]) / (4.0 * (nu[1] - nu[0]))
