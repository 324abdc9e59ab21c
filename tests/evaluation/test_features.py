"""Extracted features and raw pixels: all images, in order, one compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.evaluation import extract, raw_pixels


class Singly:
    """A source whose images must be read one by one."""

    def __init__(self, images, in_memory=False):
        self._images = images
        self.images: np.ndarray | None = images if in_memory else None
        self.size = len(images)
        height, width, channels = images[0].shape
        self.image_shape = height, width, channels

    def read(self, i):
        return self._images[i], 0


def pictures(n, h=6, w=6, c=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, h, w, c), dtype=np.uint8)


def brightness(x):
    return x.astype(jnp.float32).mean(axis=(1, 2))


@pytest.mark.parametrize("n", [1, 4, 5, 8, 11])
def test_every_image_in_order_whatever_the_remainder(n):
    images = pictures(n)
    features = extract(brightness, images, batch_size=4)
    assert features.dtype == np.float32
    np.testing.assert_allclose(
        features, images.mean(axis=(1, 2), dtype=np.float64), rtol=1e-6
    )


def test_sets_of_all_lengths_share_one_compilation():
    traces = []

    @jax.jit
    def encode(x):
        traces.append(x.shape)
        return brightness(x)

    for n in (3, 8, 9):
        extract(encode, pictures(n), batch_size=4)
    assert traces == [(4, 6, 6, 3)]


@pytest.mark.parametrize("in_memory", [False, True])
def test_a_source_gives_what_its_array_gives(in_memory):
    images = pictures(7)
    source = Singly(images, in_memory)
    np.testing.assert_array_equal(
        extract(brightness, source, batch_size=3),
        extract(brightness, images, batch_size=3),
    )
    np.testing.assert_array_equal(
        raw_pixels(source, batch_size=3), raw_pixels(images, batch_size=7)
    )


def test_bfloat16_features_come_back_as_float32():
    features = extract(
        lambda x: brightness(x).astype(jnp.bfloat16), pictures(3), batch_size=2
    )
    assert features.dtype == np.float32


def test_small_pictures_are_their_pixels():
    images = pictures(3, 5, 4)
    np.testing.assert_allclose(
        raw_pixels(images), images.reshape(3, -1) / 255.0, rtol=1e-6
    )


@pytest.mark.parametrize("h, w, largest", [(64, 96, 32), (9, 5, 4), (7, 3, 5)])
def test_large_pictures_are_averaged_over_boxes(h, w, largest):
    images = pictures(2, h, w)
    oh, ow = min(h, largest), min(w, largest)
    expected = np.empty((2, oh, ow, 3))
    for i in range(oh):
        for j in range(ow):
            rows = slice(i * h // oh, -(-(i + 1) * h // oh))
            columns = slice(j * w // ow, -(-(j + 1) * w // ow))
            expected[:, i, j] = images[:, rows, columns].mean(axis=(1, 2)) / 255
    np.testing.assert_allclose(
        raw_pixels(images, largest=largest), expected.reshape(2, -1), rtol=1e-5
    )


def test_refusals_are_one_clear_line():
    with pytest.raises(ValueError, match="there are no images"):
        extract(brightness, pictures(0))
    with pytest.raises(ValueError, match=r"must be \[N, H, W, C\]"):
        extract(brightness, np.zeros((4, 6, 6), np.uint8))
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        extract(brightness, pictures(2), batch_size=0)
    with pytest.raises(ValueError, match="must return one feature row per image"):
        extract(jnp.asarray, pictures(2))
    with pytest.raises(ValueError, match="largest must be at least 1"):
        raw_pixels(pictures(2), largest=0)
    ragged = Singly([pictures(1)[0], pictures(1, 5, 5)[0]])
    with pytest.raises(
        ValueError, match=r"image 1 has shape \(5, 5, 3\).*image_shape is \(6, 6, 3\)"
    ):
        extract(brightness, ragged)
