"""Extract frozen features of images, and the raw-pixel baseline."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

Encoder = Callable[[np.ndarray], jax.Array | np.ndarray]


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


class Extracted(NamedTuple):
    """Features of the same images by several encoders."""

    features: dict[str, np.ndarray]
    """Each float32 ``[N, F]``, in the order of the images."""
    labels: np.ndarray | None
    """int32 ``[N]``, if the images were read together with their labels."""


def extract(
    encode: Encoder, images: np.ndarray | ImageSource, *, batch_size: int = 512
) -> np.ndarray:
    """Extract the features of every image; see `extract_all`.

    Args:
        encode: maps uint8 images ``[B, H, W, C]`` to features ``[B, F]``.
        images: uint8 ``[N, H, W, C]``, or a source with the members of `ImageSource`.
        batch_size: images per call, >= 1.

    Returns:
        float32 ``[N, F]``.

    Raises:
        ValueError: as for :func:`extract_all`.

    >>> images = np.zeros((5, 4, 4, 3), np.uint8)
    >>> extract(lambda x: x.mean(axis=(1, 2)), images, batch_size=2).shape
    (5, 3)
    """
    return extract_all({"": encode}, images, batch_size=batch_size).features[""]


def extract_all(
    encoders: Mapping[str, Encoder],
    images: np.ndarray | ImageSource,
    *,
    batch_size: int = 512,
    allocate: Callable[[str, tuple[int, int]], np.ndarray] | None = None,
    done: Callable[[int], object] = lambda count: None,
) -> Extracted:
    """Extract features by several encoders while the images are read once, in order.

    Every batch has ``batch_size`` rows (the last one is filled up with copies of its
    final image), so that a jitted encoder compiles once for all sets of one image
    size. Encoders are not jitted here: jitting a closure would make the parameters
    constants of the program and compile it again after every epoch. Pass
    ``lambda x: apply(variables, x)`` with a jitted ``apply``.

    Args:
        encoders: each maps uint8 images ``[B, H, W, C]`` to features ``[B, F]``;
            without randomness, and each row a function of its own image only
            (BatchNorm with running statistics).
        images: uint8 ``[N, H, W, C]``, or a source with the members of `ImageSource`.
            The next batch of a source is read while the encoders run.
        batch_size: images per call, >= 1.
        allocate: returns the float32 array for the features of a name, given its
            shape, such as a file mapped into memory; None takes memory.
        done: called after every batch with its number of images.

    Returns:
        The features, and the labels if the source's ``read_many`` gives them.

    Raises:
        ValueError: if there are no images, their shapes differ or are not
            ``[H, W, C]``, ``batch_size`` is below 1, or an encoder does not return
            one feature row per image.

    >>> images = np.zeros((5, 4, 4, 3), np.uint8)
    >>> mean = {"mean": lambda x: x.mean(axis=(1, 2))}
    >>> extract_all(mean, images, batch_size=2).features["mean"].shape
    (5, 3)
    """
    size = _size(images)
    features: dict[str, np.ndarray] = {}
    found: list[np.ndarray] = []
    # Fetched one batch late, so that the device does not wait for the host.
    pending: list[tuple[str, Any, slice]] = []

    def fetch() -> None:
        for name, output, place in pending:
            rows = np.asarray(output)[: place.stop - place.start]
            if name not in features:
                shape = (size, rows.shape[1])
                made = allocate(name, shape) if allocate else np.empty(shape, "f4")
                features[name] = made
            features[name][place] = rows.astype(np.float32)
        pending.clear()

    first = 0
    for batch, labels in _batches(images, size, batch_size):
        count = len(batch)
        place, first = slice(first, first + count), first + count
        if labels is not None:
            found.append(labels)
        if count < batch_size:
            batch = np.concatenate(
                [batch, np.repeat(batch[-1:], batch_size - count, 0)]
            )
        outputs = {name: encode(batch) for name, encode in encoders.items()}
        for output in outputs.values():
            if output.ndim != 2 or output.shape[0] != batch_size:
                raise ValueError(
                    f"encode returned shape {tuple(output.shape)} for {batch_size} "
                    "images; it must return one feature row per image, "
                    f"[{batch_size}, F]"
                )
        fetch()
        pending += [(name, output, place) for name, output in outputs.items()]
        done(count)
    fetch()
    return Extracted(features, np.concatenate(found) if found else None)


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
    for batch, _ in _batches(images, _size(images), batch_size):
        pixels = batch.astype(np.float32) / 255.0
        pixels = _pool(_pool(pixels, 1, largest), 2, largest)
        rows.append(pixels.reshape(len(pixels), -1))
    return np.concatenate(rows)


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
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield images and, where they are read together, their labels."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    array = images if isinstance(images, np.ndarray) else images.images
    if array is not None and np.ndim(array) != 4:
        raise ValueError(f"images must be [N, H, W, C], got shape {np.shape(array)}")
    spans = [
        np.arange(start, min(start + batch_size, size))
        for start in range(0, size, batch_size)
    ]
    if array is not None:
        for span in spans:
            yield np.asarray(array[span[0] : span[-1] + 1]), None
    elif not isinstance(images, np.ndarray):
        # One batch ahead: decoding takes longer than encoding on an accelerator.
        with ThreadPoolExecutor(1) as reader:
            ahead = reader.submit(_read, images, spans[0])
            for span in [*spans[1:], None]:
                batch = ahead.result()
                if span is not None:
                    ahead = reader.submit(_read, images, span)
                yield batch


def _read(
    source: ImageSource, indices: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    # A source of the package decodes a batch in threads and says what it replaced.
    take = getattr(source, "take", None)
    if take is not None:
        return take(indices)
    rows = [np.asarray(source.read(i)[0]) for i in indices.tolist()]
    shape = tuple(source.image_shape)
    for i, image in zip(indices, rows, strict=True):
        if image.shape != shape:
            raise ValueError(
                f"image {i} has shape {image.shape}, but its source's image_shape is "
                f"{shape}; resize all images to one [H, W, C] in the source"
            )
    return np.stack(rows), None
