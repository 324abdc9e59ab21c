"""The alarm on networks that train: it names the one that collapses and no other."""

import pytest
from commands import ssljax

from ssljax.runs.files import read_json_lines
from ssljax.runs.folder import RunFolder

# The warm-up of the recipe, and no decay before the two epochs are over.
RUN = """--epochs 2 --optimizer.final-fraction 1 --monitor.every-epochs 0.5
    --monitor.knn-examples 0 --devices.count 1 --data.image-size 16""".split()
# SimCLR raises no alarm either: tests/test_cifar.py, on real images.
HEADS = {
    "byol": ("512-128", "512-128"),
    "simsiam": ("256-256-256", "64-256"),
    "barlow_twins": ("512-512-512", "None"),
    "vicreg": ("512-512-512", "None"),
}


def alarms_of(folder, name, projector, predictor):
    heads = ["--method.projector", projector, "--method.predictor", predictor]
    words = ["--workdir", folder, "--method.name", name, *heads, *RUN]
    ssljax("pretrain", "shapes/quickstart", *words)
    path = RunFolder(folder).alarms
    return read_json_lines(path) if path.exists() else []


@pytest.mark.slow
def test_simsiam_without_predictor_is_named_within_two_epochs(tmp_path):
    (alarm,) = alarms_of(tmp_path / "run", "simsiam", "256-256-256", "none")
    assert alarm["kind"] == "dimensional" and "add a predictor" in alarm["advice"]


@pytest.mark.slow
@pytest.mark.parametrize("name", HEADS)
def test_healthy_runs_are_left_alone(tmp_path, name):
    assert alarms_of(tmp_path / "run", name, *HEADS[name]) == []
