"""Matrix products that are symmetric, or whose squares alone are needed.

Both save products: a symmetric result halves the backward pass, and squares summed over
``[D, D]`` need the Gram matrices ``[N, N]`` only.
"""

import jax
import jax.numpy as jnp

from ssljax.losses.numerics import matmul, off_diagonal_square_sum


@jax.custom_jvp
def gram(x: jax.Array) -> jax.Array:
    """Compute ``x x^T`` of ``[n, m]``, with one product in the backward pass.

    >>> gram(jnp.array([[3.0, 4.0]])).tolist()
    [[25.0]]
    """
    return matmul(x, x.T)


@gram.defjvp
def _gram_jvp(primals, tangents):
    (x,), (tangent,) = primals, tangents
    # Not dx x^T + x dx^T: its transposition would be two products.
    half = matmul(tangent, x.T)
    return gram(x), half + half.T


@jax.custom_jvp
def sandwich(outer: jax.Array, inner: jax.Array) -> jax.Array:
    """Compute ``P S P`` of symmetric matrices, with three products backward.

    The tangents must be symmetric too: the matrices are functions of symmetric ones.

    >>> sandwich(2.0 * jnp.eye(1), jnp.eye(1)).tolist()
    [[4.0]]
    """
    return matmul(matmul(outer, inner), outer)


@sandwich.defjvp
def _sandwich_jvp(primals, tangents):
    outer, inner = primals
    outer_tangent, inner_tangent = tangents
    # The same product as in the value, which XLA computes once.
    half = matmul(matmul(outer, inner), outer_tangent)
    between = matmul(matmul(outer, inner_tangent), outer)
    return sandwich(outer, inner), half + half.T + between


def has_few_rows(shape: tuple[int, ...]) -> bool:
    """Say whether ``[n, m]`` has at most half as many rows as columns.

    Then forms on the rows' side are used. Not up to ``n < m``: a sum over the
    off-diagonal entries is the difference of the sum over all and that over the
    diagonal, and here at least half of it remains where the columns have equal norms,
    since a matrix ``[m, m]`` of rank n has ``|C|_F^2 >= trace(C)^2 / n``.
    """
    return 2 * shape[0] <= shape[1]


def column_products(
    a: jax.Array, b: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Compare every column of ``a`` with every column of ``b``, both ``[n, m]``.

    Without ``b`` the columns of ``a`` are compared with each other.

    Returns:
        The products of partners ``diag(a^T b)``, ``[m]``, and the sum of the squares of
        all others, ``sum_{j != k} (a^T b)_jk^2``. With few rows (`has_few_rows`) the
        sum is computed from ``a a^T`` and ``b b^T``; its rounding is then relative to
        ``|a^T b|_F^2``, so that it may come out as a negative rounding error where
        only a few columns are not zero.

    >>> a = jnp.array([[1.0, 2.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    >>> [x.tolist() for x in column_products(a)]
    [[1.0, 5.0, 0.0, 0.0], 8.0]
    """
    if has_few_rows(a.shape):
        diagonal = jnp.sum(a * (a if b is None else b), axis=0)
        total = _own_square_sum(a) if b is None else _square_sum(a, b)
        return diagonal, total - jnp.sum(diagonal**2)
    if b is None:
        return jnp.sum(a**2, axis=0), _own_others(a)
    matrix = matmul(a.T, b)
    return jnp.diagonal(matrix), off_diagonal_square_sum(matrix)


# The rules below compute each Gram matrix once: on many devices XLA would gather the
# rows again for a second one, though it is equal. What they multiply with is
# symmetric and split by rows, which transposing it would not leave.


@jax.custom_jvp
def _own_square_sum(a: jax.Array) -> jax.Array:
    """Compute ``|a^T a|_F^2`` as ``|a a^T|_F^2``."""
    return jnp.sum(gram(a) ** 2)


@_own_square_sum.defjvp
def _own_square_sum_jvp(primals, tangents):
    (a,), (tangent,) = primals, tangents
    products = gram(a)
    slope = 4.0 * jnp.sum(matmul(products, a) * tangent)
    return jnp.sum(products**2), slope


@jax.custom_jvp
def _square_sum(a: jax.Array, b: jax.Array) -> jax.Array:
    """Compute ``|a^T b|_F^2`` as ``<a a^T, b b^T>``."""
    return jnp.sum(gram(a) * gram(b))


@_square_sum.defjvp
def _square_sum_jvp(primals, tangents):
    (a, b), (a_tangent, b_tangent) = primals, tangents
    of_a, of_b = gram(a), gram(b)
    slope = jnp.sum(matmul(of_b, a) * a_tangent)
    slope += jnp.sum(matmul(of_a, b) * b_tangent)
    return jnp.sum(of_a * of_b), 2.0 * slope


@jax.custom_jvp
def _own_others(a: jax.Array) -> jax.Array:
    """Sum the squared off-diagonal entries of ``a^T a``."""
    return off_diagonal_square_sum(gram(a.T))


@_own_others.defjvp
def _own_others_jvp(primals, tangents):
    (a,), (tangent,) = primals, tangents
    products = gram(a.T)
    others = jnp.where(jnp.eye(a.shape[1], dtype=bool), 0.0, products)
    slope = 4.0 * jnp.sum(matmul(a, others) * tangent)
    return jnp.sum(others**2), slope
