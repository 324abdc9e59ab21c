"""Derivatives of functions of a symmetric matrix, exact at repeated eigenvalues.

The k-th derivative of ``U g(Lambda) U^T`` along k symmetric matrices is a symmetric
multilinear form in divided differences of ``g``. It is a primitive of its own: its
derivative with respect to the matrix is the form with one more direction, and since
the form is symmetric its transpose is the form again. `jax.custom_jvp` could say the
first, and loses it where a derivative is differentiated; `jax.custom_vjp` could say
both, and has no forward mode.
"""

import itertools
import string
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from ssljax.losses.levels import mapped, next_level, sizes_in_front
from ssljax.losses.numerics import matmul

_form = Primitive("matrix_derivative")


def matrix_derivative(
    g: Callable,
    matrix: jax.Array,
    values: jax.Array,
    vectors: jax.Array,
    *directions: jax.Array,
) -> jax.Array:
    """Compute the k-th derivative of ``U g(Lambda) U^T`` along k directions.

    Args:
        g: scalar function.
        matrix: symmetric ``[n, n]``. The result is computed from its decomposition;
            this argument is there to be differentiated.
        values: its eigenvalues ``[n]``, whose own derivative is not asked for.
        vectors: its eigenvectors ``[n, n]``, likewise.
        *directions: symmetric ``[n, n]``; none for the function itself.

    Returns:
        A symmetric ``[n, n]`` matrix.

    Source: Higham, "Functions of Matrices", 2008, section 3.2 (Daleckii and Krein).

    >>> one, two = jnp.eye(1), jnp.full(1, 2.0)
    >>> slope = matrix_derivative(jnp.square, 2.0 * one, two, one, one)
    >>> float(slope[0, 0])  # of the square, at 2
    4.0
    """
    return _form.bind(matrix, values, vectors, *directions, g=g, levels=())


def _compute(matrix, values, vectors, *directions, g, levels):
    """Compute the form, mapped over the leading axes that ``levels`` describe."""

    def one(matrix, values, vectors, *directions):
        del matrix
        if not directions:
            return matmul(vectors * _pointwise(g, 0, values)[None, :], vectors.T)
        return _along(g, values, vectors, directions)

    return mapped(one, levels)(matrix, values, vectors, *directions)


def _along(g, values, vectors, directions):
    order = len(directions)
    rotated = [matmul(vectors.T, matmul(e, vectors)) for e in directions]
    grid = jnp.meshgrid(*[values] * (order + 1), indexing="ij")
    quotients = _divided_difference(g, jnp.stack(grid, axis=-1))
    # "ab,ab->ab" for the first derivative, "abc,ab,bc->ac" for the second.
    index = string.ascii_letters[: order + 1]
    steps = ",".join(a + b for a, b in itertools.pairwise(index))
    spec = f"{index},{steps}->{index[0]}{index[-1]}"
    total = jnp.zeros_like(vectors)
    for path in itertools.permutations(rotated):
        total += jnp.einsum(spec, quotients, *path, precision=jax.lax.Precision.HIGHEST)
    return matmul(vectors, matmul(total, vectors.T))


def _abstract(*operands, g, levels):
    shapes = [x.shape for x in operands]
    shape = (*sizes_in_front(shapes, levels), *shapes[2][-2:])
    whole = [x for x in (operands[0], *operands[3:]) if x.shape == shape]
    # Of an operand, where one has all axes: it carries how shard_map varies it.
    return whole[0] if whole else jax.core.ShapedArray(shape, operands[2].dtype)


def _differentiate(primals, tangents, *, g, levels):
    """Add a direction for the matrix, and replace each direction in turn."""
    # Copies, since jax 0.10 to 0.12 confuses residuals that are arguments, unchanged,
    # where a scan around this is differentiated twice.
    matrix, values, vectors, *directions = map(jnp.copy, primals)
    terms = []

    def add(chosen, level_of):
        masks = tuple((*m[:3], *(m[i] for i in level_of)) for m in levels)
        term = _form.bind(matrix, values, vectors, *chosen, g=g, levels=masks)
        terms.append(term)

    slots = range(3, len(primals))
    if type(tangents[0]) is not ad.Zero:
        add([*directions, _symmetric(tangents[0])], [*slots, 0])
    for i, tangent in enumerate(tangents[3:]):
        if type(tangent) is not ad.Zero:
            chosen = [*directions[:i], _symmetric(tangent), *directions[i + 1 :]]
            add(chosen, slots)
    out = _form.bind(*primals, g=g, levels=levels)
    if not terms:
        return out, jnp.zeros_like(out)
    return out, sum(terms[1:], terms[0])


def _transpose(cotangent, matrix, values, vectors, *directions, g, levels):
    """Put the cotangent in the place of the direction that is asked for."""
    slot = next(i for i, e in enumerate(directions) if ad.is_undefined_primal(e))
    result: list[Any] = [None] * (3 + len(directions))
    if type(cotangent) is ad.Zero:
        result[3 + slot] = ad.Zero(directions[slot].aval)
        return result
    chosen = list(directions)
    chosen[slot] = _symmetric(cotangent)
    masks = tuple(
        tuple(True if i == 3 + slot else b for i, b in enumerate(m)) for m in levels
    )
    found = _form.bind(matrix, values, vectors, *chosen, g=g, levels=masks)
    # Where the direction was shared by a vmap, its cotangents add up.
    shared = [k for k, m in enumerate(reversed(levels)) if not m[3 + slot]]
    result[3 + slot] = jnp.sum(found, axis=tuple(shared)) if shared else found
    return result


def _batch(operands: Sequence[Any], axes: Sequence[int | None], *, g, levels):
    moved, level = next_level(operands, axes)
    return _form.bind(*moved, g=g, levels=(*levels, level)), 0


_form.def_impl(_compute)
_form.def_abstract_eval(_abstract)
ad.primitive_jvps[_form] = _differentiate
ad.primitive_transposes[_form] = _transpose
batching.primitive_batchers[_form] = _batch
mlir.register_lowering(_form, mlir.lower_fun(_compute, multiple_results=False))


def _symmetric(matrix: jax.Array) -> jax.Array:
    return 0.5 * (matrix + jnp.swapaxes(matrix, -1, -2))


def _divided_difference(g: Callable, points: jax.Array) -> jax.Array:
    """Compute ``g[x_0, ..., x_k]`` along the last axis, also at equal points."""
    if points.shape[-1] == 1:
        return _pointwise(g, 0, points[..., 0])
    points = jnp.sort(points, axis=-1)
    gap = points[..., -1] - points[..., 0]
    # Below this relative gap the difference would lose more digits than the
    # quadrature does: eps / gap against gap^6.
    threshold = jnp.finfo(points.dtype).eps ** (1 / 6)
    near = gap <= threshold * jnp.max(jnp.abs(points), axis=-1)
    difference = _divided_difference(g, points[..., 1:]) - _divided_difference(
        g, points[..., :-1]
    )
    quotient = difference / jnp.where(near, 1.0, gap)
    return jnp.where(near, _mean_derivative(g, points), quotient)


def _mean_derivative(g: Callable, points: jax.Array) -> jax.Array:
    """Compute the divided difference of close points, by quadrature.

    The Hermite-Genocchi integral, at Gauss-Legendre nodes.
    """
    order = points.shape[-1] - 1
    nodes, weights = np.polynomial.legendre.leggauss(4)
    corners = np.array(list(itertools.product((nodes + 1) / 2, repeat=order)))
    weight = np.prod(list(itertools.product(weights / 2, repeat=order)), axis=1)
    # The simplex from the unit cube: t_i = s_1 ... s_i, with its Jacobian.
    weight *= np.prod(corners ** np.arange(order - 1, -1, -1)[None, :], axis=1)
    along = jnp.asarray(np.cumprod(corners, axis=1).T, points.dtype)
    exact = jax.lax.Precision.HIGHEST
    inside = jnp.tensordot(jnp.diff(points, axis=-1), along, axes=1, precision=exact)
    values = _pointwise(g, order, points[..., :1] + inside)
    weight = jnp.asarray(weight, points.dtype)
    return jnp.tensordot(values, weight, axes=1, precision=exact)


def _pointwise(g: Callable, order: int, points: jax.Array) -> jax.Array:
    """Compute a derivative of ``g`` at every point; 0 where not finite at zero."""

    def derivative(x):
        return jnp.asarray(g(x), dtype=x.dtype)  # g may return a Python constant

    for _ in range(order):
        derivative = jax.grad(derivative)
    result = jax.vmap(derivative)(points.ravel()).reshape(points.shape)
    return jnp.where((points == 0) & ~jnp.isfinite(result), 0.0, result)
