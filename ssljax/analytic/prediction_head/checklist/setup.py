"""The configuration of the prediction-head checklist and how it is simulated."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.prediction_head import (
    HeadParams,
    HeadRule,
    PatchData,
    descend,
    patch_loss,
    population_batch,
    population_loss,
)
from ssljax.analytic.simulate import Simulation

DATA = PatchData()
RATE = 0.03  # of the encoder
RATIO = 0.3  # of the head's rate to it
FLOOR = 0.5  # the smallest loss there is


def unit_neurons(aligned: jax.Array) -> jax.Array:
    """Return two unit neurons with these alignments, orthogonal in noise."""
    rest = jnp.sqrt(1.0 - jnp.sum(aligned**2, axis=1))
    return jnp.concatenate([aligned, jnp.diag(rest)], axis=1)


def start() -> HeadParams:
    """Return the start: neuron 1 a little ahead, the head the identity."""
    aligned = jnp.asarray([[0.08, 0.05], [0.05, 0.05]], jnp.float64)
    return HeadParams(unit_neurons(aligned), jnp.eye(2))


def random_params(seed: int) -> HeadParams:
    """Return random weights and a random off-diagonal head."""
    rng = np.random.default_rng(seed)
    off = 0.4 * rng.normal(size=(2, 2)) * (1 - np.eye(2))
    w = 0.5 * rng.normal(size=(2, 4))
    return HeadParams(jnp.asarray(w), jnp.asarray(np.eye(2) + off))


def trained_loss(params: HeadParams, target: jax.Array) -> jax.Array:
    """Compute the loss that networks are trained with, on the exact batch."""
    return patch_loss(params, population_batch(DATA), target=target)


def expected_loss(params: HeadParams, target: jax.Array) -> jax.Array:
    """Compute the same in closed form."""
    return population_loss(params, DATA, target=target)


def simulate(
    steps: int,
    *,
    every: int = 1,
    ratio: Any = RATIO,
    rate: Any = RATE,
    params: HeadParams | None = None,
    loss: Any = trained_loss,
) -> Simulation:
    """Descend on encoder and off-diagonal head from this checklist's start.

    A vector of ratios or rates is mapped in one program, and the runs come on the
    first axis of the records.
    """

    def one(params: HeadParams, ratio: Any, rate: Any) -> Simulation:
        return descend(
            loss,
            params,
            learning_rate=rate,
            steps=steps,
            every=every,
            rule=HeadRule(rate_ratio=ratio),
        )

    axes = (None, 0 if jnp.ndim(ratio) else None, 0 if jnp.ndim(rate) else None)
    run = one if axes == (None, None, None) else jax.vmap(one, in_axes=axes)
    return jax.jit(run)(start() if params is None else params, ratio, rate)


def simulate_rules(rules: Sequence[HeadRule], steps: int, *, every: int) -> Simulation:
    """Descend under several rules in one program, rules on the first axis."""
    stacked = jax.tree.map(
        lambda *leaves: jnp.stack([jnp.asarray(x, jnp.float64) for x in leaves]),
        *[rule._replace(trainable=jnp.asarray(rule.trainable)) for rule in rules],
    )

    def one(rule: HeadRule) -> Simulation:
        return descend(
            trained_loss,
            start(),
            learning_rate=RATE,
            steps=steps,
            every=every,
            rule=rule,
        )

    return jax.jit(jax.vmap(one))(stacked)


def aligned(params: HeadParams) -> jax.Array:
    """Return ``a_11, a_12, a_21, a_22`` of parameters or records, ``[..., 4]``."""
    w = params.w[..., :2]
    return w.reshape(*w.shape[:-2], 4)


def at(params: HeadParams, *index: Any) -> HeadParams:
    """Return one record of many."""
    return jax.tree.map(lambda x: x[index], params)


def diverse(aligned: jax.Array) -> jax.Array:
    """Return whether each neuron has learnt its own feature, of ``[..., 4]``."""
    size = jnp.abs(aligned)
    learnt = (size[..., 0] > 0.5) & (size[..., 3] > 0.5)
    return learnt & (size[..., 1] < 0.15) & (size[..., 2] < 0.15)
