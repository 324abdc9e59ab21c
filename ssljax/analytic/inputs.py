"""What the functions of the implicit-variance theory ask of their inputs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.precision import known


def checked_choice(what: str, given: str, allowed: tuple[str, ...]) -> None:
    """Raise unless ``given`` is one of the names."""
    if given not in allowed:
        raise ValueError(f"{what} must be one of {', '.join(allowed)}, got {given!r}")


def checked_spectrum(values: Any, what: str, least: int = 1) -> jax.Array:
    """``[modes]`` in float64, finite and not negative as far as can be seen."""
    array = jnp.asarray(values, jnp.float64)
    if array.ndim != 1 or array.shape[0] < least:
        raise ValueError(
            f"{what} must be [modes] with at least {least}, got {list(array.shape)}"
        )
    if known(array):
        # In NumPy: inside of `jax.jit` JAX traces what it computes from known numbers.
        seen = np.asarray(array)
        if not np.all(np.isfinite(seen) & (seen >= 0)):
            raise ValueError(f"{what} must be finite and >= 0")
    return array


def checked_positive(what: str, value: Any) -> None:
    """Raise unless a number is > 0, as far as can be seen."""
    if known(value) and not value > 0:
        raise ValueError(f"{what} must be > 0, got {value}")


def checked_times(values: Any) -> jax.Array:
    """``[times]`` in float64, not negative as far as can be seen."""
    array = jnp.asarray(values, jnp.float64)
    if array.ndim != 1:
        raise ValueError(f"t must be [times], got {list(array.shape)}")
    if known(array) and not np.all(np.asarray(array) >= 0):
        raise ValueError("t must be >= 0")
    return array
