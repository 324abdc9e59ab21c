"""A run that is killed and started again is the run that was never killed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from ssljax.config import (
    CheckpointConfig,
    Config,
    DataConfig,
    LogConfig,
    MethodConfig,
    ModelConfig,
    MonitorConfig,
    OptimizerConfig,
)
from ssljax.data import from_arrays
from ssljax.training.loop import TrainingFailed, pretrain, replay
from ssljax.validation import ConfigError

# 64 images in batches of 16: four steps an epoch, twelve in all.
CONFIG = Config(
    method=MethodConfig("byol", projector="16-8", predictor="16-8"),
    data=DataConfig("arrays"),
    model=ModelConfig("resnet_tiny", width=0.25),
    optimizer=OptimizerConfig(learning_rate=0.5, warmup_epochs=1),
    monitor=MonitorConfig(every_epochs=2, examples=32, eigenvalues=4),
    checkpoint=CheckpointConfig(every_epochs=0.5),
    log=LogConfig(every_steps=1),
    epochs=3,
    batch_size=16,
)
PROGRAM = """
import sys
from test_resume import CONFIG, images
from ssljax.training.loop import pretrain
pretrain(CONFIG, sys.argv[1], train=images(), quiet=True)
"""


def images():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 12, 12, 3), dtype=np.uint8)
    return from_arrays(pixels, rng.integers(0, 3, 64))


def start(workdir):
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {
        "PYTHONPATH": f"{root}{os.pathsep}{Path(__file__).parent}",
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(workdir)], env=environment
    )


def lines(workdir):
    path = Path(workdir) / "metrics.jsonl"
    if not path.exists():
        return []
    whole = path.read_text().splitlines()
    return [json.loads(line) for line in whole if line.endswith("}")]


def losses(workdir):
    return {record["step"]: record["loss"] for record in lines(workdir)}


@pytest.mark.slow
def test_kill_minus_nine_loses_no_step_and_no_bit(tmp_path):
    assert start(tmp_path / "whole").wait() == 0
    whole = losses(tmp_path / "whole")
    assert sorted(whole) == list(range(1, 13))
    killed = tmp_path / "killed"
    for last in (3, 8):
        process = start(killed)
        deadline = time.monotonic() + 240
        while len(lines(killed)) < last and time.monotonic() < deadline:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert start(killed).wait() == 0
    steps = [record["step"] for record in lines(killed)]
    assert steps == list(range(1, 13))
    assert losses(killed) == whole


def test_going_on_from_a_checkpoint_is_bit_equal(tmp_path):
    pretrain(CONFIG, tmp_path / "whole", train=images(), quiet=True)
    whole = losses(tmp_path / "whole")
    # A run that lost everything after step 6, its newest checkpoints included.
    import shutil

    cut = tmp_path / "cut"
    shutil.copytree(tmp_path / "whole", cut)
    saved = sorted(int(p.name) for p in (cut / "checkpoints").iterdir())
    assert saved == [10, 12]
    newest = max(
        (p for p in (cut / "checkpoints" / "12").rglob("*") if p.is_file()),
        key=lambda p: p.stat().st_size,
    )
    newest.write_bytes(newest.read_bytes()[: newest.stat().st_size // 2])
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


def test_a_loss_that_is_not_finite_stops_names_the_step_and_can_be_replayed(tmp_path):
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
