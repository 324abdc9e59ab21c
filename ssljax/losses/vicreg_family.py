"""VICReg and its two variants, steps on the way from it to SimCLR."""

import jax
import jax.numpy as jnp

from ssljax.losses.numerics import (
    Embeddings,
    Number,
    Scalar,
    center,
    matmul,
    paired,
    require_not_negative,
    require_positive,
)
from ssljax.losses.symmetric_products import column_products, gram, has_few_rows

_CENTERING = {
    "batch": lambda z: center(z),
    "sample": lambda z: z - z.mean(axis=1, keepdims=True),
    "none": lambda z: z,
}


def vicreg(
    z1: Embeddings,
    z2: Embeddings,
    *,
    invariance_weight: Number = 25.0,
    variance_weight: Number = 25.0,
    covariance_weight: Number = 1.0,
) -> Scalar:
    """Compute VICReg: equal views, unit spread per dimension, no correlation.

    The terms are scaled as in the official code; other libraries differ:

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
    >>> round(float(vicreg(z, z)), 6)  # equal, wide and uncorrelated
    0.0
    >>> collapsed = jnp.ones((4, 2))
    >>> round(float(vicreg(collapsed, collapsed)), 4)  # std = sqrt(1e-4)
    24.75
    """
    _require_weights(invariance_weight, variance_weight, covariance_weight)
    z1, z2 = paired(z1, z2, least=2)
    invariance = jnp.mean((z1 - z2) ** 2)
    variance = 0.5 * (_variance_hinge(z1) + _variance_hinge(z2))
    scaled = [center(z) * (z.shape[0] - 1) ** -0.5 for z in (z1, z2)]
    covariance = sum(column_products(z)[1] / z.shape[1] for z in scaled)
    return (
        invariance_weight * invariance
        + variance_weight * variance
        + covariance_weight * covariance
    )


def vicreg_exp(
    z1: Embeddings,
    z2: Embeddings,
    *,
    temperature: Number = 0.1,
    invariance_weight: Number = 25.0,
    variance_weight: Number = 25.0,
    covariance_weight: Number = 1.0,
) -> Scalar:
    """Compute VICReg with a logsumexp of the covariances instead of their squares.

    The invariance and the variance are those of `vicreg`. Covariances keep their sign,
    so dimensions are pushed towards *negative* correlation, as `dcl` pushes samples.
    The default weights are VICReg's. They leave the covariance weak: its gradient here
    is a softmax over D - 1 entries, not a multiple of each. The method `vicreg_exp`
    trains with 1, 1 and 1.

    Args:
        z1: embeddings of the first view, ``[N, D]``, any float type.
        z2: embeddings of the second view, ``[N, D]``; row i is ``z1[i]``'s partner.
        temperature: divides the covariances, > 0.
        invariance_weight: weight of the invariance, >= 0.
        variance_weight: weight of the variance hinge (mean over the views), >= 0.
        covariance_weight: weight of the covariance term (sum over the views), >= 0.

    Returns:
        Scalar, float32 or wider: the weighted sum of the three terms, the last being
        ``mean_i log sum_{j != i} exp(cov_ij / temperature)`` with
        ``cov = zc^T zc / (N - 1)``.

    Raises:
        ValueError: for fewer than two pairs or dimensions, other shapes, a temperature
            that is not positive or a negative weight.

    Source: Garrido et al., "On the duality between contrastive and non-contrastive
    self-supervised learning", ICLR 2023, equations 11 and 12.

    >>> z = jnp.array([[2.0, 2.0], [2.0, -2.0], [-2.0, 2.0], [-2.0, -2.0]])
    >>> float(vicreg_exp(z, z))  # one covariance per dimension, and it is zero
    0.0
    """
    require_positive("temperature", temperature)
    _require_weights(invariance_weight, variance_weight, covariance_weight)
    z1, z2 = _at_least_two_dimensions(*paired(z1, z2, least=2))
    invariance = jnp.mean((z1 - z2) ** 2)
    variance = 0.5 * (_variance_hinge(z1) + _variance_hinge(z2))
    covariance = sum(
        _off_diagonal_logsumexp(_covariance(z), temperature) for z in (z1, z2)
    )
    return (
        invariance_weight * invariance
        + variance_weight * variance
        + covariance_weight * covariance
    )


def vicreg_ctr(
    z1: Embeddings,
    z2: Embeddings,
    *,
    temperature: Number = 0.1,
    centering: str = "batch",
    invariance_weight: Number = 25.0,
    variance_weight: Number = 25.0,
    covariance_weight: Number = 1.0,
) -> Scalar:
    """Compute `vicreg_exp` with its regulariser on the transpose: samples repel.

    The variance hinge holds each embedding's norm near ``sqrt(D)`` and the covariance
    term becomes `dcl`'s repulsion within each view. On rows of norm ``sqrt(D - 1)``,
    without centring, at weights ``D / ((D - 1) temperature)``, 0 and 1, the loss is
    exactly ``2 dcl(..., pairs="within_view") + 2 / temperature``. The default weights
    are VICReg's. Where the invariance weighs far more than 1 / temperature (25 at
    temperature 0.5) embeddings collapse to their mean, above all without batch
    centring: the method `vicreg_ctr` trains with 10, 10 and 1.

    Args:
        z1: embeddings of the first view, ``[N, D]``, any float type.
        z2: embeddings of the second view, ``[N, D]``; row i is ``z1[i]``'s partner.
        temperature: divides the similarities, > 0.
        centering: what is removed before transposing: "batch", the mean of every
            dimension over the samples (table 1 of the paper); "sample", the mean of
            every embedding over its dimensions (the letter of equation 13); "none".
        invariance_weight: weight of the invariance, >= 0.
        variance_weight: weight of the variance hinge (mean over the views), >= 0.
        covariance_weight: weight of the repulsion (sum over the views), >= 0.

    Returns:
        Scalar, float32 or wider: the weighted sum of the mean squared difference (of
        the embeddings as given), of ``mean_i max(0, 1 - std_i)`` with the deviation of
        sample i's D entries, and of ``mean_i log sum_{k != i} exp(<zc_i, zc_k> /
        ((D - 1) temperature))`` with the centred rows.

    Raises:
        ValueError: for fewer than two pairs or dimensions, other shapes, a temperature
            that is not positive, an unknown centring or a negative weight.

    Source: Garrido et al., "On the duality between contrastive and non-contrastive
    self-supervised learning", ICLR 2023, equation 13.

    >>> z = jnp.array([[2.0, -2.0], [-2.0, 2.0]])
    >>> round(float(vicreg_ctr(z, z)), 4)  # -8 / 0.1 from either view
    -160.0
    """
    require_positive("temperature", temperature)
    if centering not in _CENTERING:
        raise ValueError(
            f"centering must be one of {', '.join(_CENTERING)}, got {centering!r}"
        )
    _require_weights(invariance_weight, variance_weight, covariance_weight)
    z1, z2 = _at_least_two_dimensions(*paired(z1, z2, least=2))
    invariance = jnp.mean((z1 - z2) ** 2)
    variance = covariance = 0.0
    for z in (_CENTERING[centering](z1), _CENTERING[centering](z2)):
        variance += 0.5 * _variance_hinge(z.T)
        # Not `gram`: on many devices its backward pass would transpose [N, N].
        similarity = matmul(z, z.T) / (z.shape[1] - 1)  # [N, N]
        covariance += _off_diagonal_logsumexp(similarity, temperature)
    return (
        invariance_weight * invariance
        + variance_weight * variance
        + covariance_weight * covariance
    )


def _covariance(z: jax.Array) -> jax.Array:
    centered = center(z)
    # With few rows transposing [D, D] costs more than the product that `gram` saves.
    few = has_few_rows(z.shape)
    product = matmul(centered.T, centered) if few else gram(centered.T)
    return product / (z.shape[0] - 1)


def _variance_hinge(z: jax.Array, *, eps: float = 1e-4) -> jax.Array:
    std = jnp.sqrt(jnp.var(z, axis=0, ddof=1) + eps)
    return jnp.mean(jax.nn.relu(1.0 - std))


def _off_diagonal_logsumexp(matrix: jax.Array, temperature: Number) -> jax.Array:
    """Average, over the rows, the logsumexp of a row's off-diagonal entries."""
    diagonal = jnp.eye(matrix.shape[0], dtype=bool)
    # Masked before the exponential: exp of -inf is an exact zero with zero gradient.
    logits = jnp.where(diagonal, -jnp.inf, matrix / temperature)
    return jnp.mean(jax.nn.logsumexp(logits, axis=1))


def _at_least_two_dimensions(
    z1: jax.Array, z2: jax.Array
) -> tuple[jax.Array, jax.Array]:
    if z1.shape[1] < 2:
        raise ValueError(
            f"this loss needs embeddings with D >= 2, got shape {list(z1.shape)}"
        )
    return z1, z2


def _require_weights(invariance: Number, variance: Number, covariance: Number) -> None:
    require_not_negative("invariance_weight", invariance)
    require_not_negative("variance_weight", variance)
    require_not_negative("covariance_weight", covariance)
