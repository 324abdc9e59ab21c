"""Alignment losses on hard-whitened views, in random parts of the batch or channels."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp

from ssljax.losses.asymmetric import negative_cosine
from ssljax.losses.matrix_functions import over_blocks
from ssljax.losses.numerics import Embeddings, Scalar, checked_views
from ssljax.losses.spectral_transforms import (
    by_cholesky,
    observations,
    whiten,
    zca,
)


def w_mse(
    views: Sequence[Embeddings],
    *,
    key: jax.Array,
    sub_batch: int | None = None,
    repetitions: int = 1,
    normalize: bool = True,
    eps: float = 0.0,
) -> Scalar:
    """Compute W-MSE: agreement of views whitened over random parts of the batch.

    The batch is permuted, the same way in all views, and cut into sub-batches. Every
    view of every sub-batch is whitened by the Cholesky factor of its own covariance.

    Args:
        views: two or more embeddings ``[N, D]`` of the same samples, any float type.
        key: random key of the permutations.
        sub_batch: samples that are whitened together, a divisor of N, above D for the
            covariance to be regular (the paper's rule is 2 D); None is all N.
        repetitions: permutations to average over, >= 1.
        normalize: compare directions, ``2 - 2 cos``; False compares the whitened
            values, mean over all N x D squared differences.
        eps: shrinks the covariance to ``(1 - eps) C + eps I``, in [0, 1].

    Returns:
        Scalar, float32 or wider: mean over the pairs of views and the repetitions. A
        singular covariance is moved off singularity as in `whiten`.

    Raises:
        ValueError: for fewer than two views, other or different shapes, fewer than two
            samples, or a sub-batch, number of repetitions or eps out of range.

    Source: Ermolov et al., "Whitening for self-supervised representation learning",
    ICML 2021.

    >>> z = jnp.array([[1.0, 2.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, 0.0]])
    >>> round(float(w_mse([z, -2.0 * z], key=jax.random.key(0))), 4)  # opposite
    4.0
    """
    if repetitions < 1:
        raise ValueError(f"repetitions must be at least 1, got {repetitions}")
    if not 0.0 <= eps <= 1.0:
        raise ValueError(f"eps must lie in [0, 1], got {eps}")
    checked = checked_views(views)
    n = _checked_sub_batch(checked[0], sub_batch)

    def transform(block):
        return cholesky_whiten(block, eps)

    # One permutation for all views: sample i keeps its partner.
    keys = jax.random.split(key, repetitions)
    permuted = jax.vmap(lambda each: jax.random.permutation(each, len(checked[0])))
    orders = permuted(keys).reshape(-1)
    parts = [over_blocks(transform, _cut(z[orders], n)) for z in checked]
    return _mean_over_pairs(parts, normalize)


def cw_rgp(
    views: Sequence[Embeddings],
    *,
    key: jax.Array,
    sub_batch: int | None = None,
    groups: int = 4,
    normalize: bool = True,
) -> Scalar:
    """Compute CW-RGP: agreement of views whitened over random channel groups.

    Every sample is centred over all its channels. In each sub-batch of each view the
    channels are permuted anew and cut into groups; the samples of a group, its
    channels being the observations, are whitened by ZCA without centring again, and
    the permutation is undone.

    Args:
        views: two or more embeddings ``[N, D]`` of the same samples, any float type.
        key: random key of the permutations.
        sub_batch: samples that are whitened together, a divisor of N, at most
            D / groups for their covariance to be regular; None is all N. The batch is
            permuted before, the same way in all views.
        groups: groups of channels, a divisor of D that leaves two or more in each.
        normalize: compare directions, ``2 - 2 cos``; False compares the whitened
            values, mean over all N x D squared differences.

    Returns:
        Scalar, float32 or wider: mean over the pairs of views. A singular covariance is
        whitened on its range.

    Raises:
        ValueError: for fewer than two views, other or different shapes, fewer than two
            samples, or a sub-batch or number of groups that does not divide.

    Source: Weng et al., "An investigation into whitening loss for self-supervised
    learning", NeurIPS 2022.

    >>> z = jax.random.normal(jax.random.key(0), (2, 8))
    >>> round(float(cw_rgp([z, -z], key=jax.random.key(1), groups=1)), 4)  # opposite
    4.0
    """
    checked = checked_views(views)
    n = _checked_sub_batch(checked[0], sub_batch)
    _check_groups(checked[0], groups, least=2)
    order_key, key = jax.random.split(key)
    order = jax.random.permutation(order_key, checked[0].shape[0])
    keys = jax.random.split(key, len(checked))
    parts = []
    for view_key, z in zip(keys, checked, strict=True):
        x, floor = observations(z, "channel")
        transform = partial(channel_group_whiten, floor=floor)
        blocks = _cut(x.T[order], n)
        block_keys = jax.random.split(view_key, blocks.shape[0])
        parts.append(in_random_groups(transform, groups, block_keys, blocks))
    return _mean_over_pairs(parts, normalize)


def shuffled_dbn(
    views: Sequence[Embeddings],
    *,
    key: jax.Array,
    groups: int = 4,
    normalize: bool = True,
    eps: float = 0.0,
) -> Scalar:
    """Compute Shuffled-DBN: agreement of views whitened in random channel groups.

    For every view the channels are permuted anew and cut into groups; each group is
    whitened over the batch by ZCA, and the permutation is undone.

    Args:
        views: two or more embeddings ``[N, D]`` of the same samples, any float type.
        key: random key of the permutations.
        groups: groups of channels, a divisor of D; N should exceed D / groups.
        normalize: compare directions, ``2 - 2 cos``; False compares the whitened
            values, mean over all N x D squared differences.
        eps: added to every eigenvalue of the covariances, >= 0.

    Returns:
        Scalar, float32 or wider: mean over the pairs of views. A singular covariance is
        whitened on its range.

    Raises:
        ValueError: for fewer than two views, other or different shapes, fewer than two
            samples, a number of groups that does not divide D or a negative eps.

    Source: Hua et al., "On feature decorrelation in self-supervised learning", ICCV
    2021, shuffled decorrelated batch normalisation; covariances over N - 1.

    >>> z = jax.random.normal(jax.random.key(0), (8, 2))
    >>> round(float(shuffled_dbn([z, -z], key=jax.random.key(1), groups=1)), 4)
    4.0
    """
    checked = checked_views(views)
    _checked_sub_batch(checked[0], None)
    _check_groups(checked[0], groups, least=1)

    def transform(group):
        return whiten(group, method="zca", axis="batch", eps=eps)

    keys = jax.random.split(key, len(checked))
    parts = [
        in_random_groups(transform, groups, k[None], z[None])
        for k, z in zip(keys, checked, strict=True)
    ]
    return _mean_over_pairs(parts, normalize)


def cholesky_whiten(z: jax.Array, eps: float) -> jax.Array:
    """Whiten one sub-batch as in W-MSE; ``eps`` shrinks its covariance."""
    x, floor = observations(z, "batch")
    return by_cholesky(x, 1.0 - eps, eps, floor)


def channel_group_whiten(z: jax.Array, *, floor: float | jax.Array = 0.0) -> jax.Array:
    """Whiten one group of channels ``[n, s]`` as in CW-RGP, already centred."""
    return zca(z.T, 0.0, floor).T


def in_random_groups(
    transform: Callable, groups: int, keys: jax.Array, blocks: jax.Array
) -> jax.Array:
    """Transform random channel groups and put every channel back in its place.

    Blocks ``[B, n, d]`` are permuted each by its own key.
    """
    count, n, d = blocks.shape
    orders = jax.vmap(lambda key: jax.random.permutation(key, d))(keys)[:, None, :]
    parts = jnp.take_along_axis(blocks, orders, axis=2)
    parts = parts.reshape(count, n, groups, d // groups)
    parts = parts.swapaxes(1, 2).reshape(count * groups, n, d // groups)
    parts = jax.vmap(transform)(parts)
    parts = parts.reshape(count, groups, n, d // groups).swapaxes(1, 2)
    back = jnp.argsort(orders, axis=2)
    return jnp.take_along_axis(parts.reshape(count, n, d), back, axis=2)


def _checked_sub_batch(z: jax.Array, sub_batch: int | None) -> int:
    n = z.shape[0]
    size = n if sub_batch is None else sub_batch
    if size < 2 or n % size:
        raise ValueError(
            f"sub_batch must be at least 2 and divide the batch of {n}, got {size}"
        )
    return size


def _check_groups(z: jax.Array, groups: int, *, least: int) -> None:
    d = z.shape[1]
    if groups < 1 or d % groups or d // groups < least:
        raise ValueError(
            f"groups must divide the {d} channels into {least} or more each, "
            f"got {groups}"
        )


def _cut(z: jax.Array, size: int) -> jax.Array:
    return z.reshape(-1, size, z.shape[1])


def _mean_over_pairs(parts: list[jax.Array], normalize: bool) -> jax.Array:
    flat = [part.reshape(-1, part.shape[-1]) for part in parts]
    if normalize:
        losses = [
            2.0 + 2.0 * negative_cosine(a, b)
            for a, b in itertools.combinations(flat, 2)
        ]
    else:
        losses = [jnp.mean((a - b) ** 2) for a, b in itertools.combinations(flat, 2)]
    return jnp.mean(jnp.stack(losses))
