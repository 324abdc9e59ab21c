"""Rates at spectra with equal eigenvalues, for losses that decompose a matrix.

The derivative of `jnp.linalg.eigh` divides by differences of eigenvalues, and the
fingerprint's spectra have many equal ones. The rates themselves are smooth there: they
are the mean over two nearby spectra whose eigenvalues are all distinct, up to the
second order in how far these are apart.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Half the width of a split spectrum, relative. The error of the mean is its square,
# 1e-9, times the curvature of a rate in log(eigenvalue). Rounding over the smallest
# difference is below that for up to about a hundred modes.
SPLIT = 3e-5
# The same where derivatives of the rates are taken: these divide by squares of the
# differences, and rounding and the split's error balance at about 1e-7.
WIDE_SPLIT = 3e-4
# Eigenvalues closer than this, relative, count as equal: if only rounding separates
# them, their derivatives are finite but meaningless.
CLOSE = 1e-6


def coincide(spectrum: jax.Array) -> jax.Array:
    """Return whether any two eigenvalues ``[..., M]`` are equal, ``[...]``.

    >>> coincide(jnp.array([[1.0, 2.0, 1.0], [1.0, 2.0, 3.0]])).tolist()
    [True, False]
    """
    gaps = jnp.diff(jnp.sort(jnp.log(spectrum), axis=-1), axis=-1)
    return jnp.min(gaps, axis=-1, initial=jnp.inf) < CLOSE


def split_factors(modes: int, width: Any = SPLIT) -> jax.Array:
    """Return factors that split equal amplitudes in two opposite orders, ``[2, M]``."""
    pattern = np.linspace(-1.0, 1.0, modes) if modes > 1 else np.zeros(1)
    # Eigenvalues are squares of amplitudes.
    return jnp.exp(0.5 * width * jnp.asarray(np.stack([pattern, -pattern])))


def split_mean(
    rates: Callable[[jax.Array], Any], amplitudes: jax.Array, width: Any = SPLIT
) -> Any:
    """Return the mean of rates at amplitudes split either way.

    Args:
        rates: a pytree of arrays from amplitudes ``[M]``.
        amplitudes: ``[M]``, of either sign.
        width: half the width, 0 for no split.

    Returns:
        The mean, which differs from the rates themselves by O(width^2).
    """
    factors = split_factors(len(amplitudes), width)
    both = jax.vmap(rates)(amplitudes[None, :] * factors)
    return jax.tree.map(lambda x: jnp.mean(x, axis=0), both)
