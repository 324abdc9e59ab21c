"""Gaussian blur against torchvision's definition in numpy and dm_pix's interior."""

import dm_pix
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.data import blur
from ssljax.data.blur import blur_taps

gaussian_blur = jax.jit(blur.gaussian_blur, static_argnames="taps")
SIGMA = np.array([0.1, 0.6, 1.3, 2.0], np.float32)


@pytest.fixture(autouse=True)
def exact_products():
    with jax.default_matmul_precision("highest"):
        yield


def planes(height, width, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((channels, len(SIGMA), height, width), np.float32)


def by_definition(image, sigma, taps):
    """torchvision's gaussian_blur on one plane, in float64."""
    radius = taps // 2
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / float(sigma)) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(image.astype(float), radius, mode="reflect")
    h, w = image.shape
    rows = np.sum([k * padded[d : d + h] for d, k in enumerate(kernel)], axis=0)
    return np.sum([k * rows[:, d : d + w] for d, k in enumerate(kernel)], axis=0)


# Shifted copies up to 5 taps, matrices above; the last two reflect the whole image.
@pytest.mark.parametrize(
    "height, width, taps",
    [(32, 32, 3), (20, 27, 5), (24, 31, 9), (12, 15, 23), (4, 4, 7)],
)
def test_equals_the_definition(height, width, taps):
    x = planes(height, width)
    blurred = np.asarray(gaussian_blur(jnp.asarray(x), jnp.asarray(SIGMA), taps=taps))
    for c, b in np.ndindex(x.shape[:2]):
        expected = by_definition(x[c, b], SIGMA[b], taps)
        np.testing.assert_allclose(blurred[c, b], expected, atol=2e-6)


@pytest.mark.parametrize("taps", [3, 23])
def test_equals_dm_pix_away_from_the_border(taps):
    x = planes(32, 32)
    blurred = np.asarray(gaussian_blur(jnp.asarray(x), jnp.asarray(SIGMA), taps=taps))
    inner = slice(taps // 2, 32 - taps // 2)
    oracle = jax.jit(lambda image, sigma: dm_pix.gaussian_blur(image, sigma, taps))
    for b, sigma in enumerate(SIGMA):
        # dm_pix pads with zeros, so that borders differ.
        expected = oracle(np.moveaxis(x[:, b], 0, -1), sigma)
        np.testing.assert_allclose(
            np.moveaxis(blurred[:, b], 0, -1)[inner, inner],
            expected[inner, inner],
            atol=2e-6,
        )


@pytest.mark.parametrize("taps", [3, 23])
def test_constant_images_and_the_mean_are_kept(taps):
    flat = jnp.full((3, 4, 32, 32), 0.7)
    blurred = gaussian_blur(flat, jnp.asarray(SIGMA), taps=taps)
    np.testing.assert_allclose(blurred, 0.7, atol=1e-6)


@pytest.mark.parametrize("taps", [3, 23])
def test_a_narrow_kernel_leaves_the_image(taps):
    x = jnp.asarray(planes(32, 32))
    np.testing.assert_allclose(
        gaussian_blur(x, jnp.full(4, 0.05), taps=taps), x, atol=1e-6
    )


def test_wider_blur_leaves_less_detail():
    blurred = gaussian_blur(jnp.asarray(planes(32, 32)), jnp.asarray(SIGMA), taps=23)
    detail = np.asarray(blurred.std(axis=(0, 2, 3)))
    assert (np.diff(detail) < -0.01).all()


@pytest.mark.parametrize(
    "size, taps", [(1, 1), (2, 3), (32, 3), (64, 7), (96, 9), (224, 23)]
)
def test_taps_follow_the_size(size, taps):
    assert blur_taps(size) == taps


@pytest.mark.parametrize("size", [1, 2, 3])
def test_tiny_images(size):
    x = jnp.asarray(planes(size, size))
    blurred = gaussian_blur(x, jnp.asarray(SIGMA), taps=blur_taps(size))
    assert blurred.shape == x.shape
    assert bool(jnp.isfinite(blurred).all())
