"""Real images through the real command line, at the scale of a CPU."""

import json
from pathlib import Path

import pytest

from ssljax.cli import main
from ssljax.data.prepare import catalogue

RECIPE = str(
    Path(__file__).parents[1] / "experiments" / "configs" / "cifar10_simclr.py"
)


@pytest.mark.slow
@pytest.mark.usefixtures("optimised")
def test_the_smoke_run_on_cifar10_learns(tmp_path, capfd):
    if "cifar10" not in {entry.name for entry in catalogue() if entry.present}:
        pytest.skip("cifar10 is not prepared; set TFDS_DATA_DIR")
    folder = str(tmp_path / "run")
    train = ["pretrain", RECIPE, "--smoke", "--workdir", folder, "--devices.count", "1"]
    assert main(train) == 0
    assert main(["evaluate", folder, "--protocol", "knn"]) == 0
    assert main(["report", folder]) == 0
    capfd.readouterr()
    rows = json.loads((tmp_path / "run" / "evaluation.json").read_text())["rows"]
    accuracy = {
        row["representation"]: row["accuracy"]
        for row in rows
        if row["protocol"].startswith("knn k=200")
    }
    assert accuracy["encoder"] >= accuracy["untrained network"] + 5
    assert (tmp_path / "run" / "report.html").stat().st_size > 100_000
