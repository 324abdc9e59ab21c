"""Colour operations against PIL, dm_pix and torchvision's formulas in numpy."""

import colorsys
import itertools

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.data import colour

jitter = jax.jit(colour.jitter)
ADJUST = {name: jax.jit(getattr(colour, f"adjust_{name}")) for name in colour.JITTER}
# The oracles take one image at a time; compiled once, not operation by operation.
dm_hue, dm_contrast = jax.jit(dm_pix.adjust_hue), jax.jit(dm_pix.adjust_contrast)
dm_grey = jax.jit(dm_pix.rgb_to_grayscale, static_argnames="keep_dims")

B, H, W = 5, 9, 11
FACTORS = jnp.array([0.0, 0.3, 1.0, 1.7, 2.4])
SHIFTS = jnp.array([-0.5, -0.13, 0.0, 0.2, 0.5])


def pixels(channels=3, seed=0):
    """Random colours, and among them greys, black, white and tied channels."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (B, H, W, channels))
    x[:, 0, 0], x[:, 0, 1], x[:, 0, 2] = 0, 255, 100
    x[:, 0, 3, :2] = 200
    x[:, 0, 4, -2:] = 30
    return x.astype(np.float32) / 255


def planes(images):
    return jnp.moveaxis(jnp.asarray(images), -1, 0)


def pictures(planes):
    return np.moveaxis(np.asarray(planes), 0, -1)


def pil(images):
    from PIL import Image

    return [Image.fromarray(np.round(255 * image).astype(np.uint8)) for image in images]


def torchvision_blend(x, target, factor):
    return np.clip(factor * x + (1 - factor) * target, 0, 1)


def torchvision_step(name, x, value):
    """One operation of ColorJitter on one float image [H, W, 3]."""
    grey = x @ np.array([0.299, 0.587, 0.114])
    if name == "brightness":
        return torchvision_blend(x, 0.0, value)
    if name == "contrast":
        return torchvision_blend(x, grey.mean(), value)
    if name == "saturation":
        return torchvision_blend(x, grey[..., None], value)
    turned = np.empty_like(x)
    for index in np.ndindex(x.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*x[index])
        turned[index] = colorsys.hsv_to_rgb((h + value) % 1.0, s, v)
    return turned


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_blends_agree_with_pil(name):
    from PIL import ImageEnhance

    enhancer = {
        "brightness": ImageEnhance.Brightness,
        "contrast": ImageEnhance.Contrast,
        "saturation": ImageEnhance.Color,
    }[name]
    images = pixels()
    ours = 255 * pictures(ADJUST[name](planes(images), FACTORS))
    for i, picture in enumerate(pil(images)):
        theirs = np.asarray(enhancer(picture).enhance(float(FACTORS[i])), float)
        # PIL rounds the grey it blends with to a whole level and truncates the result.
        assert (
            np.abs(ours[i] - theirs).max()
            <= 1 + 0.5 * abs(1 - float(FACTORS[i])) + 0.01
        )


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
def test_operations_agree_with_torchvisions_formula(name):
    images = pixels()
    values = SHIFTS if name == "hue" else FACTORS
    ours = pictures(ADJUST[name](planes(images), values))
    for i in range(B):
        expected = torchvision_step(name, images[i].astype(float), float(values[i]))
        np.testing.assert_allclose(ours[i], expected, atol=2e-6)


def test_hue_agrees_with_dm_pix():
    images = pixels()
    ours = pictures(ADJUST["hue"](planes(images), SHIFTS))
    for i in range(B):
        expected = dm_hue(jnp.asarray(images[i]), SHIFTS[i])
        np.testing.assert_allclose(ours[i], expected, atol=5e-6)


def test_hue_agrees_with_pil_hsv():
    from PIL import Image

    images = pixels()
    for i, picture in enumerate(pil(images)):
        hsv = np.array(picture.convert("HSV"))
        levels = int(255 * float(SHIFTS[i]))
        hsv[..., 0] = (hsv[..., 0].astype(int) + levels) % 256
        theirs = np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"), float)
        shift = jnp.full(1, levels / 255)
        ours = 255 * pictures(ADJUST["hue"](planes(images[i : i + 1]), shift))[0]
        # PIL has 255 levels of hue, six levels of a channel each, and wraps at 256.
        assert np.abs(ours - theirs).max() <= 13
        assert np.abs(ours - theirs).mean() < 2


def test_turning_the_hue_back_gives_the_image():
    images = pixels()
    shift = jnp.linspace(-0.4, 0.5, B)
    there = ADJUST["hue"](planes(images), shift)
    np.testing.assert_allclose(
        pictures(ADJUST["hue"](there, -shift)), images, atol=5e-6
    )


def test_grayscale_agrees_with_dm_pix_and_pil():
    images = pixels()
    ours = pictures(colour.to_grayscale(planes(images)))
    for i, picture in enumerate(pil(images)):
        theirs = dm_grey(jnp.asarray(images[i]), keep_dims=True)
        np.testing.assert_allclose(ours[i], theirs, atol=1.1e-4)  # it has 0.2989
        luma = np.asarray(picture.convert("L"), float)
        assert np.abs(255 * ours[i, ..., 0] - luma).max() <= 0.51


def test_contrast_without_rgb_scales_each_band_about_its_mean():
    images = pixels(channels=13)
    ours = pictures(ADJUST["contrast"](planes(images), FACTORS))
    for i in range(B):
        expected = dm_contrast(jnp.asarray(images[i]), FACTORS[i])
        np.testing.assert_allclose(ours[i], jnp.clip(expected, 0, 1), atol=2e-6)


@pytest.mark.parametrize("channels", [1, 3, 13])
def test_solarize_agrees_with_dm_pix(channels):
    images = pixels(channels)
    for threshold in (0.0, 0.3, 128 / 255):
        np.testing.assert_allclose(
            pictures(colour.solarize(planes(images), threshold)),
            dm_pix.solarize(jnp.asarray(images), threshold),
            atol=0,
        )


def test_solarize_agrees_with_pil():
    from PIL import ImageOps

    images = pixels()
    ours = pictures(colour.solarize(planes(images), 128 / 255))
    theirs = [np.asarray(ImageOps.solarize(picture, 128)) for picture in pil(images)]
    np.testing.assert_allclose(255 * ours, np.stack(theirs), atol=1e-4)


def test_jitter_applies_every_order():
    orders = np.array(list(itertools.permutations(range(4))))
    rng = np.random.default_rng(1)
    images = rng.random((24, 4, 5, 3), np.float32)
    factors = {
        name: rng.uniform(0.3, 1.7, 24).astype(np.float32)
        for name in ("brightness", "contrast", "saturation")
    }
    factors["hue"] = rng.uniform(-0.3, 0.3, 24).astype(np.float32)
    ours = jitter(
        planes(images), jax.tree.map(jnp.asarray, factors), jnp.asarray(orders)
    )
    for i, order in enumerate(orders):
        expected = images[i].astype(float)
        for code in order:
            name = colour.JITTER[code]
            expected = torchvision_step(name, expected, float(factors[name][i]))
        np.testing.assert_allclose(pictures(ours)[i], expected, atol=1e-5)


@pytest.mark.parametrize("name", colour.JITTER)
def test_jitter_with_one_operation_is_that_operation(name):
    images = planes(pixels())
    values = SHIFTS if name == "hue" else FACTORS
    orders = jnp.asarray(list(itertools.permutations(range(4)))[3 : 3 + B])
    np.testing.assert_allclose(
        jitter(images, {name: values}, orders),
        ADJUST[name](images, values),
        atol=1e-6,
    )


def test_neutral_factors_change_no_bit():
    images = planes(pixels())
    neutral = {name: jnp.full(B, float(name != "hue")) for name in colour.JITTER}
    order = jnp.tile(jnp.arange(4)[None], (B, 1))
    np.testing.assert_array_equal(jitter(images, neutral, order), images)


def test_black_and_white_have_no_hue_to_lose():
    factors = {"hue": SHIFTS, "saturation": FACTORS, "contrast": FACTORS}
    order = jnp.tile(jnp.array([[3, 1, 2, 0]]), (B, 1))
    for value in (0.0, 1.0):
        flat = jnp.full((3, B, H, W), value)
        np.testing.assert_allclose(jitter(flat, factors, order), value, atol=1e-6)
