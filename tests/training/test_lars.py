"""The three variants of LARS, compared to arithmetic by hand in plain NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from steps_by_hand import (
    ETA,
    MOMENTUM,
    RATES,
    WD,
    assert_params_equal,
    by_hand,
    problem,
    rates,
    run,
    updated,
)

from ssljax.training import lars, optimizers, schedules


def lars_direction(g, p, lr):
    del lr
    if p.ndim == 1:
        return g
    g = g + WD * p
    return ETA * np.linalg.norm(p) / np.linalg.norm(g) * g


def clip_direction(g, p, lr):
    if p.ndim == 1:
        return g
    p_norm, g_norm = np.linalg.norm(p), np.linalg.norm(g)
    ratio = min(ETA * p_norm / (g_norm + WD * p_norm + 1e-8) / lr, 1.0)
    return ratio * (g + WD * p)


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(
    "name, direction, rate_inside",
    [
        ("lars", lars_direction, True),
        ("lars_byol", lars_direction, False),
        ("lars_clip", clip_direction, False),
    ],
)
def test_lars_by_hand(name, direction, rate_inside, steps):
    params, gradients = problem()
    optimizer = optimizers.make(
        name, learning_rate=rates, momentum=MOMENTUM, weight_decay=WD, eta=ETA
    )
    actual, _ = run(optimizer, params, gradients, steps)
    expected = by_hand(params, gradients, steps, direction, rate_inside=rate_inside)
    assert_params_equal(actual, expected)


def test_lars_variants_agree_only_while_the_rate_is_constant():
    params, gradients = problem()
    outcome = {}
    for label, rate in (("constant", 0.3), ("changing", rates)):
        inside, outside = (
            run(variant(learning_rate=rate, eta=ETA), params, gradients)[0]["kernel"]
            for variant in (lars.lars, lars.lars_byol)
        )
        outcome[label] = float(jnp.abs(inside - outside).max())
    assert outcome["constant"] < 1e-6 < 1e-3 < outcome["changing"]


def test_the_clip_bounds_a_layer_by_sgd():
    params, gradients = problem()
    settings = dict(momentum=MOMENTUM, weight_decay=WD, learning_rate=0.1)
    kernel = {"kernel": params["kernel"]}
    generous, _ = run(
        optimizers.make("lars_clip", eta=1e3, **settings), kernel, gradients_of(kernel)
    )
    sgd, _ = run(optimizers.make("sgd", **settings), kernel, gradients_of(kernel))
    np.testing.assert_allclose(generous["kernel"], sgd["kernel"], rtol=1e-6)
    strict, _ = run(
        optimizers.make("lars_clip", eta=1e-3, **settings), kernel, gradients_of(kernel)
    )
    assert float(jnp.abs(strict["kernel"] - kernel["kernel"]).max()) < 0.02


def gradients_of(params):
    rng = np.random.default_rng(5)
    return [{k: rng.normal(size=p.shape) for k, p in params.items()} for _ in RATES]


@pytest.mark.parametrize("name", ["lars", "lars_byol", "lars_clip"])
@pytest.mark.parametrize("p, g", [(0.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_zero_norm_or_a_zero_rate_takes_a_plain_step(name, p, g, rate):
    # Without decay, because two variants add it to the gradient first.
    optimizer = optimizers.make(name, learning_rate=rate, weight_decay=0.0)
    update = updated(optimizer, jnp.full((2, 2), g), jnp.full((2, 2), p))
    np.testing.assert_allclose(update, -rate * g, atol=1e-7)


def test_lars_clip_leaves_a_zero_gradient_undecayed_as_its_original_does():
    optimizer = lars.lars_clip(learning_rate=0.5, weight_decay=0.1)
    update = updated(optimizer, jnp.zeros((2, 2)), jnp.ones((2, 2)))
    np.testing.assert_array_equal(update, 0.0)


def test_lars_clip_starts_a_warm_up_from_a_zero_rate():
    params, gradients = problem()
    rate = schedules.schedule(peak=1.0, total_steps=10, warmup_steps=2)
    optimizer = optimizers.make("lars_clip", learning_rate=rate, weight_decay=WD)
    once, _ = run(optimizer, params, gradients, 1)
    assert_params_equal(once, params)
    thrice, _ = run(optimizer, params, gradients, 3)
    assert all(bool(jnp.isfinite(p).all()) for p in thrice.values())


@pytest.mark.parametrize("name", ["lars", "lars_byol", "lars_clip"])
def test_vectors_may_be_decayed_but_are_never_trust_scaled(name):
    params, gradients = problem()
    settings = dict(learning_rate=0.5, weight_decay=WD, eta=ETA)
    optimizer = optimizers.make(name, weight_decay_norm_and_bias=True, **settings)
    actual, _ = run(optimizer, params, gradients, 1)
    expected = params["bias"] - 0.5 * (gradients[0]["bias"] + WD * params["bias"])
    np.testing.assert_allclose(actual["bias"], expected, rtol=3e-7)
    plain, _ = run(optimizers.make(name, **settings), params, gradients, 1)
    np.testing.assert_array_equal(actual["kernel"], plain["kernel"])


def test_default_trust_coefficients():
    kernel = jnp.full((2, 2), 3.0)
    for name, eta in (("lars", 1e-3), ("lars_byol", 1e-3), ("lars_clip", 0.02)):
        optimizer = optimizers.make(name, learning_rate=1.0)
        update = updated(optimizer, jnp.ones((2, 2)), kernel)
        np.testing.assert_allclose(update, -eta * 3.0, rtol=1e-6)
