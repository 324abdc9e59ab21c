"""Image crops and one-hidden-layer networks on them, for items 15 to 17."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.checklist import Given
from ssljax.analytic.ntk import relu_network

CROP, PIXELS = 20, 20 * 20 * 3


def images(given: Given, count: int) -> np.ndarray:
    """Return real images, or random ones with the spectrum of real ones."""
    rng = np.random.default_rng(given.seed)
    if given.images is not None:
        return given.images[rng.choice(len(given.images), count, replace=False)]
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32)))
    amplitude = 1.0 / np.maximum(frequency, 1 / 32) ** 1.2
    noise = np.fft.fft2(rng.normal(size=(count, 4, 32, 32)))
    field = np.fft.ifft2(noise * amplitude).real
    mixed = 0.9 * field[:, :1] + 0.45 * field[:, 1:]
    pixels = 128 + 50 * mixed.transpose(0, 2, 3, 1) / field.std()
    return np.clip(pixels, 0, 255).astype(np.uint8)


class Crops(NamedTuple):
    """Standardised crops in the coordinates that a first layer of a network sees.

    Of all pixels only the span of the crops matters to Gaussian first-layer weights,
    and to their descent only that of the training crops. These come first and are zero
    beyond their own number of coordinates: an exact reduction.
    """

    train: jax.Array
    """First views, then second views, ``[2 pairs, 2 pairs]``."""
    held: jax.Array
    """Crops of other images, ``[held, points]``."""


def crops(given: Given, pairs: int, held: int) -> Crops:
    """Return two crops each of ``pairs`` images, and one each of others."""
    pixels = images(given, pairs + held).astype(float)
    pixels = (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))
    rng = np.random.default_rng([given.seed, 1])

    def cropped(image: np.ndarray) -> np.ndarray:
        row, column = rng.integers(0, 33 - CROP, size=2)
        return image[row : row + CROP, column : column + CROP].ravel()

    order = [*range(pairs), *range(pairs), *range(pairs, pairs + held)]
    points = np.stack([cropped(pixels[i]) for i in order])
    coordinates = np.linalg.qr(points.T)[1].T
    return Crops(
        jnp.asarray(coordinates[: 2 * pairs, : 2 * pairs]),
        jnp.asarray(coordinates[2 * pairs :]),
    )


@jax.jit
def embed(params: Sequence[jax.Array], points: jax.Array) -> jax.Array:
    """Apply `relu_network` as on all pixels, by the columns that points reach."""
    used = points.shape[1]
    hidden, readout = params
    return relu_network([hidden[:, :used], readout], points * np.sqrt(used / PIXELS))


@jax.jit
def tangent(params: Sequence[jax.Array], x: jax.Array, other: jax.Array) -> jax.Array:
    """Compute the kernel of these weights, written out to need less memory."""
    hidden, readout = params
    width = len(hidden)
    a, b = x @ hidden[:, : x.shape[1]].T, other @ hidden[:, : other.shape[1]].T
    features = jax.nn.relu(a) @ jax.nn.relu(b).T / PIXELS
    used = min(x.shape[1], other.shape[1])
    weighted = (a > 0) * jnp.mean(readout**2, axis=0)[None, :]
    slopes = weighted @ (b > 0).astype(b.dtype).T
    return 2.0 * (features + x[:, :used] @ other[:, :used].T / PIXELS * slopes) / width


def blocks(kernel: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Split the kernel matrix of all training crops for the kernel functions."""
    n = len(kernel) // 2
    return kernel[:n, :n], kernel[:n, n:], kernel[n:, n:]


def whole(start: list[jax.Array], seen: list[jax.Array]) -> list[jax.Array]:
    """Return trained weights with the columns that no training crop reaches."""
    return [start[0].at[:, : seen[0].shape[1]].set(seen[0]), seen[1]]
