"""The step has the same loss and gradients on any devices, and compiles once."""

import functools
from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import BATCH, WIRINGS, doubled, first_state, setup_of, source, widened

from ssljax.training import devices
from ssljax.training.state import creator, init_state
from ssljax.training.step import run_networks, train_step, view_batch


def batch_on(mesh):
    data = source()
    return devices.place(
        {"image": data.images, "label": data.labels}, devices.over_batch(mesh)
    )


_VIEWS: dict = {}


def views_on(setup, count, double):
    """Return views made on that many devices; methods with equal presets share them."""
    key = setup.views, setup.mean, setup.std, count, double
    if key not in _VIEWS:
        mesh = devices.make_mesh(count=count, batch_size=BATCH)
        step = devices.place(np.int32(3), devices.replicated(mesh))
        make = jax.jit(lambda step, batch: view_batch(step, batch, setup=setup))
        _VIEWS[key] = make(step, batch_on(mesh))
    return _VIEWS[key]


def loss_and_gradients(setup, count, *, double=False):
    """Return both on ``count`` devices, with augmentation and BatchNorm.

    The gradients also contain the running covariance of a closed-form predictor.
    """
    mesh = devices.make_mesh(count=count, batch_size=BATCH)
    state = first_state(setup)
    with jax.enable_x64(double):
        if double:
            setup = doubled(setup)
            state = widened(state)
        state = devices.place(state, devices.replicated(mesh))

        @jax.jit
        def run(state, views, labels):
            def loss_of(params):
                outputs, moved = run_networks(params, state, views, labels, setup)
                return setup.loss(outputs), moved

            differentiate = jax.value_and_grad(loss_of, has_aux=True)
            (loss, moved), gradients = differentiate(state.params)
            kept = {"covariance": moved["covariance"]} if closed_form else {}
            return loss, gradients | kept

        closed_form = setup.predictors is not None
        views = views_on(setup, count, double)
        return jax.device_get(run(state, views, batch_on(mesh)["label"]))


def check_agreement(name, counts):
    setup = setup_of(name)
    loss, gradients = loss_and_gradients(setup, 1, double=True)
    total = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradients)))
    assert np.isfinite(loss) and loss.dtype == np.float64 and total > 0
    for count in counts:
        other_loss, other = loss_and_gradients(setup, count, double=True)
        np.testing.assert_allclose(other_loss, loss, rtol=1e-9)
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
            there = functools.reduce(lambda tree, key: tree[key.key], path, other)
            gap = np.linalg.norm(there - leaf)
            # Entries that are exactly zero are compared to the whole gradient's norm.
            scale = max(np.linalg.norm(leaf), 1e-6 * total)
            assert gap <= 1e-8 * scale, (name, count, jax.tree_util.keystr(path))


# test_engines.py compares every method, by its loss on embeddings.
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "byol" else pytest.mark.slow)
        for name in WIRINGS
    ],
)
def test_one_and_eight_devices_agree_on_loss_and_every_gradient(name):
    check_agreement(name, (8,))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "byol"])
def test_devices_agree_in_float32_as_in_training(name):
    setup = setup_of(name)
    loss, gradients = loss_and_gradients(setup, 1)
    other_loss, other = loss_and_gradients(setup, 8)
    np.testing.assert_allclose(other_loss, loss, rtol=1e-5)
    norm = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradients)))
    gap = jax.tree.map(lambda a, b: ((a - b) ** 2).sum(), gradients, other)
    # A few ReLUs may flip; a wrong factor or a missing negative is of order one.
    assert np.sqrt(sum(jax.tree.leaves(gap))) < 0.03 * norm


def test_the_comparison_detects_devices_that_are_not_synchronised():
    """Unsynchronised code would process each half separately and average gradients."""
    setup = setup_of("simclr")
    _, right = loss_and_gradients(setup, 1)
    state, views = first_state(setup), views_on(setup, 1, False)
    labels = jnp.zeros(BATCH // 2, jnp.int32)

    @jax.jit
    def gradients_of(state, views):
        def loss_of(params):
            outputs, _ = run_networks(params, state, views, labels, setup)
            return setup.loss(outputs)

        return jax.grad(loss_of)(state.params)

    half = BATCH // 2
    parts = [
        gradients_of(state, [view[s] for view in views])
        for s in (slice(0, half), slice(half, BATCH))
    ]
    wrong = jax.tree.map(lambda a, b: 0.5 * (a + b), *parts)
    norm = np.sqrt(sum((g**2).sum() for g in jax.tree.leaves(right)))
    gap = jax.tree.map(lambda a, b: ((a - b) ** 2).sum(), wrong, right)
    assert np.sqrt(sum(jax.tree.leaves(gap))) > 0.1 * norm


def run_steps(setup, count, *, batch=None):
    state = jax.device_put(first_state(setup))
    data = source()
    batch = batch or {"image": jnp.asarray(data.images), "label": data.labels}

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(state, batch):
        return train_step(state, batch, setup=setup)

    history = []
    for _ in range(count):
        state, metrics = step(state, batch)
        history.append(metrics)
    return state, history


def test_the_step_compiles_once_learns_and_counts():
    chex.clear_trace_counter()
    state, history = run_steps(setup_of("vicreg"), 20)
    losses = [float(m["loss"]) for m in history]
    assert int(state.step) == 20 and int(state.failed_at) == -1
    # VICReg can raise the variance of the embeddings even on noise.
    assert np.mean(losses[-5:]) < 0.95 * np.mean(losses[:5])


@pytest.mark.slow
def test_the_running_covariance_follows_the_projections():
    chex.clear_trace_counter()
    setup = setup_of("isoloss_euclidean")
    before = first_state(setup)
    assert before.covariance.shape == (12, 12) and not before.covariance.any()
    views = views_on(setup, 1, False)
    outputs, moved = jax.jit(
        lambda state: run_networks(
            state.params,
            state,
            views,
            batch_on(devices.make_mesh(count=1, batch_size=BATCH))["label"],
            setup,
        )
    )(before)
    z1, z2 = (np.asarray(z, np.float64) for z in outputs.projections)
    first = 0.002 * z1.T @ z1 / BATCH
    expected = 0.998 * first + 0.002 * z2.T @ z2 / BATCH
    np.testing.assert_allclose(moved["covariance"], expected, rtol=1e-3, atol=1e-7)
    state, history = run_steps(setup, 2)
    assert np.abs(state.covariance).max() > 0 and int(state.failed_at) == -1


def test_without_momentum_there_is_no_target_network():
    setup = setup_of("directpred_cosine", target_momentum=0.0)
    assert not setup.has_target and first_state(setup).target == {}
    assert setup.config.method.options["covariance_momentum"] == 0.5


@pytest.mark.slow
def test_the_target_does_not_move_at_momentum_one():
    chex.clear_trace_counter()
    setup = setup_of("byol", target_momentum=1.0)
    before = first_state(setup)
    state, _ = run_steps(setup, 2)
    chex.assert_trees_all_equal(before.target["params"], state.target["params"])
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), before.params, state.params)
    assert any(jax.tree.leaves(moved))
    assert "predictor" not in state.target["params"]


@pytest.mark.slow
def test_the_probe_does_not_change_the_encoder():
    chex.clear_trace_counter()
    setup = setup_of("simclr")
    off = replace(setup.config, probe=replace(setup.config.probe, enabled=False))
    state, _ = run_steps(setup, 2)
    chex.clear_trace_counter()
    other, metrics = run_steps(replace(setup, config=off), 2)
    assert other.probe == {} and "probe_loss" not in metrics[0]
    chex.assert_trees_all_equal(state.params, other.params)


def test_a_step_that_is_not_finite_changes_nothing_and_sets_failed_at():
    chex.clear_trace_counter()
    setup = setup_of("simclr")
    state = jax.device_put(first_state(setup))
    data = source()
    batch = {"image": jnp.asarray(data.images), "label": data.labels}
    step = jax.jit(functools.partial(train_step, setup=setup))
    state, _ = step(state, batch)
    broken = state.replace(
        params=jax.tree.map(lambda x: x.at[(0,) * x.ndim].set(jnp.nan), state.params)
    )
    after, metrics = step(broken, batch)
    assert int(after.failed_at) == 1 and int(after.step) == 1
    assert int(metrics["failed_at"]) == 1
    chex.assert_trees_all_equal(after.params, broken.params)
    # Later steps do not change it either, so the state stays that of the failed step.
    again, _ = step(after, batch)
    assert int(again.step) == 1 and int(again.failed_at) == 1


def test_simsiam_keeps_its_predictor_rate_constant():
    assert setup_of("simsiam").config.optimizer.constant_predictor_rate is True
    assert setup_of("byol").config.optimizer.constant_predictor_rate is False


def test_a_batch_that_does_not_divide_names_the_nearest():
    with pytest.raises(ValueError, match="batch_size is 30.*8 dev.*nearest: 24 or 32"):
        devices.make_mesh(count=8, batch_size=30)


def test_joint_and_separate_forward_differ_in_batch_statistics():
    joint, _ = loss_and_gradients(setup_of("simclr"), 1)
    separate, _ = loss_and_gradients(setup_of("simclr", forward="separate"), 1)
    assert abs(joint - separate) > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "byol"])
def test_the_first_state_compiled_quickly_is_bit_equal(name):
    setup = setup_of(name)
    fully = {"xla_backend_optimization_level": 3}  # XLA's default, not that of tests
    create = functools.partial(init_state, setup)
    expected = jax.jit(create, compiler_options=fully)()
    mesh = devices.make_mesh(count=8, batch_size=BATCH)
    for made in (
        creator(setup)(),
        creator(setup, out_shardings=devices.replicated(mesh))(),
    ):
        jax.tree.map(np.testing.assert_array_equal, made, expected)
