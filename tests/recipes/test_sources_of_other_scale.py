"""Recipes whose source has another gradient than ours take the source's steps."""

from dataclasses import replace

import jax
import numpy as np
import optax
import pytest

from ssljax import methods
from ssljax.recipes import load_recipe
from ssljax.runs.build import build_optimizers

# How much larger the source's gradient is, and its own settings.
SOURCES = {
    "imagenet/simclr": (2, 1e-4, None),
    "imagenet/barlow_twins": (1 / 16, 1e-6, 0.0048),
    "imagenet/directpred_cosine": (2, 1e-5, None),
    "imagenet/isoloss_cosine": (2, 1e-5, None),
}


def moves(config, factor):
    """Return what 12 steps on gradients scaled by ``factor`` add to parameters."""
    optimizer, _, _ = build_optimizers(config, total_steps=40, steps_per_epoch=1)
    rng = np.random.default_rng(0)
    shapes = {"kernel": (6, 5), "bias": (5,)}
    start = {"kernel": rng.normal(size=(6, 5)), "bias": np.zeros(5)}
    params = start = jax.tree.map(np.float32, start)
    state = optimizer.init(params)
    for _ in range(12):
        # As small as the decay, so that their sum turns with either.
        gradient = {k: 1e-5 * rng.normal(size=s) for k, s in shapes.items()}
        scaled = jax.tree.map(lambda g: np.float32(factor * g), gradient)
        updates, state = optimizer.update(scaled, state, params)
        params = optax.apply_updates(params, updates)
    return jax.tree.map(lambda a, b: np.asarray(a - b), params, start)


@pytest.mark.parametrize("name", SOURCES)
def test_the_steps_are_those_of_the_source(name):
    factor, decay, vectors = SOURCES[name]
    config = methods.resolve(load_recipe(name))
    theirs = replace(
        config.optimizer, weight_decay=decay, norm_and_bias_learning_rate=vectors
    )
    ours = moves(config, 1)
    source = moves(replace(config, optimizer=theirs), factor)
    for part, values in source.items():
        close = 2e-4 * np.abs(values).max()
        np.testing.assert_allclose(ours[part], values, atol=close, err_msg=part)
    # With the source's numbers on our gradient both parts would go elsewhere.
    unscaled = moves(replace(config, optimizer=theirs), 1)
    for part, values in source.items():
        assert np.abs(unscaled[part] - values).max() > 0.02 * np.abs(values).max(), part


@pytest.mark.parametrize(
    "name, starts",
    {
        "imagenet/simclr": True,
        "imagenet/byol": True,
        "imagenet/simsiam": True,
        "imagenet/barlow_twins": True,
        "imagenet/vicreg": True,
        "imagenet/spectral_contrastive": True,
        # torchvision's default, which implicit-var-reg leaves as it is.
        "imagenet/directpred_cosine": False,
    }.items(),
)
def test_the_last_scale_of_a_block_starts_as_in_the_source(name, starts):
    assert load_recipe(name).model.zero_init_residual == starts
