"""Powers of symmetric matrices whose derivatives survive repeated eigenvalues.

The derivative of eigenvectors divides by gaps between eigenvalues, so that JAX gives
NaN for a matrix as plain as the identity. A power of the matrix is smooth there: its
derivatives are made of divided differences, in which the gaps cancel.
"""

import functools
from collections.abc import Callable

import jax
import jax.core
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import ad, batching, mlir

from ssljax.analytic.inputs import check_shape
from ssljax.analytic.precision import in_float64
from ssljax.losses.custom_rule import CustomRule

# Below this relative spread a Taylor series is more accurate than differences.
_CLOSE = 3e-3


@in_float64
def symmetric_power(matrix: jax.Array, power: float | jax.Array) -> jax.Array:
    """Compute a power of a symmetric positive semi-definite matrix.

    Args:
        matrix: ``[n, n]``; what is not symmetric in it is dropped, and eigenvalues
            below 0 count as 0.
        power: any real number; below 0 the matrix must have full rank.

    Returns:
        ``matrix^power``, ``[n, n]``. First and second derivatives, in both arguments,
        are exact at repeated eigenvalues; at an eigenvalue 0 they are infinite where
        those of ``x^power`` are.

    Raises:
        ValueError: if the matrix is not square.

    Source: Daleckii and Krein's formula, e.g. Higham, "Functions of matrices", 2008,
    theorem 3.11, and its second-order version.

    >>> jax.grad(lambda x: symmetric_power(x * jnp.eye(2), 0.5)[0, 0])(4.0)
    Array(0.25, dtype=float32, weak_type=True)
    """
    matrix = check_shape("matrix", matrix, "n", "n")
    return _power(0, 0.5 * (matrix + matrix.T), jnp.asarray(power, jnp.float64))


@in_float64
def symmetric_entropy(matrix: jax.Array) -> jax.Array:
    """Compute ``-tr(P ln P)`` of a symmetric positive semi-definite matrix.

    Args:
        matrix: P, ``[n, n]``.

    Returns:
        A number, twice differentiable at full rank; an eigenvalue 0 adds nothing.

    Raises:
        ValueError: if the matrix is not square.

    >>> round(float(symmetric_entropy(0.5 * jnp.eye(2))), 6)  # ln 2
    0.693147
    """
    matrix = check_shape("matrix", matrix, "n", "n")
    return -jnp.trace(_power(1, 0.5 * (matrix + matrix.T), jnp.ones(())))


# `logs` counts derivatives in the power: of the function x^power (ln x)^logs.
@functools.partial(CustomRule, static=(0,))
def _power(logs: int, matrix: jax.Array, power: jax.Array) -> jax.Array:
    values, vectors = _eigh(matrix)
    return _back(vectors, jnp.diag(_in_power(_raised, logs)(values, power)))


@_power.defjvp
def _power_jvp(logs: int, primals, tangents):  # type: ignore[no-untyped-def]
    (matrix, power), (turn, change) = primals, tangents
    moved = _slope_p.bind(matrix, power, turn, logs=logs)
    return _power(logs, matrix, power), moved + change * _power(logs + 1, *primals)


# The derivative in one direction is a primitive: it is linear in the direction, so that
# reverse mode would otherwise take it apart before a second derivative sees its rule.
_slope_p = core.Primitive("symmetric_power_slope")


@_slope_p.def_impl
def _slope(
    matrix: jax.Array, power: jax.Array, direction: jax.Array, *, logs: int
) -> jax.Array:
    """Return the derivative of the power in a direction, ``[..., n, n]``."""
    # This is compiled after the caller's context has ended.
    with jax.enable_x64(True):
        slope = functools.partial(_slope_of_one, logs)
        for _ in range(matrix.ndim - 2):
            slope = jax.vmap(slope)
        return slope(matrix, power, direction)


def _slope_of_one(
    logs: int, matrix: jax.Array, power: jax.Array, direction: jax.Array
) -> jax.Array:
    values, vectors = _eigh(matrix)
    pairs = _in_power(_pairs, logs)(values, power)
    return _back(vectors, pairs * _into(vectors, direction))


def _slope_jvp(primals, tangents, *, logs: int):  # type: ignore[no-untyped-def]
    (matrix, power, direction), (turn, change, other) = primals, tangents
    moved = jnp.zeros_like(direction)
    if type(turn) is not ad.Zero:
        curvature = functools.partial(_curvature, logs)
        for _ in range(matrix.ndim - 2):
            curvature = jax.vmap(curvature)
        moved += curvature(matrix, power, direction, turn)
    if type(change) is not ad.Zero:
        faster = _slope_p.bind(matrix, power, direction, logs=logs + 1)
        moved += change[..., None, None] * faster
    if type(other) is not ad.Zero:
        moved += _slope_p.bind(matrix, power, other, logs=logs)
    return _slope_p.bind(*primals, logs=logs), moved


def _slope_transposed(cotangent, matrix, power, direction, *, logs: int):  # type: ignore[no-untyped-def]
    # Its own transpose, as the derivative is that of a symmetric function.
    if type(cotangent) is ad.Zero:
        return None, None, ad.Zero(direction.aval)
    return None, None, _slope_p.bind(matrix, power, cotangent, logs=logs)


def _slope_mapped(arguments, axes, *, logs: int):  # type: ignore[no-untyped-def]
    size = next(
        x.shape[axis]
        for x, axis in zip(arguments, axes, strict=True)
        if axis is not None
    )
    in_front = [
        jnp.broadcast_to(x, (size, *x.shape))
        if axis is None
        else jnp.moveaxis(x, axis, 0)
        for x, axis in zip(arguments, axes, strict=True)
    ]
    return _slope_p.bind(*in_front, logs=logs), 0


_slope_p.def_abstract_eval(
    lambda matrix, power, direction, *, logs: jax.core.ShapedArray(
        direction.shape, direction.dtype
    )
)
mlir.register_lowering(_slope_p, mlir.lower_fun(_slope, multiple_results=False))
ad.primitive_jvps[_slope_p] = _slope_jvp
ad.primitive_transposes[_slope_p] = _slope_transposed
batching.primitive_batchers[_slope_p] = _slope_mapped


def _curvature(
    logs: int,
    matrix: jax.Array,
    power: jax.Array,
    first: jax.Array,
    second: jax.Array,
) -> jax.Array:
    """Return the second derivative in two directions."""
    values, vectors = _eigh(matrix)
    triples = _in_power(_triples, logs)(values, power)
    a, b = _into(vectors, first), _into(vectors, second)
    mixed = jnp.einsum("ikj,ik,kj->ij", triples, a, b)
    return _back(vectors, mixed + jnp.einsum("ikj,ik,kj->ij", triples, b, a))


def _in_power(function: Callable, times: int) -> Callable:
    """Return a derivative of ``function(values, power)`` in the power."""
    for _ in range(times):
        function = _derived(function)
    return function


def _derived(function: Callable) -> Callable:
    def derivative(values: jax.Array, power: jax.Array) -> jax.Array:
        one = jnp.ones_like(power)
        return jax.jvp(lambda p: function(values, p), (power,), (one,))[1]

    return derivative


def _pairs(x: jax.Array, power: jax.Array) -> jax.Array:
    """Return ``f[x_i, x_j]``, ``(x_i^p - x_j^p) / (x_i - x_j)``, ``[n, n]``."""
    return _pair(x[:, None], x[None, :], power)


def _pair(x: jax.Array, y: jax.Array, power: jax.Array) -> jax.Array:
    large, small = jnp.maximum(x, y), jnp.minimum(x, y)
    share = jnp.where(large == 0, 1.0, small / jnp.where(large == 0, 1.0, large))
    # Numerator and denominator use the same logarithm, so that its rounding cancels.
    log = jnp.log(jnp.maximum(share, 1e-300))
    equal = log == 0
    log = jnp.where(equal, -1.0, log)
    ratio = jnp.where(equal, power, jnp.expm1(power * log) / jnp.expm1(log))
    return _raised(large, power - 1.0) * ratio


def _raised(x: jax.Array, power: jax.Array) -> jax.Array:
    """Return ``x^p``; at 0 without a derivative in p, where JAX may have NaN."""
    nothing = x == 0
    at_zero = jnp.where(power > 0, 0.0, jnp.where(power == 0, 1.0, jnp.inf))
    return jnp.where(nothing, at_zero, jnp.where(nothing, 1.0, x) ** power)


def _triples(x: jax.Array, power: jax.Array) -> jax.Array:
    """Return ``f[x_i, x_k, x_j]``, ``[n, n, n]``."""
    n = len(x)
    axes = (x[:, None, None], x[None, :, None], x[None, None, :])
    three = jnp.stack([jnp.broadcast_to(axis, (n, n, n)) for axis in axes])
    low, middle, high = jnp.sort(three, axis=0)
    spread = high - low
    far = spread > _CLOSE * high
    across = _pair(high, middle, power) - _pair(middle, low, power)
    across = across / jnp.where(far, spread, 1.0)
    return jnp.where(far, across, _triple_of_close(three, power))


def _triple_of_close(three: jax.Array, power: jax.Array) -> jax.Array:
    """Return the same as a Taylor series around the mean of the three."""
    mean = jnp.mean(three, axis=0)
    nothing = mean == 0
    mean = jnp.where(nothing, 1.0, mean)
    away = jnp.where(nothing[None], 0.0, three / mean[None] - 1.0)
    second, third, fourth = (jnp.sum(away**k, axis=0) for k in (2, 3, 4))
    # Complete homogeneous polynomials of deviations that sum to 0.
    polynomials = (
        jnp.ones_like(mean),
        jnp.zeros_like(mean),
        second / 2.0,
        third / 3.0,
        second**2 / 8.0 + fourth / 4.0,
    )
    total, binomial = jnp.zeros_like(mean), power
    for k, polynomial in enumerate(polynomials, start=2):
        binomial = binomial * (power - k + 1.0) / k
        total += binomial * polynomial
    at_zero = jnp.where((power > 2) | (power == 1), 0.0, jnp.inf)
    at_zero = jnp.where(power == 2, 1.0, at_zero)
    return jnp.where(nothing, at_zero, mean ** (power - 2.0) * total)


def _eigh(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    values, vectors = jnp.linalg.eigh(matrix)
    return jnp.maximum(values, 0.0), vectors


def _into(vectors: jax.Array, matrix: jax.Array) -> jax.Array:
    return vectors.T @ matrix @ vectors


def _back(vectors: jax.Array, matrix: jax.Array) -> jax.Array:
    return vectors @ matrix @ vectors.T
