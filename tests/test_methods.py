"""The table of methods: gaps that are filled, names that are refused, the wiring."""

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
    ConfigError,
    MethodConfig,
    OptimizerConfig,
    flatten,
)
from ssljax.methods import METHODS, Outputs, between_projections, prediction_of_target

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


def outputs_of(views, *, seed=0, n=8, d=4):
    """Different numbers for projections, predictions and targets of every view."""
    keys = jax.random.split(jax.random.key(seed), 3)
    z, p, t = (list(jax.random.normal(key, (views, n, d))) for key in keys)
    return Outputs(z, p, t, jnp.arange(n) % d)


@pytest.mark.parametrize("name", METHODS)
def test_resolve_fills_every_gap_with_the_papers_value(name):
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


def test_resolve_keeps_what_was_asked_for():
    asked = Config(
        method=MethodConfig(
            "byol",
            projector="64-32",
            predictor="16-32",
            forward="joint",
            target_momentum=0.0,
        ),
        augment=AugmentConfig(preset="simclr"),
        optimizer=OptimizerConfig(constant_predictor_rate=True),
    )
    resolved = methods.resolve(asked)
    assert resolved == asked
    partly = MethodConfig("vicreg", options={"variance_weight": 10.0})
    options = methods.resolve(Config(method=partly)).method.options
    assert options == PAPERS["vicreg"][0] | {"variance_weight": 10.0}


def test_resolve_touches_nothing_but_the_gaps():
    before, after = flatten(Config()), flatten(methods.resolve(Config()))
    touched = {key for key in after if after[key] != before.get(key)}
    assert touched == {
        "method.options.temperature",
        "method.projector",
        "method.predictor",
        "method.forward",
        "augment.preset",
        "optimizer.constant_predictor_rate",
    }


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            MethodConfig("byoll"),
            "method.name is 'byoll'; allowed: simclr, byol, simsiam, barlow_twins, "
            "vicreg, supervised; did you mean 'byol'?",
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
    ],
)
def test_what_a_method_does_not_know_is_refused(method, message):
    with pytest.raises(ConfigError) as refusal:
        methods.resolve(Config(method=method))
    assert str(refusal.value) == message


def test_options_are_exactly_the_keywords_of_the_loss():
    outputs = outputs_of(2)
    for name, method in METHODS.items():
        value = method.loss(outputs, **method.options)
        assert value.shape == () and bool(jnp.isfinite(value)), name
        with pytest.raises(TypeError):
            method.loss(outputs, **method.options, no_such_option=1.0)


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
        METHODS["byol"].loss(outputs), sum(2 - 2 * c for c in cosine), rtol=1e-5
    )
    np.testing.assert_allclose(
        METHODS["simsiam"].loss(outputs), -sum(cosine) / 2, rtol=1e-5
    )


@pytest.mark.parametrize("name", ["simclr", "barlow_twins", "vicreg"])
def test_two_views_are_the_plain_loss_of_the_projections(name):
    outputs, method = outputs_of(2), METHODS[name]
    plain = {
        "simclr": losses.nt_xent,
        "barlow_twins": losses.barlow_twins,
        "vicreg": losses.vicreg,
    }[name]
    np.testing.assert_allclose(
        method.loss(outputs, **method.options),
        plain(*outputs.projections, **method.options),
        rtol=1e-6,
    )


@pytest.mark.parametrize("name", ["byol", "simsiam"])
def test_no_gradient_is_expected_of_projections_in_asymmetric_methods(name):
    outputs = outputs_of(2)

    def loss(projections):
        return METHODS[name].loss(outputs._replace(projections=projections))

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
        METHODS["supervised"].loss(outputs), np.mean(expected), rtol=1e-5
    )


def test_only_the_supervised_baseline_reads_labels():
    assert [name for name, m in METHODS.items() if m.labels] == ["supervised"]
    for name, method in METHODS.items():
        outputs = outputs_of(2)
        other = outputs._replace(labels=(outputs.labels + 1) % 4)
        a = float(method.loss(outputs, **method.options))
        b = float(method.loss(other, **method.options))
        assert (a != b) is method.labels, name


def test_the_table_cannot_be_changed_through_a_resolved_config():
    methods.resolve(Config()).method.options["temperature"] = 99.0
    assert METHODS["simclr"].options == {"temperature": 0.1}
    assert dataclasses.replace(METHODS["simclr"]) == METHODS["simclr"]
