"""The patch model's population: its moments, its loss and what follows from them."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssljax.analytic.inputs import check_at_least, check_positive
from ssljax.analytic.precision import in_float64


class HeadParams(NamedTuple):
    """An encoder of cubic neurons and the linear head behind it."""

    w: jax.Array
    """Rows are neurons, ``[outputs, d]``; the first coordinates are the features."""
    head: jax.Array
    """``E``, ``[outputs, outputs]``: output j is ``sum_r E_jr f_r``."""


class PopulationConstants(NamedTuple):
    """Second moments of how much of a feature and of noise the two views show."""

    cross: float
    """Of a feature, between the views."""
    feature: float
    """Of a feature, within a view."""
    noise: float
    """Noise patches within a view."""


@dataclass(frozen=True)
class PatchData:
    """Samples of patches, each with one feature, seen through complementary masks.

    A sample shows one feature, equally likely any, with one sign in
    ``feature_patches`` of its patches; the others hold Gaussian noise orthogonal to
    all features. The first view keeps a random half of the patches, the second the
    rest.

    Attributes:
        strengths: length of each feature where it is shown, positive.
        noise: standard deviation of the noise per direction.
        patches: patches of a sample, even.
        feature_patches: patches that show the feature.
    """

    strengths: tuple[float, ...] = (6.0, 4.5)
    noise: float = 1.0
    patches: int = 8
    feature_patches: int = 4

    def __post_init__(self) -> None:
        check_at_least("the number of strengths", len(self.strengths), 1)
        check_positive("strengths", self.strengths)
        check_positive("noise", self.noise)
        population_constants(self.patches, self.feature_patches)

    @property
    def constants(self) -> PopulationConstants:
        """Return the moments of the masks."""
        return population_constants(
            self.patches, self.feature_patches, features=len(self.strengths)
        )


def population_constants(
    patches: int, feature_patches: int, *, features: int = 2
) -> PopulationConstants:
    """Return the moments of the number of feature and noise patches in a view.

    Args:
        patches: patches of a sample, even: a view keeps half of them.
        feature_patches: patches that show the feature.
        features: how many features are equally likely.

    Returns:
        ``E[n1 n2] / features``, ``E[n1^2] / features`` and the mean number of noise
        patches in a view, with n1, n2 the (hypergeometric) numbers of feature patches.

    Raises:
        ValueError: for an odd number of patches or more feature patches than patches.

    Source: hypergeometric moments, for the data model of Wen and Li, NeurIPS 2022.

    >>> [round(7 * c) for c in population_constants(8, 4)]
    [12, 16, 14]
    """
    if patches < 2 or patches % 2:
        raise ValueError(f"patches must be even and at least 2, got {patches}")
    check_at_least("feature_patches", feature_patches, 1, patches)
    mean = feature_patches / 2
    square = mean**2 + feature_patches / 4 * (patches - feature_patches) / (patches - 1)
    return PopulationConstants(
        cross=(feature_patches * mean - square) / features,
        feature=square / features,
        noise=(patches - feature_patches) / 2,
    )


def feature_parts(w: jax.Array, data: PatchData) -> jax.Array:
    """Return ``alpha_l^3 <w_j, v_l>^3``, ``[outputs, features]``."""
    w = check_weights(w, data)
    features = len(data.strengths)
    return (w[:, :features] * jnp.asarray(data.strengths)[None, :]) ** 3


def check_weights(w: jax.Array, data: PatchData) -> jax.Array:
    """Return ``[outputs, d]``, and raise where features leave no room for noise."""
    w, features = jnp.asarray(w), len(data.strengths)
    if w.ndim != 2 or w.shape[1] <= features:
        raise ValueError(
            f"w must be [outputs, d] with d > {features} (features, then noise), "
            f"got shape {list(w.shape)}"
        )
    return w


def noise_moments(w: jax.Array, data: PatchData) -> jax.Array:
    """Return ``E[<w_i, xi>^3 <w_j, xi>^3]`` of a noise patch, per two outputs."""
    rest = w[:, len(data.strengths) :]
    gram = data.noise**2 * (rest @ rest.T)
    lengths = jnp.diag(gram)
    # z^3 is He_3 + 3 |w|^2 He_1: the two terms are the two Hermite orders.
    return 9 * lengths[:, None] * lengths[None, :] * gram + 6 * gram**3


@in_float64
def population_moments(w: jax.Array, data: PatchData) -> tuple[jax.Array, jax.Array]:
    """Return covariances of the neurons between two views and within one.

    Args:
        w: ``[outputs, d]``, features first.
        data: the distribution of the samples.

    Returns:
        ``C_ij = E[f_i(view 1) f_j(view 2)]`` and ``V_ij = E[f_i(view 1) f_j(view 1)]``,
        ``[outputs, outputs]`` each; the means are 0.

    Source: Isserlis' theorem, for the model of Wen and Li, NeurIPS 2022.

    >>> cross, own = population_moments(jnp.eye(2, 4), PatchData())
    >>> round(float(cross[0, 0] / own[0, 0]), 6)  # without noise: 12 / 16
    0.75
    """
    parts, constants = feature_parts(w, data), data.constants
    features = parts @ parts.T
    own = constants.feature * features + constants.noise * noise_moments(w, data)
    return constants.cross * features, own


@in_float64
def population_loss(
    params: HeadParams, data: PatchData, *, target: jax.Array | None = None
) -> jax.Array:
    """Compute the expected loss: outputs minus correlations with the other view.

    Args:
        params: encoder ``w`` and head.
        data: the distribution of the samples.
        target: weights of the target branch, ``[outputs, d]``; None means ``w`` behind
            a stop-gradient. Gradients flow through what is passed.

    Returns:
        ``sum_j 1 - corr(sum_r E_jr f_r(view 1), f_j(view 2))``; its gradient is the
        expected one. At least ``outputs (1 - cross / feature)``.

    Source: Wen and Li, "The mechanism of prediction head in non-contrastive
    self-supervised learning", NeurIPS 2022: batch-normalised output, infinite batch.

    >>> best = HeadParams(jnp.eye(2, 4), jnp.eye(2))
    >>> round(float(population_loss(best, PatchData())), 12)
    0.5
    """
    w, head = params
    target = jax.lax.stop_gradient(w) if target is None else target
    own = population_moments(w, data)[1]
    its_own = population_moments(target, data)[1]
    parts, its_parts = feature_parts(w, data), feature_parts(target, data)
    cross = data.constants.cross * jnp.sum((head @ parts) * its_parts, axis=1)
    variance = jnp.diag(head @ own @ head.T) * jnp.diag(its_own)
    return jnp.sum(1.0 - cross / jnp.sqrt(variance))


@in_float64
def output_correlation(w: jax.Array, data: PatchData) -> jax.Array:
    """Return the correlation of the neurons within one view, ``[outputs, outputs]``."""
    own = population_moments(w, data)[1]
    lengths = jnp.sqrt(jnp.diag(own))
    return own / (lengths[:, None] * lengths[None, :])


@in_float64
def effective_rank(covariance: jax.Array) -> jax.Array:
    """Return the exponential of the entropy of the normalised spectrum of a covariance.

    >>> float(effective_rank(jnp.eye(3)).round(6))
    3.0
    """
    shares = jnp.linalg.eigvalsh(covariance) / jnp.trace(covariance)
    positive = shares > 0
    logs = jnp.log(jnp.where(positive, shares, 1.0))
    return jnp.exp(-jnp.sum(jnp.where(positive, shares * logs, 0.0)))
