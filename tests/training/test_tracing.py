"""A step is traced once: for the check of its settings and for every compiled step."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from small_runs import BATCH, setup_of, source

from ssljax.runs.setup import prepare
from ssljax.training import devices, engines, step
from ssljax.training.state import init_state

# One method for each file of recipes.
RECORD = Path(__file__).with_name("step_programs.json")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "byol" else pytest.mark.slow)
        for name in json.loads(RECORD.read_text())["families"]
    ],
)
def test_the_step_is_traced_once(name, monkeypatch):
    config, counted, original = setup_of(name).config, [], step.view_batch
    monkeypatch.setattr(
        step, "view_batch", lambda *a, **k: counted.append(1) or original(*a, **k)
    )
    setup = prepare(config, source())
    mesh = devices.make_mesh(count=None, batch_size=BATCH)
    whole, rows = devices.replicated(mesh), devices.over_batch(mesh)
    state = devices.abstract(jax.eval_shape(lambda: init_state(setup)), whole)
    images = {"image": source().images, "label": source().labels}
    indices = np.arange(BATCH, dtype=np.int32)
    streamed = engines.compiled_step(setup, mesh, resident=False)
    streamed.trace(state, devices.abstract(images, rows))
    resident = engines.compiled_step(setup, mesh, resident=True)
    resident.trace(
        state, devices.abstract(images, whole), devices.abstract(indices, rows)
    )
    assert counted == [1]
