"""The plan of a run compares what it needs with what there is."""

from dataclasses import replace

import jax
import pytest
from faulty import TINY
from signalled import gated

from ssljax.config import DataConfig
from ssljax.data import shared_memory
from ssljax.methods import resolve
from ssljax.runs import describe as module
from ssljax.runs.describe import describe, host_bytes
from ssljax.runs.setup import prepare

CONFIG = resolve(replace(TINY, data=DataConfig("arrays", workers=2)))


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    source = gated(tmp_path_factory.mktemp("plan") / "run")
    return prepare(CONFIG, source), source


@pytest.mark.parametrize("limit, fits", [(2**34, True), (2**10, False)])
def test_a_run_that_will_not_fit_is_told_so(limit, fits, planned, monkeypatch):
    monkeypatch.setattr(module, "device_bytes", lambda: limit)
    text = dict(describe(*planned))["memory estimate"]
    assert f"which has {limit / 2**20:,.0f}" in text
    assert ("will probably not fit; use --devices.microbatch" in text) == (not fits)


def test_all_processes_share_a_batch(planned, monkeypatch):
    setup, source = planned
    free = replace(CONFIG, devices=replace(CONFIG.devices, count=None))
    setup = replace(setup, config=free)
    assert "on each of 8 devices" in dict(describe(setup, source))["memory estimate"]
    # A pod of four such machines.
    monkeypatch.setattr(jax, "device_count", lambda: 32)
    assert "on each of 32 devices" in dict(describe(setup, source))["memory estimate"]
    whole = host_bytes(setup)
    assert whole == 16 * (12 * 12 * 3 + 4)
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    assert host_bytes(setup) == whole // 4


def test_shared_memory_is_estimated_where_workers_use_it(planned):
    setup, source = planned
    needed = shared_memory.needed_bytes(host_bytes(setup), workers=2)
    text = dict(describe(setup, source))["shared memory"]
    assert text.startswith(f"up to {needed / 2**20:,.0f} MiB of the ")
    without = replace(CONFIG, data=replace(CONFIG.data, workers=0))
    assert "shared memory" not in dict(describe(replace(setup, config=without), source))
