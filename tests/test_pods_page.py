"""The tables of docs/pods.md are those that its script prints."""

import importlib.util
import json
import re

import pytest
from paths import ROOT

from ssljax.runs.processes import HEARTBEAT

PAGE = (ROOT / "docs" / "pods.md").read_text()
SCRIPT = ROOT / "experiments" / "benchmarks" / "pod_estimates.py"


@pytest.fixture(scope="module")
def estimates():
    spec = importlib.util.spec_from_file_location("pod_estimates", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_tables_of_the_script(estimates):
    for name, text in estimates.tables().items():
        assert text in PAGE, f"{name}: python {SCRIPT.relative_to(ROOT)}"


def test_no_all_reduce_grows_with_the_devices(estimates):
    """Of the real recipes, as compiled for 8, 64 and 256 virtual devices."""
    rows = json.loads(estimates.FIGURES.read_text())["rows"]
    found: dict[str, dict[int, dict]] = {}
    for row in rows:
        if row["compiler"] == "cpu":
            found.setdefault(row["recipe"], {})[row["devices"]] = row
    assert len(found) == 4
    for recipe, on in found.items():
        assert on.keys() == {8, 64, 256}
        least = on[8]["collectives"]["all-reduce"]
        for row in on.values():
            most = row["collectives"]["all-reduce"]
            assert most["count"] == least["count"], recipe
            # NT-Xent's gradient of the gathered embeddings: [2N, 128] in float32.
            more = 2 * 4 * 128 * 16 * (row["devices"] - 8) if "simclr" in recipe else 0
            assert most["bytes"] - least["bytes"] <= 1.01 * more, recipe


def test_time_outs_are_those_of_the_code():
    assert f"for {HEARTBEAT} s is lost" in re.sub(r"\s+", " ", PAGE)
