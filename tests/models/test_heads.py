"""MLP heads: parameters, a forward pass in NumPy, statistics, precision, sharding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from ssljax.models import MLP, parse_layers


def features(n=16, d=6, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(shift + rng.normal(size=(n, d)), jnp.float32)


def random_variables(head, x, seed=0):
    rng = np.random.default_rng(seed)
    structure = jax.eval_shape(
        lambda x: head.init(jax.random.key(0), x, train=False), x
    )
    return jax.tree.map(
        lambda leaf: (
            jnp.asarray(0.1 + np.abs(rng.normal(size=leaf.shape)), leaf.dtype)
            * jnp.asarray(rng.choice([1.0, -1.0], leaf.shape) if leaf.ndim > 1 else 1.0)
        ),
        structure,
    )


@functools.partial(jax.jit, static_argnames="head")
def train_forward(head, variables, x):
    return head.apply(variables, x, train=True, mutable=["batch_stats"])


@functools.partial(jax.jit, static_argnames="head")
def frozen_forward(head, variables, x):
    return head.apply(variables, x, train=False)


def layout(**options):
    """Names of the parameters of a 5-4-3 head."""
    head = MLP((5, 4, 3), **options)
    variables = jax.eval_shape(
        lambda x: head.init(jax.random.key(0), x, train=False), features()
    )
    return {k: sorted(v) for k, v in variables["params"].items()}, set(
        variables.get("batch_stats", ())
    )


@pytest.mark.parametrize(
    "spec, layers",
    [
        ("2048-2048-128", (2048, 2048, 128)),
        ("128", (128,)),
        (" 64 - 32 ", (64, 32)),
        ("none", ()),
        ("", ()),
    ],
)
def test_parse_layers(spec, layers):
    assert parse_layers(spec) == layers


@pytest.mark.parametrize(
    "spec, part",
    [("2048-", ""), ("2048-x", "x"), ("64-0", "0"), ("64--32", "")]
    + [("1.5", "1.5"), ("64,32", "64,32"), ("None", "None"), ("-5", ""), ("²", "²")],
)
def test_a_wrong_layer_is_named(spec, part):
    with pytest.raises(ValueError, match=f"{part!r} is not a positive whole number"):
        parse_layers(spec)


@pytest.mark.parametrize("bias", [True, False])
def test_a_linear_before_a_norm_has_no_bias(bias):
    plain, normed = ["bias", "kernel"] if bias else ["kernel"], ["kernel"]
    affine = ["bias", "scale"]
    options = dict(hidden_bias=bias, output_bias=bias)
    params, stats = layout(**options)
    assert params == {
        "linear1": normed,
        "bn1": affine,
        "linear2": normed,
        "bn2": affine,
        "linear3": plain,
    }
    assert stats == {"bn1", "bn2"}

    params, stats = layout(output_norm="affine", **options)
    assert params["linear3"] == normed and params["bn3"] == affine
    assert stats == {"bn1", "bn2", "bn3"}

    params, stats = layout(output_norm="plain", **options)
    assert params["linear3"] == normed and "bn3" not in params
    assert stats == {"bn1", "bn2", "bn3"}

    params, stats = layout(hidden_norm=False, **options)
    assert params == {f"linear{k}": plain for k in (1, 2, 3)}
    assert not stats


# All six in training; of the frozen ones, each norm once, and no norm at all.
@pytest.mark.parametrize(
    "hidden_norm, output_norm, train",
    [(h, o, True) for h in (True, False) for o in ("none", "affine", "plain")]
    + [(True, "affine", False), (True, "plain", False), (False, "none", False)],
)
def test_forward_pass_by_hand(hidden_norm, output_norm, train):
    head = MLP((5, 4, 3), hidden_norm=hidden_norm, output_norm=output_norm)
    x = features()
    variables = random_variables(head, x)
    if train:
        actual, _ = train_forward(head, variables, x)
    else:
        actual = frozen_forward(head, variables, x)

    p, stats = variables["params"], variables.get("batch_stats", {})
    y = np.asarray(x, np.float64)

    def norm(y, k):
        mean, var = (
            (y.mean(0), y.var(0))
            if train
            else (np.asarray(stats[k]["mean"]), np.asarray(stats[k]["var"]))
        )
        y = (y - mean) / np.sqrt(var + 1e-5)
        return y * np.asarray(p[k]["scale"]) + np.asarray(p[k]["bias"]) if k in p else y

    for k in (1, 2, 3):
        y = y @ np.asarray(p[f"linear{k}"]["kernel"])
        y = y + np.asarray(p[f"linear{k}"].get("bias", 0.0))
        if k < 3:
            y = np.maximum(norm(y, f"bn{k}") if hidden_norm else y, 0)
        elif output_norm != "none":
            y = norm(y, "bn3")
    np.testing.assert_allclose(actual, y, rtol=1e-4, atol=1e-5)


def test_no_layers_are_the_identity():
    x = features()
    for output_norm in ("none", "plain"):
        head = MLP((), output_norm=output_norm)
        out, variables = head.init_with_output(jax.random.key(0), x, train=True)
        assert not variables
        np.testing.assert_array_equal(out, x)


def test_running_statistics_survive_a_mean_far_above_the_spread():
    # E[x^2] - E[x]^2 in float32 loses a variance of 1 beside a mean of 1e4.
    head = MLP((6,), output_norm="plain")
    x = features(n=64, shift=1e4)
    variables = random_variables(head, x)
    variables["params"]["linear1"]["kernel"] = jnp.eye(6)
    out, updates = train_forward(head, variables, x)
    np.testing.assert_allclose(out.std(axis=0), 1.0, rtol=1e-3)
    moved = updates["batch_stats"]["bn1"]["var"]
    expected = 0.9 * np.asarray(variables["batch_stats"]["bn1"]["var"])
    expected = expected + 0.1 * np.asarray(x, np.float64).var(axis=0)
    np.testing.assert_allclose(moved, expected, rtol=1e-4)


@pytest.mark.parametrize("output_norm", ["none", "affine", "plain"])
def test_bfloat16_keeps_parameters_statistics_and_output_in_float32(output_norm):
    head = MLP((8, 4), output_norm=output_norm, dtype=jnp.bfloat16)
    x = features().astype(jnp.bfloat16)
    variables = random_variables(head, x)
    out, updates = train_forward(head, variables, x)
    assert out.dtype == jnp.float32
    assert all(v.dtype == jnp.float32 for v in jax.tree.leaves((variables, updates)))
    wide, _ = train_forward(MLP((8, 4), output_norm=output_norm), variables, x)
    # It does compute in bfloat16: near the float32 result, and not equal to it.
    np.testing.assert_allclose(out, wide, atol=0.1)
    assert float(jnp.abs(out - wide).max()) > 1e-5


def test_sharding_the_batch_changes_neither_embeddings_nor_statistics():
    head = MLP((8, 4), output_norm="plain")
    x = features(shift=3.0)
    variables = random_variables(head, x)
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, PartitionSpec("data"))
    plain = train_forward(head, variables, x)
    sharded = train_forward(head, variables, jax.device_put(x, rows))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=2e-6),
        sharded,
        plain,
    )


def test_an_axis_name_averages_the_statistics_of_a_mapped_batch():
    x = features(shift=3.0)
    plain, named = MLP((8, 4)), MLP((8, 4), axis_name="data")
    variables = random_variables(plain, x)
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    replicated, rows = PartitionSpec(), PartitionSpec("data")

    def mapped(head):
        return jax.jit(
            jax.shard_map(
                lambda v, x: head.apply(v, x, train=True, mutable=["batch_stats"]),
                mesh=mesh,
                in_specs=(replicated, rows),
                out_specs=(rows, replicated),
                check_vma=False,
            )
        )(variables, x)

    expected, stats = train_forward(plain, variables, x)
    out, mapped_stats = mapped(named)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        mapped_stats,
        stats,
    )
    # Without the name every device normalises its own four rows.
    local, _ = mapped(plain)
    assert float(jnp.abs(local - expected).max()) > 1e-2


def test_constant_features_have_finite_gradients():
    head = MLP((8, 4), output_norm="plain")
    x = jnp.full((6, 5), 2.0)
    variables = random_variables(head, x)

    def loss(params):
        out, _ = head.apply(
            {**variables, "params": params}, x, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(out**3)

    gradients = jax.jit(jax.grad(loss))(variables["params"])
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(gradients))


def test_wrong_options_are_named():
    with pytest.raises(ValueError, match="none, affine, plain, got 'batch'"):
        MLP((4,), output_norm="batch").init(jax.random.key(0), features(), train=False)
    with pytest.raises(ValueError, match=r"must be \[N, F\], got shape"):
        MLP((4,)).init(jax.random.key(0), jnp.ones((2, 3, 4)), train=False)
