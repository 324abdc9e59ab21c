"""Optimizers compared to arithmetic by hand; every reference is plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from steps_by_hand import (
    MOMENTUM,
    RATES,
    WD,
    assert_params_equal,
    by_hand,
    problem,
    rates,
    run,
)

from ssljax.models import resnet
from ssljax.training import lars, optimizers


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("steps", [1, 3])
def test_sgd_by_hand_is_pytorchs(nesterov, everywhere, steps):
    params, gradients = problem()
    optimizer = optimizers.make(
        "sgd",
        learning_rate=rates,
        momentum=MOMENTUM,
        weight_decay=WD,
        weight_decay_norm_and_bias=everywhere,
        nesterov=nesterov,
    )
    actual, _ = run(optimizer, params, gradients, steps)

    def direction(g, p, lr):
        return g + WD * p if everywhere or p.ndim > 1 else g

    expected = by_hand(params, gradients, steps, direction, nesterov=nesterov)
    assert_params_equal(actual, expected)


def test_sgd_without_momentum_keeps_no_buffer():
    params, gradients = problem()
    optimizer = optimizers.make("sgd", learning_rate=0.1, momentum=0.0)
    actual, state = run(optimizer, params, gradients, 1)
    expected = {k: p - 0.1 * gradients[0][k] for k, p in params.items()}
    assert_params_equal(actual, expected)
    assert all(leaf.ndim == 0 for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("everywhere", [False, True])
def test_adamw_by_hand(everywhere):
    params, gradients = problem()
    optimizer = optimizers.make(
        "adamw",
        learning_rate=rates,
        weight_decay=WD,
        weight_decay_norm_and_bias=everywhere,
    )
    actual, _ = run(optimizer, params, gradients)
    for name, p in params.items():
        m = v = 0.0
        for t, lr in enumerate(RATES, start=1):
            g = gradients[t - 1][name]
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
            step = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            decay = WD * p if everywhere or p.ndim > 1 else 0.0
            p = p - lr * (step + decay)
        # In float32, 1 - 0.999^t has five correct digits.
        np.testing.assert_allclose(actual[name], p, atol=2e-5)


@pytest.mark.parametrize("scale, clipped", [(10.0, True), (0.01, False)])
def test_clipping_uses_one_norm_over_all_parameters(scale, clipped):
    params, (gradient, *_) = problem()
    gradient = {k: scale * g for k, g in gradient.items()}
    norm = np.sqrt(sum(np.sum(g**2) for g in gradient.values()))
    settings = dict(learning_rate=1.0, momentum=0.0, clip_norm=0.5)
    for groups in ((), ("bias",)):
        optimizer = optimizers.make(
            "sgd", constant_learning_rate_for=groups, **settings
        )
        actual, _ = run(optimizer, params, [gradient], 1)
        factor = 0.5 / norm if clipped else 1.0
        expected = {k: p - factor * gradient[k] for k, p in params.items()}
        assert_params_equal(actual, expected, 1e-6)


def test_a_subtree_may_keep_the_peak_rate():
    rng = np.random.default_rng(3)
    params = {
        "encoder": {"kernel": rng.normal(size=(2, 2))},
        "predictor": {"kernel": rng.normal(size=(2, 2)), "bias": rng.normal(size=2)},
    }
    gradients = [
        jax.tree.map(lambda p: rng.normal(size=p.shape), params) for _ in RATES
    ]
    optimizer = optimizers.make(
        "sgd",
        learning_rate=rates,
        momentum=0.0,
        constant_learning_rate_for=("predictor",),
        peak=0.7,
    )
    actual, _ = run(optimizer, params, gradients)
    for top, path_rates in (("encoder", RATES), ("predictor", [0.7] * 3)):
        for name, p in params[top].items():
            moved = sum(
                lr * g[top][name] for lr, g in zip(path_rates, gradients, strict=True)
            )
            np.testing.assert_allclose(
                actual[top][name], p - moved, rtol=1e-6, atol=1e-6
            )


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_the_state_has_only_arrays(name):
    params = {"encoder": {"kernel": jnp.ones((2, 2))}, "predictor": jnp.ones((2, 2))}
    optimizer = optimizers.make(
        name,
        learning_rate=rates,
        weight_decay=WD,
        clip_norm=1.0,
        constant_learning_rate_for=("predictor",),
        peak=0.1,
    )
    state = optimizer.init(params)
    leaves = jax.tree.leaves(state, is_leaf=lambda leaf: leaf is None)
    assert leaves and all(isinstance(leaf, jax.Array) for leaf in leaves)
    _, after = jax.jit(optimizer.update)(params, state, params)
    # The update keeps structure, shapes and types, so step 2 does not recompile.
    shapes_before, shapes_after = (
        jax.eval_shape(lambda s=s: s) for s in (state, after)
    )
    assert shapes_before == shapes_after


def test_the_state_survives_a_checkpoint(tmp_path):
    ocp = pytest.importorskip("orbax.checkpoint")
    params = {"encoder": {"kernel": jnp.ones((2, 2))}, "predictor": jnp.ones((2, 2))}
    optimizer = optimizers.make(
        "lars_clip",
        learning_rate=rates,
        constant_learning_rate_for=("predictor",),
        peak=0.1,
    )
    _, state = optimizer.update(params, optimizer.init(params), params)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", optimizer.init(params))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, restored, state)


def test_the_mask_is_the_kernels_of_a_resnet():
    encoder = resnet("resnet18", stem="small")
    variables = jax.eval_shape(
        lambda x: encoder.init(jax.random.key(0), x, train=False),
        jnp.ones((1, 32, 32, 3)),
    )
    mask = lars.decay_mask(variables["params"])
    leaves = jax.tree_util.tree_leaves_with_path(mask)
    picked = {path[-1].key for path, keep in leaves if keep}
    dropped = {path[-1].key for path, keep in leaves if not keep}
    assert picked == {"kernel"} and dropped == {"scale", "bias"}
    assert sum(keep for _, keep in leaves) == 20  # 17 convolutions and 3 shortcuts


def test_ema_update_by_hand():
    rng = np.random.default_rng(0)
    target, online = ({"a": {"w": rng.normal(size=(2, 3))}} for _ in range(2))
    moved = jax.jit(optimizers.ema_update)(
        *(jax.tree.map(jnp.float32, tree) for tree in (target, online)), 0.99
    )
    expected = 0.99 * target["a"]["w"] + 0.01 * online["a"]["w"]
    np.testing.assert_allclose(moved["a"]["w"], expected, rtol=1e-6)


def test_ema_update_copies_exactly_at_momentum_zero_and_one():
    target, online = {"w": jnp.array([0.1, 0.7])}, {"w": jnp.array([0.3, -0.9])}
    for momentum, source in ((1.0, target), (0.0, online)):
        moved = optimizers.ema_update(target, online, momentum)
        np.testing.assert_array_equal(moved["w"], source["w"])


def test_ema_update_does_not_round_to_bfloat16():
    target = {"w": jnp.ones(3, jnp.bfloat16)}
    online = {"w": jnp.zeros(3, jnp.bfloat16)}
    moved = optimizers.ema_update(target, online, 0.999)["w"]
    assert moved.dtype == jnp.float32
    np.testing.assert_allclose(moved, 0.999, rtol=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(name="lars_bylo"), "did you mean 'lars_byol'"),
        (dict(name="SGD"), "unknown optimizer 'SGD'"),
        (dict(name="sgd", eta=0.1), "eta applies to LARS only, not to 'sgd'"),
        (dict(eta=0.0), "eta must be positive or None"),
        (dict(clip_norm=-1.0), "clip_norm must be positive or None"),
        (dict(momentum=1.5), r"momentum must be \[0, 1\], got 1.5"),
        (dict(weight_decay=-1e-4), "weight_decay must be finite and >= 0"),
        (dict(learning_rate=float("nan")), "learning_rate must be finite"),
        (dict(momentum=0.0, nesterov=True), "nesterov needs momentum > 0"),
        (dict(constant_learning_rate_for=("predictor",)), "needs peak"),
        (dict(constant_learning_rate_for="predictor"), "must be a tuple of names"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    settings = dict(name="lars", learning_rate=rates) | change
    with pytest.raises(ValueError, match=message):
        optimizers.make(**settings)


def test_an_unknown_subtree_is_refused():
    optimizer = optimizers.make(
        "sgd", learning_rate=0.1, constant_learning_rate_for=("head",)
    )
    with pytest.raises(ValueError, match="names 'head'.* 'encoder', 'predictor'"):
        optimizer.init({"encoder": jnp.ones(2), "predictor": jnp.ones(2)})


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_vectors_can_have_their_own_rate(name):
    params, gradients = problem()
    common = dict(learning_rate=rates, momentum=MOMENTUM, weight_decay=WD)
    plain, _ = run(optimizers.make(name, **common), params, gradients)
    scaled = optimizers.make(name, norm_and_bias_factor=0.024, **common)
    moved, _ = run(scaled, params, gradients)
    np.testing.assert_array_equal(moved["kernel"], plain["kernel"])
    np.testing.assert_allclose(
        moved["bias"] - params["bias"],
        0.024 * (plain["bias"] - params["bias"]),
        rtol=1e-4,
        atol=1e-6,
    )
