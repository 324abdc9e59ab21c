"""Setups that compile quickly: every method on one block and 12 pixels."""

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import micro  # noqa: F401
import numpy as np

from ssljax.config import (
    AugmentConfig,
    Config,
    DataConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
)
from ssljax.data import from_arrays
from ssljax.methods import resolve
from ssljax.runs.setup import prepare
from ssljax.training.state import init_state

BATCH = 32


def source(labelled=True):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, 12, 12, 3), dtype=np.uint8)
    return from_arrays(images, rng.integers(0, 4, BATCH) if labelled else None)


# Options for 32 rows of 12 numbers, because the defaults are for real sizes.
HEADS = {
    "byol": {"predictor": "8-12"},
    "simsiam": {"predictor": "8-12"},
    "supervised": {"projector": None},
    "w_mse": {"options": {"sub_batch": 16, "eps": 0.1}},
    "cw_rgp": {"options": {"sub_batch": 4, "groups": 2}},
    "shuffled_dbn": {"options": {"groups": 3, "eps": 0.1}},
}


@functools.cache
def setup_of(name, preset="auto", frozen=False, **method):
    heads = {"projector": "24-12"} | HEADS.get(name, {})
    config = Config(
        data=DataConfig("arrays"),
        method=MethodConfig(name, **(heads | method)),
        model=ModelConfig("micro", frozen=frozen),
        augment=AugmentConfig(preset, blur=0.5 if name == "simclr" else None),
        optimizer=OptimizerConfig(
            learning_rate=0.01, scale_by_batch=False, warmup_epochs=0, momentum=0.0
        ),
        epochs=10,
        batch_size=BATCH,
    )
    return prepare(resolve(config), source())


_FIRST: dict = {}


def first_state(setup):
    """Return the state at step 0, compiled once per setup because that is slow."""
    if id(setup) not in _FIRST:
        made = jax.jit(functools.partial(init_state, setup))()
        # The setup is kept too, so that no other object can get its id.
        _FIRST[id(setup)] = setup, jax.device_get(made)
    return _FIRST[id(setup)][1]


def doubled(setup):
    """Return the setup with its network in float64.

    In float32 a rounding error in the views occasionally flips a ReLU, which changes
    the gradient by about one per cent although the devices agree.
    """
    double = {
        part: getattr(setup.network, part).clone(dtype=jnp.float64)
        for part in ("encoder", "projector", "predictor")
        # The linear predictors compute in the type of their input.
        if hasattr(getattr(setup.network, part), "dtype")
    }
    return replace(setup, network=setup.network.clone(**double))


def widened(tree):
    """Return a state in float64, for the network of `doubled`."""
    return jax.tree.map(
        lambda x: x.astype(np.float64) if x.dtype == np.float32 else x, tree
    )


WIRINGS = ("simclr", "byol", "isoloss_cosine")
