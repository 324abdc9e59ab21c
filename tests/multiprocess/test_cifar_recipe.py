"""The CIFAR-10 recipe run by the command in two processes, stopped half-way."""

import json
import os
import signal
import subprocess
import sys

import pytest
from commands import PROGRAM, ssljax, user_environment
from interrupted import finish, free_port, lines, wait_for_step

from ssljax.data.catalogue import catalogue


def launch(workdir):
    """Start both processes of one launch of the same command."""
    port = free_port()
    words = ["pretrain", "cifar10/simclr", "--smoke"]
    words += ["--workdir", str(workdir), "--epochs", "3", "--log.every-steps", "5"]
    words += ["--data.examples", "1000", "--monitor.knn-examples", "500"]
    # The smallest network: compiling the recipe's own four times proves nothing more.
    words += ["--batch-size", "64", "--model.arch", "resnet_tiny"]
    words += ["--devices.coordinator", f"localhost:{port}", "--devices.processes", "2"]
    return [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words, "--devices.process", str(index)],
            env=user_environment(),
        )
        for index in (0, 1)
    ]


# Its parts are tested on smaller runs too, those in a bucket among them.
@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("SSLJAX_NIGHTLY"), reason="runs every night")
def test_two_processes_stop_resume_and_write_one_report(tmp_path):
    if "cifar10" not in {entry.name for entry in catalogue() if entry.present}:
        pytest.skip("cifar10 is not prepared; set TFDS_DATA_DIR")
    workdir = tmp_path / "run"
    launched = launch(workdir)
    wait_for_step(workdir, launched, 3)  # three lines: steps 5, 10 and 15
    launched[1].send_signal(signal.SIGTERM)
    assert finish(launched) == [75, 75]
    stopped = max(record["step"] for record in lines(workdir))
    assert finish(launch(workdir)) == [0, 0]
    steps = [record["step"] for record in lines(workdir)]
    assert steps == sorted(set(steps)) and stopped < max(steps)
    launches = json.loads((workdir / "environment.json").read_text())["launches"]
    assert [each["process_count"] for each in launches] == [2, 2]
    ssljax("evaluate", workdir, "--protocol", "knn")
    ssljax("report", workdir)
    assert len(list(tmp_path.rglob("report.html"))) == 1
    assert len(list(tmp_path.rglob("metrics.jsonl"))) == 1
