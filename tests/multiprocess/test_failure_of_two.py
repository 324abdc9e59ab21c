"""A step that failed in two processes is replayed in one."""

import subprocess
import sys

import numpy as np
import pytest
from interrupted import environment, finish, free_port, images

from ssljax.runs.replay import replay

pytestmark = pytest.mark.slow
FAIL = """
import sys
from dataclasses import replace
import jax
jax.config.update("jax_num_cpu_devices", 4)
from faulty import TINY
from interrupted import images
from ssljax.config import DevicesConfig, OptimizerConfig
from ssljax.runs import processes
from ssljax.runs.loop import TrainingFailed
from ssljax.runs.pretrain import pretrain

workdir, index, port = sys.argv[1], int(sys.argv[2]), sys.argv[3]
config = replace(
    TINY,
    optimizer=OptimizerConfig(learning_rate=1e30, warmup_epochs=0, momentum=0.0),
    devices=DevicesConfig(coordinator=f"localhost:{port}", processes=2, process=index),
)
try:
    pretrain(config, workdir, train=images(), quiet=True)
except TrainingFailed:
    processes.leave_if_several(3)
"""


def test_a_failed_step_of_two_processes_is_replayed_in_one(tmp_path):
    port, workdir = str(free_port()), tmp_path / "run"
    launched = [
        subprocess.Popen(
            [sys.executable, "-c", FAIL, str(workdir), str(index), port],
            env=environment(),
        )
        for index in (0, 1)
    ]
    assert finish(launched, within=200) == [3, 3]
    result = replay(workdir, train=images())
    assert result["step"] >= 1
    assert not np.isfinite(result["loss"]) or len(result) > 2
