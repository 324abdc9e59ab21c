"""Losses on paired embeddings whose repulsion acts between dimensions."""

import jax
import jax.numpy as jnp

from ssljax.losses.numerics import (
    Embeddings,
    Number,
    Scalar,
    center,
    l2_normalize,
    matmul,
    off_diagonal_square_sum,
    paired,
    require_not_negative,
    require_positive,
)
from ssljax.losses.symmetric_products import column_products, gram


def barlow_twins(
    z1: Embeddings, z2: Embeddings, *, off_diagonal_weight: Number = 0.0051
) -> Scalar:
    """Compute Barlow Twins: drive the views' cross-correlation to the identity.

    Every dimension is standardised over the batch, view by view, with the biased
    variance and ``eps = 1e-5`` inside the root (BatchNorm without scale and bias).

    Args:
        z1: embeddings of the first view, ``[N, D]``, any float type.
        z2: embeddings of the second view, ``[N, D]``; row i is ``z1[i]``'s partner.
        off_diagonal_weight: weight of the redundancy term, >= 0. solo-learn multiplies
            the whole loss by 0.1 on small images; this function does not.

    Returns:
        Scalar, float32 or wider, with ``C = zhat1^T zhat2 / N``:
        ``sum_i (C_ii - 1)^2 + off_diagonal_weight * sum_{i != j} C_ij^2``.

    Raises:
        ValueError: for fewer than two pairs, other shapes or a negative weight.

    Source: Zbontar et al., "Barlow Twins: self-supervised learning via redundancy
    reduction", ICML 2021, equations 1 and 2.

    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> round(float(barlow_twins(z, z)), 4)  # the dimensions are uncorrelated
    0.0
    >>> round(float(barlow_twins(z, z[:, ::-1], off_diagonal_weight=0.5)), 4)
    3.0
    """
    require_not_negative("off_diagonal_weight", off_diagonal_weight)
    z1, z2 = paired(z1, z2, least=2)
    # Of the correlation zhat1^T zhat2 / N, [D, D].
    same, others = column_products(_standardize(z1), _standardize(z2))
    return jnp.sum((same - 1.0) ** 2) + off_diagonal_weight * others


def linearized_barlow_twins(
    z1: Embeddings, z2: Embeddings, *, off_diagonal_weight: Number = 1.0
) -> Scalar:
    """Compute Barlow Twins without normalisation, whose training has a closed form.

    It differs from `barlow_twins` in three ways: embeddings are neither centred nor
    scaled, the cross moment is symmetrised over the views, and both parts of the loss
    have the same weight. Gradient descent on a linear network then learns the
    eigenvectors of the data's cross moment one after another. At weight 1 the loss is
    invariant under rotations.

    Args:
        z1: embeddings of the first view, ``[N, D]``, any float type.
        z2: embeddings of the second view, ``[N, D]``; row i is ``z1[i]``'s partner.
        off_diagonal_weight: weight of the redundancy term, >= 0.

    Returns:
        Scalar, float32 or wider, with ``C = (z1^T z2 + z2^T z1) / (2 N)``:
        ``sum_i (C_ii - 1)^2 + off_diagonal_weight * sum_{i != j} C_ij^2``, which is
        ``||C - I||_F^2`` at weight 1.

    Raises:
        ValueError: for an empty batch, other shapes or a negative weight.

    Source: Simon et al., "On the stepwise nature of self-supervised learning", ICML
    2023, section 4.

    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> float(linearized_barlow_twins(z, z))  # C is the identity
    0.0
    >>> float(linearized_barlow_twins(2 * z, z))  # 2 (2 - 1)^2
    2.0
    """
    require_not_negative("off_diagonal_weight", off_diagonal_weight)
    z1, z2 = paired(z1, z2, least=1)
    moment = matmul(z1.T, z2) / z1.shape[0]  # [D, D]
    moment = 0.5 * (moment + moment.T)
    on_diagonal = jnp.sum((jnp.diagonal(moment) - 1.0) ** 2)
    return on_diagonal + off_diagonal_weight * off_diagonal_square_sum(moment)


def tcr(
    z1: Embeddings,
    z2: Embeddings,
    *,
    eps_squared: Number = 0.2,
    invariance_weight: Number = 30.0,
) -> Scalar:
    """Compute the total coding rate loss: spread each view, align the pairs.

    Rows are L2-normalised, so that the rate is largest where the second moment is a
    multiple of the identity (N >= D) or the rows are orthonormal (N <= D). The rate
    is *maximised*: it enters the loss with a minus sign.

    Args:
        z1: embeddings of the first view, ``[N, D]``, any float type.
        z2: embeddings of the second view, ``[N, D]``; row i is ``z1[i]``'s partner.
        eps_squared: squared distortion of the coding, > 0. The authors' implementations
            call this square ``eps``. In float32 keep it above about ``1e-5 D``: below,
            rounding can make the matrix under the determinant indefinite, and the loss
            NaN.
        invariance_weight: weight of the mean cosine of the pairs, >= 0.

    Returns:
        Scalar, float32 or wider: ``-(R(z1) + R(z2)) / 2 - invariance_weight *
        mean_i cos(z1_i, z2_i)``, where ``R(z) = 1/2 log det(I + D / (N eps_squared)
        z^T z)`` with unit rows.

    Raises:
        ValueError: for an empty batch, other shapes, an ``eps_squared`` that is not
            positive or a negative weight.

    Source: Yu et al., "Learning diverse and discriminative representations via the
    principle of maximal coding rate reduction", NeurIPS 2020 (the rate); Li et al.,
    "Neural manifold clustering and embedding", 2022 (the loss on two views); Tong et
    al., "EMP-SSL: towards self-supervised learning in one training epoch", 2023 (on
    many, each compared with the mean of all).

    >>> z = jnp.eye(2)
    >>> round(float(tcr(z, z, eps_squared=1.0, invariance_weight=0.5)), 4)  # -log 2 -.5
    -1.1931
    """
    require_positive("eps_squared", eps_squared)
    require_not_negative("invariance_weight", invariance_weight)
    z1, z2 = (l2_normalize(z) for z in paired(z1, z2, least=1))
    rate = 0.5 * (_coding_rate(z1, eps_squared) + _coding_rate(z2, eps_squared))
    return -rate - invariance_weight * jnp.mean(jnp.sum(z1 * z2, axis=1))


def _coding_rate(z: jax.Array, eps_squared: Number) -> jax.Array:
    n, d = z.shape
    # The determinant is the same on either side; the smaller matrix is cheaper.
    smaller = gram(z.T if d <= n else z)
    matrix = jnp.eye(min(n, d), dtype=z.dtype) + d / (n * eps_squared) * smaller
    # Half the log determinant of a matrix is that of its Cholesky factor.
    return jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(matrix))))


def _standardize(z: jax.Array, *, eps: float = 1e-5) -> jax.Array:
    """Standardise dimensions, to a square sum of one over the batch."""
    # A constant dimension has variance zero: eps keeps value and gradient finite.
    centered = center(z)
    variance = jnp.mean(centered**2, axis=0, keepdims=True)
    return centered * jax.lax.rsqrt(z.shape[0] * (variance + eps))
