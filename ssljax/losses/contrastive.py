"""Losses on paired embeddings whose repulsion acts between samples."""

from collections.abc import Collection

import jax
import jax.numpy as jnp

from ssljax.losses.numerics import (
    Embeddings,
    Number,
    Scalar,
    l2_normalize,
    matmul,
    paired,
    require_positive,
)
from ssljax.losses.symmetric_products import column_products

_NEGATIVES = {
    "cosine": lambda similarity: similarity,
    "squared": jnp.square,
    "absolute": jnp.abs,
}
_PAIRS = ("all", "within_view")


def nt_xent(
    z1: Embeddings,
    z2: Embeddings,
    *,
    temperature: Number = 0.5,
    negatives: str = "cosine",
) -> Scalar:
    """Compute SimCLR's loss: find the partner among all other embeddings.

    Rows are L2-normalised. Each of the 2N embeddings is an anchor; the softmax runs
    over the 2N - 1 others of both views, the partner included, by cosine similarity
    ``s``. The google-research code returns the sum over the two views, twice this mean.

    Args:
        z1: embeddings of the first view, ``[N, D]``, any float type.
        z2: embeddings of the second view, ``[N, D]``; row i is ``z1[i]``'s partner.
        temperature: divides the similarities, > 0.
        negatives: similarity of non-partners: "cosine" (SimCLR, ``s``), "squared"
            (SimCLR-sq, ``s^2``) or "absolute" (SimCLR-abs, ``|s|``). The last two push
            towards orthogonality, the first towards opposition. The partner's
            similarity is ``s`` in all three.

    Returns:
        Scalar, float32 or wider: the mean over the 2N anchors of
        ``-s_partner / temperature + logsumexp_{k != anchor}(s_k / temperature)``.
        All embeddings equal give ``log(2N - 1)``.

    Raises:
        ValueError: for fewer than two pairs, other shapes, a temperature that is not
            positive or an unknown kind of negatives.

    Source: Chen et al., "A simple framework for contrastive learning of visual
    representations", ICML 2020, equation 1; -sq and -abs from Garrido et al., "On the
    duality between contrastive and non-contrastive self-supervised learning", ICLR
    2023 (described there in words; that the partner keeps ``s`` is our reading).

    >>> z = jnp.ones((4, 3))
    >>> round(float(nt_xent(z, z)), 4)  # log 7
    1.9459
    """
    require_positive("temperature", temperature)
    _require_one_of("negatives", negatives, _NEGATIVES)
    z1, z2 = paired(z1, z2, least=2)
    similarity, positive = _similarities(z1, z2)
    self_mask, partner_mask = _masks(z1.shape[0])
    logits = jnp.where(partner_mask, similarity, _NEGATIVES[negatives](similarity))
    # Masked before the exponential: exp of -inf is an exact zero with zero gradient.
    logits = jnp.where(self_mask, -jnp.inf, logits / temperature)
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - positive / temperature)


def info_nce(
    z1: Embeddings,
    z2: Embeddings,
    *,
    temperature: Number = 0.1,
    symmetric: bool = True,
) -> Scalar:
    """Compute the cross-view softmax: find the partner in the other view.

    Rows are L2-normalised. Unlike `nt_xent` there are no negatives within a view.

    Args:
        z1: embeddings of the first view, ``[N, D]``, any float type.
        z2: embeddings of the second view, ``[N, D]``; row i is ``z1[i]``'s partner.
        temperature: divides the similarities, > 0.
        symmetric: average over both directions; False keeps the one with the anchors
            in ``z1`` and the candidates in ``z2``.

    Returns:
        Scalar, float32 or wider: the mean over the anchors (and directions) of
        ``-s_ii / temperature + logsumexp_j(s_ij / temperature)``. All embeddings equal
        give ``log N``.

    Raises:
        ValueError: for fewer than two pairs, other shapes or a temperature that is not
            positive.

    Source: van den Oord et al., "Representation learning with contrastive predictive
    coding", 2018; symmetric form as in Radford et al., ICML 2021.

    >>> z = jnp.ones((4, 3))
    >>> round(float(info_nce(z, z)), 4)  # log 4
    1.3863
    """
    require_positive("temperature", temperature)
    z1, z2 = paired(z1, z2, least=2)
    logits = matmul(l2_normalize(z1), l2_normalize(z2).T) / temperature  # [N, N]
    positive = jnp.diagonal(logits)
    loss = jnp.mean(jax.nn.logsumexp(logits, axis=1) - positive)
    if symmetric:
        other = jnp.mean(jax.nn.logsumexp(logits, axis=0) - positive)
        loss = 0.5 * (loss + other)
    return loss


def dcl(
    z1: Embeddings,
    z2: Embeddings,
    *,
    temperature: Number = 0.1,
    negatives: str = "cosine",
    pairs: str = "all",
) -> Scalar:
    """Compute the decoupled contrastive loss: no partner in the denominator.

    Otherwise as `nt_xent`, on L2-normalised rows. A pair that already agrees keeps its
    full gradient, which NT-Xent scales down in small batches.

    Args:
        z1: embeddings of the first view, ``[N, D]``, any float type.
        z2: embeddings of the second view, ``[N, D]``; row i is ``z1[i]``'s partner.
        temperature: divides the similarities, > 0.
        negatives: similarity of non-partners: "cosine" (DCL, ``s``), "squared"
            (DCL-sq, ``s^2``) or "absolute" (DCL-abs, ``|s|``).
        pairs: "all" repels from the 2N - 2 other embeddings, "within_view" from the
            N - 1 of the anchor's own view, as the analysis of Garrido et al. does.

    Returns:
        Scalar, float32 or wider, of either sign: the mean over the 2N anchors of
        ``-s_partner / temperature + logsumexp_{k negative}(s_k / temperature)``.
        All embeddings equal give ``log(2N - 2)``, within views ``log(N - 1)``.

    Raises:
        ValueError: for fewer than two pairs, other shapes, a temperature that is not
            positive or an unknown kind of negatives or pairs.

    Source: Yeh et al., "Decoupled contrastive learning", ECCV 2022; -sq, -abs and
    negatives within a view from Garrido et al., "On the duality between contrastive and
    non-contrastive self-supervised learning", ICLR 2023 (-sq and -abs as in `nt_xent`).

    >>> z = jnp.ones((4, 3))
    >>> round(float(dcl(z, z)), 4)  # log 6
    1.7918
    """
    require_positive("temperature", temperature)
    _require_one_of("negatives", negatives, _NEGATIVES)
    _require_one_of("pairs", pairs, _PAIRS)
    z1, z2 = paired(z1, z2, least=2)
    similarity, positive = _similarities(z1, z2)
    repulsion = _repulsion(_NEGATIVES[negatives](similarity), temperature, pairs)
    return jnp.mean(repulsion - positive / temperature)


def dclw(
    z1: Embeddings, z2: Embeddings, *, temperature: Number = 0.1, sigma: Number = 0.5
) -> Scalar:
    """Compute DCLW, the decoupled contrastive loss where bad pairs attract more.

    `dcl` with pair i's attraction multiplied by
    ``w_i = 2 - exp(s_i / sigma) / mean_j exp(s_j / sigma)``, ``s_i`` the cosine of its
    two views. The weights have mean one. A negative one (a pair that agrees far better
    than the others) repels. Gradients flow through them.

    Args:
        z1: embeddings of the first view, ``[N, D]``, any float type.
        z2: embeddings of the second view, ``[N, D]``; row i is ``z1[i]``'s partner.
        temperature: divides the similarities, > 0.
        sigma: width of the von Mises-Fisher weights, > 0; wide ones are all 1 (`dcl`).

    Returns:
        Scalar, float32 or wider: the mean over the 2N anchors of ``-w_i s_i /
        temperature + logsumexp_{k negative}(s_k / temperature)``, negatives being the
        2N - 2 other embeddings.

    Raises:
        ValueError: for fewer than two pairs, other shapes or a temperature or sigma
            that is not positive.

    Source: Yeh et al., "Decoupled contrastive learning", ECCV 2022 (DCLW).

    >>> z = jnp.ones((4, 3))
    >>> round(float(dclw(z, z)), 4)  # equal pairs have equal weights: log 6
    1.7918
    """
    require_positive("temperature", temperature)
    require_positive("sigma", sigma)
    z1, z2 = paired(z1, z2, least=2)
    n = z1.shape[0]
    similarity, positive = _similarities(z1, z2)
    weight = 2.0 - n * jax.nn.softmax(positive[:n] / sigma)
    repulsion = _repulsion(similarity, temperature, "all")
    return jnp.mean(repulsion - jnp.tile(weight, 2) * positive / temperature)


def spectral_contrastive(z1: Embeddings, z2: Embeddings, *, mu: Number = 1.0) -> Scalar:
    """Compute the spectral contrastive loss: squared similarity of negatives.

    Partners attract. Rows longer than ``sqrt(mu)`` are projected onto that sphere,
    shorter ones are kept. There is no logarithm and no temperature, and the negatives
    are cross-view only.

    Args:
        z1: embeddings of the first view, ``[N, D]``, any float type.
        z2: embeddings of the second view, ``[N, D]``; row i is ``z1[i]``'s partner.
        mu: squared radius of the ball, > 0 (the authors: 1 on CIFAR, 10 on ImageNet).

    Returns:
        Scalar, float32 or wider, with the projected rows:
        ``(-2 mean_i <z1_i, z2_i> + mean_{i != j} <z1_i, z2_j>^2) / mu``. The division
        by ``mu`` is that of the authors' code; their population loss has none.

    Raises:
        ValueError: for fewer than two pairs, other shapes or a ``mu`` that is not
            positive.

    Source: HaoChen et al., "Provable guarantees for self-supervised deep learning with
    spectral contrastive loss", NeurIPS 2021.

    >>> z = jnp.eye(2)
    >>> float(spectral_contrastive(z, z))
    -2.0
    """
    require_positive("mu", mu)
    z1, z2 = paired(z1, z2, least=2)
    n = z1.shape[0]
    z1, z2 = (_project_to_ball(z, mu) for z in (z1, z2))
    positive, negatives = column_products(z1.T, z2.T)  # of z1 z2^T, [N, N]
    return (negatives / (n * (n - 1)) - 2.0 * jnp.mean(positive)) / mu


def _similarities(z1: jax.Array, z2: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return all cosines ``[2N, 2N]``, and those with the partner ``[2N]``."""
    z = jnp.concatenate([l2_normalize(z1), l2_normalize(z2)])  # [2N, D]
    similarity = matmul(z, z.T)
    return similarity, jnp.tile(jnp.diagonal(similarity, z1.shape[0]), 2)


def _masks(n: int) -> tuple[jax.Array, jax.Array]:
    """Return masks ``[2N, 2N]`` of the anchor itself and of its partner."""
    self_mask = jnp.eye(2 * n, dtype=bool)
    return self_mask, jnp.roll(self_mask, n, axis=1)


def _repulsion(similarity: jax.Array, temperature: Number, pairs: str) -> jax.Array:
    """Return the logsumexp ``[2N]`` over every anchor's negatives."""
    n = similarity.shape[0] // 2
    self_mask, partner_mask = _masks(n)
    excluded = self_mask | partner_mask
    if pairs == "within_view":
        view = jnp.arange(2 * n) < n
        excluded = self_mask | (view[:, None] != view[None, :])
    return jax.nn.logsumexp(
        jnp.where(excluded, -jnp.inf, similarity / temperature), axis=1
    )


def _project_to_ball(z: jax.Array, mu: Number) -> jax.Array:
    squared_norm = jnp.sum(z**2, axis=1, keepdims=True)
    outside = squared_norm > mu
    # The inner where keeps the gradient of a zero row finite; it is never projected.
    scale = jnp.sqrt(mu / jnp.where(outside, squared_norm, mu))
    return jnp.where(outside, z * scale, z)


def _require_one_of(name: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
