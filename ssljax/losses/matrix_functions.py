"""Functions of a symmetric matrix, differentiable where its eigenvectors are not."""

import itertools
import string
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.custom_batching
import jax.numpy as jnp
import numpy as np

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
    eigenvectors: exact at repeated eigenvalues, in reverse mode to every order (forward
    mode raises). ``g`` must not close over values that are being differentiated.

    Eigenvalues within `null_bound` of zero count as zero; ``terms`` is the number of
    products summed in an entry of the matrix, where that is more than its side. Where
    ``g`` (or a derivative of it) is not finite at zero it is taken as 0 there, which
    makes ``x**-0.5`` the Moore-Penrose inverse root, whose derivative is exact while
    the rank stays.
    """
    matrix = 0.5 * (matrix + matrix.T)
    values, vectors = _decompose(jax.lax.stop_gradient(matrix))
    values = jnp.where(jnp.abs(values) <= null_bound(values, floor, terms), 0.0, values)
    return _frechet(g, matrix, values, vectors, ())


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


@jax.custom_batching.custom_vmap
def _decompose(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return eigenvalues and vectors; of a batch one by one, see `over_blocks`."""
    values, vectors = jnp.linalg.eigh(matrix)
    return values, vectors


@_decompose.def_vmap
def _decompose_blocks(size: int, batched: list[bool], matrices: jax.Array):
    del size, batched  # of the only argument
    # Natively batched: a vmap of `_decompose` would come here again.
    decomposed = over_blocks(
        _decompose, matrices, at_once=lambda m: tuple(jnp.linalg.eigh(m))
    )
    return decomposed, (True, True)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _frechet(g, matrix, values, vectors, directions):
    """Compute the k-th derivative of the matrix function along k directions.

    The directions are symmetric. Computed from the decomposition; ``matrix`` is an
    argument only to receive the gradient.
    """
    del matrix
    if not directions:
        return matmul(vectors * _pointwise(g, 0, values)[None, :], vectors.T)
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


def _frechet_forward(g, matrix, values, vectors, directions):
    result = _frechet(g, matrix, values, vectors, directions)
    # Copies, since jax 0.10 to 0.12 confuses residuals that are arguments, unchanged,
    # where a scan around this is differentiated twice.
    kept = jax.tree.map(jnp.copy, (matrix, values, vectors, directions))
    return result, kept


def _frechet_backward(g, residuals, cotangent):
    # The derivatives are symmetric multilinear forms, so the cotangent is one more
    # direction, or replaces one, and nothing is ever transposed.
    matrix, values, vectors, directions = residuals
    cotangent = 0.5 * (cotangent + cotangent.T)

    def along(*chosen):
        return _frechet(g, matrix, values, vectors, chosen)

    to_directions = tuple(
        along(*directions[:i], cotangent, *directions[i + 1 :])
        for i in range(len(directions))
    )
    to_matrix = along(*directions, cotangent)
    return (
        to_matrix,
        jnp.zeros_like(values),
        jnp.zeros_like(vectors),
        to_directions,
    )


_frechet.defvjp(_frechet_forward, _frechet_backward)


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


@jax.custom_jvp
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
