"""Partly trained linear heads in training: what stays fixed, what the arms learn."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from started_heads import initialised, matrix_of, started

from ssljax import losses
from ssljax.config import Config, OptimizerConfig
from ssljax.methods import METHODS, Outputs
from ssljax.models.linear_heads import (
    LinearPredictor,
    OffDiagonalPredictor,
)
from ssljax.runs.build import peak_learning_rate
from ssljax.training import optimizers, schedules

TRAINERS: dict[str, dict[str, Any]] = {
    "sgd": dict(learning_rate=0.3, nesterov=True),
    "adamw": dict(learning_rate=0.03),
    "lars": dict(learning_rate=0.3, eta=1.0),
    "lars_byol": dict(learning_rate=0.3, eta=1.0),
    "lars_clip": dict(learning_rate=0.3, eta=1.0),
}


def trained(head, optimizer, steps=40, d=6):
    """SimSiam with a linear encoder and this head; returns the head's matrix."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 32, 8)), jnp.float32)
    weights = jnp.asarray(rng.normal(size=(8, d)), jnp.float32)
    variables = initialised(head, d, jax.random.key(0))
    params = {"encoder": weights, "predictor": variables["params"]}

    def loss(params):
        z = [view @ params["encoder"] for view in x]
        p = head.apply({"params": params["predictor"]}, z[0], train=True)
        return losses.negative_cosine(p, jax.lax.stop_gradient(z[1]))

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    carry = (params, optimizer.init(params))
    (params, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, length=steps))(carry)
    return matrix_of(head, {"params": params["predictor"]}, d)


@pytest.mark.parametrize("name", TRAINERS)
def test_prediction_head_15_the_diagonal_is_one_to_the_bit_after_training(name):
    # As small as can fail: six dimensions, forty steps, decay on every parameter.
    optimizer = optimizers.make(
        name,
        momentum=0.9,
        weight_decay=0.1,
        weight_decay_norm_and_bias=True,
        **TRAINERS[name],
    )
    matrix = trained(OffDiagonalPredictor(), optimizer)
    np.testing.assert_array_equal(jnp.diagonal(matrix), np.ones(6, np.float32))
    assert float(jnp.abs(matrix - jnp.eye(6)).max()) > 1e-2
    if name in ("sgd", "adamw"):
        # A head whose diagonal is a parameter loses it in the same run.
        full = trained(LinearPredictor(kind="full"), optimizer)
        assert float(jnp.abs(jnp.diagonal(full) - 1).max()) > 1e-3


def test_the_symmetric_head_stays_symmetric_with_a_unit_diagonal():
    matrix = trained(
        LinearPredictor(kind="symmetric"), optimizers.make("adamw", learning_rate=0.03)
    )
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(jnp.diagonal(matrix), np.ones(6, np.float32))
    assert float(jnp.abs(matrix - jnp.eye(6)).max()) > 1e-2


def population_loss(a, rest, matrix):
    """Two cubic neurons, two features: Wen and Li's expected loss behind BatchNorm."""
    feature = (jnp.array([6.0, 4.5])[None] * a) ** 3
    gram = rest @ rest.T
    lengths = jnp.diagonal(gram)
    noise = 9 * lengths[:, None] * lengths[None] * gram + 6 * gram**3
    cross = 12 / 7 * feature @ jax.lax.stop_gradient(feature).T
    auto = 16 / 7 * feature @ feature.T + 2 * noise
    variance = jnp.diagonal(matrix @ auto @ matrix.T)
    fixed = jax.lax.stop_gradient(jnp.diagonal(auto))
    return 2 - jnp.sum(jnp.diagonal(matrix @ cross) / jnp.sqrt(variance * fixed))


@pytest.mark.parametrize(
    "kind, steps, expected, peak",
    [
        ("off_diagonal", 5000, [[0.7228, 0.0606], [0.0639, 0.8169]], 0.2021),
        ("identity", 5000, [[0.7577, 0.0504], [0.7561, 0.0526]], 0.0),
        ("diagonal", 20000, [[0.829, 0.050], [0.828, 0.053]], 0.0),
        ("full", 20000, [[0.819, 0.061], [0.064, 0.901]], 0.202),
        ("symmetric", 20000, [[0.836, 0.057], [0.076, 0.886]], 0.175),
    ],
)
def test_the_arms_of_the_two_neuron_model(kind, steps, expected, peak, float64):
    head, variables = started(kind, d=2)
    params = jax.tree.map(jnp.float64, variables.get("params", {}))
    a = jnp.array([[0.08, 0.05], [0.05, 0.05]])
    rest = jnp.diag(jnp.sqrt(1 - jnp.sum(a**2, axis=1)))

    def loss(weights, params):
        a, rest = weights
        matrix = jnp.asarray(head.apply({"params": params}, jnp.eye(2), train=True)).T
        return population_loss(a, rest, matrix), matrix[1, 0]

    def step(carry, _):
        weights, params = carry
        slopes, borrowed = jax.grad(loss, argnums=(0, 1), has_aux=True)(weights, params)
        weights = jax.tree.map(lambda w, g: w - 0.03 * g, weights, slopes[0])
        params = jax.tree.map(lambda w, g: w - 0.009 * g, params, slopes[1])
        return (weights, params), borrowed

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, length=steps))
    ((a, _), _), borrowed = run(((a, rest), params))
    np.testing.assert_allclose(a, expected, atol=2e-3)
    assert float(jnp.abs(borrowed).max()) == pytest.approx(peak, abs=3e-3)
    if kind == "off_diagonal":
        assert int(borrowed.argmax()) == pytest.approx(2540, abs=30)


def test_prediction_head_18_the_targets_momentum_ends_at_one():
    for base in (0.97, 0.996):
        tau = [
            float(schedules.ema_momentum(step, total_steps=50, base=base))
            for step in (0, 25, 50)
        ]
        expected = [base, 1 - (1 - base) / 2, 1.0]
        np.testing.assert_allclose(tau, expected, rtol=1e-6)


@pytest.mark.parametrize("batch", [256, 512, 4096])
def test_prediction_head_18_the_warm_up_ends_at_the_scaled_rate(batch):
    config = Config(batch_size=batch, optimizer=OptimizerConfig(learning_rate=0.2))
    assert config.optimizer.scale_by_batch
    rate = schedules.schedule(
        peak=peak_learning_rate(config), total_steps=100, warmup_steps=10
    )
    assert float(rate(10)) == pytest.approx(0.2 * batch / 256, rel=1e-6)
    assert float(rate(9)) < float(rate(10)) > float(rate(11))


@pytest.mark.parametrize("name", ["lars", "lars_byol", "lars_clip"])
def test_prediction_head_18_lars_neither_scales_nor_decays_vectors_and_the_head(name):
    _, head = started("off_diagonal")
    params = {
        "kernel": jnp.full((3, 2), 2.0),
        "bias": jnp.full(2, 2.0),
        "head": jax.tree.map(lambda p: p + 2.0, head["params"]),
    }
    optimizer = optimizers.make(
        name, learning_rate=0.1, momentum=0.9, weight_decay=0.5, eta=1e-3
    )
    ones = jax.tree.map(jnp.ones_like, params)
    update, _ = jax.jit(
        lambda slopes, params: optimizer.update(slopes, optimizer.init(params), params)
    )(ones, params)
    np.testing.assert_allclose(update["bias"], -0.1, rtol=1e-6)
    np.testing.assert_allclose(update["head"]["off_diagonal"], -0.1, rtol=1e-6)
    assert float(jnp.abs(update["kernel"] + 0.1).min()) > 1e-2


def test_prediction_head_18_bounds_of_byol_and_simsiam():
    rng = np.random.default_rng(0)
    views = [jnp.asarray(rng.normal(size=(8, 4)), jnp.float32) for _ in range(2)]
    for name, low, high in (("byol", 0.0, 8.0), ("simsiam", -1.0, 1.0)):
        values = []
        for sign in (1.0, -1.0, None):
            # Predictions equal to the other view's target, opposite to it, unrelated.
            p = [views[1], views[0]] if sign else views
            p = [(sign or 1.0) * z for z in p]
            outputs = Outputs(views, p, views, jnp.zeros(8, jnp.int32))
            values.append(float(METHODS[name].loss(outputs)))
        assert values[:2] == pytest.approx([low, high], abs=1e-5)
        assert low + 1e-2 < values[2] < high - 1e-2
