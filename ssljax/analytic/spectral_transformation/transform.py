"""What a spectral transformation makes of variances, and the force that follows."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import check_between, check_modes, check_positive
from ssljax.analytic.precision import in_float64


@in_float64
def output_variance(spectrum: ArrayLike, g: Callable) -> jax.Array:
    """Return the variance with which an eigenvalue leaves the transformation.

    Args:
        spectrum: eigenvalues of the embedding's covariance, any shape, positive.
        g: function of one eigenvalue, as in `ssljax.losses.spectral_transform`.

    Returns:
        ``h = lambda g(lambda)^2``, the shape of ``spectrum``. Where h grows with lambda
        alignment shrinks the spectrum, where it falls alignment inflates it; whitening
        has ``h = 1`` and no force.

    Raises:
        ValueError: for an eigenvalue that is not positive.

    Source: Weng et al., "Modulate your spectrum in self-supervised learning", ICLR
    2024, spectral transformation.

    >>> output_variance(jnp.array([0.25, 4.0]), lambda v: v**-1.0).tolist()
    [4.0, 0.25]
    """
    spectrum = jnp.asarray(spectrum, jnp.float64)
    check_positive("spectrum", spectrum)
    return _per_eigenvalue(lambda v: v * g(v) ** 2, spectrum)


@in_float64
def implicit_spectral_gradient(
    spectrum: ArrayLike, correlations: ArrayLike, g: Callable
) -> jax.Array:
    """Return the force of plain alignment on the logarithm of each eigenvalue.

    The loss is the mean squared distance of two transformed views, without any
    normalisation of rows: ``2 sum_i h(lambda_i) (1 - rho_i)``.

    Args:
        spectrum: eigenvalues ``lambda``, the same for both views, ``[modes]``,
            positive.
        correlations: ``rho``, of the two views along each eigenvector, ``[modes]``, in
            [-1, 1], held fixed.
        g: function of one eigenvalue, as in `ssljax.losses.spectral_transform`.

    Returns:
        ``dL / d log lambda = 2 lambda h'(lambda) (1 - rho)``, ``[modes]``. Descent
        moves against it.

    Raises:
        ValueError: if the two are not of one length or out of range.

    Source: Weng et al., ICLR 2024; the gradient is derived here from its definition of
    the transformation.

    >>> whitening = implicit_spectral_gradient(
    ...     jnp.array([1.0, 0.1]), jnp.array([0.9, 0.5]), lambda v: v**-0.5)
    >>> bool(jnp.abs(whitening).max() < 1e-12)
    True
    """
    spectrum = check_modes("spectrum", spectrum)
    correlations = check_modes("correlations", correlations, like=spectrum)
    check_positive("spectrum", spectrum)
    check_between("correlations", correlations, -1, 1)
    slope = _per_eigenvalue(jax.grad(lambda v: v * g(v) ** 2), spectrum)
    return 2.0 * spectrum * slope * (1.0 - correlations)


def _per_eigenvalue(function: Callable, spectrum: jax.Array) -> jax.Array:
    values = jax.vmap(lambda v: jnp.asarray(function(v), v.dtype))(spectrum.ravel())
    return values.reshape(spectrum.shape)
