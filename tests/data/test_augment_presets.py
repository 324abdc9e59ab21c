"""The published augmentations by name, and the checks of a view's fields."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from ssljax.data.augment import View, make_views, preset

NAMES = (
    "simclr",
    "byol",
    "simsiam",
    "barlow_twins",
    "vicreg",
    "multi_crop",
    "supervised",
)


@pytest.mark.parametrize("size", [32, 64, 96, 224])
@pytest.mark.parametrize("name", NAMES)
def test_every_preset_is_a_pair_of_views(name, size):
    views = preset(name, image_size=size)
    assert len(views) == 2
    assert all(isinstance(view, View) for view in views)
    hash(views)  # they are static arguments of the step


def test_every_preset_traces_at_both_sizes():
    for size in (32, 224):
        # Presets share views, and a view is traced on its own.
        views = {v for name in NAMES for v in preset(name, image_size=size)}
        made = jax.eval_shape(
            lambda key, images, views=tuple(views), size=size: make_views(
                key, images, views, size=size
            ),
            jax.random.key(0),
            jnp.zeros((2, 40, 40, 3), jnp.uint8),
        )
        assert [view.shape for view in made] == [(2, size, size, 3)] * len(views)


def test_published_values():
    first, second = preset("byol", image_size=224)
    jitter = (first.brightness, first.contrast, first.saturation, first.hue)
    assert jitter == (0.4, 0.4, 0.2, 0.1)
    assert (first.blur, second.blur) == (1.0, 0.1)
    assert (first.solarize, second.solarize) == (0.0, 0.2)
    assert preset("vicreg", image_size=224) == preset("byol", image_size=224)
    assert preset("barlow_twins", image_size=32) == preset("byol", image_size=32)

    first, second = preset("byol", image_size=32)
    assert (first.blur, second.blur) == (0.0, 0.0)
    assert (first.solarize, second.solarize) == (0.0, 0.2)

    first, second = preset("simclr", image_size=32)
    assert first == second
    assert (first.brightness, first.contrast) == (0.8, 0.8)
    assert (first.saturation, first.hue, first.blur) == (0.8, 0.2, 0.0)
    assert preset("simclr", image_size=224)[0] == dataclasses.replace(first, blur=0.5)

    first, _ = preset("simsiam", image_size=224)
    assert (first.crop_scale, first.blur) == ((0.2, 1.0), 0.5)
    first, second = preset("vicreg", image_size=32)
    assert first == second
    assert (first.crop_scale, first.solarize) == ((0.2, 1.0), 0.1)


def test_supervised_only_crops_and_flips():
    view, _ = preset("supervised", image_size=32)
    assert view.flip == 0.5
    assert (view.jitter, view.grayscale, view.blur, view.solarize) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    "name, nearest", [("simlcr", "simclr"), ("barlow", "barlow_twins")]
)
def test_an_unknown_name_gets_the_nearest(name, nearest):
    with pytest.raises(ValueError, match=f"did you mean '{nearest}'"):
        preset(name, image_size=32)


@pytest.mark.parametrize("size", [0, -3, 2.5, "32", True])
def test_the_image_size_is_checked(size):
    with pytest.raises(ValueError, match="image_size must be an integer >= 1"):
        preset("simclr", image_size=size)


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("flip", 1.1, r"flip must be a number in \[0, 1\], got 1.1"),
        ("jitter", -0.1, "jitter must be a number in"),
        ("grayscale", float("nan"), "grayscale must be a number in"),
        ("blur", "often", "blur must be a number in"),
        ("solarize", True, "solarize must be a number in"),
        ("brightness", -1.0, "brightness must be a number at least 0"),
        ("contrast", float("inf"), "contrast must be a number at least 0"),
        ("saturation", None, "saturation must be a number at least 0"),
        ("hue", 0.6, r"hue must be a number in \[0, 0.5\], got 0.6"),
        ("solarize_threshold", 2, "solarize_threshold must be a number in"),
        ("crop_scale", (0.0, 1.0), "crop_scale must be a pair 0 < low <= high <= 1"),
        ("crop_scale", (0.5, 1.5), "crop_scale must be a pair"),
        ("crop_ratio", (2.0, 1.0), "crop_ratio must be a pair 0 < low <= high,"),
        ("crop_ratio", (1.0,), "crop_ratio must be a pair"),
        ("blur_sigma", (0.0, 2.0), "blur_sigma must be a pair"),
        ("blur_sigma", 1.0, "blur_sigma must be a pair"),
        (
            "interpolation",
            "cubic",
            "interpolation must be 'bilinear' or 'bicubic', got",
        ),
        ("interpolation", ["bicubic"], "interpolation must be 'bilinear' or 'bicubic'"),
    ],
)
def test_every_field_is_checked(field, value, message):
    with pytest.raises(ValueError, match=message) as caught:
        View(**{field: value})
    assert "\n" not in str(caught.value)


def test_lists_become_hashable_pairs():
    parsed: Any = [0.2, 1.0]
    view = View(crop_scale=parsed)
    assert view.crop_scale == (0.2, 1.0)
    assert hash(view) == hash(View(crop_scale=(0.2, 1.0)))
