"""Extract frozen features of images, and the raw-pixel baseline."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import jax
import numpy as np


class ImageSource(Protocol):
    """The members of a data source that are used here; any object with them works."""

    @property
    def images(self) -> np.ndarray | None:
        """All images, uint8 ``[N, H, W, C]``, or None if ``read`` must be used."""
        ...

    @property
    def size(self) -> int: ...

    @property
    def image_shape(self) -> tuple[int, int, int]: ...

    @property
    def read(self) -> Callable[[int], tuple[np.ndarray, Any]]: ...


def extract(
    encode: Callable[[np.ndarray], jax.Array],
    images: np.ndarray | ImageSource,
    *,
    batch_size: int = 512,
) -> np.ndarray:
    """Extract the features of every image, in order, batch by batch.

    Every batch has ``batch_size`` rows (the last one is filled up with copies of its
    final image), so that a jitted ``encode`` compiles once for all sets of one image
    size. ``encode`` is not jitted here: jitting a closure would make the parameters
    constants of the program and compile it again after every epoch. Pass
    ``lambda x: apply(variables, x)`` with a jitted ``apply``.

    Args:
        encode: maps uint8 images ``[B, H, W, C]`` to features ``[B, F]``; without
            randomness, and each row a function of its own image only (BatchNorm with
            running statistics).
        images: uint8 ``[N, H, W, C]``, or a source with the members of `ImageSource`.
        batch_size: images per call, >= 1.

    Returns:
        float32 ``[N, F]``.

    Raises:
        ValueError: if there are no images, their shapes differ or are not
            ``[H, W, C]``, ``batch_size`` is below 1, or ``encode`` does not return
            one feature row per image.

    >>> images = np.zeros((5, 4, 4, 3), np.uint8)
    >>> extract(lambda x: x.mean(axis=(1, 2)), images, batch_size=2).shape
    (5, 3)
    """
    size = _size(images)
    features: list[np.ndarray] = []
    # Fetched one batch late, so that the device does not wait for the host.
    pending: list[tuple[jax.Array, int]] = []
    for batch in _batches(images, size, batch_size):
        count = len(batch)
        if count < batch_size:
            batch = np.concatenate(
                [batch, np.repeat(batch[-1:], batch_size - count, 0)]
            )
        output = encode(batch)
        if output.ndim != 2 or output.shape[0] != batch_size:
            raise ValueError(
                f"encode returned shape {tuple(output.shape)} for {batch_size} images; "
                f"it must return one feature row per image, [{batch_size}, F]"
            )
        features += [_fetch(*earlier) for earlier in pending]
        pending = [(output, count)]
    features += [_fetch(*last) for last in pending]
    return np.concatenate(features)


def raw_pixels(
    images: np.ndarray | ImageSource, *, largest: int = 32, batch_size: int = 512
) -> np.ndarray:
    """Return pixels as features: the baseline of any trained representation.

    A side longer than ``largest`` is reduced to ``largest`` by adaptive average
    pooling: output pixel i is the mean of input pixels ``floor(i H / h)`` to
    ``ceil((i + 1) H / h) - 1``, equal boxes if h divides H. Shorter sides are kept.

    Args:
        images: uint8 ``[N, H, W, C]`` or a source, as for :func:`extract`.
        largest: longest side of the result in pixels, >= 1.
        batch_size: images pooled at a time, >= 1.

    Returns:
        float32 ``[N, h * w * C]`` in 0 to 1, with ``h = min(H, largest)``.

    Raises:
        ValueError: as for :func:`extract`, or if ``largest`` is below 1.

    >>> raw_pixels(np.full((2, 64, 64, 1), 255, np.uint8), largest=2)
    array([[1., 1., 1., 1.],
           [1., 1., 1., 1.]], dtype=float32)
    """
    if largest < 1:
        raise ValueError(f"largest must be at least 1 pixel, got {largest}")
    rows = []
    for batch in _batches(images, _size(images), batch_size):
        pixels = batch.astype(np.float32) / 255.0
        pixels = _pool(_pool(pixels, 1, largest), 2, largest)
        rows.append(pixels.reshape(len(pixels), -1))
    return np.concatenate(rows)


def _fetch(output: jax.Array, count: int) -> np.ndarray:
    return np.asarray(output)[:count].astype(np.float32)


def _pool(pixels: np.ndarray, axis: int, largest: int) -> np.ndarray:
    """Average-pool one axis adaptively to at most ``largest`` positions."""
    size = pixels.shape[axis]
    if size <= largest:
        return pixels
    i = np.arange(largest)
    starts, stops = i * size // largest, -(-(i + 1) * size // largest)
    position = np.arange(size)[None, :]
    inside = (position >= starts[:, None]) & (position < stops[:, None])
    weights = (inside / (stops - starts)[:, None]).astype(np.float32)
    return np.moveaxis(np.tensordot(weights, pixels, axes=(1, axis)), 0, axis)


def _size(images: np.ndarray | ImageSource) -> int:
    size = len(images) if isinstance(images, np.ndarray) else images.size
    if size < 1:
        raise ValueError("there are no images; pass at least one")
    return size


def _batches(
    images: np.ndarray | ImageSource, size: int, batch_size: int
) -> Iterator[np.ndarray]:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    array = images if isinstance(images, np.ndarray) else images.images
    if array is not None and np.ndim(array) != 4:
        raise ValueError(f"images must be [N, H, W, C], got shape {np.shape(array)}")
    for start in range(0, size, batch_size):
        stop = min(start + batch_size, size)
        if array is not None:
            yield np.asarray(array[start:stop])
        elif not isinstance(images, np.ndarray):
            yield np.stack([_read(images, i) for i in range(start, stop)])


def _read(source: ImageSource, i: int) -> np.ndarray:
    image, shape = np.asarray(source.read(i)[0]), tuple(source.image_shape)
    if image.shape != shape:
        raise ValueError(
            f"image {i} has shape {image.shape}, but its source's image_shape is "
            f"{shape}; resize all images to one [H, W, C] in the source"
        )
    return image
