"""Checks and numerics that all losses share: float32, safe norms, exact products."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Float

# Annotations only: nothing is checked when a loss is called. One size per letter within
# a call, so that two embeddings "n d" have one shape.
Embeddings = Float[jax.Array | np.ndarray, "n d"]
Predictor = Float[jax.Array | np.ndarray, "d d"]
Transformed = Float[jax.Array, "n d"]
Scalar = Float[jax.Array, ""]
Number = float | Scalar  # a hyper-parameter, which may be traced


def paired(
    z1: Embeddings, z2: Embeddings, *, least: int
) -> tuple[jax.Array, jax.Array]:
    """Check two embeddings and widen them; ``least`` is the smallest N allowed."""
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
    """Widen bfloat16 and float16 to float32; float64 stays."""
    return z.astype(jnp.promote_types(z.dtype, jnp.float32))


def require_positive(name: str, value: Number) -> None:
    """Refuse a hyper-parameter that is not > 0; a traced one is not checked."""
    # Written so that NaN fails too; in NumPy, as JAX traces what is known inside jit.
    if not isinstance(value, Tracer) and not np.asarray(value) > 0:
        raise ValueError(f"{name} must be positive, got {value}")


def require_not_negative(name: str, value: Number) -> None:
    """Refuse a negative weight; a traced one is not checked."""
    if not isinstance(value, Tracer) and not np.asarray(value) >= 0:
        raise ValueError(f"{name} must not be negative, got {value}")


def l2_normalize(z: jax.Array, *, eps: float = 1e-12) -> jax.Array:
    """Scale rows to unit length: ``z / sqrt(max(|z|^2, eps))``.

    Rows shorter than ``sqrt(eps)`` stay shorter than one, a zero row stays zero, and
    the gradient is nowhere larger than ``1 / sqrt(eps)`` times the incoming one.
    """
    squared_norm = jnp.sum(z**2, axis=1, keepdims=True)
    # The maximum is inside the root, whose slope at zero is infinite.
    return z * jax.lax.rsqrt(jnp.maximum(squared_norm, eps))


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """Multiply in full precision; accelerators default to TF32 or bfloat16 passes."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def off_diagonal_square_sum(matrix: jax.Array) -> jax.Array:
    """Sum the squared off-diagonal entries of a square matrix."""
    # Masked. The total minus the diagonal would cancel in float32 once the off-diagonal
    # part is small.
    diagonal = jnp.eye(matrix.shape[0], dtype=bool)
    return jnp.sum(jnp.where(diagonal, 0.0, matrix) ** 2)


def center(z: jax.Array) -> jax.Array:
    """Subtract the batch mean of every dimension; gradients flow through it."""
    return z - z.mean(axis=0, keepdims=True)


def checked_views(views: Sequence[Embeddings]) -> list[jax.Array]:
    """Check and widen two or more views of one shape ``[N, D]``."""
    arrays = [jnp.asarray(z) for z in views]
    if len(arrays) < 2:
        raise ValueError(f"this loss compares two or more views, got {len(arrays)}")
    shapes = [list(z.shape) for z in arrays]
    if arrays[0].ndim != 2 or any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"views must be [N, D] arrays of the same shape, got {shapes}")
    return [at_least_float32(z) for z in arrays]
