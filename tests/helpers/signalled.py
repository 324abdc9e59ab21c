"""Runs in a process group of their own, which tests stop by signals."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from interrupted import environment, lines

from ssljax.data import Source

SIZE = 64
# Like the command, exit codes included. The first argument is the run folder, in which
# GATE holds up the input and the second argument says what else is slow.
PROGRAM = """
import sys, time
from dataclasses import replace
from pathlib import Path
from faulty import TINY
from signalled import gated
from ssljax.commands import main as command
from ssljax.config import DataConfig
from ssljax.runs.pretrain import pretrain
from ssljax.training import engines

workdir, slow, workers = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
config = replace(TINY, data=DataConfig("arrays", workers=workers), epochs=500)

class Slow:
    def __init__(self, step):
        self.step = step

    def lower(self, *inputs):
        return self

    def compile(self):
        workdir.with_suffix(".compiling").touch()
        time.sleep(120)

if slow == "compile":
    compiled = engines.compiled_step
    engines.compiled_step = lambda *a, **k: Slow(compiled(*a, **k))

def run(words):
    pretrain(config, workdir, train=gated(workdir), quiet=True)
    return 0

command.COMMANDS["pretrain"] = run
sys.argv[1:] = ["pretrain", "arrays", "--workdir", str(workdir)]
raise SystemExit(command.main())
"""


@dataclass(frozen=True)
class GatedReader:
    """Read random images, but wait as long as a file exists."""

    gate: str

    def __call__(self, index):
        while os.path.exists(self.gate):
            time.sleep(0.02)
        rng = np.random.default_rng(int(index))
        return rng.integers(0, 256, (12, 12, 3), dtype=np.uint8), int(index) % 3


def gate_of(workdir):
    return Path(workdir).with_suffix(".gate")


def gated(workdir):
    """Return a streamed source that waits while `gate_of` the run folder exists."""
    return Source(
        name="gated",
        split="train",
        size=SIZE,
        image_shape=(12, 12, 3),
        labels=None,
        class_names=None,
        labelled=True,
        num_classes=3,
        images=None,
        read=GatedReader(str(gate_of(workdir))),
    )


def start_group(workdir, *, slow="", workers=2):
    """Start a run as the leader of a process group; stderr goes to a file."""
    with open(Path(workdir).with_suffix(".said"), "w") as said:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(workdir), slow, str(workers)],
            env=environment(),
            stderr=said,
            start_new_session=True,
        )


def wait_until(true, process, *, within=90.0):
    deadline = time.monotonic() + within
    while not true():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def wait_for_input(workdir, process, *, after=3):
    """Hold up the input after that step, and return when the loop waits for it."""
    wait_until(lambda: len(lines(workdir)) >= after, process)
    gate_of(workdir).touch()
    seen = -1
    while seen != len(lines(workdir)):
        seen = len(lines(workdir))
        time.sleep(0.7)
    assert process.poll() is None


def signal_group(process, number):
    os.killpg(process.pid, number)


def members(group):
    """Return the ids of the processes of a group that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        state, _, pgrp = text.rpartition(")")[2].split()[:3]
        if int(pgrp) == group and state != "Z":
            found.append(int(path.parent.name))
    return found


def emptied(group, *, within):
    """Return whether a group has no process left, waiting for it for a while."""
    deadline = time.monotonic() + within
    while members(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not members(group)


def end(process):
    """Kill what a failed test has left of a group."""
    for pid in members(process.pid):
        os.kill(pid, signal.SIGKILL)
    process.wait()


def said(workdir):
    return Path(workdir).with_suffix(".said").read_text()


def segments(group):
    """Return the files in shared memory that the processes of a group have open."""
    found = set()
    for pid in members(group):
        text = Path(f"/proc/{pid}/maps").read_text()
        found |= set(re.findall(r"/dev/shm/\S+", text))
    return found


def left(paths):
    """Return those of the paths that are still there."""
    return sorted(path for path in paths if os.path.exists(path))
