"""Functions of a symmetric matrix, differentiable where its eigenvectors are not."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from ssljax.losses.custom_rule import CustomRule
from ssljax.losses.matrix_derivatives import matrix_derivative
from ssljax.losses.numerics import matmul
from ssljax.losses.symmetric_products import sandwich

# With more steps the plain recursion loses commutation with its matrix and blows up,
# in float32 from about 11 on; the coupled form does not.
_MOST_PLAIN_STEPS = 7


def matrix_function(
    matrix: jax.Array,
    g: Callable,
    *,
    floor: float | jax.Array = 0.0,
    terms: int | None = None,
) -> jax.Array:
    """Compute ``U g(Lambda) U^T`` of a symmetric ``[n, n]`` matrix.

    ``g`` is a scalar function. The derivative with respect to the matrix is the
    Daleckii-Krein formula, in divided differences of ``g`` instead of derivatives of
    eigenvectors: exact at repeated eigenvalues, in forward and reverse mode to every
    order. ``g`` must not close over values that are being differentiated.

    Eigenvalues within `null_bound` of zero count as zero; ``terms`` is the number of
    products summed in an entry of the matrix, where that is more than its side. Where
    ``g`` (or a derivative of it) is not finite at zero it is taken as 0 there, which
    makes ``x**-0.5`` the Moore-Penrose inverse root, whose derivative is exact while
    the rank stays.
    """
    matrix = 0.5 * (matrix + matrix.T)
    values, vectors = _decompose(matrix)
    values = jnp.where(jnp.abs(values) <= null_bound(values, floor, terms), 0.0, values)
    return matrix_derivative(g, matrix, values, vectors)


def null_bound(
    values: jax.Array, floor: float | jax.Array, terms: int | None = None
) -> jax.Array:
    """Return the rounding of these eigenvalues: ``n eps max|values|`` or floor."""
    relative = max(values.size, terms or 0) * jnp.finfo(values.dtype).eps
    return jnp.maximum(relative * jnp.max(jnp.abs(values)), floor)


def over_blocks(
    function: Callable[[jax.Array], Any],
    blocks: jax.Array,
    *,
    at_once: Callable[[jax.Array], Any] | None = None,
) -> Any:
    """Compute ``jax.vmap(function)(blocks)`` for functions that decompose a matrix.

    ``at_once`` replaces the vmap where there is a batched form.

    On a CPU one block after the other: jaxlib's LAPACK calls on a batch wait for the
    very threads that they occupy, so that two of them at a time (two views, or two
    devices of a process) can wait forever.
    """
    return jax.lax.platform_dependent(
        blocks,
        cpu=partial(jax.lax.map, function),
        default=jax.vmap(function) if at_once is None else at_once,
    )


# A primitive, since a stop-gradient could be taken for one of the loss's own.
_eigh = Primitive("constant_eigh")
_eigh.multiple_results = True


def _decompose(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return eigenvalues and vectors, constants to every derivative."""
    values, vectors = _eigh.bind(matrix)
    return values, vectors


def _compute_eigh(matrices: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Decompose ``[..., n, n]``; a batch one by one, see `over_blocks`."""

    def native(m: jax.Array) -> tuple[jax.Array, jax.Array]:
        values, vectors = jnp.linalg.eigh(m)
        return values, vectors

    if matrices.ndim == 2:
        return native(matrices)
    flat = matrices.reshape(-1, *matrices.shape[-2:])
    values, vectors = over_blocks(native, flat, at_once=native)
    return values.reshape(matrices.shape[:-1]), vectors.reshape(matrices.shape)


def _batch_eigh(operands, axes):
    return _eigh.bind(jnp.moveaxis(operands[0], axes[0], 0)), (0, 0)


def _constant(primals, tangents):
    del tangents
    found = _eigh.bind(*primals)
    return found, [jnp.zeros_like(x) for x in found]


_eigh.def_impl(_compute_eigh)
_eigh.def_abstract_eval(lambda m: (m.update(shape=m.shape[:-1]), m))
ad.primitive_jvps[_eigh] = _constant
batching.primitive_batchers[_eigh] = _batch_eigh
mlir.register_lowering(_eigh, mlir.lower_fun(_compute_eigh, multiple_results=True))


@CustomRule
def eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return ascending eigenvalues and eigenvectors, with a finite derivative.

    Exact for distinct eigenvalues. Within an eigenspace the basis is arbitrary and its
    rotation carries no gradient.
    """
    values, vectors = _decompose(0.5 * (matrix + matrix.T))
    # Of the two signs the one that makes the largest entry positive.
    largest = jnp.argmax(jnp.abs(vectors), axis=0)
    sign = jnp.sign(jnp.take_along_axis(vectors, largest[None, :], axis=0))
    return values, vectors * sign


@eigh.defjvp
def _eigh_jvp(primals, tangents):
    (matrix,), (tangent,) = primals, tangents
    values, vectors = eigh(matrix)
    tangent = 0.5 * (tangent + tangent.T)
    rotated = matmul(vectors.T, matmul(tangent, vectors))
    gap = values[None, :] - values[:, None]
    distinct = jnp.abs(gap) > null_bound(values, 0.0)
    turn = jnp.where(distinct, rotated / jnp.where(distinct, gap, 1.0), 0.0)
    return (values, vectors), (jnp.diagonal(rotated), matmul(vectors, turn))


def cholesky(matrix: jax.Array, *, floor: float | jax.Array = 0.0) -> jax.Array:
    """Compute the Cholesky factor, of a singular matrix after a small shift.

    Where a pivot is not above `null_bound` (or does not exist), four times that bound
    is added to the diagonal; the zero matrix becomes the identity.
    """
    constant = jax.lax.stop_gradient(matrix)
    bound = null_bound(jnp.diagonal(constant), floor)
    pivots = jnp.diagonal(jnp.linalg.cholesky(constant)) ** 2
    # Written so that the NaN of a failed factorisation counts as singular.
    singular = ~(jnp.min(pivots) > bound)
    shift = jnp.where(singular, jnp.where(bound > 0, 4.0 * bound, 1.0), 0.0)
    return jnp.linalg.cholesky(
        matrix + shift * jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    )


def iterated_inverse_root(matrix: jax.Array, iterations: int) -> jax.Array:
    """Iterate Newton's method towards ``matrix^(-1/2)``, eigenvalues in [0, 1]."""
    if iterations <= _MOST_PLAIN_STEPS:
        return plain_iteration(matrix, iterations)
    return coupled_iteration(matrix, iterations)


def plain_iteration(matrix: jax.Array, iterations: int) -> jax.Array:
    """Iterate ``P <- (3 P - P^3 matrix) / 2``; unstable for many steps."""
    identity = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    if iterations == 0:
        return identity
    p = 1.5 * identity - 0.5 * matrix
    for _ in range(iterations - 1):
        # All factors commute in exact arithmetic. With the matrix in the middle the
        # rounding grows far slower than in p^3 matrix: 1e-6 instead of 1e-3 after 7
        # steps in float32 where the matrix is singular.
        p = 1.5 * p - 0.5 * matmul(p, sandwich(p, matrix))
    return p


def coupled_iteration(matrix: jax.Array, iterations: int) -> jax.Array:
    """Iterate the coupled Newton-Schulz form: the same map, always stable."""
    identity = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    if iterations == 0:
        return identity
    q = m = 1.5 * identity - 0.5 * matrix
    y = matrix
    for _ in range(iterations - 1):
        y = matmul(y, m)
        m = 1.5 * identity - 0.5 * matmul(q, y)
        q = matmul(m, q)
    return q
