"""The throughput of losses: the script runs, and the page shows what was measured."""

import json
import re
import subprocess
import sys

import pytest
from paths import ROOT

from ssljax.methods import METHODS

SCRIPT = ROOT / "experiments" / "benchmarks" / "loss_throughput.py"
KEPT = [
    ROOT / "experiments" / "results" / f"loss_throughput_{shape}.json"
    for shape in ("4096x2048", "256x8192")
]


def run(*words):
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.slow
def test_the_page_has_the_table_of_the_kept_files():
    page = (ROOT / "docs" / "throughput.md").read_text()
    assert run("--table", *KEPT).strip() in page


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_every_method_was_measured_once_and_how_is_recorded(file):
    kept = json.loads(file.read_text())
    size = {f"{row['n']}x{row['d']}" for row in kept["rows"]}
    assert size == {file.stem.rpartition("_")[2]}
    assert [row["method"] for row in kept["rows"]] == list(METHODS)
    assert all(row["seconds"] > 0 < row["matrix_products"] for row in kept["rows"])
    made = kept["made"]
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?", made["commit"])
    assert made["versions"]["jax"] and made["started"]


@pytest.mark.slow
def test_a_row_for_every_method(tmp_path):
    """At a size at which every method is defined, with two steps of nothing else."""
    printed = run("--shapes", "64x16", "--json", tmp_path / "kept.json")
    rows = json.loads((tmp_path / "kept.json").read_text())["rows"]
    assert [row["method"] for row in rows] == list(METHODS)
    assert all(name in printed for name in METHODS)
    assert run("--table", tmp_path / "kept.json").count("\n") == len(METHODS) + 2
