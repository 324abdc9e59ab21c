"""The evaluation's crop against JAX's resizing, and normalisation against NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.data import preprocess
from ssljax.data.preprocess import normalize

for_evaluation = jax.jit(
    preprocess.for_evaluation, static_argnames=("size", "crop_fraction")
)
resized = jax.jit(
    functools.partial(
        jax.image.resize,
        shape=(2, 24, 24, 3),
        method="bilinear",
        precision=jax.lax.Precision.HIGHEST,
    )
)


def noise(batch, height=32, width=32):
    rng = np.random.default_rng(0)
    shape = (batch, height, width, 3)
    return jnp.asarray(rng.integers(0, 256, shape, dtype=np.uint8))


def test_evaluation_keeps_images_of_the_right_size():
    images = noise(3)
    np.testing.assert_array_equal(
        for_evaluation(images, size=32), images.astype(jnp.float32) / 255
    )


def test_evaluation_takes_the_centre_and_antialiases():
    images = noise(2, 48, 64)
    centre = images[:, :, 8:56].astype(jnp.float32) / 255
    expected = resized(centre)
    np.testing.assert_allclose(for_evaluation(images, size=24), expected, atol=1e-5)
    inner = images[:, 6:42, 14:50].astype(jnp.float32) / 255  # three quarters of 48
    expected = resized(inner)
    np.testing.assert_allclose(
        for_evaluation(images, size=24, crop_fraction=0.75), expected, atol=1e-5
    )


def test_large_evaluations_crop_seven_eighths():
    images = noise(1, 256, 256)
    expected = images[:, 16:240, 16:240].astype(jnp.float32) / 255
    np.testing.assert_allclose(for_evaluation(images, size=224), expected, atol=1e-6)


def test_normalize():
    images = jnp.asarray(np.random.default_rng(0).random((2, 4, 4, 3), np.float32))
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)
    expected = (np.asarray(images) - np.array(mean)) / np.array(std)
    result = normalize(images, mean, std)
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
        normalize(jnp.zeros((1, 2, 2, 3)), mean, std)


@pytest.mark.parametrize(
    "images", [jnp.zeros((2, 8, 8, 3)), jnp.zeros((8, 8, 3), jnp.uint8)]
)
def test_only_uint8_batches_are_evaluated(images):
    with pytest.raises(ValueError, match="images must be a uint8 batch"):
        for_evaluation(images, size=8)


def test_fractions_are_checked():
    with pytest.raises(ValueError, match="crop_fraction must be in"):
        for_evaluation(noise(1), size=24, crop_fraction=1.5)
