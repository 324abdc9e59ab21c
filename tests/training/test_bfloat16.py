"""Every method for 200 steps of batch 512 in bfloat16: nothing overflows or dies."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import micro  # noqa: F401
import numpy as np
import pytest

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
from ssljax.training.step import resident_step

STEPS, BATCH = 200, 512
# What the defaults, made for real widths, ask of 32 numbers; the batch is real.
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


@contextlib.contextmanager
def optimising():
    """Of all programs here the step alone is worth XLA's effort."""
    jax.config.update("jax_disable_most_optimizations", False)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", True)


@pytest.mark.slow
@pytest.mark.parametrize("name", methods.METHODS)
def test_two_hundred_steps_stay_finite(name):
    source = images()
    config = Config(
        data=DataConfig("shapes", examples=2 * BATCH, image_size=12),
        method=MethodConfig(name, **({"projector": "64-32"} | HEADS.get(name, {}))),
        model=ModelConfig("micro", dtype="bfloat16"),
        # Crops and flips: views are float32 whatever the network computes in.
        augment=AugmentConfig("supervised", size=8),
        # Steps of one size whatever the scale of the loss: what is tested is the number
        # format, not a rate.
        optimizer=OptimizerConfig(
            name="adamw", learning_rate=1e-3, scale_by_batch=False, weight_decay=0.0
        ),
        epochs=STEPS / 2,
        batch_size=BATCH,
    )
    setup = prepare(methods.resolve(config), source)
    data = {"image": jnp.asarray(source.images), "label": jnp.asarray(source.labels)}
    step = jax.jit(functools.partial(resident_step, setup=setup), donate_argnums=0)
    state = jax.jit(functools.partial(init_state, setup))()
    rows = np.random.default_rng(0).permuted(
        np.tile(np.arange(2 * BATCH), (STEPS // 2, 1)), axis=1
    )
    losses = []
    with optimising():
        for indices in rows.reshape(STEPS, BATCH):
            state, metrics = step(state, data, jnp.asarray(indices))
            losses.append(metrics["loss"])
    assert int(state.failed_at) == -1 and int(state.step) == STEPS
    assert np.isfinite(losses).all()
    kernel = state.params["encoder"]
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(kernel))
    # Something was learnt: the steps did not merely pass.
    assert np.mean(losses[-20:]) != pytest.approx(np.mean(losses[:20]), rel=1e-4)
