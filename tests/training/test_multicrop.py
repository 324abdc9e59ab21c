"""Views of several sizes: which network sees which view, and the inputs of losses."""

import functools

import jax
import jax.numpy as jnp
import micro  # noqa: F401
import numpy as np
import pytest
from small_runs import doubled, widened

from ssljax import losses, methods
from ssljax.config import (
    AugmentConfig,
    Config,
    DataConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
)
from ssljax.config.checks import ConfigError
from ssljax.config.serialize import from_json, to_json
from ssljax.data import from_arrays
from ssljax.runs.describe import describe
from ssljax.runs.setup import prepare
from ssljax.training import devices
from ssljax.training.state import init_state
from ssljax.training.step import projections_of, run_networks, view_batch

BATCH = 16
CROPS = AugmentConfig(
    sizes=(12, 12, 8), crop_scales=((0.2, 1.0), (0.2, 1.0), (0.05, 0.3))
)
FORWARDS = {"intl_ema": "separate", "byol": "separate", "simclr": "joint"}


def source():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, 16, 16, 3), dtype=np.uint8)
    return from_arrays(images, np.arange(BATCH) % 4)


@functools.cache
def setup_of(name, crops=CROPS):
    config = Config(
        data=DataConfig("arrays"),
        method=MethodConfig(
            name, projector="16-8", predictor="8-8" if name == "byol" else None
        ),
        model=ModelConfig("micro"),
        augment=crops,
        optimizer=OptimizerConfig(warmup_epochs=0),
        epochs=10,
        batch_size=BATCH,
    )
    return prepare(methods.resolve(config), source())


@functools.cache
def outputs_of(name, count=1, double=False):
    """Return outputs and new statistics of the first step, and its views."""
    setup = doubled(setup_of(name)) if double else setup_of(name)
    mesh = devices.make_mesh(count=count, batch_size=BATCH)
    data = source()
    batch = devices.place(
        {"image": data.images, "label": data.labels}, devices.over_batch(mesh)
    )

    @jax.jit
    def run(state):
        views = view_batch(state.step, batch, setup=setup)

        def loss_of(params):
            outputs, moved = run_networks(params, state, views, batch["label"], setup)
            return setup.loss(outputs), (outputs, moved)

        (loss, (outputs, moved)), gradient = jax.value_and_grad(loss_of, has_aux=True)(
            state.params
        )
        return loss, gradient, outputs, moved, views

    state = jax.device_get(jax.jit(functools.partial(init_state, setup_of(name)))())
    with jax.enable_x64(double):
        state = widened(state) if double else state
        state = devices.place(state, devices.replicated(mesh))
        return (state, *run(state))


@pytest.mark.slow
def test_views_have_their_sizes_and_do_not_depend_on_the_others():
    *_, views = outputs_of("simclr")
    assert [view.shape for view in views] == [
        (BATCH, 12, 12, 3),
        (BATCH, 12, 12, 3),
        (BATCH, 8, 8, 3),
    ]
    setup, data = setup_of("simclr"), source()
    batch = {"image": jnp.asarray(data.images)}
    first = view_batch(jnp.int32(0), batch, setup=setup, count=2)
    assert len(first) == 2
    np.testing.assert_allclose(first[1], views[1], atol=1e-5)


def test_further_views_alternate_between_the_presets_two():
    views = setup_of("byol").views
    assert (views[0].solarize, views[1].solarize, views[2].solarize) == (0, 0.2, 0)
    assert views[2].crop_scale == (0.05, 0.3)


def test_overridden_probabilities_apply_to_every_view():
    views = setup_of("byol", AugmentConfig(blur=0.3, grayscale=0.1)).views
    assert [(view.blur, view.grayscale) for view in views] == [(0.3, 0.1)] * 2
    assert [view.solarize for view in views] == [0.0, 0.2]


def test_the_filter_is_that_of_every_view():
    views = setup_of("byol", AugmentConfig(interpolation="bicubic")).views
    assert [view.interpolation for view in views] == ["bicubic"] * 2


def test_the_strength_multiplies_the_four_shifts_of_every_view():
    halved = setup_of("byol", AugmentConfig(jitter_strength=0.5)).views
    assert [(v.brightness, v.saturation, v.hue) for v in halved] == [
        (0.2, 0.1, 0.05)
    ] * 2
    assert [v.jitter for v in halved] == [0.8, 0.8]  # the chance stays


@pytest.mark.slow
def test_every_pair_of_views_counts_in_a_pairwise_loss():
    _, loss, _, outputs, _, _ = outputs_of("simclr")
    z = outputs.projections
    pairs = [(0, 1), (0, 2), (1, 2)]
    expected = np.mean([losses.nt_xent(z[i], z[j], temperature=0.1) for i, j in pairs])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.slow
def test_targets_come_from_the_largest_views_only():
    _, loss, _, outputs, _, _ = outputs_of("byol")
    p, t = outputs.predictions, outputs.targets
    assert (len(p), len(t)) == (3, 2)
    pairs = [(0, 1), (1, 0), (2, 0), (2, 1)]
    expected = sum(losses.normalized_mse(p[i], t[j]) for i, j in pairs)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.slow
def test_the_first_view_is_the_anchor_of_intl():
    _, loss, _, outputs, _, _ = outputs_of("intl")
    assert len(outputs.projections) == 3
    np.testing.assert_allclose(loss, losses.intl(outputs.projections), rtol=1e-4)


@pytest.mark.slow
def test_a_closed_form_predictor_is_applied_to_crops():
    _, loss, _, outputs, moved, _ = outputs_of("directpred_euclidean")
    z, t = outputs.projections, outputs.targets
    assert (len(z), len(t)) == (3, 2) and moved["covariance"].shape == (8, 8)
    w = outputs.predictors
    pairs = [(0, 1), (1, 0), (2, 0), (2, 1)]
    expected = sum(losses.asymmetric_euclidean(z[i], t[j], w[i]) for i, j in pairs)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.slow
def test_only_the_teacher_sees_the_first_view_in_intl_ema():
    _, loss, _, outputs, _, _ = outputs_of("intl_ema")
    assert (len(outputs.projections), len(outputs.targets)) == (2, 1)
    expected = losses.intl_ema(outputs.targets[0], outputs.projections)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)


@pytest.mark.slow
def test_the_students_never_see_the_teachers_view():
    """The online network's statistics do not depend on the first view's pixels."""
    setup, data = setup_of("intl_ema"), source()
    state = outputs_of("intl_ema")[0]

    @jax.jit
    def moved(views):
        return run_networks(state.params, state, views, data.labels, setup)[1]

    *_, views = outputs_of("intl_ema")
    before = moved(views)
    after = moved([views[0] + 1.0, *views[1:]])
    same = jax.tree.map(
        lambda a, b: bool((a == b).all()), before["batch_stats"], after["batch_stats"]
    )
    assert all(jax.tree.leaves(same))
    target = jax.tree.map(
        lambda a, b: bool((a == b).all()),
        before["target"],
        after["target"],
    )
    assert not all(jax.tree.leaves(target))


@pytest.mark.slow
def test_a_joint_forward_pass_joins_the_views_of_one_size():
    state, _, _, outputs, _, views = outputs_of("simclr")
    setup = setup_of("simclr")
    pair = jax.jit(lambda views: projections_of(state, views, setup))(views[:2])
    np.testing.assert_allclose(pair[1], outputs.projections[1], rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORWARDS)
def test_one_and_eight_devices_agree(name):
    """In float64, because in float32 a rounding error occasionally flips a ReLU."""
    _, loss, gradient, *_ = outputs_of(name, 1, double=True)
    _, other_loss, other, *_ = outputs_of(name, 8, double=True)
    np.testing.assert_allclose(other_loss, loss, rtol=1e-5)
    assert loss.dtype == np.float64
    for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(other), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert np.linalg.norm(a - b) <= 1e-5 * np.linalg.norm(a)


def test_the_dry_run_prints_the_sizes():
    rows = dict(describe(setup_of("byol"), source()))
    assert rows["views"] == "2 of 12 px + 1 of 8 px, preset byol"


def test_crops_survive_the_json_file():
    config = Config(augment=CROPS)
    assert from_json(to_json(config)) == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": (8, 12)}, "augment.sizes is .*largest first"),
        ({"sizes": (12,)}, "augment.sizes is .*two or more"),
        ({"sizes": (12, 8), "size": 16}, "augment.size is 16"),
        ({"sizes": (12, 8), "crop_scales": ((0.2, 1.0),)}, "2 pairs"),
        (
            {"sizes": (12, 8), "crop_scales": ((0.2, 1.0), (0.5, 0.2))},
            "0 < low <= high <= 1",
        ),
        ({"crop_scales": ((0.2, 1.0),)}, "only with augment.sizes"),
        ({"sizes": "12"}, "augment.sizes is '12'"),
    ],
)
def test_impossible_crops_are_refused_in_one_line(settings, message):
    with pytest.raises(ConfigError, match=message):
        AugmentConfig(**settings)


def test_a_method_of_one_view_refuses_crops():
    with pytest.raises(ConfigError, match="supervised takes one view"):
        prepare(
            Config(
                data=DataConfig("arrays"),
                method=MethodConfig("supervised"),
                augment=AugmentConfig(sizes=(12, 8)),
                batch_size=BATCH,
            ),
            source(),
        )
