"""What a spectral transformation makes of variances, and the force that follows."""

import numbers
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ssljax.analytic.precision import in_float64, known


@in_float64
def output_variance(spectrum: ArrayLike, g: Callable) -> jax.Array:
    """Variance with which each eigenvalue leaves a spectral transformation.

    Args:
        spectrum: eigenvalues of the embedding's covariance, any shape, positive.
        g: function of one eigenvalue, as in `ssljax.losses.spectral_transform`.

    Returns:
        ``h = lambda g(lambda)^2``, the shape of ``spectrum``. Where h grows with lambda
        alignment shrinks the spectrum, where it falls alignment inflates it; whitening
        has ``h = 1`` and no force.

    Source: Weng et al., "Modulate your spectrum in self-supervised learning", ICLR
    2024, spectral transformation.

    >>> output_variance(jnp.array([0.25, 4.0]), lambda v: v**-1.0).tolist()
    [4.0, 0.25]
    """
    spectrum = jnp.asarray(spectrum, jnp.float64)
    return _per_eigenvalue(lambda v: v * g(v) ** 2, spectrum)


@in_float64
def implicit_spectral_gradient(
    spectrum: ArrayLike, correlations: ArrayLike, g: Callable
) -> jax.Array:
    """Force of plain alignment on the logarithm of each eigenvalue.

    The loss is the mean squared distance of two transformed views, without any
    normalisation of rows: ``2 sum_i h(lambda_i) (1 - rho_i)``.

    Args:
        spectrum: eigenvalues ``lambda``, the same for both views, ``[modes]``.
        correlations: ``rho``, of the two views along each eigenvector, ``[modes]``,
            held fixed.
        g: function of one eigenvalue, as in `ssljax.losses.spectral_transform`.

    Returns:
        ``dL / d log lambda = 2 lambda h'(lambda) (1 - rho)``, ``[modes]``. Descent
        moves against it.

    Raises:
        ValueError: if the two are not of one length.

    Source: Weng et al., ICLR 2024; the gradient is derived here from its definition of
    the transformation.

    >>> whitening = implicit_spectral_gradient(
    ...     jnp.array([1.0, 0.1]), jnp.array([0.9, 0.5]), lambda v: v**-0.5)
    >>> bool(jnp.abs(whitening).max() < 1e-12)
    True
    """
    spectrum, correlations = _modes(spectrum, correlations)
    slope = _per_eigenvalue(jax.grad(lambda v: v * g(v) ** 2), spectrum)
    return 2.0 * spectrum * slope * (1.0 - correlations)


@in_float64
def iter_norm_spectral_gradient(
    spectrum: ArrayLike, correlations: ArrayLike, iterations: int
) -> jax.Array:
    """The same force where the transformation is iterative normalisation.

    It depends on the trace as well, so that the forces sum to zero: noisy directions
    are pushed down and the others up, while the total variance feels nothing.

    Args:
        spectrum: eigenvalues of both views, ``[modes]``.
        correlations: of the two views along each eigenvector, ``[modes]``.
        iterations: Newton steps T >= 0.

    Returns:
        ``dL / d log lambda``, ``[modes]``, for ``L = 2 sum_i h_T(x_i) (1 - rho_i)``
        with ``x = lambda / sum(lambda)``.

    Raises:
        ValueError: if the two are not of one length or T is not a whole number >= 0.

    Source: Weng et al., ICLR 2024; derived here.

    >>> force = iter_norm_spectral_gradient(
    ...     jnp.array([1.0, 1.0]), jnp.array([0.9, 0.5]), 4)
    >>> bool(force[1] > 0 > force[0]), round(float(force.sum()), 12)
    (True, 0.0)
    """
    spectrum, correlations = _modes(spectrum, correlations)

    def loss(logs: jax.Array) -> jax.Array:
        h = iter_norm_spectrum(jax.nn.softmax(logs), iterations)
        return 2.0 * jnp.sum(h * (1.0 - correlations))

    return jax.grad(loss)(jnp.log(spectrum))


@in_float64
def iter_norm_gain(x: ArrayLike, iterations: int) -> jax.Array:
    """Factor ``f_T`` by which iterative normalisation multiplies a direction.

    Args:
        x: eigenvalue as a fraction of the trace, any shape, in [0, 1].
        iterations: Newton steps T >= 0.

    Returns:
        ``f_0 = 1``, ``f_{T+1} = (3 f_T - x f_T^3) / 2``, towards ``x^(-1/2)``, at most
        ``(3/2)^T``. The whitening matrix is ``U diag(f_T / sqrt(trace)) U^T``.

    Raises:
        ValueError: if T is not a whole number >= 0 or x not in [0, 1].

    Source: Huang et al., "Iterative normalization", CVPR 2019.

    >>> iter_norm_gain(jnp.array([0.0, 1.0]), 2).tolist()
    [2.25, 1.0]
    """
    steps, x = whole("iterations", iterations, 0), _fractions(x)
    f = jnp.ones_like(x)
    for _ in range(steps):
        f = 1.5 * f - 0.5 * x * f**3
    return f


@in_float64
def iter_norm_spectrum(x: ArrayLike, iterations: int) -> jax.Array:
    """Variance ``h_T`` with which an eigenvalue leaves iterative normalisation.

    Args:
        x: eigenvalue as a fraction of the trace, any shape, in [0, 1].
        iterations: Newton steps T >= 0.

    Returns:
        ``h_0 = x``, ``h_{T+1} = h_T (3 - h_T)^2 / 4``: increasing and concave from 0
        with slope ``(9/4)^T`` to 1 at 1. Every eigenvalue above zero tends to 1.

    Raises:
        ValueError: if T is not a whole number >= 0 or x not in [0, 1].

    Source: Huang et al., CVPR 2019; Weng et al., ICLR 2024. The recursion in h alone
    is derived here.

    >>> iter_norm_spectrum(jnp.array([0.0, 0.5, 1.0]), 1).tolist()
    [0.0, 0.78125, 1.0]
    """
    steps, h = whole("iterations", iterations, 0), _fractions(x)
    for _ in range(steps):
        h = 0.25 * h * (3.0 - h) ** 2
    return h


@in_float64
def rounding_growth(
    fractions: ArrayLike, iterations: int, *, order: str = "last"
) -> jax.Array:
    """How far the recursion for the whitening matrix amplifies its own rounding.

    In exact arithmetic ``P`` commutes with the covariance ``S`` and all orders of
    ``P^3 S`` are one. An error between two eigenvectors does not commute, and is
    multiplied in every step by a number that the order decides.

    Args:
        fractions: eigenvalues over the trace, ``[modes]``, positive.
        iterations: Newton steps T >= 0.
        order: "last" for ``P P P S`` as it is printed, "inside" for ``P P S P``, as
            `ssljax.losses` computes it.

    Returns:
        The largest product of these numbers over the pairs of modes, relative to the
        largest gain: times machine epsilon, the order of the relative error.

    Raises:
        ValueError: for an unknown order or T that is not a whole number >= 0.

    Source: derived here by linearising the recursion of Weng et al., ICLR 2024.

    >>> spectrum = jnp.array([0.9, 0.09, 0.01])
    >>> printed = rounding_growth(spectrum, 9)
    >>> bool(printed > 1e6), bool(rounding_growth(spectrum, 9, order="inside") < 1e3)
    (True, True)
    """
    if order not in ("last", "inside"):
        raise ValueError(f"order must be last or inside, got {order!r}")
    x = jnp.asarray(fractions, jnp.float64)
    left, right = x[:, None], x[None, :]
    growth = largest = jnp.ones((x.size, x.size))
    for step in range(whole("iterations", iterations, 0)):
        f = iter_norm_gain(x, step)
        a, b = f[:, None], f[None, :]
        if order == "last":
            product = (a**2 + a * b + b**2) * right
        else:
            product = a**2 * left + a * b * right + b**2 * right
        growth = growth * jnp.abs(1.5 - 0.5 * product)
        # An error that enters later has fewer steps to grow in.
        largest = jnp.maximum(1.0, largest * jnp.abs(1.5 - 0.5 * product))
    return jnp.max(largest) / jnp.max(iter_norm_gain(x, iterations))


def whole(name: str, value: int, least: int) -> int:
    """A count that must be a whole number not below ``least``."""
    whole_number = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole_number or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
    return int(value)


def _fractions(x: ArrayLike) -> jax.Array:
    """Shares of a trace, which lie in [0, 1] but for float32's rounding."""
    x = jnp.asarray(x, jnp.float64)
    if known(x) and not np.all(np.abs(np.asarray(x) - 0.5) <= 0.5 + 1e-6):
        raise ValueError("x must be eigenvalues over their sum, in [0, 1]")
    return x


def _modes(spectrum: ArrayLike, other: ArrayLike) -> tuple[jax.Array, jax.Array]:
    spectrum, other = (jnp.asarray(v, jnp.float64) for v in (spectrum, other))
    if spectrum.ndim != 1 or spectrum.shape != other.shape:
        raise ValueError(
            "two arrays [modes] of one length are needed, got "
            f"{list(spectrum.shape)} and {list(other.shape)}"
        )
    return spectrum, other


def _per_eigenvalue(function: Callable, spectrum: jax.Array) -> jax.Array:
    values = jax.vmap(lambda v: jnp.asarray(function(v), v.dtype))(spectrum.ravel())
    return values.reshape(spectrum.shape)
