"""What the functions of the implicit-variance theory ask of their inputs."""

from typing import Any

import jax
import jax.core
import jax.numpy as jnp


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
    if not isinstance(array, jax.core.Tracer):
        if not bool(jnp.all(jnp.isfinite(array) & (array >= 0))):
            raise ValueError(f"{what} must be finite and >= 0")
    return array


def checked_times(values: Any) -> jax.Array:
    """``[times]`` in float64, not negative as far as can be seen."""
    array = jnp.asarray(values, jnp.float64)
    if array.ndim != 1:
        raise ValueError(f"t must be [times], got {list(array.shape)}")
    if not isinstance(array, jax.core.Tracer) and not bool(jnp.all(array >= 0)):
        raise ValueError("t must be >= 0")
    return array
