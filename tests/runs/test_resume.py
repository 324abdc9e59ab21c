"""A stopped and resumed run gives the losses of a run that was not stopped."""

import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from faulty import TINY
from interrupted import CONFIG, STEPS, images, lines, losses

from ssljax.config import DevicesConfig, LogConfig, MethodConfig, OptimizerConfig
from ssljax.config.checks import ConfigError
from ssljax.runs import replay as replay_module
from ssljax.runs import setup
from ssljax.runs.encoder import restore
from ssljax.runs.failed_step import save_failure
from ssljax.runs.loop import TrainingFailed
from ssljax.runs.preemption import Preempted
from ssljax.runs.pretrain import pretrain
from ssljax.runs.replay import replay


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """Return the folder of a run that was not stopped."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    pretrain(CONFIG, workdir, train=images(), quiet=True)
    return workdir


@pytest.mark.slow
def test_sigterm_saves_after_the_step_and_the_run_resumes_bit_equal(
    whole_run, tmp_path
):
    workdir = tmp_path / "run"

    def request_stop():
        while len(lines(workdir)) < 3:
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=request_stop, daemon=True).start()
    with pytest.raises(Preempted, match="step .* of 12 is saved") as stopped:
        pretrain(CONFIG, workdir, train=images(), quiet=True)
    step = int(str(stopped.value).split("step ")[1].split()[0])
    # Saved at the step where it stopped, not only at the last regular checkpoint.
    assert (workdir / "checkpoints" / str(step)).is_dir()
    assert max(losses(workdir)) == step
    pretrain(CONFIG, workdir, train=images(), quiet=True)
    assert [record["step"] for record in lines(workdir)] == STEPS
    assert losses(workdir) == losses(whole_run)


def test_resuming_from_a_checkpoint_is_bit_equal(whole_run, tmp_path, monkeypatch):
    whole = losses(whole_run)
    # A run whose newest checkpoint is damaged.
    cut = tmp_path / "cut"
    shutil.copytree(whole_run, cut)
    saved = sorted(int(p.name) for p in (cut / "checkpoints").iterdir())
    assert saved == [10, 12]
    newest = max(
        (p for p in (cut / "checkpoints" / "12").rglob("*") if p.is_file()),
        key=lambda p: p.stat().st_size,
    )
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
    # The means and deviations of the pixels are those in data.json.
    monkeypatch.setattr(setup, "channel_statistics", None)
    pretrain(CONFIG, cut, train=images(), quiet=True)
    assert [r["step"] for r in lines(cut)] == list(range(1, 13))
    assert losses(cut) == whole
    # Settings that do not change the trajectory may change.
    other = replace(CONFIG, log=LogConfig(every_steps=2))
    pretrain(other, cut, train=images(), quiet=True)
    with pytest.raises(ConfigError, match="optimizer.learning_rate: 0.5 -> 0.4") as e:
        changed = replace(CONFIG.optimizer, learning_rate=0.4)
        pretrain(replace(CONFIG, optimizer=changed), cut, train=images(), quiet=True)
    assert "\n" not in str(e.value)
    assert losses(cut) == whole


def test_a_loss_that_is_not_finite_stops_the_run_and_can_be_replayed(tmp_path):
    bad = replace(
        CONFIG,
        method=MethodConfig("vicreg", projector="16-8"),
        optimizer=OptimizerConfig(learning_rate=1e20, warmup_epochs=0, momentum=0.0),
    )
    with pytest.raises(TrainingFailed, match="not finite") as error:
        pretrain(bad, tmp_path / "run", train=images(), quiet=True)
    step = int(str(error.value).split()[1].rstrip(":"))
    result = replay(tmp_path / "run", train=images())
    assert result["step"] == step
    bad_gradients = [name for name in result if name.startswith("nonfinite/")]
    assert bad_gradients or not np.isfinite(result["loss"])


@pytest.mark.slow
@pytest.mark.parametrize("part", [None, 8])
def test_a_step_of_more_devices_and_processes_is_replayed_here(
    part, tmp_path, monkeypatch
):
    config = replace(TINY, epochs=1, devices=DevicesConfig(count=4, microbatch=part))
    # Another normalisation than these images have, as with `model.init_from`.
    other = (0.2, 0.3, 0.4), (0.1, 0.2, 0.3)
    pretrain(config, tmp_path, train=images(), quiet=True, statistics=other)
    before = restore(tmp_path, step=2).state
    save_failure(tmp_path / "failure", before, {"step": 2})
    # As if they had been 16 processes, elsewhere.
    file = tmp_path / "config.json"
    settings = json.loads(file.read_text())
    elsewhere = {"count": None, "coordinator": "far:1", "processes": 16, "process": 3}
    settings["devices"] |= elsewhere
    file.write_text(json.dumps(settings))
    seen, place = [], replay_module.place_rows
    monkeypatch.setattr(
        replay_module, "place_rows", lambda *a, **k: seen.append(a[1]) or place(*a, **k)
    )
    result = replay(tmp_path, train=images())
    assert result == {
        "step": 2,
        "loss": pytest.approx(losses(tmp_path)[3], rel=1e-5),
    }
    assert [mesh.size for mesh in seen] == [8]
