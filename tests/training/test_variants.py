"""Variants of methods that recipes use: heads, with and without a target network."""

import functools
from typing import Any

import jax
import numpy as np
import pytest
from small_runs import first_state, setup_of, source

from ssljax.training.step import train_step

HEAD = "offdiagonal_head"
VARIANTS = [
    *[(HEAD, {"predictor": p}) for p in ("identity", "diagonal", "symmetric")],
    *[(HEAD, {"predictor": p}) for p in ("full", "random", "8-12")],
    (HEAD, {"target_momentum": 0.99}),
    # The six closed-form methods differ only in loss and exponent.
    ("directpred_euclidean", {"target_momentum": 0.0}),
    ("isoloss_cosine", {"target_momentum": 0.0}),
    ("isoloss_cosine", {"projector_bias": True}),
    ("simclr", {"projector_norm": "off", "projector_bias": True}),
    ("byol", {"projector_bias": True, "predictor_bias": True}),
]


@pytest.mark.slow
@pytest.mark.parametrize("name, options", VARIANTS, ids=str)
def test_three_steps_train_the_right_parameters(name, options):
    setup = setup_of(name, preset="supervised", **options)
    state, images = first_state(setup), source()
    batch = {"image": images.images, "label": images.labels}
    step = jax.jit(functools.partial(train_step, setup=setup))
    start = jax.device_get(state.params)
    for _ in range(3):
        state, metrics = step(state, batch)
    assert np.isfinite(float(metrics["loss"])) and int(state.failed_at) == -1
    assert setup.has_target == bool(options.get("target_momentum", setup.has_target))
    moved = jax.tree.map(lambda a, b: bool(np.any(a != b)), state.params, start)
    assert all(jax.tree.leaves(moved["encoder"]))
    trained = jax.tree.leaves(moved.get("predictor", {}))
    assert all(trained) and bool(trained) == (
        options.get("predictor", "") != "identity" and name in (HEAD, "byol")
    )


@pytest.mark.parametrize("kind", ["off_diagonal", "symmetric", "diagonal", "full"])
def test_weight_decay_leaves_a_linear_head_alone(kind):
    """Decay would pull the heads under comparison to different fixed points."""
    setup = setup_of(HEAD, preset="supervised", predictor=kind)
    params: Any = jax.eval_shape(lambda: first_state(setup)).params
    zeros = jax.tree.map(lambda p: np.zeros(p.shape, np.float32), params)
    ones = jax.tree.map(lambda p: np.ones(p.shape, np.float32), params)
    assert setup.config.optimizer.weight_decay > 0
    updates: Any
    updates, _ = setup.optimizer.update(zeros, setup.optimizer.init(ones), ones)
    assert all(np.all(u == 0) for u in jax.tree.leaves(updates["predictor"]))
    kernel = updates["projector"]["linear1"]["kernel"]
    assert np.all(kernel < 0)
