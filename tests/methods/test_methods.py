"""The table of methods: defaults, names that are refused, and inputs of the losses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from ssljax import losses, methods
from ssljax.config import (
    AugmentConfig,
    Config,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
)
from ssljax.config.checks import ConfigError
from ssljax.config.serialize import flatten
from ssljax.methods import METHODS, Outputs
from ssljax.methods.spectral_functions import spectral_function
from ssljax.methods.views_to_loss import between_projections, prediction_of_target
from ssljax.models import initialise
from ssljax.runs.build import build_network

PAPERS = {
    "simclr": ({"temperature": 0.1}, "2048-2048-128", "none", "joint", None),
    "byol": ({}, "4096-256", "4096-256", "separate", 0.99),
    "simsiam": ({}, "2048-2048-2048", "512-2048", "separate", None),
    "barlow_twins": (
        {"off_diagonal_weight": 0.0051},
        "8192-8192-8192",
        "none",
        "separate",
        None,
    ),
    "vicreg": (
        {
            "invariance_weight": 25.0,
            "variance_weight": 25.0,
            "covariance_weight": 1.0,
        },
        "8192-8192-8192",
        "none",
        "separate",
        None,
    ),
    "supervised": ({}, "classes", "none", "separate", None),
}


# Options for 8 rows of 16 numbers, because the defaults are for real sizes.
SMALL = {
    "w_mse": {"sub_batch": 4, "eps": 0.1},
    "cw_rgp": {"sub_batch": 4, "groups": 2},
    "shuffled_dbn": {"eps": 0.1},
}


def outputs_of(views, *, seed=0, n=8, d=16):
    """Return different numbers for each view's projections, predictions and targets."""
    keys = jax.random.split(jax.random.key(seed), 4)
    z, p, t = (list(jax.random.normal(key, (views, n, d))) for key in keys[:3])
    w = [jnp.eye(d) * (1.0 + i) for i in range(views)]
    return Outputs(z, p, t, jnp.arange(n) % d, w, keys[3])


def resolved(name, **options):
    method = MethodConfig(name, options=SMALL.get(name, {}) | options)
    return methods.resolve(Config(method=method))


def value_of(name, outputs):
    return methods.bind_loss(resolved(name))(outputs)


@pytest.mark.parametrize("name", PAPERS)
def test_resolve_replaces_every_none_with_the_papers_value(name):
    resolved = methods.resolve(Config(method=MethodConfig(name)))
    method = resolved.method
    assert (
        method.options,
        method.projector,
        method.predictor,
        method.forward,
        method.target_momentum,
    ) == PAPERS[name]
    assert resolved.augment.preset == name
    assert resolved.optimizer.constant_predictor_rate is (name == "simsiam")
    assert methods.resolve(resolved) == resolved


def test_resolve_keeps_explicit_settings():
    config = Config(
        method=MethodConfig(
            "byol",
            projector="64-32",
            projector_norm="affine",
            projector_bias=True,
            predictor="16-32",
            predictor_bias=True,
            forward="joint",
            target_momentum=0.0,
        ),
        augment=AugmentConfig(preset="simclr"),
        optimizer=OptimizerConfig(constant_predictor_rate=True),
    )
    resolved = methods.resolve(config)
    assert resolved == config
    partly = MethodConfig("vicreg", options={"variance_weight": 10.0})
    options = methods.resolve(Config(method=partly)).method.options
    assert options == PAPERS["vicreg"][0] | {"variance_weight": 10.0}


def test_resolve_changes_only_settings_that_are_none():
    before, after = flatten(Config()), flatten(methods.resolve(Config()))
    changed = {key for key in after if after[key] != before.get(key)}
    assert changed == {
        "method.options.temperature",
        "method.projector",
        "method.projector_norm",
        "method.projector_bias",
        "method.predictor",
        "method.predictor_bias",
        "method.forward",
        "augment.preset",
        "optimizer.constant_predictor_rate",
    }


HEADS = {  # BatchNorm and biases of the projector, biases of the predictor
    "simclr": ("affine", False, False),
    "barlow_twins": ("hidden", False, False),
    "byol": ("hidden", False, False),
    "simsiam": ("plain", False, True),
    "directpred_cosine": ("hidden", False, False),
    "intl": ("hidden", True, False),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_are_those_of_the_papers_code(name):
    method = methods.resolve(Config(method=MethodConfig(name))).method
    heads = method.projector_norm, method.projector_bias, method.predictor_bias
    assert heads == HEADS[name]


@pytest.mark.parametrize(
    ("norm", "bias", "expected"),
    [
        ("off", True, {"linear1": {"kernel", "bias"}, "linear2": {"kernel", "bias"}}),
        ("off", False, {"linear1": {"kernel"}, "linear2": {"kernel"}}),
        ("hidden", True, {"linear1": {"kernel"}, "linear2": {"kernel", "bias"}}),
        ("affine", True, {"linear1": {"kernel"}, "linear2": {"kernel"}}),
        ("plain", False, {"linear1": {"kernel"}, "linear2": {"kernel"}}),
    ],
)
def test_a_config_chooses_norms_and_biases_of_its_heads(norm, bias, expected):
    method = MethodConfig(
        "byol",
        projector="8-4",
        projector_norm=norm,
        projector_bias=bias,
        predictor="8-4",
        predictor_bias=not bias,
    )
    config = methods.resolve(Config(method=method, model=ModelConfig("resnet_tiny")))
    network = build_network(config, view_size=32, num_classes=None)
    shape = (32, 32, 3)
    tree = jax.eval_shape(
        lambda key: initialise(network, key, shape), jax.random.key(0)
    )
    params = tree["params"]
    linear = {k: set(v) for k, v in params["projector"].items() if "linear" in k}
    assert linear == expected
    # A BatchNorm without parameters shows in the running statistics only.
    normed = {"off": [], "hidden": ["bn1"]}.get(norm, ["bn1", "bn2"])
    assert sorted(tree["batch_stats"].get("projector", {})) == normed
    assert ("bn2" in params["projector"]) is (norm == "affine")
    assert ("bias" in params["predictor"]["linear2"]) is not bias


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            MethodConfig("byoll"),
            f"method.name is 'byoll'; allowed: {', '.join(METHODS)}; "
            "did you mean 'byol'?",
        ),
        (
            MethodConfig("simclr", options={"temprature": 0.5}),
            "method.options has 'temprature', which simclr does not take; "
            "allowed: temperature; did you mean 'temperature'?",
        ),
        (
            MethodConfig("byol", options={"temperature": 0.5}),
            "method.options has 'temperature', which byol does not take; allowed: none",
        ),
        (
            MethodConfig("simclr", target_momentum=0.9),
            "method.target_momentum is 0.9, but simclr has no target network; "
            "leave it out",
        ),
        (
            MethodConfig("simclr", options={"temperature": "hot"}),
            "method.options.temperature is 'hot'; allowed: a number",
        ),
        (
            MethodConfig("intl", options={"iterations": 2.5}),
            "method.options.iterations is 2.5; allowed: a whole number",
        ),
        (
            MethodConfig("intl", options={"trace_weight": "much"}),
            "method.options.trace_weight is 'much'; allowed: a number or 'auto'",
        ),
    ],
)
def test_unknown_methods_and_options_are_refused(method, message):
    with pytest.raises(ConfigError) as refusal:
        methods.resolve(Config(method=method))
    assert str(refusal.value) == message


@pytest.mark.parametrize("name", METHODS)
def test_options_are_exactly_the_keywords_of_the_loss(name):
    outputs, config = outputs_of(2), resolved(name)
    value = methods.bind_loss(config)(outputs)
    assert value.shape == () and bool(jnp.isfinite(value))
    options = config.method.options | {"no_such_option": 1.0}
    wrong = dataclasses.replace(config.method, options=options)
    with pytest.raises(TypeError, match="no_such_option"):
        methods.bind_loss(dataclasses.replace(config, method=wrong))(outputs)


@pytest.mark.parametrize("name", METHODS)
def test_every_option_changes_the_loss_or_the_predictor(name):
    changed = {
        "axis": "batch" if name.startswith("intl") else "channel",
        "centering": "none",
        "convention": "luckmatters",
        "trace_weight": 0.7,
        "g": "x ** -0.3",
        "sub_batch": 2,
        "groups": 4 if name == "cw_rgp" else 2,
        "repetitions": 2,
        "iterations": 3,
        "covariance_momentum": 0.25,
    }
    # With epsilon 0 the conventions agree.
    base = {"epsilon": 0.3} if METHODS[name].closed_form else {}
    outputs, config = outputs_of(2), resolved(name, **base)

    def result(config):
        if not METHODS[name].closed_form:
            return float(methods.bind_loss(config)(outputs))
        start = jnp.diag(jnp.arange(16.0))
        predictors = methods.bind_predictors(config)
        assert predictors is not None
        made, _ = predictors(start, outputs.projections)
        return float(methods.bind_loss(config)(outputs._replace(predictors=made)))

    before = result(config)
    for option, value in config.method.options.items():
        other = changed.get(option, None)
        if other is None:
            other = 0.3 * value + 0.04
        if option == "centering":
            continue  # the loss's own test covers its names
        assert result(resolved(name, **(base | {option: other}))) != before, option


def test_the_closed_form_predictor_updates_the_covariance_view_by_view():
    config = resolved("directpred_euclidean", covariance_momentum=0.5)
    z1, z2 = outputs_of(2).projections
    start = 0.3 * jnp.eye(16)
    predictors = methods.bind_predictors(config)
    assert predictors is not None
    (w1, w2), after = predictors(start, [z1, z2])
    first = 0.5 * start + 0.5 * z1.T @ z1 / 8
    second = 0.5 * first + 0.5 * z2.T @ z2 / 8
    np.testing.assert_allclose(after, second, rtol=1e-5, atol=1e-6)
    for w, c in ((w1, first), (w2, second)):
        np.testing.assert_allclose(w @ w, c / jnp.linalg.norm(c, 2), atol=1e-5)


@pytest.mark.parametrize(("momentum", "expected"), [(0.99, 0.998), (0.0, 0.5)])
def test_the_covariance_momentum_follows_the_targets(momentum, expected):
    config = Config(method=MethodConfig("isoloss_cosine", target_momentum=momentum))
    options = methods.resolve(config).method.options
    assert options["covariance_momentum"] == expected


@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if m.closed_form])
def test_closed_form_methods_sum_both_directions(name):
    outputs = outputs_of(2)
    loss = getattr(losses, METHODS[name].loss_name)
    z, t, w = outputs.projections, outputs.targets, outputs.predictors
    expected = loss(z[0], t[1], w[0]) + loss(z[1], t[0], w[1])
    np.testing.assert_allclose(value_of(name, outputs), expected, rtol=1e-5)


@pytest.mark.slow
def test_stochastic_methods_depend_on_the_key():
    for name in ("w_mse", "cw_rgp", "shuffled_dbn"):
        outputs = outputs_of(2)
        config = resolved(name)
        other = outputs._replace(key=jax.random.key(9))
        first, again, different = (
            float(methods.bind_loss(config)(o)) for o in (outputs, outputs, other)
        )
        assert first == again != different, name


def test_projections_are_compared_in_pairs_and_averaged():
    seen = []

    def loss(a, b, *, weight):
        seen.append((float(a[0, 0]), float(b[0, 0])))
        return weight * jnp.mean(a * b)

    z = [jnp.full((2, 3), value) for value in (1.0, 2.0, 4.0)]
    unused = [jnp.full((2, 3), jnp.nan)] * 3
    wired = between_projections(loss)
    value = wired(Outputs(z, unused, unused, jnp.zeros(2)), weight=3.0)
    assert seen == [(1.0, 2.0), (1.0, 4.0), (2.0, 4.0)]
    np.testing.assert_allclose(value, 3.0 * (2 + 4 + 8) / 3, rtol=1e-6)


@pytest.mark.parametrize(("reduce", "factor"), [("sum", 1.0), ("mean", 1 / 6)])
def test_every_view_predicts_the_target_of_every_other_view(reduce, factor):
    def loss(p, t):
        return jnp.mean(p) * jnp.mean(t)

    p = [jnp.full((2, 3), value) for value in (1.0, 2.0, 4.0)]
    t = [jnp.full((2, 3), value) for value in (10.0, 100.0, 1000.0)]
    unused = [jnp.full((2, 3), jnp.nan)] * 3
    value = prediction_of_target(loss, reduce=reduce)(
        Outputs(unused, p, t, jnp.zeros(2))
    )
    crossed = 1 * 1100 + 2 * 1010 + 4 * 110
    np.testing.assert_allclose(value, factor * crossed, rtol=1e-6)


def test_byol_sums_both_directions_and_simsiam_averages_them():
    outputs = outputs_of(2)
    p, t = outputs.predictions, outputs.targets
    cosine = [optax.cosine_similarity(p[i], t[1 - i]).mean() for i in (0, 1)]
    np.testing.assert_allclose(
        value_of("byol", outputs), sum(2 - 2 * c for c in cosine), rtol=1e-5
    )
    np.testing.assert_allclose(
        value_of("simsiam", outputs), -sum(cosine) / 2, rtol=1e-5
    )


VARIANTS = {
    "simclr_sq": {"negatives": "squared"},
    "simclr_abs": {"negatives": "absolute"},
    "dcl_sq": {"negatives": "squared"},
    "dcl_abs": {"negatives": "absolute"},
}


@pytest.mark.parametrize(
    "name", [n for n, m in METHODS.items() if m.family.endswith("-contrastive")]
)
def test_two_views_are_the_plain_loss_of_the_projections(name):
    outputs, method = outputs_of(2), METHODS[name]
    plain = getattr(losses, method.loss_name)
    options = method.options | VARIANTS.get(name, {})
    np.testing.assert_allclose(
        value_of(name, outputs), plain(*outputs.projections, **options), rtol=1e-5
    )


@pytest.mark.parametrize("name", ["byol", "simsiam"])
def test_projections_get_no_gradient_in_asymmetric_methods(name):
    outputs = outputs_of(2)

    def loss(projections):
        return value_of(name, outputs._replace(projections=projections))

    for gradient in jax.grad(loss)(outputs.projections):
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("views", [1, 2])
def test_supervised_is_the_cross_entropy_of_every_view(views):
    outputs = outputs_of(views)
    expected = []
    for logits in outputs.projections:
        log_p = jax.nn.log_softmax(logits)
        expected.append(-np.mean(np.asarray(log_p)[np.arange(8), outputs.labels]))
    np.testing.assert_allclose(
        value_of("supervised", outputs), np.mean(expected), rtol=1e-5
    )


def test_only_the_supervised_baseline_reads_labels():
    assert [name for name, m in METHODS.items() if m.labels] == ["supervised"]
    for name, method in METHODS.items():
        outputs = outputs_of(2)
        other = outputs._replace(labels=(outputs.labels + 1) % 4)
        a, b = float(value_of(name, outputs)), float(value_of(name, other))
        assert (a != b) is method.labels, name


def test_the_table_cannot_be_changed_through_a_resolved_config():
    methods.resolve(Config()).method.options["temperature"] = 99.0
    assert METHODS["simclr"].options == {"temperature": 0.1}
    assert dataclasses.replace(METHODS["simclr"]) == METHODS["simclr"]


@pytest.mark.parametrize("text", ["1/0", "0**-1", "(9**9)**(9**9)", "9**9**9**9"])
def test_an_impossible_constant_in_an_expression_is_refused_in_one_line(text):
    with pytest.raises(ConfigError, match="method.options.g is"):
        spectral_function(text)
