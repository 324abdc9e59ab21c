"""The whole pipeline: what is drawn, that it is applied, and where it may run."""

import dataclasses
import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ssljax.data import augment
from ssljax.data.augment import View, apply, make_views, preset, sample

FULL = View(
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
    blur=0.5,
    solarize=0.3,
)
IDENTITY = View(
    crop_scale=(1.0, 1.0),
    crop_ratio=(1.0, 1.0),
    flip=0.0,
    jitter=1.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    grayscale=0.0,
)


def photos(batch, height=32, width=32, channels=3, seed=0):
    """Smooth blobs with noise: as in a photograph, neighbours resemble each other."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    phase = rng.uniform(0, 6, size=(3, batch, 1, 1, channels))
    waves = np.sin(5 * y[None, ..., None] + phase[0]) * np.sin(
        4 * x[None, ..., None] + phase[1]
    )
    noise = 0.1 * rng.normal(size=(batch, height, width, channels))
    pixels = 127 * (1 + 0.8 * waves + noise)
    return jnp.asarray(np.clip(pixels, 0, 255).astype(np.uint8))


@functools.cache
def sampler(view, batch, height, width, channels):
    return jax.jit(
        functools.partial(
            sample,
            view=view,
            batch=batch,
            height=height,
            width=width,
            channels=channels,
        )
    )


def drawn(view, *, batch=4096, height=32, width=32, channels=3):
    return dict(sampler(view, batch, height, width, channels)(jax.random.key(0)))


@functools.partial(jax.jit, static_argnames=("views", "size"))
def compiled_views(key, images, *, views, size):
    return make_views(key, images, views, size=size)


def test_every_event_has_its_probability():
    view = View(flip=0.5, jitter=0.8, grayscale=0.2, blur=0.1, solarize=0.3)
    parameters = drawn(view)
    for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
        p, share = getattr(view, name), float(parameters[name].mean())
        assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / 4096), name


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_certain_events_are_certain(probability):
    parameters = drawn(View(flip=probability, blur=probability), batch=512)
    for name in ("flip", "blur"):
        assert bool((parameters[name] == (probability == 1.0)).all())


@pytest.mark.parametrize(
    "name, low, high",
    [
        ("brightness", 0.6, 1.4),
        ("contrast", 0.0, 2.5),
        ("saturation", 0.8, 1.2),
        ("hue", -0.1, 0.1),
        ("sigma", 0.1, 2.0),
    ],
)
def test_strengths_are_uniform_on_their_range(name, low, high):
    view = View(brightness=0.4, contrast=1.5, saturation=0.2, hue=0.1)
    values = np.sort(np.asarray(drawn(view)[name]))
    assert low <= values[0] and values[-1] <= high
    # Kolmogorov-Smirnov distance; 1.95 / sqrt(n) is exceeded once in a thousand.
    cdf = (values - low) / (high - low)
    distance = np.abs(cdf - (np.arange(4096) + 0.5) / 4096).max()
    assert distance < 1.95 / np.sqrt(4096)


def test_all_orders_are_equally_likely_permutations():
    order = np.asarray(drawn(View())["order"])
    np.testing.assert_array_equal(
        np.sort(order, axis=1), np.tile(np.arange(4), (4096, 1))
    )
    _, counts = np.unique(order, axis=0, return_counts=True)
    expected = 4096 / 24
    assert len(counts) == 24
    # 23 degrees of freedom: 49.7 is exceeded once in a thousand.
    assert float(((counts - expected) ** 2 / expected).sum()) < 49.7


def test_events_are_drawn_independently():
    parameters = drawn(
        View(flip=0.5, jitter=0.5, grayscale=0.5, blur=0.5, solarize=0.5)
    )
    names = ("flip", "jitter", "grayscale", "blur", "solarize", "brightness", "sigma")
    correlation = np.corrcoef([np.asarray(parameters[n], float) for n in names])
    assert np.abs(correlation - np.eye(len(names))).max() < 5 / np.sqrt(4096)


def test_changing_one_field_leaves_the_other_draws_alone():
    before = drawn(View())
    after = drawn(View(blur=0.7, crop_scale=(0.3, 0.9), contrast=0.7))
    for name in set(before) - {"blur", "box", "contrast"}:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)


def test_a_view_does_not_depend_on_the_others_asked_for():
    images, key = photos(8), jax.random.key(1)
    together = compiled_views(key, images, views=(FULL, IDENTITY, FULL), size=32)
    (alone,) = compiled_views(key, images, views=(FULL,), size=32)
    np.testing.assert_allclose(together[0], alone, atol=1e-6)
    assert float(jnp.abs(together[0] - together[2]).max()) > 0.1


def test_identity_parameters_give_the_image():
    images = photos(6)
    (view,) = compiled_views(jax.random.key(0), images, views=(IDENTITY,), size=32)
    np.testing.assert_allclose(view, images / jnp.float32(255), atol=1e-6)


def test_events_that_do_not_happen_give_the_image():
    images = photos(6)
    whole = dataclasses.replace(FULL, crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))
    parameters = drawn(whole, batch=6)
    for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
        parameters[name] = jnp.zeros(6, bool)
    view = jax.jit(lambda x, p: apply(x, p, whole, size=32))(images, parameters)
    np.testing.assert_allclose(view, images / jnp.float32(255), atol=1e-6)


def test_a_batch_equals_its_images_one_by_one():
    images = photos(5, 40, 36)
    parameters = drawn(FULL, batch=5, height=40, width=36)
    kernel = jax.jit(lambda images, p: apply(images, p, FULL, size=32))
    batched = kernel(images, parameters)
    for i in range(5):
        one = jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], parameters)
        np.testing.assert_allclose(
            kernel(images[i : i + 1], one)[0], batched[i], atol=1e-6
        )


@pytest.mark.slow
def test_jit_equals_eager():
    images, parameters = photos(8, 40, 36), drawn(FULL, batch=8, height=40, width=36)
    eager = apply(images, parameters, FULL, size=24)
    compiled = jax.jit(lambda x, p: apply(x, p, FULL, size=24))(images, parameters)
    assert compiled.shape == eager.shape == (8, 24, 24, 3)
    # Solarize at one half is continuous, so that no rounding error is magnified.
    np.testing.assert_allclose(compiled, eager, atol=2e-6)


@pytest.mark.parametrize("devices", [2, 8])
def test_views_do_not_depend_on_the_number_of_devices(devices):
    images, key = photos(16, 36, 36), jax.random.key(3)

    def step(key, images):
        parameters = sample(
            key, FULL, batch=16, height=36, width=36, channels=3
        )  # drawn for the global batch
        return parameters, apply(images, parameters, FULL, size=32)

    expected_parameters, expected = jax.jit(step)(key, images)
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))
    rows = NamedSharding(mesh, PartitionSpec("data"))
    whole = NamedSharding(mesh, PartitionSpec())
    compiled = (
        jax.jit(step, in_shardings=(whole, rows), out_shardings=rows)
        .lower(key, images)
        .compile()
    )
    parameters, views = compiled(
        jax.device_put(key, whole), jax.device_put(images, rows)
    )
    assert views.sharding.is_equivalent_to(rows, 4)
    for name, values in expected_parameters.items():
        np.testing.assert_array_equal(parameters[name], values, err_msg=name)
    # Not to the bit: the products are summed in another order for smaller batches.
    np.testing.assert_allclose(views, expected, atol=2e-6)
    collectives = re.findall(
        r"all-gather|all-reduce|all-to-all|collective|reduce-scatter",
        compiled.as_text(),
    )
    assert collectives == []


def test_new_keys_do_not_recompile():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(key, images):
        return make_views(key, images, [FULL], size=16)

    images = photos(4, 16, 16)
    first, second = (step(jax.random.key(i), images)[0] for i in range(2))
    assert float(jnp.abs(first - second).max()) > 0.01


@pytest.mark.parametrize("channels", [1, 13])
def test_any_number_of_channels(channels):
    images = photos(6, 40, 40, channels)
    (view,) = compiled_views(jax.random.key(4), images, views=(FULL,), size=32)
    assert view.shape == (6, 32, 32, channels)
    assert bool((view >= 0).all() and (view <= 1).all())
    assert augment.skipped_operations(FULL, channels=channels) == (
        "saturation",
        "hue",
        "grayscale",
    )
    parameters = drawn(FULL, batch=64, channels=channels)
    assert not bool(parameters["grayscale"].any())
    assert bool(
        (parameters["saturation"] == 1).all() and (parameters["hue"] == 0).all()
    )


def test_skipping_names_only_what_the_view_would_have_done():
    assert augment.skipped_operations(FULL, channels=3) == ()
    assert augment.skipped_operations(View(jitter=0.0), channels=1) == ("grayscale",)
    assert augment.skipped_operations(View(hue=0.0, grayscale=0.0), channels=1) == (
        "saturation",
    )


def test_odd_sizes():
    images = photos(4, 33, 47)
    first, second = compiled_views(
        jax.random.key(5), images, views=preset("byol", image_size=32), size=32
    )
    assert first.shape == second.shape == (4, 32, 32, 3)


@pytest.mark.parametrize("value", [0, 255])
def test_constant_images_stay_finite_and_in_range(value):
    images = jnp.full((64, 16, 16, 3), value, jnp.uint8)
    (view,) = compiled_views(jax.random.key(6), images, views=(FULL,), size=16)
    assert view.dtype == jnp.float32
    assert bool(jnp.isfinite(view).all() and (view >= 0).all() and (view <= 1).all())


def test_values_stay_in_range_for_noise():
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (128, 20, 24, 3), dtype=np.uint8))
    (view,) = compiled_views(jax.random.key(7), images, views=(FULL,), size=40)
    assert bool((view >= 0).all() and (view <= 1).all())


def test_operations_of_probability_zero_are_not_compiled():
    images, parameters = photos(2), drawn(FULL, batch=2)

    def operations(view):
        traced = jax.make_jaxpr(lambda x, p: apply(x, p, view, size=32))
        return len(str(traced(images, parameters)).splitlines())

    off = {"jitter": 0.0, "grayscale": 0.0, "blur": 0.0, "solarize": 0.0, "flip": 0.0}
    bare = operations(dataclasses.replace(FULL, **off))
    for name in off:
        without = dataclasses.replace(FULL, **{name: 0.0})
        assert operations(without) < operations(FULL), name
        only = dataclasses.replace(FULL, **(off | {name: 0.5}))
        assert bare < operations(only), name
    still = dataclasses.replace(
        FULL, **(off | {"jitter": 0.5}), brightness=0, contrast=0, saturation=0, hue=0
    )
    assert operations(still) == bare


def test_what_a_view_may_not_do_is_not_done_whatever_the_parameters_say():
    images, parameters = photos(4), drawn(FULL, batch=4)
    parameters["box"] = jnp.tile(jnp.array([[0.0, 0.0, 32.0, 32.0]]), (4, 1))
    parameters = {
        k: jnp.ones_like(v) if v.dtype == bool else v for k, v in parameters.items()
    }
    view = jax.jit(lambda x, p: apply(x, p, IDENTITY, size=32))(images, parameters)
    np.testing.assert_allclose(view, images / jnp.float32(255), atol=1e-6)


def test_evaluation_keeps_images_of_the_right_size():
    images = photos(3)
    np.testing.assert_array_equal(
        augment.for_evaluation(images, size=32), images.astype(jnp.float32) / 255
    )


def test_evaluation_takes_the_centre_and_antialiases():
    images = photos(2, 48, 64)
    centre = images[:, :, 8:56].astype(jnp.float32) / 255
    expected = jax.image.resize(
        centre, (2, 24, 24, 3), "bilinear", antialias=True, precision="highest"
    )
    np.testing.assert_allclose(
        augment.for_evaluation(images, size=24), expected, atol=1e-5
    )
    inner = images[:, 6:42, 14:50].astype(jnp.float32) / 255  # three quarters of 48
    expected = jax.image.resize(inner, (2, 24, 24, 3), "bilinear", precision="highest")
    np.testing.assert_allclose(
        augment.for_evaluation(images, size=24, crop_fraction=0.75), expected, atol=1e-5
    )


def test_large_evaluations_crop_seven_eighths():
    images = photos(1, 256, 256)
    expected = images[:, 16:240, 16:240].astype(jnp.float32) / 255
    np.testing.assert_allclose(
        augment.for_evaluation(images, size=224), expected, atol=1e-6
    )


def test_normalize():
    images = jnp.asarray(np.random.default_rng(0).random((2, 4, 4, 3), np.float32))
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
    expected = (np.asarray(images) - np.array(mean)) / np.array(std)
    result = augment.normalize(images, mean, std)
    assert result.dtype == jnp.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "mean, std, message",
    [
        ((0.5, 0.5), (1.0,), "mean must have 1 or 3 values"),
        ((0.5,), (1.0, 1.0), "std must have 1 or 3 values"),
        ((0.5,), (0.0,), "std must be positive"),
    ],
)
def test_normalize_refuses(mean, std, message):
    with pytest.raises(ValueError, match=message):
        augment.normalize(jnp.zeros((1, 2, 2, 3)), mean, std)


@pytest.mark.parametrize(
    "images", [jnp.zeros((2, 8, 8, 3)), jnp.zeros((8, 8, 3), jnp.uint8)]
)
def test_only_uint8_batches_are_taken(images):
    with pytest.raises(ValueError, match="images must be a uint8 batch"):
        make_views(jax.random.key(0), images, [View()], size=8)
    with pytest.raises(ValueError, match="images must be a uint8 batch"):
        augment.for_evaluation(images, size=8)


def test_parameters_of_another_batch_are_refused():
    with pytest.raises(ValueError, match="drawn for this batch of 4"):
        apply(photos(4), {"box": jnp.zeros((8, 4))}, View(), size=32)


def test_sizes_and_fractions_are_checked():
    with pytest.raises(ValueError, match="size must be at least one pixel, got 0"):
        make_views(jax.random.key(0), photos(1), [View()], size=0)
    with pytest.raises(ValueError, match="crop_fraction must be in"):
        augment.for_evaluation(photos(1), size=24, crop_fraction=1.5)


@pytest.mark.parametrize("first", [0, 2, 5])
def test_rows_of_a_batch_get_the_views_they_have_in_the_whole(first):
    images = np.random.default_rng(0).integers(0, 256, (8, 12, 12, 3), np.uint8)
    views = preset("byol", image_size=8)
    key = jax.random.key(0)
    whole = make_views(key, jnp.asarray(images), views, size=8)

    @jax.jit
    def part(images, first):
        return make_views(key, images, views, size=8, rows=(first, 8))

    rows = part(jnp.asarray(images[first : first + 3]), jnp.int32(first))
    for a, b in zip(rows, whole, strict=True):
        np.testing.assert_allclose(a, b[first : first + 3], atol=1e-5)
