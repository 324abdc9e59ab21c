"""One step of every recipe's smoke preset, on a small network and embedded images."""

import math
from dataclasses import replace

import micro  # noqa: F401
import pytest
from paths import CONFIGS

import ssljax
from ssljax.commands.main import load_recipe
from ssljax.config import DataConfig


@pytest.mark.slow
@pytest.mark.parametrize("recipe", sorted(CONFIGS.glob("*.py")), ids=lambda p: p.stem)
def test_one_step_of_the_smoke_preset(recipe, tmp_path):
    config = load_recipe(str(recipe), smoke=True)
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
