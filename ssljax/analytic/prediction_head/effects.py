"""Effects of the prediction head: substitution, acceleration, conserved quantities."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ssljax.analytic.inputs import check_finite, check_positive, check_rate
from ssljax.analytic.precision import in_float64
from ssljax.analytic.prediction_head.population import (
    HeadParams,
    PatchData,
    check_head,
    check_neurons,
    feature_parts,
    noise_moments,
    population_moments,
)
from ssljax.analytic.text import short


@in_float64
def feature_velocity(params: HeadParams, data: PatchData) -> jax.Array:
    """Return minus the population loss's gradient in ``<w_j, v_l>``, by hand.

    Args:
        params: encoder ``w`` and head.
        data: the distribution of the samples.

    Returns:
        ``[outputs, features]``. With ``E = I`` it is ``3 cross alpha_l^6 a_jl^5 N_j /
        V_jj^2`` (noise ``N_j``, variance ``V_jj``): each feature only feeds itself. An
        off-diagonal head brings in what the *other* neuron has learnt.

    Raises:
        ValueError: as `population_loss`.

    Source: Wen and Li, NeurIPS 2022, phase III, here without approximation.
    """
    w, head = check_head(HeadParams(*params))
    w = check_neurons(w, data)
    parts, constants = feature_parts(w, data), data.constants
    own = population_moments(w, data)[1]
    mixed = head @ parts
    variance, its_variance = jnp.diag(head @ own @ head.T), jnp.diag(own)
    overlap = jnp.sum(mixed * parts, axis=1)
    pull = parts * variance[:, None] - constants.feature * overlap[:, None] * mixed
    pull = pull / (variance**1.5 * jnp.sqrt(its_variance))[:, None]
    strengths = jnp.asarray(data.strengths)[None, :]
    slope = 3 * strengths**3 * w[:, : len(data.strengths)] ** 2
    return constants.cross * slope * (head.T @ pull)


class Acceleration(NamedTuple):
    """Whether neuron 2 learns the weak feature before the strong one."""

    factor: jax.Array
    """How much the borrowed output speeds up the weak feature, relative to noise."""
    threshold: jax.Array
    """The weak feature's relative rate wins where the factor exceeds this."""
    velocity: jax.Array
    """Approximate velocity of ``<w_2, v_l>``, ``[2]``."""

    def __repr__(self) -> str:
        return short(self)


@in_float64
def acceleration(params: HeadParams, data: PatchData) -> Acceleration:
    """Compute the head's acceleration effect on the second neuron.

    Args:
        params: two neurons and their head, with ``<w_1, v_2>`` and ``E_12`` small.
        data: a distribution with two features.

    Returns:
        ``1 + r (E_21^2 S_11 + E_21 S_12) / N_2`` with ``S`` the feature part of the
        covariance, ``r`` its constant and ``N_2`` the noise in output 2; the threshold
        ``(alpha_1 / alpha_2)^6 (a_21 / a_22)^4``; and the velocities they come from,
        in which the products of two small numbers are dropped.

    Raises:
        ValueError: if there are not two neurons and two features, or as
            `population_loss`.

    Source: Wen and Li, NeurIPS 2022, acceleration effect (phase III).
    """
    w, head = check_head(HeadParams(*params))
    check_neurons(w, data)
    if w.shape[0] != 2 or len(data.strengths) != 2:
        raise ValueError("acceleration needs two neurons and two features")
    constants, parts = data.constants, feature_parts(w, data)
    features, borrowed = parts @ parts.T, head[1, 0]
    own = population_moments(w, data)[1]
    noise = constants.noise * (head @ noise_moments(w, data) @ head.T)[1, 1]
    gain = constants.feature * (
        borrowed**2 * features[0, 0] + borrowed * features[0, 1]
    )
    strengths, aligned = jnp.asarray(data.strengths), w[1, :2]
    # The strong feature is slowed: neuron 2 need not learn what neuron 1 supplies.
    loss_of_strong = (
        constants.feature * borrowed * parts[0, 0] * parts[1, 1] ** 2 / parts[1, 0]
    )
    terms = noise + jnp.stack([-loss_of_strong, gain])
    scale = (head @ own @ head.T)[1, 1] ** 1.5 * jnp.sqrt(own[1, 1])
    return Acceleration(
        factor=1.0 + gain / noise,
        threshold=(strengths[0] / strengths[1]) ** 6 * (aligned[0] / aligned[1]) ** 4,
        velocity=3 * constants.cross * strengths**6 * aligned**5 * terms / scale,
    )


@in_float64
def conserved_quantities(
    params: HeadParams, *, rate_ratio: float | jax.Array
) -> jax.Array:
    """Return what gradient flow conserves, as the normalised loss has no scale.

    Args:
        params: two neurons and their head; only off-diagonal entries are trained.
        rate_ratio: learning rate of the head over that of the encoder, > 0.

    Returns:
        ``|w_1|^2 + |w_2|^2`` and ``|w_2|^2 + 3 (E_21^2 - E_12^2) / rate_ratio``,
        ``[2]``. Descent lets them drift in proportion to the learning rate; the first
        only grows.

    Raises:
        ValueError: if there are not two neurons with their head, a number is not
            finite, or the ratio is not positive.

    Source: Euler's identity for the degree 3 of the neurons and the degree 0 of the
    loss, for the model of Wen and Li, NeurIPS 2022.
    """
    w, head = check_head(HeadParams(*params))
    if len(w) != 2:
        raise ValueError(f"conserved_quantities needs two neurons, got {len(w)}")
    check_positive("rate_ratio", rate_ratio)
    check_finite("rate_ratio", rate_ratio)
    lengths = jnp.sum(w**2, axis=1)
    borrowed = head[1, 0] ** 2 - head[0, 1] ** 2
    return jnp.stack([jnp.sum(lengths), lengths[1] + 3.0 * borrowed / rate_ratio])


@in_float64
def substitution_bound(
    rate_ratio: float | jax.Array, norm: float | jax.Array
) -> jax.Array:
    """Return the largest ``|E_21|`` that conservation allows while ``E_12`` is 0.

    Args:
        rate_ratio: learning rate of the head over that of the encoder.
        norm: length of the second neuron at the start.

    Returns:
        ``sqrt(rate_ratio / 3) norm``, reached if that neuron vanished.

    Raises:
        ValueError: for a negative number or one that is not finite.

    Source: Wen and Li, NeurIPS 2022, substitution effect: ``|E_21|`` is of the order of
    the root of the ratio of rates.

    >>> float(substitution_bound(3.0, 1.0))
    1.0
    """
    check_rate("rate_ratio", rate_ratio)
    check_rate("norm", norm)
    return jnp.sqrt(jnp.asarray(rate_ratio, jnp.float64) / 3.0) * norm
