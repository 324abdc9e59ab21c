"""The largest eigenvalue of a covariance, by matrix products alone."""

import math

import jax
import jax.numpy as jnp

from ssljax.losses.numerics import matmul

_LANCZOS_FROM = 1024  # D: smaller matrices are squared in less time
_MOST_STEPS = 128
_STEPS_AT_ONCE = 8


def largest_eigenvalue(c: jax.Array) -> jax.Array:
    """Compute the largest eigenvalue of a positive semi-definite matrix.

    Small matrices are squared repeatedly, which takes D^3 operations and separates any
    two eigenvalues. Of large ones the Lanczos method finds it in about 40 products with
    a vector; if its residual is not down to rounding after 128, as where many
    eigenvalues are nearly the largest, the matrix is squared all the same.

    Args:
        c: symmetric, ``[D, D]``, entries near one.

    Returns:
        Scalar, to rounding: a residual bounds the error of an eigenvalue.

    Source: Golub and Van Loan, "Matrix computations", 2013, section 10.1.

    >>> round(float(largest_eigenvalue(jnp.diag(jnp.array([1.0, 3.0])))), 4)
    3.0
    """
    if c.shape[0] < _LANCZOS_FROM:
        return by_squaring(c)
    value, converged = by_lanczos(c)
    # Not of a matrix with NaN, which never converges and stays NaN when squared.
    return jax.lax.cond(converged, lambda c: value, by_squaring, c)


def by_squaring(c: jax.Array) -> jax.Array:
    """Square the normalised matrix until it is the projector on the top eigenspace.

    If the spectrum never separates, the last power is so high that every eigenvalue
    still present equals the largest up to rounding.
    """
    # One eigenvalue above D - 1 equal ones changes the normalised matrix by its lead
    # over sqrt(D) only: at first too little to distinguish from convergence.
    least = 6 + math.ceil(math.log2(c.shape[0]) / 2)
    most, rounding = jnp.finfo(c.dtype).nmant + 2, 16 * jnp.finfo(c.dtype).eps

    def moving(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        times, _, change = carry
        return (times < most) & ((times < least) | (change > rounding))

    def square(carry: tuple[jax.Array, jax.Array, jax.Array]):
        times, b, _ = carry
        squared = matmul(b, b)
        squared = squared / nonzero(jnp.linalg.norm(squared))
        return times + 1, squared, jnp.linalg.norm(squared - b)

    start = c / nonzero(jnp.linalg.norm(c))
    carry = (jnp.int32(0), start, jnp.asarray(jnp.inf, c.dtype))
    top = jax.lax.while_loop(moving, square, carry)[1]
    # trace(P C) / trace(P): the mean eigenvalue over the top eigenspace.
    return jnp.sum(top * c) / nonzero(jnp.trace(top))


def by_lanczos(c: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the largest eigenvalue in a Krylov space, and whether it is exact.

    The space starts at a fixed random vector. Every new vector is made orthogonal to
    all before it, twice, so that rounding does not repeat eigenvalues. What is returned
    is the Rayleigh quotient of the vector found, with its own residual.
    """
    d, dtype = c.shape[0], c.dtype
    rounding = 8 * jnp.finfo(dtype).eps
    start = jax.random.normal(jax.random.key(0), (d,), dtype)
    basis = jnp.zeros((_MOST_STEPS + 1, d), dtype)
    basis = basis.at[0].set(start / jnp.linalg.norm(start))
    steps = jnp.arange(_MOST_STEPS)

    def extend(k: jax.Array, carry: tuple[jax.Array, jax.Array]):
        basis, projected = carry
        image = matmul(c, basis[k])
        along = matmul(basis, image)  # rows of the basis not yet set are zero
        rest = image - matmul(along, basis)
        length = jnp.linalg.norm(rest)
        # At unit length: where nothing but rounding is left, it lies along the basis.
        rest = rest / nonzero(length)
        rest = rest - matmul(matmul(basis, rest), basis)
        basis = basis.at[k + 1].set(rest / nonzero(jnp.linalg.norm(rest)))
        # Column k of the tridiagonal matrix, its last row the length.
        column = jnp.where(jnp.arange(_MOST_STEPS + 1) == k + 1, length, along)
        return basis, projected.at[:, k].set(column)

    def unfinished(carry):
        k, _, _, _, residual = carry
        # Written so that the loop continues with NaN.
        return (k < _MOST_STEPS) & ~(residual <= rounding)

    def more(carry):
        k, basis, projected, _, _ = carry
        basis, projected = jax.lax.fori_loop(
            k, k + _STEPS_AT_ONCE, extend, (basis, projected)
        )
        k = k + _STEPS_AT_ONCE
        # eigh symmetrises; columns not yet set are zero, and so are their eigenvalues.
        inside = (steps[:, None] < k) & (steps[None, :] < k)
        values, vectors = jnp.linalg.eigh(jnp.where(inside, projected[:-1], 0.0))
        last = projected[k, k - 1] * vectors[k - 1, -1]
        residual = jnp.abs(last) / nonzero(values[-1])
        return k, basis, projected, vectors[:, -1], residual

    projected = jnp.zeros((_MOST_STEPS + 1, _MOST_STEPS), dtype)
    nothing, far = jnp.zeros(_MOST_STEPS, dtype), jnp.asarray(jnp.inf, dtype)
    carry = (jnp.int32(0), basis, projected, nothing, far)
    _, basis, _, weights, _ = jax.lax.while_loop(unfinished, more, carry)
    top = matmul(weights, basis[:-1])
    image = matmul(c, top)
    value = jnp.vdot(top, image, precision="highest") / nonzero(jnp.vdot(top, top))
    residual = jnp.linalg.norm(image - value * top)
    return value, residual <= 2 * rounding * value


def nonzero(largest: jax.Array) -> jax.Array:
    """Replace a divisor that is not positive by 1; the dividend is zero then."""
    # Compared this way round so that NaN stays NaN.
    return jnp.where(largest <= 0, 1.0, largest)
