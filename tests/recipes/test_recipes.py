"""One executed step for each combination of method, optimizer and kind of crops.

The presets of `--smoke`, on the smallest network and generated images. That the other
recipes, and the full sizes, fit together is in `test_shapes.py`.
"""

import math
from dataclasses import replace

import micro  # noqa: F401
import pytest

import ssljax
from ssljax.config import DataConfig
from ssljax.recipes import RECIPES
from ssljax.runs import setup


def combinations():
    """The first recipe of each combination, by name."""
    first = {}
    for name, recipe in RECIPES.items():
        config = recipe.config(smoke=True)
        sizes = config.augment.sizes
        crops = "two views" if sizes is None else f"{len(sizes)} crops"
        first.setdefault((config.method.name, config.optimizer.name, crops), name)
    return first


COMBINATIONS = combinations()


def test_the_combinations_cover_every_method_optimizer_and_multi_crop():
    configs = [recipe.config(smoke=True) for recipe in RECIPES.values()]
    methods, optimizers, crops = map(set, zip(*COMBINATIONS, strict=True))
    assert methods == {config.method.name for config in configs}
    assert optimizers == {config.optimizer.name for config in configs}
    assert crops == {"two views", "4 crops", "6 crops"}
    assert len(COMBINATIONS) < len(RECIPES)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", COMBINATIONS.values())
def test_one_step_of_the_smoke_preset(recipe, tmp_path, monkeypatch):
    # A second trace of the same step, a third of the time of this test.
    monkeypatch.setattr(setup, "_check_step", lambda setup: None)
    config = RECIPES[recipe].config(smoke=True)
    config = replace(
        config,
        data=DataConfig("shapes", examples=128, test_examples=12, image_size=16),
        model=replace(config.model, arch="micro", width=2.0),
        monitor=replace(config.monitor, every_epochs=0),
        devices=replace(config.devices, count=1),
        batch_size=128,
        epochs=1,
    )
    run = ssljax.pretrain(config, tmp_path / "run", quiet=True)
    assert run.steps == 1 and math.isfinite(run.metrics["loss"])
    assert run.metrics["gradient_norm"] > 0
