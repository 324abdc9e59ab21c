"""Every method for 200 steps of batch 128 in bfloat16: nothing overflows or dies.

Methods that differ in the loss alone share one compiled step, which picks the loss by
number: compiling the network takes longer than 200 steps of it.
"""

import functools
import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import micro  # noqa: F401
import numpy as np
import pytest
from optimising import optimising

from ssljax import methods
from ssljax.config import (
    AugmentConfig,
    Config,
    DataConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
)
from ssljax.data import load
from ssljax.runs.setup import prepare
from ssljax.training.state import init_state
from ssljax.training.step import take, train_step

STEPS, BATCH = 200, 128
# Options for a width of 32, because the defaults are for real widths.
HEADS = {
    "byol": {"predictor": "16-32"},
    "simsiam": {"predictor": "16-32"},
    "supervised": {"projector": None},
    "w_mse": {"options": {"sub_batch": 128}},
    "cw_rgp": {"options": {"sub_batch": 4, "groups": 4}},
}


@functools.cache
def images():
    return load("shapes", examples=2 * BATCH, image_size=12)


def config_of(name):
    return methods.resolve(
        Config(
            data=DataConfig("shapes", examples=2 * BATCH, image_size=12),
            method=MethodConfig(name, **({"projector": "64-32"} | HEADS.get(name, {}))),
            model=ModelConfig("micro", dtype="bfloat16"),
            # Crops and flips: views are float32 whatever the network computes in.
            augment=AugmentConfig("supervised", size=8),
            # Adam's steps do not depend on the scale of the loss: this tests the number
            # format, not a learning rate.
            optimizer=OptimizerConfig(
                name="adamw", learning_rate=1e-3, scale_by_batch=False, weight_decay=0.0
            ),
            epochs=STEPS / 2,
            batch_size=BATCH,
        )
    )


def structure(name):
    """Return all settings of the program except loss and closed-form predictor."""
    config, row = config_of(name), methods.get(name)
    heads = replace(config.method, name="", options={})
    facts = row.closed_form, row.teacher_first, row.target_start, row.views
    return repr((heads, config.optimizer, facts))


GROUPS = [
    list(group)
    for _, group in itertools.groupby(sorted(methods.METHODS, key=structure), structure)
]


def shared_step(names):
    """Take one step of a group of methods; ``which`` selects loss and predictor."""
    setups = [prepare(config_of(name), images()) for name in names]

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, data, indices, which):
        def loss(outputs):
            return jax.lax.switch(which, [s.loss for s in setups], outputs)

        def predictors(covariance, projections):
            return jax.lax.switch(
                which, [s.predictors for s in setups], covariance, projections
            )

        shared = replace(
            setups[0],
            loss=loss,
            predictors=None if setups[0].predictors is None else predictors,
        )
        return train_step(state, take(data, indices), setup=shared)

    return step, setups[0]


def test_every_method_is_in_one_group():
    assert sorted(name for group in GROUPS for name in group) == sorted(methods.METHODS)


@pytest.mark.slow
@pytest.mark.parametrize("names", GROUPS, ids=lambda names: "-".join(names)[:60])
def test_two_hundred_steps_stay_finite(names):
    source, (step, setup) = images(), shared_step(names)
    data = {"image": jnp.asarray(source.images), "label": jnp.asarray(source.labels)}
    start = jax.device_get(jax.jit(functools.partial(init_state, setup))())
    rows = np.random.default_rng(0).permuted(
        np.tile(np.arange(2 * BATCH), (STEPS // 2, 1)), axis=1
    )
    for which, name in enumerate(names):
        state, losses = jax.tree.map(jnp.array, start), []
        with optimising():
            for indices in rows.reshape(STEPS, BATCH):
                state, metrics = step(state, data, jnp.asarray(indices), which)
                losses.append(metrics["loss"])
        assert int(state.failed_at) == -1 and int(state.step) == STEPS, name
        assert np.isfinite(losses).all(), name
        kernel = state.params["encoder"]
        assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(kernel)), name
        # The steps also learnt something.
        first, last = np.mean(losses[:20]), np.mean(losses[-20:])
        assert last != pytest.approx(first, rel=1e-4), name
