"""Closed forms of the eigenvalue rates, where the losses have one.

White inputs, modes spread over all channels, the table's default settings. ``kappa`` is
N / (N - 1) wherever a loss divides by one less than the number of samples.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ssljax.analytic.fingerprint.basis import spread_basis
from ssljax.analytic.precision import in_float64

Reduced = Callable[[jax.Array, jax.Array, float], jax.Array]


@in_float64
def closed_rates(
    name: str, spectrum: Any, *, correlation: Any = 0.8, samples: int = 256
) -> jax.Array:
    """Return ``d lambda / dt`` of a loss by its formula, ``[M]``.

    Args:
        name: one of `CLOSED`.
        spectrum: eigenvalues ``[M]``, M a power of two.
        correlation: of the views, ``[M]`` or one for all.
        samples: number N of pairs.
    """
    spectrum = jnp.asarray(spectrum, jnp.float64)
    correlation = jnp.broadcast_to(jnp.asarray(correlation, float), spectrum.shape)
    return CLOSED[name](spectrum, correlation, samples / (samples - 1.0))


def _of_reduced(reduced: Reduced) -> Reduced:
    """Return the flow -4 lambda dl/dlambda of a loss that is a function of spectra.

    ``lambda = a^2`` and ``da/dt = -dl/da`` give both factors of two.
    """

    def rates(spectrum, correlation, kappa):
        return -4.0 * spectrum * jax.grad(reduced)(spectrum, correlation, kappa)

    return rates


def asymmetric(spectrum, correlation, *, exponent: float, power: float) -> jax.Array:
    """Return ``2 lambda p^power (rho - p)`` with ``p = lambda^exponent``.

    Power 1 is the asymmetric Euclidean loss and 0 its IsoLoss; Halvagal et al., NeurIPS
    2023, for views of any correlation.
    """
    p = spectrum**exponent
    return 2.0 * spectrum * p**power * (correlation - p)


def linearized_barlow_twins(spectrum, correlation, kappa) -> jax.Array:
    """Return ``8 gamma lambda (1 - gamma lambda)``: Simon et al., ICML 2023."""
    return 8.0 * correlation * spectrum * (1.0 - correlation * spectrum)


def _barlow_twins(spectrum, correlation, kappa, *, weight=0.0051, eps=1e-5):
    # Every channel has the mean variance, and the cross moment has no more than that
    # mean on its diagonal.
    shared = spectrum * correlation / (jnp.mean(spectrum) + eps)
    on = jnp.mean(shared)
    off = jnp.sum(shared**2) - len(spectrum) * on**2
    return len(spectrum) * (on - 1.0) ** 2 + weight * off


def _vicreg(spectrum, correlation, kappa):
    modes = len(spectrum)
    scatter = jnp.sum(spectrum**2) - modes * jnp.mean(spectrum) ** 2
    covariance = 2.0 * kappa**2 / modes * scatter
    return 25.0 * _spread_and_hinge(spectrum, correlation, kappa) + covariance


def _vicreg_exp(spectrum, correlation, kappa, *, temperature=0.1):
    basis = jnp.asarray(spread_basis(len(spectrum)))
    matrix = kappa * (basis * spectrum[None, :]) @ basis.T / temperature
    matrix = jnp.where(jnp.eye(len(matrix), dtype=bool), -jnp.inf, matrix)
    repulsion = 2.0 * jnp.mean(jax.nn.logsumexp(matrix, axis=1))
    return _spread_and_hinge(spectrum, correlation, kappa) + repulsion


def _spread_and_hinge(spectrum, correlation, kappa):
    """Return VICReg's invariance, and its hinge for channels of one variance."""
    invariance = 2.0 * jnp.mean(spectrum * (1.0 - correlation))
    deviation = jnp.sqrt(kappa * jnp.mean(spectrum) + 1e-4)
    return invariance + jax.nn.relu(1.0 - deviation)


def _dimension_contrastive(spectrum, correlation, kappa):
    return jnp.sum(spectrum**2) - len(spectrum) * jnp.mean(spectrum) ** 2


def transformed_alignment(spectrum, correlation, variance: Callable) -> jax.Array:
    """Return ``2 sum_i h_i (1 - rho_i)``: the distance of two views transformed alike.

    ``h`` is the variance that a mode leaves the transformation with. A transformation
    whose h rises shrinks the spectrum, and one whose h is constant has no force.
    """
    return 2.0 * jnp.sum(variance(spectrum) * (1.0 - correlation))


def _quarter_power(spectrum, correlation, kappa):
    # The distance divides by N, the covariance by N - 1.
    def variance(value):
        return (kappa * value) ** 0.5 / kappa

    return transformed_alignment(spectrum, correlation, variance)


def normalised_variance(share: jax.Array, iterations: int = 4) -> jax.Array:
    """Return ``h_T``: variance after IterNorm of a mode with this share of the trace.

    ``h_0 = x`` and ``h_{T+1} = h_T (3 - h_T)^2 / 4``.
    """
    for _ in range(iterations):
        share = share * (3.0 - share) ** 2 / 4.0
    return share


def _iterative_normalization(spectrum, correlation, kappa):
    def variance(value):
        return normalised_variance(value / jnp.sum(value)) / kappa

    return transformed_alignment(spectrum, correlation, variance)


def _trace_loss(spectrum, correlation, kappa):
    mean = jnp.mean(normalised_variance(spectrum / jnp.sum(spectrum)))
    return 2.0 * len(spectrum) * (mean - 1.0) ** 2


def _no_force(spectrum, correlation, kappa):
    return jnp.zeros_like(spectrum)


CLOSED: dict[str, Reduced] = {
    "asymmetric_euclidean": lambda s, c, k: asymmetric(s, c, exponent=0.5, power=1),
    "isoloss_euclidean": lambda s, c, k: asymmetric(s, c, exponent=0.5, power=0),
    "barlow_twins": _of_reduced(_barlow_twins),
    "linearized_barlow_twins": linearized_barlow_twins,
    "vicreg": _of_reduced(_vicreg),
    "vicreg_exp": _of_reduced(_vicreg_exp),
    "dimension_contrastive": _of_reduced(_dimension_contrastive),
    "whiten": _no_force,
    "w_mse": _no_force,
    "spectral_transform": _of_reduced(_quarter_power),
    "iterative_normalization": _of_reduced(_iterative_normalization),
    "trace_loss": _of_reduced(_trace_loss),
}
"""Rates ``[M]`` of (spectrum, correlation, kappa), by the names of the table."""
