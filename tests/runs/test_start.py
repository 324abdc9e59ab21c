"""What a run does at the same time at its start: test images, state and step."""

import importlib
from dataclasses import replace

import jax
import numpy as np
import pytest
from small_runs import BATCH, first_state, setup_of, source

import ssljax
from ssljax.config import MonitorConfig
from ssljax.config.checks import ConfigError
from ssljax.runs.feed import Feed
from ssljax.training import devices, engines

runs_pretrain = importlib.import_module("ssljax.runs.pretrain")


@pytest.fixture
def feed():
    setup = setup_of("simclr")
    return Feed(setup, source(), devices.make_mesh(count=2, batch_size=BATCH))


def shapes(feed):
    return devices.abstract(first_state(feed.setup), devices.replicated(feed.mesh))


def placed(feed):
    return devices.place(first_state(feed.setup), devices.replicated(feed.mesh))


def test_a_step_compiled_ahead_is_that_of_its_first_call(feed):
    ahead = feed.compile_ahead(shapes(feed)).result()
    assert not hasattr(ahead, "lower"), "it is not compiled yet"
    (inputs,) = feed.inputs(0, 1)
    found = [
        jax.device_get(step(placed(feed), *inputs)) for step in (ahead, feed.compile())
    ]
    jax.tree.map(np.testing.assert_array_equal, *found)


def test_an_error_while_compiling_is_raised_where_the_step_is_asked_for(
    feed, monkeypatch
):
    class Broken:
        def lower(self, *_):
            raise ValueError("no room")

    monkeypatch.setattr(engines, "compiled_step", lambda *_, **__: Broken())
    future = feed.compile_ahead(shapes(feed))
    with pytest.raises(ValueError, match="no room"):
        future.result()


@pytest.mark.parametrize(
    ("every", "loaded"), [(1.0, ["train", "test"]), (0.0, ["train"])]
)
def test_test_images_are_loaded_for_a_monitor_only(
    monkeypatch, tmp_path, every, loaded
):
    asked = []

    def load_split(_, *, train, **__):
        asked.append("train" if train else "test")
        return source()

    def prepare(*_, **__):
        raise ConfigError("far enough")

    monkeypatch.setattr(runs_pretrain, "load_split", load_split)
    monkeypatch.setattr(runs_pretrain, "prepare", prepare)
    config = replace(setup_of("simclr").config, monitor=MonitorConfig(every))
    with pytest.raises(ConfigError, match="far enough"):
        ssljax.pretrain(config, tmp_path / "run")
    assert asked == loaded and not (tmp_path / "run").exists()
