"""The alarm on networks that train: it names the one that collapses and no other."""

from dataclasses import replace

import pytest

import ssljax
from ssljax.cli import load_recipe
from ssljax.config import DevicesConfig, MethodConfig, MonitorConfig
from ssljax.training.run_folder import RunFolder, read_json_lines

RECIPE = "experiments/configs/shapes_quickstart.py"
HEADS = {
    "simclr": dict(projector="256-64"),
    "byol": dict(projector="512-128", predictor="512-128"),
    "simsiam": dict(projector="256-256-256", predictor="64-256"),
    "barlow_twins": dict(projector="512-512-512"),
    "vicreg": dict(projector="512-512-512"),
}


def alarms_of(folder, name, **changes):
    config = load_recipe(RECIPE)
    # The warm-up of the recipe, and no decay before the two epochs are over.
    config = replace(
        config,
        method=MethodConfig(name, **(HEADS[name] | changes)),
        optimizer=replace(config.optimizer, final_fraction=1.0),
        monitor=MonitorConfig(every_epochs=0.5, knn_examples=0),
        devices=DevicesConfig(count=1),
        epochs=2,
    )
    ssljax.pretrain(config, folder, quiet=True)
    path = RunFolder(folder).alarms
    return read_json_lines(path) if path.exists() else []


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_simsiam_without_predictor_is_named_within_two_epochs(tmp_path):
    (alarm,) = alarms_of(tmp_path, "simsiam", predictor="none")
    assert alarm["kind"] == "dimensional" and "add a predictor" in alarm["advice"]


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("name", HEADS)
def test_healthy_runs_are_left_alone(tmp_path, name):
    assert alarms_of(tmp_path, name) == []
