"""The compiled step of every family does no more than what was recorded."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import pytest

RECORD = Path(__file__).with_name("step_programs.json")
SCRIPT = Path(__file__).parents[1] / "helpers" / "step_programs.py"
# Relative change that passes. What the source asks for is exact; what the compiler
# makes of it moves a little with the processor.
MARGINS = {
    "flops": 0.01,
    "bytes": 0.05,
    "temporary bytes": 0.1,
    "instructions": 0.05,
    "fusions": 0.05,
}


def differences(before, now):
    """What changed between two records of a family, in words."""
    found = []
    for name, margin in MARGINS.items():
        change = now[name] / before[name] - 1.0
        if abs(change) > margin:
            found.append(f"{name}: {before[name]} -> {now[name]} ({change:+.1%})")
    found += [
        f"{name}: {before[name]} -> {now[name]}"
        for name in ("host transfers", "collectives")
        if before[name] != now[name]
    ]
    return found


def test_a_change_beyond_the_margin_is_named():
    before = json.loads(RECORD.read_text())["families"]["simclr"]
    assert differences(before, before) == []
    more = before | {"flops": 2 * before["flops"], "host transfers": 1}
    assert [line.split(":")[0] for line in differences(before, more)] == [
        "flops",
        "host transfers",
    ]
    assert "+100.0%" in differences(before, more)[0]


def test_no_family_sends_anything_to_the_host():
    families = json.loads(RECORD.read_text())["families"]
    assert all(family["host transfers"] == 0 for family in families.values())


@pytest.mark.slow
def test_the_compiled_steps_are_those_that_were_recorded():
    record = json.loads(RECORD.read_text())
    if jax.__version__ != record["jax"]:
        pytest.skip(f"recorded with JAX {record['jax']}, this is {jax.__version__}")
    command = [sys.executable, str(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    now = json.loads(done.stdout)["families"]
    assert now.keys() == record["families"].keys()
    changed = {
        name: lines
        for name, before in record["families"].items()
        if (lines := differences(before, now[name]))
    }
    assert not changed, (
        f"{json.dumps(changed, indent=1)}\nif this is wanted: python "
        f"{SCRIPT.relative_to(SCRIPT.parents[2])} > tests/training/{RECORD.name}"
    )
