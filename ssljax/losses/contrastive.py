"""Losses on paired embeddings whose repulsion acts between samples."""

import jax
import jax.numpy as jnp

from ssljax.losses._numerics import l2_normalize, matmul, paired, require_positive

_NEGATIVES = {
    "cosine": lambda similarity: similarity,
    "squared": jnp.square,
    "absolute": jnp.abs,
}


def nt_xent(
    z1: jax.Array,
    z2: jax.Array,
    *,
    temperature: float = 0.5,
    negatives: str = "cosine",
) -> jax.Array:
    """SimCLR's loss: find the partner among all other embeddings of both views.

    Rows are L2-normalised. Each of the 2N embeddings is an anchor; the softmax runs
    over the 2N - 1 others, the partner included, by cosine similarity ``s``. The
    google-research code returns the sum over the two views, twice this mean.

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
    if negatives not in _NEGATIVES:
        raise ValueError(
            f"negatives must be one of {', '.join(_NEGATIVES)}, got {negatives!r}"
        )
    z1, z2 = paired(z1, z2, least=2)
    n = z1.shape[0]
    z = jnp.concatenate([l2_normalize(z1), l2_normalize(z2)])  # [2N, D]
    similarity = matmul(z, z.T)  # [2N, 2N]
    self_mask = jnp.eye(2 * n, dtype=bool)
    partner_mask = jnp.roll(self_mask, n, axis=1)
    logits = jnp.where(partner_mask, similarity, _NEGATIVES[negatives](similarity))
    # Masked before the exponential: exp of -inf is an exact zero with zero gradient.
    logits = jnp.where(self_mask, -jnp.inf, logits / temperature)
    positive = jnp.concatenate([jnp.diagonal(similarity, n)] * 2) / temperature
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - positive)


def info_nce(
    z1: jax.Array,
    z2: jax.Array,
    *,
    temperature: float = 0.1,
    symmetric: bool = True,
) -> jax.Array:
    """Cross-view softmax: find the partner among the embeddings of the other view.

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
