"""The patch model's population: its moments, its loss and what follows from them."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssljax.analytic.inputs import (
    check_at_least,
    check_finite,
    check_moment,
    check_positive,
    check_shape,
    check_whole,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.spectral_functions import symmetric_entropy
from ssljax.analytic.text import short


class HeadParams(NamedTuple):
    """An encoder of cubic neurons and the linear head behind it."""

    w: jax.Array
    """Rows are neurons, ``[outputs, d]``; the first coordinates are the features."""
    head: jax.Array
    """``E``, ``[outputs, outputs]``: output j is ``sum_r E_jr f_r``."""

    def __repr__(self) -> str:
        return short(self)


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
        for name, values in (("strengths", self.strengths), ("noise", self.noise)):
            for value in jax.tree.leaves(values):
                check_positive(name, value)
                check_finite(name, value)
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
    check_whole("patches", patches, 1)
    check_whole("feature_patches", feature_patches, 1)
    check_whole("features", features, 1)
    if patches % 2:
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
    features = len(data.strengths)
    return (w[:, :features] * jnp.asarray(data.strengths)[None, :]) ** 3


def check_weights(w: jax.Array, data: PatchData) -> jax.Array:
    """Return ``[outputs, d]``, and raise where features leave no room for noise."""
    w, features = jnp.asarray(w, jnp.float64), len(data.strengths)
    if w.ndim != 2 or w.shape[1] <= features:
        raise ValueError(
            f"w must be [outputs, d] with d > {features} (features, then noise), "
            f"got shape {list(w.shape)}"
        )
    check_finite("w", w)
    return w


def check_neurons(w: jax.Array, data: PatchData) -> jax.Array:
    """Return `check_weights`, and raise for neurons whose output does not vary."""
    w = check_weights(w, data)
    check_positive("the length of each neuron in w", jnp.sum(w**2, axis=1))
    return w


def check_head(params: HeadParams) -> HeadParams:
    """Return finite parameters in float64, and raise where they do not fit."""
    w = check_shape("w", params.w, "outputs", "d")
    check_finite("w", w)
    head = check_shape("head", params.head, len(w), len(w))
    check_finite("head", head)
    return HeadParams(w, head)


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

    Raises:
        ValueError: for weights that leave no room for noise or are not finite.

    Source: Isserlis' theorem, for the model of Wen and Li, NeurIPS 2022.

    >>> cross, own = population_moments(jnp.eye(2, 4), PatchData())
    >>> round(float(cross[0, 0] / own[0, 0]), 6)  # without noise: 12 / 16
    0.75
    """
    w = check_weights(w, data)
    parts, constants = feature_parts(w, data), data.constants
    features = parts @ parts.T
    own = constants.feature * features + constants.noise * noise_moments(w, data)
    return constants.cross * features, own


@in_float64
def population_loss(
    params: HeadParams, data: PatchData, *, target: jax.Array | None = None
) -> jax.Array:
    """Compute the expected loss: outputs minus correlations with the other view.

    Its gradient is a semi-gradient by design, that of training: the target branch is
    held fixed unless it is passed, so `jax.grad` of this function is not the slope of
    its values in ``w``. For that slope pass ``target=params.w``.

    Args:
        params: encoder ``w`` and head.
        data: the distribution of the samples.
        target: weights of the target branch, ``[outputs, d]``; None means ``w`` behind
            a stop-gradient. Gradients flow through what is passed.

    Returns:
        ``sum_j 1 - corr(sum_r E_jr f_r(view 1), f_j(view 2))``; its gradient is the
        expected one. At least ``outputs (1 - cross / feature)``.

    Raises:
        ValueError: for weights or a head that do not fit, are not finite, or have an
            output that does not vary.

    Source: Wen and Li, "The mechanism of prediction head in non-contrastive
    self-supervised learning", NeurIPS 2022: batch-normalised output, infinite batch.

    >>> best = HeadParams(jnp.eye(2, 4), jnp.eye(2))
    >>> round(float(population_loss(best, PatchData())), 12)
    0.5
    """
    w, head = check_head(HeadParams(*params))
    check_neurons(w, data)
    target = jax.lax.stop_gradient(w) if target is None else target
    target = check_shape("target", check_neurons(target, data), *w.shape)
    own = population_moments(w, data)[1]
    its_own = population_moments(target, data)[1]
    parts, its_parts = feature_parts(w, data), feature_parts(target, data)
    cross = data.constants.cross * jnp.sum((head @ parts) * its_parts, axis=1)
    variance = jnp.diag(head @ own @ head.T) * jnp.diag(its_own)
    return jnp.sum(1.0 - cross / jnp.sqrt(variance))


@in_float64
def output_correlation(w: jax.Array, data: PatchData) -> jax.Array:
    """Return the correlation of the neurons within one view.

    Args:
        w: ``[outputs, d]``, features first, no row 0.
        data: the distribution of the samples.

    Returns:
        ``[outputs, outputs]``, 1 on the diagonal.

    Raises:
        ValueError: as `population_moments`, and for a neuron that does not vary.

    >>> output_correlation(jnp.eye(2, 4), PatchData()).round(9).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    own = population_moments(check_neurons(w, data), data)[1]
    lengths = jnp.sqrt(jnp.diag(own))
    return own / (lengths[:, None] * lengths[None, :])


@in_float64
def effective_rank(covariance: jax.Array) -> jax.Array:
    """Return the exponential of the entropy of the normalised spectrum of a covariance.

    Args:
        covariance: symmetric ``[n, n]`` with a positive trace.

    Returns:
        A number from 1 to n; twice differentiable at full rank, where eigenvalues
        repeat too. At an eigenvalue 0 its slope is infinite, and not returned.

    Raises:
        ValueError: if that is not such a matrix.

    Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007.

    >>> float(effective_rank(jnp.eye(3)).round(6))
    3.0
    """
    covariance = check_moment("covariance", covariance)
    check_finite("covariance", covariance)
    trace = jnp.trace(covariance)
    check_positive("the trace of covariance", trace)
    return jnp.exp(symmetric_entropy(covariance / trace))
