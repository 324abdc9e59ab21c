"""Small embeddings under VICReg, InfoNCE and NT-Xent; plateaus that are not one."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_at_least,
    check_not_negative,
    check_pairs,
    check_positive,
    check_shape,
    check_whole,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.stepwise.moments import cross_moment, second_moment


@in_float64
def vicreg_early_velocity(
    w: ArrayLike,
    x1: ArrayLike,
    x2: ArrayLike,
    *,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    eps: float = 1e-4,
) -> jax.Array:
    """Return how VICReg moves small weights of a linear network.

    The root in the hinge multiplies the variance by ``1 / sqrt(eps) = 100``: the first
    modes follow the covariance of the inputs, as ordinary principal components do,
    unless augmentations are weak.

    Args:
        w: weights, ``[D, M]``, so small that all variances are far below eps.
        x1: inputs of the first view, ``[N, M]``.
        x2: inputs of the second view, ``[N, M]``.
        invariance_weight: of `losses.vicreg`.
        variance_weight: of `losses.vicreg`.
        eps: the constant that the loss adds to variances.

    Returns:
        ``dW/dt``, ``[D, M]``: ``W (variance_weight / (D sqrt(eps)) Cov - 4
        invariance_weight / D (Sigma - Gamma))``; Cov is the mean over the views of
        their covariances, with N - 1.

    Raises:
        ValueError: for other shapes, fewer than two pairs, negative weights, or an eps
            that is not positive.

    Source: Bardes et al., ICLR 2022 (the loss); derived.

    >>> x = jnp.array([[1.0], [-1.0]])
    >>> vicreg_early_velocity(jnp.ones((1, 1)), x, x).round(4).tolist()  # 2500 * 2
    [[5000.0]]
    """
    x1, x2 = check_pairs(x1, x2)
    w = check_shape("w", w, "D", x1.shape[1])
    d, n = w.shape[0], x1.shape[0]
    check_at_least("the number of pairs", n, 2)
    check_not_negative("invariance_weight", invariance_weight)
    check_not_negative("variance_weight", variance_weight)
    check_positive("eps", eps)
    centered = [x - x.mean(axis=0, keepdims=True) for x in (x1, x2)]
    covariance = second_moment(*centered) * n / (n - 1)
    gap = second_moment(x1, x2) - cross_moment(x1, x2)
    spread = variance_weight / (d * jnp.sqrt(eps)) * covariance
    return w @ (spread - 4.0 * invariance_weight / d * gap)


@in_float64
def info_nce_expansion(
    w: ArrayLike, x1: ArrayLike, x2: ArrayLike, *, temperature: float = 1.0
) -> jax.Array:
    """Expand InfoNCE of small embeddings ``W x``, but for terms of order six.

    To this order it is a spectral contrastive loss on centred inputs: a mode's
    ``sigma s^2`` grows at the rate ``4 gamma / temperature`` towards ``temperature
    gamma / sigma``.

    Args:
        w: weights, ``[D, M]``.
        x1: inputs of the first view, ``[N, M]``.
        x2: inputs of the second view, ``[N, M]``.
        temperature: divides the dot products.

    Returns:
        The loss, averaged over both directions, with its constant ``log N``.

    Raises:
        ValueError: for other shapes or a temperature that is not positive.

    Source: van den Oord et al., 2018 (the loss); derived.

    >>> x = jnp.array([[1.0], [-1.0]])
    >>> round(float(info_nce_expansion(0.1 * jnp.ones((1, 1)), x, x)), 6)
    0.683197
    """
    x1, x2 = check_pairs(x1, x2)
    w = check_shape("w", w, "D", x1.shape[1])
    check_positive("temperature", temperature)
    n = x1.shape[0]
    z1, z2 = x1 @ w.T, x2 @ w.T
    # Cumulants of the similarities over the candidates, averaged over the anchors.
    similarity = z1 @ z2.T
    mean = similarity.mean() - jnp.trace(similarity) / n
    spread = 0.5 * (similarity.var(axis=0).mean() + similarity.var(axis=1).mean())
    return jnp.log(n) + mean / temperature + spread / (2.0 * temperature**2)


@in_float64
def nt_xent_collapsed_velocity(
    w: ArrayLike,
    bias: ArrayLike,
    x1: ArrayLike,
    x2: ArrayLike,
    *,
    temperature: float = 0.5,
) -> jax.Array:
    """Return how NT-Xent moves a network whose embeddings are nearly parallel.

    A cosine ignores scale, so a small start has to be a collapsed one: ``f = b + W x``
    with a tiny W. Modes of the centred cross moment then grow one after the other.

    Args:
        w: weights, ``[D, M]``, tiny beside the bias.
        bias: the component common to all embeddings, ``[D]``.
        x1: inputs of the first view, ``[N, M]``.
        x2: inputs of the second view, ``[N, M]``.
        temperature: of `losses.nt_xent`.

    Returns:
        ``dW/dt``, ``[D, M]``, to first order in W: ``2 / (temperature |b|^2) (I - b b^T
        / |b|^2) W G``, ``G = Gamma + (Sigma - 2 N mean mean^T) / (2 N - 1)``.

    Raises:
        ValueError: for other shapes, a bias of zero, or a temperature that is not
            positive.

    Source: Chen et al., ICML 2020 (the loss); derived.

    >>> x = jnp.array([[1.0], [-1.0]])
    >>> w, bias = jnp.ones((2, 1)), jnp.array([1.0, 0.0])
    >>> nt_xent_collapsed_velocity(w, bias, x, x, temperature=1.0).round(4).tolist()
    [[0.0], [2.6667]]
    """
    x1, x2 = check_pairs(x1, x2)
    w = check_shape("w", w, "D", x1.shape[1])
    bias = check_shape("bias", bias, len(w))
    check_positive("temperature", temperature)
    n = x1.shape[0]
    mean = (x1.mean(axis=0) + x2.mean(axis=0)) / 2.0
    moment = cross_moment(x1, x2) + (
        second_moment(x1, x2) - 2 * n * jnp.outer(mean, mean)
    ) / (2 * n - 1)
    length = jnp.sum(bias**2)
    check_positive("the squared norm of the bias", length)
    across = jnp.eye(w.shape[0]) - jnp.outer(bias, bias) / length
    return 2.0 / (temperature * length) * across @ w @ moment


@in_float64
def weighted_plateau(
    learned: int, d: int, *, off_diagonal_weight: float | jax.Array
) -> jax.Array:
    """Return where the eigenvalues of C rest under an off-diagonal weight.

    The embedding turns to a frame of equal norms, all r learned eigenvalues are equal,
    and they are one only at weight 1 or r = d.

    Args:
        learned: number r of modes learned so far.
        d: dimension of the embedding.
        off_diagonal_weight: of `losses.linearized_barlow_twins`.

    Returns:
        ``1 / (r / d + off_diagonal_weight (1 - r / d))``.

    Raises:
        ValueError: for counts that are not whole or do not fit, or a negative weight.

    Source: derived from Zbontar et al.'s weight, ICML 2021.

    >>> round(float(weighted_plateau(1, 10, off_diagonal_weight=0.1)), 4)
    5.2632
    """
    check_at_least("learned", check_whole("learned", learned, 1), 1, d)
    check_not_negative("off_diagonal_weight", off_diagonal_weight)
    share = jnp.asarray(learned / d)
    return 1.0 / (share + off_diagonal_weight * (1.0 - share))


@in_float64
def batch_plateau(learned: int, batch_size: int) -> jax.Array:
    """Return where the eigenvalues of C rest under small fresh batches.

    Args:
        learned: number r of modes learned so far.
        batch_size: number B of pairs, equal normally distributed views, in a batch.

    Returns:
        ``1 / (1 + (r + 1) / B)``, at learning rates near zero.

    Raises:
        ValueError: for counts that are not whole and positive.

    Source: derived (fourth moments of normal inputs).

    >>> round(float(batch_plateau(5, 64)), 4)
    0.9143
    """
    check_whole("learned", learned, 1)
    check_whole("batch_size", batch_size, 1)
    return jnp.asarray(1.0 / (1.0 + (learned + 1) / batch_size))
