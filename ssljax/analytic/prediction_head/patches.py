"""The patch model as it is trained: patches, masks, batch normalisation, a loss."""

import functools
import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic.inputs import check_at_least, check_whole
from ssljax.analytic.prediction_head.population import HeadParams, PatchData
from ssljax.analytic.text import short


class PatchBatch(NamedTuple):
    """Samples and which of their patches the first view shows."""

    patches: jax.Array
    """``[N, P, d]``, features first."""
    first: jax.Array
    """``[N, P]``: 1 in the first view, 0 in the second; hidden patches are zeros."""

    def __repr__(self) -> str:
        return short(self)


def neurons(w: jax.Array, patches: jax.Array, shown: jax.Array) -> jax.Array:
    """Return ``sum_p <w_j, X_p>^3`` over the patches shown, ``[N, outputs]``.

    Args:
        w: ``[outputs, d]``.
        patches: ``[N, P, d]``.
        shown: ``[N, P]``, 1 where a patch is shown and 0 where it is hidden.

    Raises:
        ValueError: where the shapes do not fit.

    >>> neurons(jnp.array([[2.0]]), jnp.ones((1, 3, 1)), jnp.array([[1.0, 1.0, 0.0]]))
    Array([[16.]], dtype=float32)
    """
    _check_fit(w, patches, shown)
    products = jnp.einsum("npd,jd->npj", patches, w)
    return jnp.einsum("npj,np->nj", products * products * products, shown)


def _check_fit(w: jax.Array, patches: jax.Array, shown: jax.Array) -> None:
    shapes = [np.shape(x) for x in (w, patches, shown)]
    if [len(shape) for shape in shapes] != [2, 3, 2] or (
        shapes[1] != (*shapes[2], shapes[0][1])
    ):
        raise ValueError(
            "weights, patches and masks must be [outputs, d], [N, P, d] and [N, P], "
            f"got shapes {', '.join(str(list(shape)) for shape in shapes)}"
        )


def patch_loss(
    params: HeadParams, batch: PatchBatch, *, target: jax.Array | None = None
) -> jax.Array:
    """Compute the paper's loss on a batch, in the precision of its arguments.

    Outputs of the head on one view and neurons on the other are batch-normalised per
    coordinate, so that their product is a correlation over the batch: SimSiam's cosine
    with coordinates as rows and the centred batch along them.

    Args:
        params: encoder ``w`` and head.
        batch: samples with their masks.
        target: weights of the target branch; None means ``w`` behind a stop-gradient.
            Gradients flow through what is passed.

    Returns:
        ``sum_j 1 - corr(sum_r E_jr f_r(view 1), f_j(view 2))``.

    Raises:
        ValueError: where the shapes do not fit.

    Source: Wen and Li, NeurIPS 2022: head without projector, one direction.

    >>> batch = population_batch(PatchData())
    >>> best = HeadParams(jnp.eye(2, 4), jnp.eye(2))
    >>> bool(abs(patch_loss(best, batch) - 0.5) < 1e-6)
    True
    """
    w, head = params
    if np.shape(head) != (np.shape(w)[0],) * 2:
        raise ValueError(
            f"head must be [outputs, outputs] for w of shape {list(np.shape(w))}, "
            f"got shape {list(np.shape(head))}"
        )
    target = jax.lax.stop_gradient(w) if target is None else target
    patches, first = batch
    online = neurons(w, patches, first) @ head.T
    targets = neurons(target, patches, 1 - first)
    online = online - jnp.mean(online, axis=0, keepdims=True)
    targets = targets - jnp.mean(targets, axis=0, keepdims=True)
    outputs = w.shape[0]
    return outputs + outputs * losses.negative_cosine(online.T, targets.T)


@functools.cache
def _half_masks(patches: int) -> np.ndarray:
    """Return every choice of half of the patches, ``[choices, patches]``."""
    halves = list(itertools.combinations(range(patches), patches // 2))
    table = np.zeros((len(halves), patches))
    for row, half in zip(table, halves, strict=True):
        row[list(half)] = 1.0
    return table


def sample_patches(
    key: jax.Array, data: PatchData, *, samples: int, dimension: int
) -> PatchBatch:
    """Draw samples and masks.

    Args:
        key: source of randomness.
        data: the distribution of the samples.
        samples: how many.
        dimension: d of a patch, more than the number of features.

    Returns:
        The batch, in the default precision. Masks treat all patches alike, so the
        feature may always stand in the first ones.

    Raises:
        ValueError: if there is no room for noise, or no whole number of samples.

    >>> key = jax.random.key(0, impl="rbg")
    >>> sample_patches(key, PatchData(), samples=3, dimension=5).patches.shape
    (3, 8, 5)
    """
    features = len(data.strengths)
    check_whole("samples", samples, 1)
    check_at_least("dimension", check_whole("dimension", dimension, 1), features + 1)
    kinds, signs, noise, masks = jax.random.split(key, 4)
    kind = jax.random.randint(kinds, (samples,), 0, features)
    sign = jax.random.rademacher(signs, (samples,), dtype=float)
    shown = jnp.diag(jnp.asarray(data.strengths))[kind] * sign[:, None]
    shown = jnp.pad(shown, ((0, 0), (0, dimension - features)))
    shape = (samples, data.patches - data.feature_patches, dimension - features)
    # Drawn in float32 whatever the default: the slow half of a step.
    drawn = data.noise * jax.random.normal(noise, shape, jnp.float32)
    drawn = jnp.pad(drawn.astype(shown.dtype), ((0, 0), (0, 0), (features, 0)))
    repeated = jnp.repeat(shown[:, None, :], data.feature_patches, axis=1)
    table = jnp.asarray(_half_masks(data.patches), shown.dtype)
    choice = jax.random.randint(masks, (samples,), 0, len(table))
    return PatchBatch(jnp.concatenate([repeated, drawn], axis=1), table[choice])


def _noise_nodes(noise: float) -> np.ndarray:
    """Return four points with the Gaussian's sixth moments, up to sign."""
    angles = np.arange(4) * np.pi / 4
    # E |xi|^6 = 48 noise^6; eight directions are exact for polynomials of degree 6.
    return noise * 48 ** (1 / 6) * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def population_batch(data: PatchData) -> PatchBatch:
    """Return a batch of 24 samples with exactly the population's loss and gradients.

    The neurons are cubic, so the loss sees the distribution through moments of degree
    six only: a few samples can have them. Each shows one patch per view.

    Args:
        data: the distribution to represent, with two features.

    Returns:
        ``[24, 2, 4]`` patches, two features and two directions of noise: exact for two
        neurons in any dimension, once the plane of their noise parts is these two.

    Raises:
        ValueError: if there are not two features.
    """
    kinds = _kinds_of_patches(data)
    constants = data.constants
    own = np.array([constants.feature] * 2 + [constants.noise / 4] * 4)
    cross = np.array([constants.cross] * 2 + [0.0] * 4)
    count = 4 * len(kinds)
    # Rows in which the views agree and rows in which they differ, with both signs.
    agree, differ = (
        np.sqrt(count * (own + cross) / 4),
        np.sqrt(count * (own - cross) / 4),
    )
    views = np.concatenate(
        [
            np.cbrt(np.stack([first * size, second * size], axis=1))
            for size, signs in ((agree, (1, 1)), (differ, (1, -1)))
            for first, second in (signs, tuple(-s for s in signs))
        ]
    )
    patches = views[:, :, None] * np.tile(kinds, (4, 1))[:, None, :]
    first = np.tile([1.0, 0.0], (count, 1))
    return PatchBatch(jnp.asarray(patches), jnp.asarray(first))


def enumerated_batch(data: PatchData) -> PatchBatch:
    """Return every mask, feature and sign, with noise of exact moments.

    Args:
        data: the distribution to enumerate; with two features.

    Returns:
        ``[masks * 2 * 4 * signs, P, 4]`` patches of equal weight, 4480 samples for 8
        patches; as exact as `population_batch`, but made of the model's own samples.

    Raises:
        ValueError: if there are not two features.
    """
    kinds = _kinds_of_patches(data)
    noisy = data.patches - data.feature_patches
    # Columns of a Hadamard matrix: signs of the feature and of each noise patch that
    # are balanced and uncorrelated, in few rows.
    signs = np.ones((1, 1))
    while signs.shape[1] < noisy + 2:
        signs = np.kron(signs, [[1, 1], [1, -1]])
    samples = []
    for feature, node, row in itertools.product(kinds[:2], kinds[2:], signs):
        shown = np.tile(row[1] * feature, (data.feature_patches, 1))
        samples.append(
            np.concatenate([shown, row[2 : 2 + noisy, None] * node[None, :]])
        )
    masks = _half_masks(data.patches)
    return PatchBatch(
        jnp.asarray(np.repeat(np.stack(samples), len(masks), axis=0)),
        jnp.asarray(np.tile(masks, (len(samples), 1))),
    )


def _kinds_of_patches(data: PatchData) -> np.ndarray:
    """Return the two features and the four nodes of noise, ``[6, 4]``."""
    if len(data.strengths) != 2:
        raise ValueError(f"two features are needed, got {len(data.strengths)}")
    kinds = np.zeros((6, 4))
    kinds[:2, :2] = np.diag(data.strengths)
    kinds[2:, 2:] = _noise_nodes(data.noise)
    return kinds
