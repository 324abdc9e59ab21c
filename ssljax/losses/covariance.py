"""Losses on paired embeddings whose repulsion acts between dimensions."""

import jax
import jax.numpy as jnp

from ssljax.losses._numerics import (
    matmul,
    off_diagonal_square_sum,
    paired,
    require_not_negative,
)


def barlow_twins(
    z1: jax.Array, z2: jax.Array, *, off_diagonal_weight: float = 0.0051
) -> jax.Array:
    """Barlow Twins: drive the cross-correlation of the two views to the identity.

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
    correlation = matmul(_standardize(z1).T, _standardize(z2)) / z1.shape[0]  # [D, D]
    on_diagonal = jnp.sum((jnp.diagonal(correlation) - 1.0) ** 2)
    return on_diagonal + off_diagonal_weight * off_diagonal_square_sum(correlation)


def vicreg(
    z1: jax.Array,
    z2: jax.Array,
    *,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
) -> jax.Array:
    """VICReg: equal views, unit spread of every dimension, no correlation among them.

    The scale of each term is the official code's, where other libraries differ:

    - invariance: squared difference, mean over all N x D entries;
    - variance: ``mean_j max(0, 1 - std_j)``, *averaged* over the views (solo-learn sums
      them: its weight 25 is 50 here), with ``std = sqrt(var + 1e-4)``, var / (N - 1);
    - covariance: squared off-diagonal entries of ``cov = zc^T zc / (N - 1)``, their sum
      divided by D, *summed* over the views.

    Embeddings are not L2-normalised, and the gradient flows through the batch means.

    Args:
        z1: embeddings of the first view, ``[N, D]``, any float type.
        z2: embeddings of the second view, ``[N, D]``; row i is ``z1[i]``'s partner.
        invariance_weight: weight of the invariance, >= 0.
        variance_weight: weight of the variance hinge, >= 0.
        covariance_weight: weight of the covariance, >= 0.

    Returns:
        Scalar, float32 or wider: the weighted sum of the three terms.

    Raises:
        ValueError: for fewer than two pairs, other shapes or a negative weight.

    Source: Bardes, Ponce and LeCun, "VICReg: variance-invariance-covariance
    regularization for self-supervised learning", ICLR 2022, section 4.

    >>> z = jnp.array([[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0], [-2.0, -2.0]])
    >>> float(vicreg(z, z))  # equal, wide and uncorrelated
    0.0
    >>> collapsed = jnp.ones((4, 2))
    >>> round(float(vicreg(collapsed, collapsed)), 4)  # std = sqrt(1e-4)
    24.75
    """
    require_not_negative("invariance_weight", invariance_weight)
    require_not_negative("variance_weight", variance_weight)
    require_not_negative("covariance_weight", covariance_weight)
    z1, z2 = paired(z1, z2, least=2)
    invariance = jnp.mean((z1 - z2) ** 2)
    variance = 0.5 * (_variance_hinge(z1) + _variance_hinge(z2))
    covariance = sum(
        off_diagonal_square_sum(_covariance(z)) / z.shape[1] for z in (z1, z2)
    )
    return (
        invariance_weight * invariance
        + variance_weight * variance
        + covariance_weight * covariance
    )


def _center(z: jax.Array) -> jax.Array:
    return z - z.mean(axis=0, keepdims=True)


def _standardize(z: jax.Array, *, eps: float = 1e-5) -> jax.Array:
    # A constant dimension has variance zero: eps keeps value and gradient finite.
    centered = _center(z)
    variance = jnp.mean(centered**2, axis=0, keepdims=True)
    return centered * jax.lax.rsqrt(variance + eps)


def _covariance(z: jax.Array) -> jax.Array:
    centered = _center(z)
    return matmul(centered.T, centered) / (z.shape[0] - 1)


def _variance_hinge(z: jax.Array, *, eps: float = 1e-4) -> jax.Array:
    std = jnp.sqrt(jnp.var(z, axis=0, ddof=1) + eps)
    return jnp.mean(jax.nn.relu(1.0 - std))
