"""Iterative normalisation: its gain, output variance, force and rounding."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_between,
    check_choice,
    check_fractions,
    check_modes,
    check_positive,
    check_spectrum,
    check_whole,
)
from ssljax.analytic.precision import in_float64


@in_float64
def iter_norm_spectral_gradient(
    spectrum: ArrayLike, correlations: ArrayLike, iterations: int
) -> jax.Array:
    """Return the force of alignment after iterative normalisation.

    It depends on the trace as well, so that the forces sum to zero: noisy directions
    are pushed down and the others up, while the total variance feels nothing.

    Args:
        spectrum: eigenvalues of both views, ``[modes]``, not all zero.
        correlations: of the two views along each eigenvector, ``[modes]``, in [-1, 1].
        iterations: Newton steps T >= 0.

    Returns:
        ``dL / d log lambda``, ``[modes]``, for ``L = 2 sum_i h_T(x_i) (1 - rho_i)``
        with ``x = lambda / sum(lambda)``.

    Raises:
        ValueError: if the two are not of one length or out of range, or T is not a
            whole number >= 0.

    Source: Weng et al., ICLR 2024; derived here.

    >>> force = iter_norm_spectral_gradient(
    ...     jnp.array([1.0, 1.0]), jnp.array([0.9, 0.5]), 4)
    >>> bool(force[1] > 0 > force[0]), round(float(force.sum()), 12)
    (True, 0.0)
    """
    spectrum = check_spectrum("spectrum", spectrum)
    check_positive("the sum of the spectrum", jnp.sum(spectrum))
    correlations = check_modes("correlations", correlations, like=spectrum)
    check_between("correlations", correlations, -1, 1)
    check_whole("iterations", iterations, 0)

    def loss(values: jax.Array) -> jax.Array:
        h = iter_norm_spectrum(values / jnp.sum(values), iterations)
        return 2.0 * jnp.sum(h * (1.0 - correlations))

    # Not the gradient in the logarithm, which does not exist at zero.
    return spectrum * jax.grad(loss)(spectrum)


@in_float64
def iter_norm_gain(x: ArrayLike, iterations: int) -> jax.Array:
    """Return the factor ``f_T`` by which IterNorm multiplies a direction.

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
    steps, x = check_whole("iterations", iterations, 0), check_fractions("x", x)
    f = jnp.ones_like(x)
    for _ in range(steps):
        f = 1.5 * f - 0.5 * x * f**3
    return f


@in_float64
def iter_norm_spectrum(x: ArrayLike, iterations: int) -> jax.Array:
    """Return the variance ``h_T`` that iterative normalisation leaves an eigenvalue.

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
    steps, h = check_whole("iterations", iterations, 0), check_fractions("x", x)
    for _ in range(steps):
        h = 0.25 * h * (3.0 - h) ** 2
    return h


@in_float64
def rounding_growth(
    fractions: ArrayLike, iterations: int, *, order: str = "last"
) -> jax.Array:
    """Return how far the whitening recursion amplifies its own rounding.

    In exact arithmetic ``P`` commutes with the covariance ``S`` and all orders of
    ``P^3 S`` are one. An error between two eigenvectors does not commute, and is
    multiplied in every step by a number that the order decides.

    Args:
        fractions: eigenvalues over the trace, ``[modes]``, in [0, 1].
        iterations: Newton steps T >= 0.
        order: "last" for ``P P P S`` as it is printed, "inside" for ``P P S P``, as
            `ssljax.losses` computes it.

    Returns:
        The largest product of these numbers over the pairs of modes, relative to the
        largest gain: times machine epsilon, the order of the relative error.

    Raises:
        ValueError: for an unknown order, fractions that are not ``[modes]`` in [0, 1],
            or T that is not a whole number >= 0.

    Source: derived here by linearising the recursion of Weng et al., ICLR 2024.

    >>> spectrum = jnp.array([0.9, 0.09, 0.01])
    >>> printed = rounding_growth(spectrum, 9)
    >>> bool(printed > 1e6), bool(rounding_growth(spectrum, 9, order="inside") < 1e3)
    (True, True)
    """
    check_choice("order", order, ("last", "inside"))
    x = check_fractions("fractions", check_modes("fractions", fractions))
    steps = range(check_whole("iterations", iterations, 0))
    gains = jnp.stack([iter_norm_gain(x, step) for step in (*steps, len(steps))])

    def of_row(row: tuple[jax.Array, jax.Array]) -> jax.Array:
        left, own = row
        largest = jnp.ones_like(x)
        for step in steps:
            a, b = own[step], gains[step]
            if order == "last":
                product = (a**2 + a * b + b**2) * x
            else:
                product = a**2 * left + a * b * x + b**2 * x
            # An error that enters later has fewer steps to grow in.
            largest = jnp.maximum(1.0, largest * jnp.abs(1.5 - 0.5 * product))
        return jnp.max(largest)

    # Row by row: all pairs of thousands of modes would not fit in memory.
    found = jax.lax.map(of_row, (x, gains.T), batch_size=min(64, x.size))
    return jnp.max(found) / jnp.max(gains[-1])
