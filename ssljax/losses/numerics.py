"""What every loss owes its input: float32, safe norms, full-precision products."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.core import Tracer


def paired(z1: jax.Array, z2: jax.Array, *, least: int) -> tuple[jax.Array, jax.Array]:
    """Two embeddings checked and widened; ``least`` is the smallest N allowed."""
    z1, z2 = jnp.asarray(z1), jnp.asarray(z2)
    if z1.ndim != 2 or z1.shape != z2.shape:
        raise ValueError(
            "embeddings must be two [N, D] arrays of the same shape, "
            f"got {list(z1.shape)} and {list(z2.shape)}"
        )
    if z1.shape[0] < least or z1.shape[1] < 1:
        raise ValueError(
            f"this loss needs at least {least} {'pair' if least == 1 else 'pairs'} of "
            f"embeddings with D >= 1, got shape {list(z1.shape)}: raise the batch size"
        )
    return at_least_float32(z1), at_least_float32(z2)


def at_least_float32(z: jax.Array) -> jax.Array:
    """bfloat16 and float16 become float32; float64 stays."""
    return z.astype(jnp.promote_types(z.dtype, jnp.float32))


def require_positive(name: str, value: float | jax.Array) -> None:
    """A hyper-parameter that is known now must be > 0; a traced one is trusted."""
    # Written so that NaN fails too.
    if not isinstance(value, Tracer) and not value > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def require_not_negative(name: str, value: float | jax.Array) -> None:
    """A weight that is known now must be >= 0; a traced one is trusted."""
    if not isinstance(value, Tracer) and not value >= 0:
        raise ValueError(f"{name} must not be negative, got {value}")


def l2_normalize(z: jax.Array, *, eps: float = 1e-12) -> jax.Array:
    """Rows of unit length: ``z / sqrt(max(|z|^2, eps))``.

    Rows shorter than ``sqrt(eps)`` stay shorter than one, a zero row stays zero, and
    the gradient is nowhere larger than ``1 / sqrt(eps)`` times the incoming one.
    """
    squared_norm = jnp.sum(z**2, axis=1, keepdims=True)
    # The maximum stands inside the root, whose slope at zero is infinite.
    return z * jax.lax.rsqrt(jnp.maximum(squared_norm, eps))


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """``a @ b`` without the TF32 or bfloat16 passes that accelerators default to."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def off_diagonal_square_sum(matrix: jax.Array) -> jax.Array:
    """Sum of the squared entries of a square matrix outside its diagonal."""
    # Masked, not total minus diagonal: that difference cancels in float32 once the
    # off-diagonal part is small.
    diagonal = jnp.eye(matrix.shape[0], dtype=bool)
    return jnp.sum(jnp.where(diagonal, 0.0, matrix) ** 2)


def center(z: jax.Array) -> jax.Array:
    """Every dimension minus its mean over the batch; gradients flow through it."""
    return z - z.mean(axis=0, keepdims=True)


def checked_views(views: Sequence[jax.Array]) -> list[jax.Array]:
    """Two or more views of one shape ``[N, D]``, widened."""
    arrays = [jnp.asarray(z) for z in views]
    if len(arrays) < 2:
        raise ValueError(f"this loss compares two or more views, got {len(arrays)}")
    shapes = [list(z.shape) for z in arrays]
    if arrays[0].ndim != 2 or any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"views must be [N, D] arrays of the same shape, got {shapes}")
    return [at_least_float32(z) for z in arrays]
