"""Optimizers compared to arithmetic by hand; every reference is plain NumPy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax.models import resnet
from ssljax.training import lars, optimizers, schedules

WD, ETA, MOMENTUM = 0.01, 0.05, 0.9
RATES = [0.5, 0.2, 1.0]  # it changes, because that is where the LARS variants differ


def rates(step):
    return jnp.asarray(RATES, jnp.float32)[step]


def problem(seed=0):
    rng = np.random.default_rng(seed)
    params = {"kernel": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)}
    gradients = [
        {"kernel": rng.normal(size=(3, 2)), "bias": rng.normal(size=2)} for _ in RATES
    ]
    return params, gradients


def run(optimizer, params, gradients, steps=3) -> tuple[Any, Any]:
    params = jax.tree.map(lambda p: jnp.asarray(p, jnp.float32), params)
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for gradient in gradients[:steps]:
        gradient = jax.tree.map(lambda g: jnp.asarray(g, jnp.float32), gradient)
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params, state


def by_hand(params, gradients, steps, direction, *, nesterov=False, rate_inside=False):
    """Run SGD with momentum on ``direction(g, p, lr)``, one parameter at a time."""
    out = {}
    for name, p in params.items():
        p, buffer = p.copy(), 0.0
        for lr, gradient in zip(RATES[:steps], gradients, strict=False):
            d = direction(gradient[name], p, lr)
            if rate_inside:
                buffer = MOMENTUM * buffer + lr * d
                p = p - buffer
            else:
                buffer = MOMENTUM * buffer + d
                p = p - lr * (d + MOMENTUM * buffer if nesterov else buffer)
        out[name] = p
    return out


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


def updated(optimizer, gradient, params) -> Any:
    """Return the first update of an optimizer."""
    update, _ = optimizer.update(gradient, optimizer.init(params), params)
    return update


def assert_params_equal(actual, expected, tolerance=1e-7):
    for name in expected:
        # Around 2, float32 numbers are 2.4e-7 apart.
        np.testing.assert_allclose(
            actual[name], expected[name], rtol=3 * tolerance, atol=tolerance
        )


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


@pytest.mark.parametrize("warmup_start, final_fraction", [(0.0, 0.0), (3e-5, 1e-3)])
def test_schedule_endpoints(warmup_start, final_fraction):
    rate = schedules.schedule(
        peak=4.8,
        total_steps=1000,
        warmup_steps=100,
        warmup_start=warmup_start,
        final_fraction=final_fraction,
    )
    assert float(rate(0)) == pytest.approx(warmup_start, rel=1e-6, abs=0)
    assert float(rate(100)) == pytest.approx(4.8, rel=1e-6)
    assert float(rate(1000)) == pytest.approx(4.8 * final_fraction, rel=1e-6, abs=0)
    assert float(rate(5000)) == float(rate(1000))
    assert float(rate(50)) == pytest.approx((warmup_start + 4.8) / 2, rel=1e-6)
    middle = 4.8 * (1 + final_fraction) / 2
    assert float(rate(550)) == pytest.approx(middle, rel=1e-5)


def test_schedule_is_optax_s_warmup_cosine():
    ours = schedules.schedule(
        peak=0.3, total_steps=77, warmup_steps=13, final_fraction=0.1
    )
    theirs = optax.warmup_cosine_decay_schedule(0.0, 0.3, 13, 77, 0.03)
    steps = jnp.arange(90)
    np.testing.assert_allclose(
        jax.jit(ours)(steps), jax.vmap(theirs)(steps), rtol=1e-5, atol=1e-7
    )


def test_schedule_without_warmup_starts_at_the_peak():
    rate = schedules.schedule(peak=0.3, total_steps=10)
    assert float(rate(0)) == pytest.approx(0.3)
    assert float(rate(10)) == 0.0


def test_constant_schedule():
    rate = schedules.schedule(
        peak=0.3, total_steps=10, warmup_steps=4, decay="constant"
    )
    np.testing.assert_allclose(
        rate(jnp.array([0, 2, 4, 9, 10])), [0.0, 0.15, 0.3, 0.3, 0.3], rtol=1e-6
    )


def test_ema_momentum_endpoints():
    def momentum(step, **options):
        return float(
            schedules.ema_momentum(step, total_steps=200, base=0.996, **options)
        )

    assert momentum(0) == pytest.approx(0.996, abs=1e-7)
    assert momentum(100) == pytest.approx(0.998, abs=1e-7)
    assert momentum(50) == pytest.approx(
        1 - 0.004 * (np.cos(np.pi / 4) + 1) / 2, abs=1e-7
    )
    assert momentum(200) == 1.0 and momentum(300) == 1.0
    assert momentum(77, final=0.996) == pytest.approx(0.996, abs=1e-7)
    assert momentum(200, final=0.999) == pytest.approx(0.999, abs=1e-7)


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


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(warmup_steps=11), r"warmup_steps must lie in \[0, total_steps = 10\]"),
        (dict(total_steps=0), "total_steps must be at least 1"),
        (dict(peak=-1.0), "peak must be finite and >= 0"),
        (dict(final_fraction=2.0), "final_fraction must be"),
        (dict(decay="linear"), 'must be "cosine" or "constant"'),
    ],
)
def test_wrong_schedules_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        schedules.schedule(**(dict(peak=1.0, total_steps=10) | change))


@pytest.mark.parametrize("change", [dict(base=1.5), dict(final=-0.1)])
def test_a_momentum_is_a_fraction(change):
    with pytest.raises(ValueError, match=r"must be \[0, 1\]"):
        schedules.ema_momentum(0, total_steps=10, **(dict(base=0.9) | change))


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
