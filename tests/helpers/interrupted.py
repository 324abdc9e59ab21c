"""A short run that tests start as processes, stop, and read back."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import micro  # noqa: F401
import numpy as np

from ssljax.config import (
    AugmentConfig,
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

# 64 images in batches of 16: four steps per epoch, twelve in all.
CONFIG = Config(
    method=MethodConfig("byol", projector="16-8", predictor="16-8"),
    data=DataConfig("arrays"),
    augment=AugmentConfig("supervised"),
    model=ModelConfig("micro"),
    optimizer=OptimizerConfig(learning_rate=0.5, warmup_epochs=1),
    monitor=MonitorConfig(every_epochs=2, examples=32, eigenvalues=4),
    checkpoint=CheckpointConfig(every_epochs=0.5),
    log=LogConfig(every_steps=1),
    epochs=3,
    batch_size=16,
)
STEPS = list(range(1, 13))
# Like the command, exit codes included, but with images in memory.
PROGRAM = """
import sys
from dataclasses import replace
import fake_bucket
from interrupted import CONFIG, images
import jax
from ssljax.commands import main as command
from ssljax.config import DevicesConfig
from ssljax.runs.pretrain import pretrain

fake_bucket.install()
workdir = sys.argv[1]
index, count, port, epochs, patience = map(int, sys.argv[2:])
settings = DevicesConfig()
if count > 1:
    jax.config.update("jax_num_cpu_devices", 8 // count)
    where = f"localhost:{port}"
    settings = DevicesConfig(
        coordinator=where, processes=count, process=index, timeout=patience
    )
config = replace(CONFIG, devices=settings, epochs=epochs)

def run(words):
    pretrain(config, workdir, train=images(), quiet=True)
    return 0

command.COMMANDS["pretrain"] = run
raise SystemExit(command.main(["pretrain"]))
"""


def images():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 12, 12, 3), dtype=np.uint8)
    return from_arrays(pixels, rng.integers(0, 3, 64))


def environment():
    root = Path(__file__).resolve().parents[2]
    return os.environ | {
        "PYTHONPATH": f"{root}{os.pathsep}{Path(__file__).parent}",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": jax.config.values["jax_compilation_cache_dir"],
    }


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def start(workdir, *, processes=1, epochs=3, only=None, said=None, patience=200):
    """Start the processes of one launch; their stderr goes to files in ``said``."""
    port = str(free_port())
    launched = []
    for index in range(processes) if only is None else only:
        command = [sys.executable, "-c", PROGRAM, str(workdir), str(index)]
        command += [str(processes), port, str(epochs), str(patience)]
        # A file, since a pipe that nobody reads can fill up.
        with open(os.devnull if said is None else said / f"{index}.txt", "w") as file:
            stderr = None if said is None else file
            launched.append(subprocess.Popen(command, env=environment(), stderr=stderr))
    return launched


def finish(launched, *, within=600):
    """Return the exit codes, in order; kill processes that exceed the time limit."""
    deadline = time.monotonic() + within
    ended = []
    for process in launched:
        try:
            ended.append(process.wait(max(deadline - time.monotonic(), 0.1)))
        except subprocess.TimeoutExpired:
            process.kill()
            ended.append("hung")
    return ended


def wait_for_step(workdir, launched, step, *, within=600):
    """Wait until that step is in the metrics."""
    deadline = time.monotonic() + within
    while len(lines(workdir)) < step and time.monotonic() < deadline:
        assert launched[0].poll() is None, "it ended before it could be killed"
        time.sleep(0.005)


def lines(workdir):
    path = Path(workdir) / "metrics.jsonl"
    if not path.exists():
        return []
    whole = path.read_text().splitlines()
    return [json.loads(line) for line in whole if line.endswith("}")]


def losses(workdir):
    return {record["step"]: record["loss"] for record in lines(workdir)}
