"""Real images through the real command line, at the scale of a CPU."""

import json

import evaluation_reference
import pytest
from commands import ssljax

from ssljax.data.catalogue import catalogue

RECIPE = "cifar10/simclr"


@pytest.mark.slow
def test_the_smoke_run_on_cifar10_learns(tmp_path):
    if "cifar10" not in {entry.name for entry in catalogue() if entry.present}:
        pytest.skip("cifar10 is not prepared; set TFDS_DATA_DIR")
    folder = tmp_path / "run"
    words = ["--smoke", "--workdir", folder, "--devices.count", 1, "--epochs", 8]
    ssljax("pretrain", RECIPE, *words)
    assert not (folder / "alarms.jsonl").exists()
    ssljax("evaluate", folder, "--protocol", "knn")
    ssljax("report", folder)
    rows = json.loads((folder / "evaluation.json").read_text())["rows"]
    accuracy = {
        row["representation"]: row["accuracy"]
        for row in rows
        if row["protocol"].startswith("knn k=200")
    }
    assert accuracy["encoder"] >= accuracy["untrained network"] + 5
    assert (folder / "report.html").stat().st_size > 100_000
    check_against_scikit_learn(folder)
    check_order(folder)


def check_order(folder):
    """Untrained < frozen linear <= fine-tuned, and a tenth of the labels teaches."""
    few = ("--fractions", 0.1, "--epochs", 8)
    ssljax("evaluate", folder, "--protocol", "finetune", "semi_supervised", *few)
    ssljax("evaluate", folder, "--protocol", "linear_sgd", "--baseline", "--epochs", 4)
    rows = json.loads((folder / "evaluation.json").read_text())["rows"]
    found = {
        (row["representation"], row["protocol"].split()[0]): row["accuracy"]
        for row in rows
    }
    linear = found["encoder", "linear_sgd"]
    assert found["untrained network", "linear_sgd"] < linear, found
    assert linear <= found["encoder", "finetune"], found
    # More than chance, and less than with all labels.
    assert 15 < found["encoder", "semi_supervised"] <= found["encoder", "finetune"]


def check_against_scikit_learn(folder):
    """kNN and the probe on features of real images."""
    train, test, classes = evaluation_reference.sets_of(str(folder))
    for k in evaluation_reference.KS:
        differ, ties, _ = evaluation_reference.compare_neighbours(
            train, test, k, classes
        )
        assert differ == ties <= 5, k
    # Of 1,500 images: scikit-learn takes minutes for a weak penalty.
    part = evaluation_reference.Set(train.x[:1500], train.y[:1500])
    found = evaluation_reference.compare_probes(part, test, classes)
    assert abs(found["ssljax %"] - found["scikit-learn %"]) <= 0.3
