"""The whole pipeline: the parameters' distributions, their effect, and sharding."""

import dataclasses
import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from ssljax.data.augment import (
    View,
    apply,
    make_views,
    sample,
    skipped_operations,
)

FULL = View(
    brightness=0.8,
    contrast=0.8,
    saturation=0.8,
    hue=0.2,
    blur=0.5,
    solarize=0.3,
)
CROPPED = View(jitter=0.0, grayscale=0.0)
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


def odd_photos(key=0):
    """Images of odd sides and parameters of all operations: one program for many."""
    parameters = sampler(FULL, 8, 37, 45, 3)(jax.random.key(key))
    return photos(8, 37, 45), dict(parameters)


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


# Compiling takes the time, so most tests use these two, and few shapes.
@functools.partial(jax.jit, static_argnames=("views", "size", "total"))
def compiled_views(key, images, first=None, *, views, size, total=None):
    rows = None if first is None or total is None else (first, total)
    return make_views(key, images, views, size=size, rows=rows)


@functools.partial(jax.jit, static_argnames=("view", "size"))
def compiled_apply(images, parameters, *, view, size):
    return apply(images, parameters, view, size=size)


# Every probability and strength, and none like another.
DRAWN = View(
    flip=0.5,
    jitter=0.8,
    grayscale=0.2,
    blur=0.1,
    solarize=0.3,
    brightness=0.4,
    contrast=1.5,
    saturation=0.2,
    hue=0.1,
)


def test_every_event_has_its_probability():
    parameters = drawn(DRAWN)
    for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
        p, share = getattr(DRAWN, name), float(parameters[name].mean())
        assert abs(share - p) < 5 * np.sqrt(p * (1 - p) / 4096), name


def test_certain_events_are_certain():
    parameters = drawn(View(flip=0.0, blur=0.0, jitter=1.0, grayscale=1.0), batch=512)
    for name in ("flip", "blur"):
        assert not bool(parameters[name].any())
    for name in ("jitter", "grayscale"):
        assert bool(parameters[name].all())


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
    values = np.sort(np.asarray(drawn(DRAWN)[name]))
    assert low <= values[0] and values[-1] <= high
    # Kolmogorov-Smirnov distance; 1.95 / sqrt(n) is exceeded once in a thousand.
    cdf = (values - low) / (high - low)
    distance = np.abs(cdf - (np.arange(4096) + 0.5) / 4096).max()
    assert distance < 1.95 / np.sqrt(4096)


def test_all_orders_are_equally_likely_permutations():
    order = np.asarray(drawn(DRAWN)["order"])
    np.testing.assert_array_equal(
        np.sort(order, axis=1), np.tile(np.arange(4), (4096, 1))
    )
    _, counts = np.unique(order, axis=0, return_counts=True)
    expected = 4096 / 24
    assert len(counts) == 24
    # 23 degrees of freedom: 49.7 is exceeded once in a thousand.
    assert float(((counts - expected) ** 2 / expected).sum()) < 49.7


def test_events_are_drawn_independently():
    parameters = drawn(DRAWN)
    names = ("flip", "jitter", "grayscale", "blur", "solarize", "brightness", "sigma")
    correlation = np.corrcoef([np.asarray(parameters[n], float) for n in names])
    assert np.abs(correlation - np.eye(len(names))).max() < 5 / np.sqrt(4096)


def test_changing_one_field_leaves_the_other_draws_alone():
    before = drawn(DRAWN)
    after = drawn(
        dataclasses.replace(DRAWN, blur=0.7, crop_scale=(0.3, 0.9), contrast=0.7)
    )
    for name in set(before) - {"blur", "box", "contrast"}:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)


def test_a_view_does_not_depend_on_the_others_asked_for():
    images, key = photos(8, 12, 12), jax.random.key(1)
    together = compiled_views(key, images, views=(CROPPED, IDENTITY, CROPPED), size=8)
    (alone,) = compiled_views(key, images, views=(CROPPED,), size=8)
    np.testing.assert_allclose(together[0], alone, atol=1e-6)
    assert float(jnp.abs(together[0] - together[2]).max()) > 0.1


def test_identity_parameters_give_the_image():
    images = photos(4)
    (view,) = compiled_views(jax.random.key(0), images, views=(IDENTITY,), size=32)
    np.testing.assert_allclose(view, images / jnp.float32(255), atol=1e-6)


def test_events_that_do_not_happen_give_the_image():
    images, parameters = odd_photos()
    parameters["box"] = jnp.tile(jnp.array([[2.0, 4.0, 32.0, 32.0]]), (8, 1))
    for name in ("flip", "jitter", "grayscale", "blur", "solarize"):
        parameters[name] = jnp.zeros(8, bool)
    view = compiled_apply(images, parameters, view=FULL, size=32)
    images = images[:, 2:34, 4:36]
    np.testing.assert_allclose(view, images / jnp.float32(255), atol=1e-6)


def test_a_batch_equals_its_images_one_by_one():
    images, parameters = odd_photos()
    batched = compiled_apply(images, parameters, view=FULL, size=32)
    for i in range(8):
        one = jax.tree.map(lambda leaf, i=i: leaf[i : i + 1], parameters)
        single = compiled_apply(images[i : i + 1], one, view=FULL, size=32)
        # Not to the bit: a product of another size is summed in another order.
        np.testing.assert_allclose(single[0], batched[i], atol=2e-6)


@pytest.mark.slow
def test_jit_equals_eager():
    images, parameters = photos(8, 40, 36), drawn(FULL, batch=8, height=40, width=36)
    eager = apply(images, parameters, FULL, size=24)
    compiled = compiled_apply(images, parameters, view=FULL, size=24)
    assert compiled.shape == eager.shape == (8, 24, 24, 3)
    # Solarize at one half is continuous, so that no rounding error is magnified.
    np.testing.assert_allclose(compiled, eager, atol=2e-6)


def test_views_do_not_depend_on_the_number_of_devices():
    (images, expected_parameters), key = odd_photos(3), jax.random.key(3)
    expected = compiled_apply(images, expected_parameters, view=FULL, size=32)

    def step(key, images):
        parameters = sample(
            key, FULL, batch=8, height=37, width=45, channels=3
        )  # drawn for the global batch
        return parameters, apply(images, parameters, FULL, size=32)

    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
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
        str(compiled.as_text()),
    )
    assert collectives == []


def test_new_keys_do_not_recompile():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(key, images):
        return make_views(key, images, [CROPPED], size=8)

    images = photos(8, 12, 12)
    first, second = (step(jax.random.key(i), images)[0] for i in range(2))
    assert float(jnp.abs(first - second).max()) > 0.01


@pytest.mark.parametrize("channels", [1, 13])
def test_any_number_of_channels(channels):
    images = photos(64, 20, 20, channels)
    parameters = drawn(FULL, batch=64, height=20, width=20, channels=channels)
    view = compiled_apply(images, parameters, view=FULL, size=16)
    assert view.shape == (64, 16, 16, channels)
    assert bool((view >= 0).all() and (view <= 1).all())
    assert skipped_operations(FULL, channels=channels) == (
        "saturation",
        "hue",
        "grayscale",
    )
    assert not bool(parameters["grayscale"].any())
    assert bool(
        (parameters["saturation"] == 1).all() and (parameters["hue"] == 0).all()
    )


def test_skipping_names_only_what_the_view_would_have_done():
    assert skipped_operations(FULL, channels=3) == ()
    assert skipped_operations(View(jitter=0.0), channels=1) == ("grayscale",)
    assert skipped_operations(View(hue=0.0, grayscale=0.0), channels=1) == (
        "saturation",
    )


def test_values_stay_finite_and_in_range():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (8, 37, 45, 3), dtype=np.uint8)
    images[0], images[1] = 0, 255  # no hue and no contrast
    for key in range(16):
        _, parameters = odd_photos(key)
        view = compiled_apply(jnp.asarray(images), parameters, view=FULL, size=32)
        assert view.shape == (8, 32, 32, 3) and view.dtype == jnp.float32
        assert np.isfinite(view).all() and 0 <= np.min(view) <= np.max(view) <= 1


def test_operations_of_probability_zero_are_not_compiled():
    images, parameters = odd_photos()

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
    images, parameters = odd_photos()
    parameters["box"] = jnp.tile(jnp.array([[2.0, 4.0, 32.0, 32.0]]), (8, 1))
    parameters = {
        k: jnp.ones_like(v) if v.dtype == bool else v for k, v in parameters.items()
    }
    view = compiled_apply(images, parameters, view=IDENTITY, size=32)
    images = images[:, 2:34, 4:36]
    np.testing.assert_allclose(view, images / jnp.float32(255), atol=1e-6)


@pytest.mark.parametrize(
    "images", [jnp.zeros((2, 8, 8, 3)), jnp.zeros((8, 8, 3), jnp.uint8)]
)
def test_only_uint8_batches_are_taken(images):
    with pytest.raises(ValueError, match="images must be a uint8 batch"):
        make_views(jax.random.key(0), images, [View()], size=8)


def test_parameters_of_another_batch_are_refused():
    with pytest.raises(ValueError, match="drawn for this batch of 4"):
        apply(photos(4), {"box": jnp.zeros((8, 4))}, View(), size=32)


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="size must be at least one pixel, got 0"):
        make_views(jax.random.key(0), photos(1), [View()], size=0)


def test_rows_of_a_batch_get_the_views_they_have_in_the_whole():
    images, key, views = photos(8, 12, 12), jax.random.key(0), (CROPPED,)
    whole = compiled_views(key, images, views=views, size=8)
    for first in (0, 2, 5):
        part = images[first : first + 3]
        rows = compiled_views(key, part, jnp.int32(first), views=views, size=8, total=8)
        for a, b in zip(rows, whole, strict=True):
            np.testing.assert_allclose(a, b[first : first + 3], atol=1e-5)
