"""Transformations of the spectrum of an embedding, over the batch or the channels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from ssljax.losses.innovations import whiten_few
from ssljax.losses.matrix_functions import (
    cholesky,
    eigh,
    iterated_inverse_root,
    matrix_function,
    null_bound,
)
from ssljax.losses.numerics import (
    Embeddings,
    Number,
    Transformed,
    at_least_float32,
    matmul,
    require_not_negative,
)
from ssljax.losses.symmetric_products import gram, has_few_rows


def spectral_transform(
    z: Embeddings, g: Callable[[jax.Array], jax.Array], *, axis: str = "batch"
) -> Transformed:
    """Apply a scalar function to the spectrum of the embedding's covariance.

    With the covariance ``U diag(lambda) U^T`` of the centred embedding, the output has
    the covariance ``U diag(lambda g(lambda)^2) U^T``: ``lambda**-0.5`` is ZCA
    whitening, 1 only centres. Gradients are exact also at repeated eigenvalues and to
    every order, in both modes.

    Args:
        z: embeddings, ``[N, D]``, any float type.
        g: function of one eigenvalue (a variance, in squared units of ``z``), scalar to
            scalar, traceable by jax; must not close over differentiated values.
        axis: "batch" centres every channel over the samples and transforms the
            ``[D, D]`` covariance; "channel" centres every sample over its channels and
            transforms the ``[N, N]`` one.

    Returns:
        ``[N, D]``, float32 or wider: ``zc U g(lambda) U^T`` (axis "batch"). Eigenvalues
        below ``n eps max(lambda)``, or below the rounding of ``z`` itself, count as
        zero; where ``g`` is not finite at zero those directions are dropped, so that a
        rank-deficient batch is whitened on its range and a constant one becomes 0.

    Raises:
        ValueError: for other shapes, an unknown axis or fewer than two observations.

    Source: Weng et al., "Modulate your spectrum in self-supervised learning", ICLR
    2024, spectral transformation.

    >>> z = jnp.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])
    >>> [round(float(v), 4) for v in spectral_transform(z, lambda v: v**-0.5)[0]]
    [0.866, 0.866]
    """
    x, floor = observations(z, axis)
    return restore(_by_spectrum(x, g, 0.0, floor), axis)


def whiten(
    z: Embeddings, *, method: str = "zca", axis: str = "batch", eps: Number = 0.0
) -> Transformed:
    """Whiten the embedding: map it linearly to an identity covariance.

    Args:
        z: embeddings, ``[N, D]``, any float type.
        method: "zca" (``U lambda^(-1/2) U^T``, the output nearest to the input), "pca"
            (``U lambda^(-1/2)``: channels are principal components, largest first, the
            largest entry of every eigenvector positive) or "cholesky" (``L^-1`` of
            ``L L^T``).
        axis: "batch" or "channel", as in `spectral_transform`.
        eps: added to every eigenvalue of the covariance, in squared units of ``z``.

    Returns:
        ``[N, D]``, float32 or wider. A singular covariance has no inverse: "zca" and
        "pca" whiten its range and give 0 elsewhere; "cholesky" adds a few rounding
        errors of the largest variance to the diagonal. The gradient of "pca" ignores
        rotations among equal eigenvalues.

    Raises:
        ValueError: for other shapes, an unknown method or axis, fewer than two
            observations or a negative eps.

    Source: Kessy, Lewin and Strimmer, "Optimal whitening and decorrelation", The
    American Statistician 2018.

    >>> z = jnp.array([[2.0, 1.0], [2.0, -1.0], [-2.0, 1.0], [-2.0, -1.0]])
    >>> [round(float(v), 4) for v in jnp.var(whiten(z), axis=0, ddof=1)]
    [1.0, 1.0]
    """
    if method not in _WHITENING:
        raise ValueError(
            f"method must be one of {', '.join(_WHITENING)}, got {method!r}"
        )
    require_not_negative("eps", eps)
    x, floor = observations(z, axis)
    return restore(_WHITENING[method](x, eps, floor), axis)


def iterative_normalization(
    z: Embeddings, *, iterations: int = 4, axis: str = "channel"
) -> Transformed:
    """Apply IterNorm: a few Newton steps towards ZCA whitening.

    The covariance is divided by its trace and ``P <- (3 P - P^3 S) / 2`` started at the
    identity; ``P / sqrt(trace)`` is applied. An eigenvalue that is the fraction ``x``
    of the trace leaves with the variance ``h_T(x)``, where ``h_0 = x`` and
    ``h_{T+1} = h_T (3 - h_T)^2 / 4``.

    Args:
        z: embeddings, ``[N, D]``, any float type.
        iterations: Newton steps T >= 0. From 8 on the equivalent coupled Newton-Schulz
            iteration is used, since the plain one diverges by rounding.
        axis: "batch" or "channel", as in `spectral_transform`.

    Returns:
        ``[N, D]``, float32 or wider. Independent of the scale of ``z``; where its total
        variance does not exceed the rounding of ``z``, zeros without a gradient.

    Raises:
        ValueError: for other shapes, an unknown axis, fewer than two observations or
            negative iterations.

    Source: Huang et al., "Iterative normalization: beyond standardization towards
    efficient whitening", CVPR 2019; over the channels as in Weng et al., "Modulate
    your spectrum in self-supervised learning", ICLR 2024.

    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> t = iterative_normalization(z, iterations=1, axis="batch")
    >>> [round(float(v), 3) for v in jnp.var(t, axis=0, ddof=1)]  # h_1(1/2)
    [0.781, 0.781]
    """
    if iterations < 0:
        raise ValueError(f"iterations must not be negative, got {iterations}")
    x, floor = observations(z, axis)

    def root(matrix: jax.Array) -> jax.Array:
        trace = jnp.trace(matrix)
        varies = trace > floor
        # Dividing by 1 where there is nothing to normalise avoids 0 / 0.
        trace = jnp.where(varies, trace, 1.0)
        iterated = iterated_inverse_root(matrix / trace, iterations)
        return jnp.where(varies, iterated * jax.lax.rsqrt(trace), 0.0)

    return restore(by_covariance(x, root), axis)


def observations(z: Embeddings, axis: str) -> tuple[jax.Array, jax.Array]:
    """Return centred observations as rows, and the variance below which is rounding."""
    if axis not in ("batch", "channel"):
        raise ValueError(f"axis must be batch or channel, got {axis!r}")
    z = jnp.asarray(z)
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(f"embeddings must be an [N, D] array, got {list(z.shape)}")
    x = at_least_float32(z if axis == "batch" else z.T)
    if x.shape[0] < 2:
        raise ValueError(
            "a covariance needs at least two "
            f"{'samples' if axis == 'batch' else 'channels'}, got shape {list(z.shape)}"
        )
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x)))
    floor = x.shape[1] * (jnp.finfo(x.dtype).eps * largest) ** 2
    return x - x.mean(axis=0, keepdims=True), floor


def restore(x: jax.Array, axis: str) -> jax.Array:
    """Turn observations back into embeddings ``[N, D]``."""
    return x if axis == "batch" else x.T


def covariance(x: jax.Array) -> jax.Array:
    """Compute the unbiased covariance of the columns of centred rows."""
    return gram(x.T) / (x.shape[0] - 1)


def by_covariance(
    x: jax.Array, function: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    """Compute ``x f(C)``, where ``f`` acts on the covariance's eigenvalues.

    Rows are centred. Columns and rows have the same eigenvalues except for zeros, whose
    directions ``x`` lacks: ``x f(x^T x) = f(x x^T) x``. The smaller matrix is used.
    """
    observed, channels = x.shape
    if channels <= observed:
        return matmul(x, function(covariance(x)))
    return matmul(function(gram(x) / (observed - 1)), x)


def _by_spectrum(
    x: jax.Array, g: Callable, eps: Number, floor: float | jax.Array
) -> jax.Array:
    """Compute ``x g(C + eps I)``."""

    def function(matrix: jax.Array) -> jax.Array:
        # The rows are centred: where they are few, their Gram matrix has a null
        # direction, whose eigenvalue is the rounding of sums over all channels.
        return matrix_function(
            _shifted(matrix, eps), g, floor=floor, terms=max(x.shape)
        )

    return by_covariance(x, function)


def zca(x: jax.Array, eps: Number, floor: float | jax.Array) -> jax.Array:
    """Whiten centred rows symmetrically: the output nearest to the input."""
    return _by_spectrum(x, jax.lax.rsqrt, eps, floor)


def _shifted(matrix: jax.Array, eps: Number) -> jax.Array:
    return matrix + eps * jnp.eye(matrix.shape[0], dtype=matrix.dtype)


def _pca(x: jax.Array, eps: Number, floor: float | jax.Array) -> jax.Array:
    values, vectors = eigh(_shifted(covariance(x), eps))
    values, vectors = values[::-1], vectors[:, ::-1]
    positive = values > null_bound(values, floor)
    scale = jnp.where(positive, jax.lax.rsqrt(jnp.where(positive, values, 1.0)), 0.0)
    return matmul(x, vectors) * scale[None, :]


def by_cholesky(
    x: jax.Array, scale: Number, eps: Number, floor: float | jax.Array
) -> jax.Array:
    """Multiply rows by ``L^-T``, where ``L L^T`` is ``scale C + eps I``."""
    if has_few_rows(x.shape):
        return whiten_few(x, scale, eps, floor)
    lower = cholesky(_shifted(scale * covariance(x), eps), floor=floor)
    return jax.scipy.linalg.solve_triangular(lower, x.T, lower=True).T


def _cholesky(x: jax.Array, eps: Number, floor: float | jax.Array) -> jax.Array:
    return by_cholesky(x, 1.0, eps, floor)


_WHITENING = {"zca": zca, "pca": _pca, "cholesky": _cholesky}
