"""Other losses on the same linear network: which modes are learned, in what order."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.curves import mean_decay, over_times, root
from ssljax.analytic.inputs import (
    check_definite,
    check_moment,
    check_not_negative,
    check_positive,
    check_rank,
    check_rates,
    check_shape,
    check_spectrum,
    check_whole,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.solution import Solution, as_numbers
from ssljax.analytic.stepwise.symmetric import (
    descending_eigh,
    matrix_root,
    scaled_modes,
)


@in_float64
def solve_merged_vicreg(
    start: ArrayLike,
    gamma: ArrayLike,
    sigma: ArrayLike,
    *,
    invariance_weight: float | jax.Array = 1.0,
    spread_weight: float | jax.Array = 1.0,
) -> Solution:
    """Solve for singular values under VICReg with one square for both its terms.

    The loss is ``invariance_weight E|f(x) - f(x')|^2 + spread_weight ||W Sigma W^T -
    I||_F^2``. At weights 1 and 1 it is the population's spectral contrastive loss plus
    d, and so is its flow.

    Args:
        start: singular values of W at time 0, ``[modes]``, not negative, in an
            embedding that is aligned with common eigenvectors of both moments, one mode
            per direction.
        gamma: eigenvalues of the cross moment, ``[modes]``.
        sigma: eigenvalues of the second moment, ``[modes]``, positive.
        invariance_weight: a, >= 0.
        spread_weight: b, > 0.

    Returns:
        ``solution(t)``: singular values, ``[times, modes]``: ``s^2`` is logistic with
        the rate ``8 r, r = (b - a) sigma + a gamma``, and ends at ``r / (b sigma^2)``,
        or at zero for r < 0.

    Raises:
        ValueError: for other shapes, numbers that are not finite or out of range.

    Source: derived from the losses; the flow as in Simon et al., "On the stepwise
    nature of self-supervised learning", ICML 2023.

    >>> one = jnp.ones(1)
    >>> solution = solve_merged_vicreg(1e-3 * one, one, 2 * one)
    >>> round(float(solution(9.0)[0]) ** 2, 6)  # gamma / sigma^2
    0.25
    """
    start, gamma, sigma = _three_spectra(start, gamma, sigma)
    check_not_negative("invariance_weight", invariance_weight)
    check_positive("spread_weight", spread_weight)
    weights = {"invariance_weight": invariance_weight, "spread_weight": spread_weight}
    return Solution(
        params={
            "start": start,
            "gamma": gamma,
            "sigma": sigma,
            **as_numbers(weights),
        },
        law=_merged_law,
        title="singular values under merged VICReg",
        quantity="singular value",
    )


def _merged_law(params: dict, t: jax.Array) -> jax.Array:
    start, gamma, sigma = (params[name] for name in ("start", "gamma", "sigma"))
    a, b = params["invariance_weight"], params["spread_weight"]
    rate = (b - a) * sigma + a * gamma
    return _logistic_sizes(start, rate, 8.0 * b * (sigma * start) ** 2, t)


@in_float64
def merged_vicreg_singular_values(
    start: ArrayLike,
    gamma: ArrayLike,
    sigma: ArrayLike,
    t: ArrayLike,
    *,
    invariance_weight: float | jax.Array = 1.0,
    spread_weight: float | jax.Array = 1.0,
) -> jax.Array:
    """Return the singular values of `solve_merged_vicreg` at times.

    Args:
        start: singular values at time 0, ``[modes]``, not negative.
        gamma: eigenvalues of the cross moment, ``[modes]``.
        sigma: eigenvalues of the second moment, ``[modes]``, positive.
        t: times >= 0 in units of learning rate x step, of any shape.
        invariance_weight: a, >= 0.
        spread_weight: b, > 0.

    Returns:
        ``s(t)``, ``[*t.shape, modes]``.

    Raises:
        ValueError: see `solve_merged_vicreg`, and for negative times.

    Source: derived; see `solve_merged_vicreg`.

    >>> one = jnp.ones(1)
    >>> s = merged_vicreg_singular_values(1e-3 * one, one, 2 * one, jnp.array([9.0]))
    >>> round(float(s[0, 0]) ** 2, 6)  # gamma / sigma^2
    0.25
    """
    solution = solve_merged_vicreg(
        start,
        gamma,
        sigma,
        invariance_weight=invariance_weight,
        spread_weight=spread_weight,
    )
    return over_times(lambda t: _merged_law(solution.params, t), t)


@jax.jit
def _logistic_sizes(
    start: jax.Array, rate: jax.Array, growth: jax.Array, t: jax.Array
) -> jax.Array:
    # As in `curves.logistic_curve`: smooth through a rate of zero.
    rises = (rate >= 0)[None, :]
    x = 8.0 * jnp.where(rate >= 0, rate, -rate)[None, :] * t[:, None]
    half = jnp.exp(-0.5 * x)
    filled = growth[None, :] * t[:, None] * mean_decay(x)
    bottom = jnp.where(rises, half**2, 1.0) + filled
    bottom = jnp.maximum(bottom, jnp.finfo(bottom.dtype).tiny)
    return start[None, :] * jnp.where(rises, 1.0, half) / jnp.sqrt(bottom)


@in_float64
def solve_spectral_contrastive(
    start: ArrayLike, gamma: ArrayLike, sigma: ArrayLike
) -> Solution:
    """Solve for singular values under the spectral contrastive loss, modes apart.

    Modes are learned in the order of gamma, as under linearised Barlow Twins, but
    ``sigma s^2`` ends at ``nu = gamma / sigma``.

    Args:
        start: singular values of W at time 0, ``[modes]``, not negative.
        gamma: eigenvalues of the cross moment, ``[modes]``.
        sigma: eigenvalues of the second moment, ``[modes]``, positive.

    Returns:
        ``solution(t)``: singular values, ``[times, modes]``.

    Raises:
        ValueError: for other shapes, numbers that are not finite or out of range.

    Source: HaoChen et al., NeurIPS 2021 (the loss); derived.

    >>> one = jnp.ones(1)
    >>> solution = solve_spectral_contrastive(1e-3 * one, one, 2 * one)
    >>> round(float(2 * solution(9.0)[0] ** 2), 6)  # sigma s^2
    0.5
    """
    start, gamma, sigma = _three_spectra(start, gamma, sigma)
    return Solution(
        params={"start": start, "gamma": gamma, "sigma": sigma},
        law=_spectral_contrastive_law,
        title="singular values under the spectral contrastive loss",
        quantity="singular value",
    )


def _spectral_contrastive_law(params: dict, t: jax.Array) -> jax.Array:
    one = jnp.ones(())
    return _merged_law({**params, "invariance_weight": one, "spread_weight": one}, t)


@in_float64
def spectral_contrastive_singular_values(
    start: ArrayLike, gamma: ArrayLike, sigma: ArrayLike, t: ArrayLike
) -> jax.Array:
    """Return the singular values of `solve_spectral_contrastive` at times.

    Args:
        start: singular values at time 0, ``[modes]``, not negative.
        gamma: eigenvalues of the cross moment, ``[modes]``.
        sigma: eigenvalues of the second moment, ``[modes]``, positive.
        t: times >= 0 in units of learning rate x step, of any shape.

    Returns:
        ``s(t)``, ``[*t.shape, modes]``.

    Raises:
        ValueError: see `solve_spectral_contrastive`, and for negative times.

    Source: HaoChen et al., NeurIPS 2021 (the loss); derived.

    >>> one = jnp.ones(1)
    >>> s = spectral_contrastive_singular_values(one, 0 * one, one, jnp.zeros(1))
    >>> s.tolist()
    [[1.0]]
    """
    return merged_vicreg_singular_values(start, gamma, sigma, t)


def _three_spectra(
    start: ArrayLike, gamma: ArrayLike, sigma: ArrayLike
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return sizes at the start and eigenvalues of both moments, one per mode."""
    gamma = check_rates("gamma", gamma)
    start = check_spectrum("start", start, like=gamma)
    sigma = check_rates("sigma", sigma, like=gamma)
    check_positive("sigma", sigma)
    return start, gamma, sigma


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
        ValueError: for other shapes, numbers that are not finite, or a sigma that is
            not positive definite.

    Source: HaoChen et al., NeurIPS 2021, for a linear network.

    >>> gamma, sigma = jnp.diag(jnp.array([1.0, 0.75])), jnp.diag(jnp.array([4.0, 1.0]))
    >>> spectral_contrastive_minimum(gamma, sigma, 1)[1].tolist()
    [0.75]
    """
    gamma = check_moment("gamma_matrix", gamma_matrix)
    sigma = check_shape("sigma_matrix", sigma_matrix, *gamma.shape)
    sigma = check_moment("sigma_matrix", sigma)
    check_rank(check_whole("d", d, 1), gamma.shape[0])
    check_definite("sigma_matrix", jnp.linalg.eigvalsh(sigma))
    whiten = jnp.linalg.inv(matrix_root(sigma))
    whitened = whiten @ gamma @ whiten
    whitened = 0.5 * (whitened + whitened.T)
    return scaled_modes(whitened, d, root) @ whiten, descending_eigh(whitened)[0][:d]
