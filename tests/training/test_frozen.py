"""`model.frozen`: the heads learn and the encoder keeps its bytes; `encoder_factor`."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import BATCH, first_state, setup_of, source
from trained_alike import largest_gap

from ssljax.config import Config, DevicesConfig, MethodConfig, ModelConfig
from ssljax.config.checks import ConfigError
from ssljax.methods import resolve
from ssljax.runs.setup import prepare
from ssljax.training import devices, engines
from ssljax.training.optimizers import OPTIMIZERS, make
from ssljax.training.step import train_step

BYTES = lambda tree: [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]  # noqa: E731


def frozen_setup(**settings):
    setup = setup_of("supervised", preset="supervised", frozen=True)
    return replace(
        setup, config=replace(setup.config, devices=DevicesConfig(**settings))
    )


def state_with_odd_values():
    """The first state, with values that careless arithmetic would change."""
    state = first_state(frozen_setup())

    def odd(path, leaf):
        if path[0].key != "encoder":
            return leaf
        flat = np.array(leaf).reshape(-1)
        flat[0] = -0.0  # -0 + 0 is 0
        flat[1:] += 0.1  # a third of it, three times, is another number
        return flat.reshape(leaf.shape)

    changed = {
        name: jax.tree_util.tree_map_with_path(odd, getattr(state, name))
        for name in ("params", "batch_stats")
    }
    return state.replace(**changed)


@pytest.mark.parametrize(
    "settings",
    [
        {"count": 1},
        pytest.param({"count": 8}, marks=pytest.mark.slow),
        pytest.param({"count": 2, "engine": "pmap"}, marks=pytest.mark.slow),
        pytest.param({"count": 1, "microbatch": 8}, marks=pytest.mark.slow),
    ],
    ids=["one device", "eight", "pmap", "microbatch"],
)
def test_the_encoder_keeps_its_bytes_and_the_head_learns(settings):
    setup, before = frozen_setup(**settings), state_with_odd_values()
    mesh = devices.make_mesh(count=settings["count"], batch_size=BATCH)
    run = engines.compiled_step(setup, mesh, resident=False)
    state, data = devices.place(before, devices.replicated(mesh)), source()
    images = {"image": data.images, "label": data.labels}
    batch = engines.place_rows(
        images,
        mesh,
        engine=settings.get("engine", "jit"),
        size=settings.get("microbatch"),
    )
    for _ in range(3):
        state, _ = run(state, batch)
    for part in ("params", "batch_stats"):
        old, new = getattr(before, part)["encoder"], getattr(state, part)["encoder"]
        assert BYTES(old) == BYTES(new)
    old, new = (each.params["projector"] for each in (before, state))
    assert BYTES(old) != BYTES(new)


@pytest.mark.slow
def test_a_frozen_encoder_trains_alike_on_any_devices():
    chosen = [("jit", 8), ("pmap", 2)]
    gaps = {f"{e} {n}": largest_gap("frozen", e, n) for e, n in chosen}
    assert max(gaps.values()) < 1e-5, gaps


@pytest.mark.slow
def test_there_is_no_backward_pass_through_the_encoder():
    images = {"image": source().images, "label": source().labels}

    def flops(frozen):
        setup = setup_of("supervised", preset="supervised", frozen=frozen)
        step = jax.jit(lambda s, b: train_step(s, b, setup=setup))
        cost = step.lower(first_state(setup), images).compile().cost_analysis()
        return cost["flops"]

    # Two of three parts, beside the views, which both have.
    assert 0 < flops(True) < 0.6 * flops(False), (flops(True), flops(False))


def test_it_has_no_optimizer_state_and_no_decay():
    params = {"encoder": {"w": jnp.ones((2, 2))}, "projector": {"w": jnp.ones((2, 2))}}
    for name in OPTIMIZERS:
        optimizer = make(
            name,
            learning_rate=0.1,
            weight_decay=0.5,
            learning_rate_factors={"encoder": 0.0},
        )
        state = optimizer.init(params)
        assert "encoder" not in str(
            [
                jax.tree_util.keystr(p)
                for p, x in jax.tree.leaves_with_path(state)
                if x.ndim
            ]
        )
        update: Any = optimizer.update(params, state, params)[0]
        assert not update["encoder"]["w"].any() and update["projector"]["w"].all()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_factor_is_a_learning_rate_of_its_own(name):
    rng = np.random.default_rng(0)
    draw = lambda: {"w": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32)}  # noqa: E731
    params = {"encoder": draw(), "projector": draw()}
    gradients = [{"encoder": draw(), "projector": draw()} for _ in range(3)]

    def after(rate, **options):
        optimizer = make(name, learning_rate=rate, weight_decay=0.1, **options)
        state, now = optimizer.init(params), params
        for gradient in gradients:
            update, state = optimizer.update(gradient, state, now)
            now = jax.tree.map(jnp.add, now, update)
        return now

    for rate, slow in ((0.4, 0.1), (lambda s: 0.4 / (1 + s), lambda s: 0.1 / (1 + s))):
        found = after(rate, learning_rate_factors={"encoder": 0.25})
        for part, expected in (("encoder", after(slow)), ("projector", after(rate))):
            np.testing.assert_allclose(found[part]["w"], expected[part]["w"], 1e-6)


def test_what_cannot_be_frozen_is_refused():
    config = Config(
        method=MethodConfig("byol", projector="8-4", predictor="8-4"),
        model=ModelConfig("micro", frozen=True),
        batch_size=BATCH,
    )
    with pytest.raises(ConfigError, match="byol trains a target network"):
        prepare(resolve(config), source())
    with pytest.raises(ConfigError, match="None without model.init_from"):
        ModelConfig(init_step=3)
    with pytest.raises(ValueError, match="learning_rate_factors names 'head'"):
        make("sgd", learning_rate=0.1, learning_rate_factors={"head": 2.0}).init(
            {"encoder": jnp.ones(2)}
        )
