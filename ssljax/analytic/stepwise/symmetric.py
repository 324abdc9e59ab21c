"""Symmetric matrices, differentiable where eigenvalues are equal or zero.

The derivative of an eigenvector divides by gaps between eigenvalues, and JAX returns
NaN where one gap is zero, even if the vectors that belong to it are not used. Here such
a pair does not turn, which is right for all that does not depend on the choice of a
basis among equals.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssljax.losses.custom_rule import CustomRule

# Gaps below this share of the eigenvalues are rounding.
_EQUAL = 1e-12


@CustomRule
def descending_eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return eigenvalues from the largest down, and eigenvectors in columns.

    Of the two signs of an eigenvector, the one that makes its largest entry positive.
    The derivative is exact for distinct eigenvalues. Among equal ones the eigenvectors
    do not turn, and the eigenvalues are taken along them.

    >>> slope = jax.jacfwd(lambda x: descending_eigh(jnp.diag(x))[1])(jnp.ones(2))
    >>> bool(jnp.isfinite(slope).all())
    True
    """
    values, vectors = jnp.linalg.eigh(matrix)
    # Without indices, whose type depends on the precision outside of a `jax.jit`.
    forward = jnp.max(vectors, axis=0) >= jnp.max(-vectors, axis=0)
    vectors = vectors * jnp.where(forward, 1.0, -1.0)[None, :]
    return values[::-1], vectors[:, ::-1]


@descending_eigh.defjvp
def _descending_eigh_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    values, vectors = descending_eigh(primals[0])
    inside, gap, distinct = _change(values, vectors, tangents[0])
    turn = jnp.where(distinct, 1.0 / gap, 0.0)
    return (values, vectors), (jnp.diagonal(inside), vectors @ (inside * turn))


def scaled_modes(
    matrix: jax.Array, d: int, size: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    """Return the d leading eigenvectors as rows, each times a function of its value.

    Args:
        matrix: symmetric, ``[M, M]``.
        d: number of modes.
        size: smooth function of eigenvalues, entry by entry.

    Returns:
        ``W``, ``[d, M]``. Its derivative is exact for distinct eigenvalues, whatever
        those beyond the first d are, and that of ``W^T W`` where some of the d are
        equal.

    >>> w = scaled_modes(jnp.diag(jnp.array([1.0, 4.0])), 1, jnp.sqrt)
    >>> w.tolist()
    [[0.0, 2.0]]
    """

    @CustomRule
    def modes(matrix: jax.Array) -> jax.Array:
        values, vectors = descending_eigh(matrix)
        return size(values[:d])[:, None] * vectors[:, :d].T

    @modes.defjvp
    def jvp(primals, tangents):  # type: ignore[no-untyped-def]
        values, vectors = descending_eigh(primals[0])
        inside, gap, distinct = _change(values, vectors, tangents[0])
        top = values[:d]
        sizes, slopes = jax.jvp(size, (top,), (jnp.ones_like(top),))
        # The limit of the two sizes' difference over the gap, less the pure rotation.
        share = jnp.where(distinct[:, :d], sizes[None, :] / gap[:, :d], slopes[None, :])
        change = vectors @ (inside[:, :d] * share)
        return sizes[:, None] * vectors[:, :d].T, change.T

    return modes(matrix)


def _change(
    values: jax.Array, vectors: jax.Array, tangent: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return a change in the eigenbasis, gaps (column less row), and which are any."""
    row, column = values[:, None], values[None, :]
    rounding = _EQUAL * jnp.max(jnp.abs(values))
    gap = column - row
    distinct = jnp.abs(gap) > rounding
    symmetric = 0.5 * (tangent + tangent.T)
    inside = vectors.T @ symmetric @ vectors
    return inside, jnp.where(distinct, gap, 1.0), distinct


@CustomRule
def matrix_root(matrix: jax.Array) -> jax.Array:
    """Return the root of a positive semi-definite matrix, rounding below zero as zero.

    Derivatives of every order are exact where the matrix is definite, equal eigenvalues
    or not; for a singular one along changes that keep its rank.

    >>> matrix_root(jnp.diag(jnp.array([4.0, 0.0]))).tolist()
    [[2.0, 0.0], [0.0, 0.0]]
    """
    values, vectors = jnp.linalg.eigh(matrix)
    # The root of a zero's rounding would be far larger than rounding.
    rounding = len(values) * jnp.finfo(values.dtype).eps * values[-1]
    values = jnp.where(values > rounding, values, 0.0)
    return (vectors * jnp.sqrt(values)[None, :]) @ vectors.T


@matrix_root.defjvp
def _matrix_root_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    found = matrix_root(primals[0])
    return found, _sylvester(found, tangents[0])


def _sylvester(matrix: jax.Array, right: jax.Array) -> jax.Array:
    """Solve ``R X + X R = C``; X is zero within the null space of R."""

    # The eigenvectors stay inside, where nothing differentiates them: a derivative of
    # the solution is the solution for another right-hand side.
    def solve(_: Callable, right: jax.Array) -> jax.Array:
        values, vectors = jnp.linalg.eigh(matrix)
        total = values[:, None] + values[None, :]
        large = total > 1e-12 * values[-1]
        inside = vectors.T @ right @ vectors
        inside = jnp.where(large, inside / jnp.where(large, total, 1.0), 0.0)
        return vectors @ inside @ vectors.T

    return jax.lax.custom_linear_solve(
        lambda x: matrix @ x + x @ matrix, right, solve, symmetric=True
    )
