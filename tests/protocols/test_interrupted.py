"""`ssljax evaluate` is killed while it trains, and the same command resumes."""

import json
import os
import signal
import subprocess
import sys
import time

import coloured
import pytest
from interrupted import environment

from ssljax.commands.main import main
from ssljax.runs.checkpoint import saved_steps
from ssljax.runs.folder import RunFolder

PROGRAM = """
import micro
from ssljax.commands.main import main
raise SystemExit(main())
"""
STEPS = 400
# Every night with SSLJAX_NIGHTLY=1: the other protocols train by the same code.
ALL = ("finetune", "linear_sgd", "semi_supervised")
NAMES = ALL if os.environ.get("SSLJAX_NIGHTLY") else ALL[:1]


@pytest.fixture
def place(tmp_path):
    """A run, and the images to evaluate it on as files."""
    coloured.trained_run(tmp_path / "run")
    coloured.write_images(tmp_path / "photos")
    return tmp_path


def words(place, run, name):
    given = {
        "protocol": name,
        "fractions": 1.0,
        "data": place / "photos",
        "epochs": STEPS / 4,
        "batch-size": 25,
        "learning-rates": 0.1,
    }
    flags = [str(word) for key, value in given.items() for word in (f"--{key}", value)]
    return ["evaluate", str(run), *flags]


def child_of(run, name):
    (child,) = (run / "protocols" / name).glob("step_*")
    return RunFolder(child)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_killed_evaluation_resumes_and_gives_the_same_number(name, place, capsys):
    run = place / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *words(place, run, name)], env=environment()
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        if any(saved_steps(each) for each in run.glob("protocols/*/*/checkpoints")):
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    child = child_of(run, name)
    before = len(child.load_metrics([]))
    assert 0 < before and not (run / "evaluation-photos.json").exists()
    assert main(words(place, run, name)) == 0
    assert "resuming" in capsys.readouterr().err
    steps = {line["step"]: line["loss"] for line in child.load_metrics()}
    assert max(steps) == STEPS
    record = (run / "evaluation-photos.json").read_text()
    # Without interruption, in another folder, the numbers are the same.
    other = place / "other"
    coloured.trained_run(other)
    assert main(words(place, other, name)) == 0
    whole = {
        line["step"]: line["loss"] for line in child_of(other, name).load_metrics()
    }
    assert whole == steps
    again = (other / "evaluation-photos.json").read_text()
    assert json.loads(again)["rows"] == json.loads(record)["rows"]
    assert json.loads(record)["rows"][0]["accuracy"] > 50
