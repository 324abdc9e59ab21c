"""On CIFAR-10 at the size of a CPU: untrained < frozen linear <= fine-tuned."""

import json

import pytest
from commands import ssljax

from ssljax.data.catalogue import catalogue


@pytest.mark.slow
def test_untrained_below_linear_below_finetuned_and_ten_percent_learns(tmp_path):
    if "cifar10" not in {entry.name for entry in catalogue() if entry.present}:
        pytest.skip("cifar10 is not prepared; set TFDS_DATA_DIR")
    run = tmp_path / "run"
    words = ["--smoke", "--workdir", run, "--devices.count", 1, "--epochs", 3]
    ssljax("pretrain", "cifar10/simclr", *words)
    few = ("--fractions", 0.1, "--epochs", 4)
    ssljax("evaluate", run, "--protocol", "finetune", "semi_supervised", *few)
    ssljax("evaluate", run, "--protocol", "linear_sgd", "--baseline", "--epochs", 4)
    rows = json.loads((run / "evaluation.json").read_text())["rows"]
    found = {
        (row["representation"], row["protocol"].split()[0]): row["accuracy"]
        for row in rows
    }
    linear = found["encoder", "linear_sgd"]
    assert found["untrained network", "linear_sgd"] < linear, found
    assert linear <= found["encoder", "finetune"], found
    # A tenth of the labels is more than chance, and less than all of them.
    assert 15 < found["encoder", "semi_supervised"] <= found["encoder", "finetune"]
