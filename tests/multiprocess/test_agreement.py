"""Processes that were started with different settings, data or code do not train."""

import re
import subprocess
import sys

import pytest
from faulty import on_the_page
from interrupted import environment, finish, free_port

PROGRAM = """
import sys
from dataclasses import replace
import numpy as np
from faulty import TINY
from ssljax.commands import main as command
from ssljax.config import DevicesConfig
from ssljax.data import from_arrays
from ssljax.runs import agreement
from ssljax.runs.pretrain import pretrain

workdir, index, port, different = sys.argv[1:]
index = int(index)
where = DevicesConfig(coordinator=f"localhost:{port}", processes=2, process=index)
config = replace(TINY, devices=where)
pixels = np.random.default_rng(0).integers(0, 256, (64, 12, 12, 3), dtype=np.uint8)
if index == 1 and different == "optimizer.learning_rate":
    config = replace(config, optimizer=replace(config.optimizer, learning_rate=0.25))
if index == 1 and different == "data fingerprint":
    pixels[0, 0, 0, 0] ^= 1
if index == 1 and different == "commit":
    agreement.commit = lambda: "0123456789-dirty"
command.COMMANDS["pretrain"] = lambda words: pretrain(
    config, workdir, train=from_arrays(pixels, np.arange(64) % 3), quiet=True
) and 0
raise SystemExit(command.main(["pretrain"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "different", ["optimizer.learning_rate", "data fingerprint", "commit"]
)
def test_two_processes_that_differ_stop_with_one_line(different, tmp_path):
    port, launched = str(free_port()), []
    for index in (0, 1):
        with open(tmp_path / f"{index}.txt", "w") as said:
            launched.append(
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, str(tmp_path / "run")]
                    + [str(index), port, different],
                    env=environment(),
                    stderr=said,
                )
            )
    assert finish(launched, within=100) == [2, 2]
    for index in (0, 1):
        (line,) = [
            each
            for each in (tmp_path / f"{index}.txt").read_text().splitlines()
            if each.startswith("ssljax: ")
        ]
        assert re.search(f"processes differ in .*{different}: .* in process 1", line)
    if different.startswith("optimizer"):
        assert on_the_page(line, 2, {})
    assert not (tmp_path / "run").exists()
