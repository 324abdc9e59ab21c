"""Microbatches in two processes are those of one."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from faulty import TINY
from interrupted import environment, finish, free_port, lines
from signalled import gated

from ssljax.config import DataConfig, DevicesConfig
from ssljax.runs.pretrain import pretrain

PROGRAM = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 1)
from test_microbatch_of_two import train
from ssljax.config import DevicesConfig

index, port, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
where = DevicesConfig(
    coordinator=f"localhost:{port}", processes=2, process=index, microbatch=8
)
train(folder, where)
"""


def train(workdir, settings):
    """Train for four steps on streamed images."""
    config = replace(TINY, devices=settings, epochs=1)
    config = replace(config, data=DataConfig("arrays", workers=0))
    pretrain(config, workdir, train=gated(workdir), quiet=True)


@pytest.mark.slow
def test_two_processes_train_in_the_microbatches_of_one(tmp_path):
    port, here = str(free_port()), environment()
    here["PYTHONPATH"] += os.pathsep + str(Path(__file__).parent)
    launched = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(index), port, str(tmp_path / "two")],
            env=here,
        )
        for index in (0, 1)
    ]
    assert finish(launched, within=100) == [0, 0]
    train(tmp_path / "one", DevicesConfig(count=2, microbatch=8))
    one = [record["loss"] for record in lines(tmp_path / "one")]
    two = [record["loss"] for record in lines(tmp_path / "two")]
    assert len(one) == len(two) == 4
    np.testing.assert_allclose(two[0], one[0], rtol=1e-5)
    # Later a ReLU may flip, whose effect grows.
    np.testing.assert_allclose(two, one, rtol=2e-2)
