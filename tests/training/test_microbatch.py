"""A batch in parts: the gradient of the whole loss, the memory of one part."""

import functools
import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import BATCH, doubled, first_state, setup_of, source, widened

from ssljax import methods
from ssljax.config import Config, DataConfig, DevicesConfig, ModelConfig
from ssljax.config.checks import ConfigError
from ssljax.data import from_arrays
from ssljax.runs.describe import describe
from ssljax.runs.setup import prepare
from ssljax.training import devices, engines
from ssljax.training.microbatch import compile_parts
from ssljax.training.state import init_state
from ssljax.training.step import Embedded, collect_outputs, forward_views, view_batch
from ssljax.training.update import update

PART = 8
# One method per kind of network outputs: every loss reads the joined embeddings.
WIRED = ("simclr", "byol", "isoloss_cosine", "intl_ema", "w_mse")


def in_parts(name, count=1):
    """Return state and metrics after one step that takes its batch in parts."""
    setup = doubled(setup_of(name))
    config = replace(setup.config, devices=DevicesConfig(count=count, microbatch=PART))
    setup = replace(setup, config=config)
    mesh = devices.make_mesh(count=count, batch_size=BATCH, microbatch=PART)
    data = source()
    with jax.enable_x64(True):
        state = devices.place(
            widened(first_state(setup_of(name))), devices.replicated(mesh)
        )
        run = engines.compiled_step(setup, mesh, resident=False)
        batch = {"image": data.images, "label": data.labels}
        placed = engines.place_rows(batch, mesh, size=PART)
        assert len(placed) == BATCH // PART
        return jax.device_get(run(state, placed))


@functools.cache
def at_once(name):
    """Return the same from one program that differentiates the whole loss."""
    setup = doubled(setup_of(name))
    data = source()
    batch = {"image": data.images, "label": data.labels}

    @jax.jit
    def step(state):
        views = view_batch(state.step, batch, setup=setup)

        def loss_of(params):
            parts, stats = [], []
            for i in range(0, BATCH, PART):
                part = [view[i : i + PART] for view in views]
                embedded, moved = forward_views(params, state, part, setup)
                parts.append(embedded)
                stats.append(moved)
            whole = Embedded(*jax.tree.map(lambda *z: jnp.concatenate(z), *parts))
            mean = jax.tree.map(lambda *s: sum(s) / len(s), *stats)
            outputs, moved = collect_outputs(whole, mean, batch["label"], state, setup)
            return setup.loss(outputs), (moved, outputs)

        (loss, (moved, outputs)), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            state.params
        )
        return update(state, loss, gradients, moved, outputs, setup=setup)

    with jax.enable_x64(True):
        return jax.device_get(step(widened(first_state(setup_of(name)))))


def check(name, count=1):
    state, metrics = in_parts(name, count)
    expected, numbers = at_once(name)
    assert metrics["loss"] == pytest.approx(numbers["loss"], rel=1e-6)
    start = first_state(setup_of(name)).params
    # After one SGD step, the parameters' change is proportional to the gradient.
    for (path, a), b, old in zip(
        jax.tree_util.tree_leaves_with_path(state.params),
        jax.tree.leaves(expected.params),
        jax.tree.leaves(start),
        strict=True,
    ):
        moved = np.linalg.norm(b - old)
        gap = np.linalg.norm(a - b)
        assert gap <= 1e-5 * max(moved, 1e-9), jax.tree_util.keystr(path)
    assert (
        max(
            np.abs(b - a).max()
            for a, b in zip(
                jax.tree.leaves(start), jax.tree.leaves(state.params), strict=True
            )
        )
        > 1e-6
    )
    for part in ("batch_stats", "target", "covariance", "probe"):
        for a, b in zip(
            jax.tree.leaves(getattr(state, part)),
            jax.tree.leaves(getattr(expected, part)),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-8)
    assert int(state.step) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", WIRED)
def test_the_gradient_is_that_of_the_whole_batch(name):
    check(name)


@pytest.mark.slow
def test_devices_can_share_a_microbatch():
    check("simclr", count=4)


@pytest.mark.slow
def test_the_parts_own_losses_do_not_add_up_to_the_whole_loss():
    """What plain accumulation computes: each part's own loss, averaged."""
    setup = doubled(setup_of("simclr"))
    _, numbers = at_once("simclr")
    data = source()
    with jax.enable_x64(True):
        state = widened(first_state(setup_of("simclr")))
        batch = {"image": data.images, "label": data.labels}
        views = view_batch(jnp.int32(0), batch, setup=setup)

        @jax.jit
        def loss_of(part):
            embedded, stats = forward_views(state.params, state, part, setup)
            labels = jnp.zeros(PART, jnp.int32)
            outputs, _ = collect_outputs(embedded, stats, labels, state, setup)
            return setup.loss(outputs)

        losses = [
            float(loss_of([view[i : i + PART] for view in views]))
            for i in range(0, BATCH, PART)
        ]
    assert abs(np.mean(losses) - float(numbers["loss"])) > 0.1


def memory(batch_size, part=256):
    """Return the peak bytes of every program of a step, from the compiler."""
    # Large enough that the random numbers for the whole batch, some 200 bytes per
    # image, are small compared to the activations.
    images = np.zeros((batch_size, 24, 24, 3), np.uint8)
    config = Config(
        method=replace(setup_of("simclr").config.method),
        data=DataConfig("arrays"),
        # A real network, compared to which the similarities of a large batch are small.
        model=ModelConfig("resnet18"),
        devices=DevicesConfig(count=1, microbatch=part),
        batch_size=batch_size,
    )
    setup = prepare(methods.resolve(config), from_arrays(images))
    mesh = devices.make_mesh(count=1, batch_size=batch_size, microbatch=part)
    programs = compile_parts(setup, mesh)
    state = jax.eval_shape(functools.partial(init_state, setup))
    rows = {
        "image": jax.ShapeDtypeStruct((part, 24, 24, 3), jnp.uint8),
        "label": jax.ShapeDtypeStruct((part,), jnp.int32),
    }
    first = jax.ShapeDtypeStruct((), jnp.int32)
    embedded, moved = jax.eval_shape(programs["embed"], state, rows, first, None)
    count = batch_size // part
    several = [embedded] * count, [rows["label"]] * count
    _, pulled, *_ = jax.eval_shape(programs["loss"], state, *several, moved)
    arguments = {
        "embed": (state, rows, first, moved),
        "loss": (state, *several, moved),
        "pull": (state, rows, first, pulled[0], state.params),
    }
    peaks = {}
    for name, given in arguments.items():
        size = programs[name].lower(*given).compile().memory_analysis()
        peaks[name] = size.temp_size_in_bytes + size.output_size_in_bytes
    width = sum(z.size * z.dtype.itemsize for z in jax.tree.leaves(embedded))
    return peaks, count * width


@pytest.mark.slow
def test_memory_does_not_grow_with_the_batch():
    peaks = {n: memory(n) for n in (512, 2048)}
    for name in ("embed", "pull"):
        sizes = [peak[name] for peak, _ in peaks.values()]
        assert max(sizes) <= 1.1 * min(sizes), sizes
    whole = [max(peak.values()) for peak, _ in peaks.values()]
    assert max(whole) <= 1.1 * min(whole), whole
    # Only the loss grows, with its embeddings and their N x N similarities.
    for n, (peak, embeddings) in peaks.items():
        assert peak["loss"] <= 12 * embeddings + 16 * (2 * n) ** 2, (n, peak)


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(batch_size=100, devices=DevicesConfig(microbatch=32)), "96 or 128"),
        (dict(batch_size=16, devices=DevicesConfig(microbatch=32)), ": 32"),
    ],
)
def test_a_batch_that_parts_do_not_divide_is_refused(settings, message):
    with pytest.raises(ConfigError, match="multiples of microbatch 32.*" + message):
        Config(**settings)


def test_a_part_that_devices_do_not_divide_is_refused():
    with pytest.raises(ConfigError, match="microbatch is 12, .*nearest: 8 or 16"):
        devices.make_mesh(count=8, batch_size=96, microbatch=12)


def test_the_plan_says_that_batchnorm_is_per_part():
    setup = setup_of("simclr")
    config = replace(setup.config, devices=DevicesConfig(microbatch=PART))
    rows = dict(describe(replace(setup, config=config), source()))
    assert re.search(r"32 in parts of 8.*BatchNorm per part", rows["global batch"])
