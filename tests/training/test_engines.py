"""jit on one device, jit on many and pmap: the same parameters after three steps."""

import os
from dataclasses import replace

import jax
import numpy as np
import pytest
from small_runs import BATCH, first_state, setup_of, source
from trained_alike import largest_gap, reference

from ssljax import methods
from ssljax.config import DevicesConfig
from ssljax.config.checks import ConfigError
from ssljax.training import devices, engines, step

MANY = [("jit", 2), ("jit", 4), ("jit", 8), ("pmap", 2), ("pmap", 4), ("pmap", 8)]


@pytest.mark.parametrize(
    "engine, count", [pytest.param("jit", 8, marks=pytest.mark.slow), ("pmap", 8)]
)
@pytest.mark.parametrize("name", ["byol"])
def test_eight_devices_train_like_one(name, engine, count):
    assert largest_gap(name, engine, count) < 1e-5


def chosen(name):
    """jit on 2, 4 and 8 devices, pmap on one of them in turn; all where asked."""
    if os.environ.get("SSLJAX_ALL_ENGINES"):
        return MANY
    turn = list(methods.METHODS).index(name)
    return [*MANY[:3], MANY[3 + turn % 3]]


@pytest.mark.slow
@pytest.mark.parametrize("name", methods.METHODS)
def test_every_method_trains_like_one_device(name):
    gaps = {f"{e} {n}": largest_gap(name, e, n) for e, n in chosen(name)}
    assert max(gaps.values()) < 1e-5, gaps


@pytest.mark.slow
def test_a_resident_data_set_changes_nothing_under_pmap():
    assert largest_gap("simclr", "pmap", 4, resident=True) < 1e-5


def wrong_mean(axis, tree):
    return tree if axis is None else jax.lax.psum(tree, axis)


def local_only(axis, tree):
    """As if each device had the batch to itself, in the shapes of the whole one."""
    if axis is None:
        return tree
    return jax.tree.map(
        lambda x: jax.numpy.concatenate([x] * jax.lax.axis_size(axis)), tree
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "part, bug", [("_mean_over", wrong_mean), ("_gathered", local_only)]
)
def test_a_planted_bug_is_seen(part, bug, monkeypatch):
    """The gradient times the number of devices; negatives of one device only."""
    reference("simclr")
    monkeypatch.setattr(step, part, bug)
    try:
        gap = largest_gap("simclr", "pmap", 4)
    except AssertionError:  # the losses differ already
        return
    assert gap > 1e-2


@pytest.mark.slow
def test_pmap_does_not_recompile():
    setup = setup_of("simclr")
    config = replace(setup.config, devices=DevicesConfig(count=2, engine="pmap"))
    mesh = devices.make_mesh(count=2, batch_size=BATCH)
    run = engines.compiled_step(replace(setup, config=config), mesh, resident=False)
    state = devices.place(first_state(setup), devices.replicated(mesh))
    data = source()
    images = {"image": data.images, "label": data.labels}
    batch = engines.place_rows(images, mesh, engine="pmap")
    state, _ = run(state, batch)
    with jax.log_compiles(), jax.transfer_guard("disallow"):
        before = state
        state, metrics = run(state, batch)
    assert int(state.step) == 2 and np.isfinite(float(metrics["loss"]))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before.params))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"engine": "xmap"}, "devices.engine is 'xmap'; allowed: 'jit', 'pmap'"),
        ({"engine": "pmap", "microbatch": 8}, "devices.microbatch is 8.*pmap"),
        ({"coordinator": "host"}, "devices.coordinator is 'host'; allowed: HOST:PORT"),
        ({"coordinator": "a:1", "processes": 2}, "devices.process is None"),
        ({"coordinator": "a:1", "processes": 2, "process": 2}, "allowed: 0 to 1"),
        ({"processes": 2}, "devices.coordinator is None"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(ConfigError, match=message):
        DevicesConfig(**settings)
