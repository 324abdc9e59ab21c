"""jit on one device, jit on many and pmap train the same parameters in three steps."""

import functools
import os
from dataclasses import replace

import chex
import jax
import numpy as np
import pytest
from small_runs import BATCH, first_state, setup_of, source, widened
from trained_alike import largest_gap, reference

from ssljax import methods
from ssljax.config import DevicesConfig
from ssljax.config.checks import ConfigError
from ssljax.training import devices, engines, step

MANY = [("jit", 2), ("jit", 4), ("jit", 8), ("pmap", 2), ("pmap", 4), ("pmap", 8)]
# Whole steps of one method per combination of networks, views and targets. The other
# methods differ only in the loss of the embeddings, which a later test compares.
# SSLJAX_ALL_ENGINES=1 runs the whole steps of all methods on all of MANY.
STEPS = {
    "simclr": [("jit", 8), ("pmap", 2)],  # joint forward pass, an affine projector
    "vicreg": [("jit", 4), ("pmap", 4)],  # a forward pass for each view
    "byol": [("jit", 2), ("pmap", 8)],  # a predictor and a target network
    "simsiam": [("jit", 8)],  # a predictor and no target network
    "isoloss_cosine": [("jit", 8), ("pmap", 2)],  # a running covariance
    "intl_ema": [("jit", 8), ("pmap", 4)],  # a view for the teacher alone
    "w_mse": [("jit", 8), ("pmap", 8)],  # a random key
    "supervised": [("jit", 8), ("pmap", 2)],  # one view and labels
}


@pytest.mark.parametrize(
    "engine, count", [pytest.param("jit", 8, marks=pytest.mark.slow), ("pmap", 8)]
)
@pytest.mark.parametrize("name", ["byol"])
def test_eight_devices_train_like_one(name, engine, count):
    assert largest_gap(name, engine, count) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", methods.METHODS if os.environ.get("SSLJAX_ALL_ENGINES") else STEPS
)
def test_whole_steps_train_like_one_device(name):
    chosen = MANY if os.environ.get("SSLJAX_ALL_ENGINES") else STEPS[name]
    gaps = {f"{e} {n}": largest_gap(name, e, n) for e, n in chosen}
    assert max(gaps.values()) < 1e-5, gaps


def embedded_rows(setup):
    """Return random embeddings in float64, in place of the network outputs."""
    width = setup.network.projector.layers[-1]
    views = 1 if setup.config.method.name == "supervised" else 2
    rng = np.random.default_rng(0)

    def draw(count):
        return [rng.normal(size=(BATCH, width)) for _ in range(count)]

    students = views - setup.teacher_first
    targets = 1 if setup.teacher_first else views
    return step.Embedded(draw(1), draw(students), draw(students), draw(targets))


def loss_of_embeddings(setup, state, embedded, labels):
    """Compute the part of a step that differs between methods, and its gradient.

    Closed-form predictors are constants in the papers and in the step.
    """

    def loss_of(projections, predictions):
        rows = embedded._replace(projections=projections, predictions=predictions)
        outputs, new_stats = step.collect_outputs(rows, {}, labels, state, setup)
        return setup.loss(outputs), new_stats["covariance"]

    (loss, covariance), gradients = jax.value_and_grad(
        loss_of, argnums=(0, 1), has_aux=True
    )(embedded.projections, embedded.predictions)
    return loss, covariance, gradients


@pytest.mark.slow
@pytest.mark.parametrize("name", methods.METHODS)
def test_every_loss_and_its_gradient_agree_on_two_four_and_eight_devices(name):
    """The rows are sharded over the devices, as when the step calls the loss."""
    setup = setup_of(name)
    labels = source().labels
    with jax.enable_x64(True):
        state, embedded = widened(first_state(setup)), embedded_rows(setup)
        run = jax.jit(functools.partial(loss_of_embeddings, setup))
        expected = jax.device_get(run(state, embedded, labels))
        assert np.isfinite(expected[0])
        assert any(np.abs(g).max() > 0 for g in jax.tree.leaves(expected[2]))
        for count in (2, 4, 8):
            mesh = devices.make_mesh(count=count, batch_size=BATCH)
            rows = devices.over_batch(mesh)
            placed = devices.place(embedded, rows), devices.place(labels, rows)
            found = run(devices.place(state, devices.replicated(mesh)), *placed)
            assert not jax.tree.leaves(placed[0])[0].sharding.is_fully_replicated
            chex.assert_trees_all_close(jax.device_get(found), expected, rtol=1e-8)


@pytest.mark.slow
def test_a_resident_data_set_gives_the_same_result_under_pmap():
    assert largest_gap("simclr", "pmap", 4, resident=True) < 1e-5


def wrong_mean(axis, tree):
    return tree if axis is None else jax.lax.psum(tree, axis)


def local_only(axis, tree):
    """Repeat each device's rows instead of gathering those of all devices."""
    if axis is None:
        return tree
    return jax.tree.map(
        lambda x: jax.numpy.concatenate([x] * jax.lax.axis_size(axis)), tree
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "part, bug", [("_mean_over", wrong_mean), ("_gathered", local_only)]
)
def test_a_planted_bug_is_detected(part, bug, monkeypatch):
    """Bugs: a gradient times the number of devices; negatives of one device only."""
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
