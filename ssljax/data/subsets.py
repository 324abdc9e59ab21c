"""Random subsets of a source, and channel statistics measured on one."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np

from ssljax.data.file_names import file_names
from ssljax.data.host_crop import HostCrops
from ssljax.data.source import ArrayReader, DataError, Examples, Source, Views


@dataclass(frozen=True)
class SubsetReader:
    """Read a subset of a streamed set."""

    whole: Source
    indices: np.ndarray

    def __call__(self, index: int) -> tuple[np.ndarray, int]:
        return self.whole.read(int(self.indices[index]))

    def many(self, indices: np.ndarray) -> Examples:
        return self.whole.read_many(self.indices[indices])

    @property
    def named(self) -> bool:
        return getattr(self.whole.read, "named", True)

    def file_names(self) -> tuple[str, ...] | None:
        names = file_names(self.whole)
        return None if names is None else tuple(names[i] for i in self.indices)

    def stamp(self) -> str:
        """Return a digest of the whole set's stamp and the rows taken."""
        whole = getattr(self.whole.read, "stamp", str)()
        rows = np.ascontiguousarray(self.indices).tobytes()
        return hashlib.sha256(whole.encode() + rows).hexdigest()

    def pixel_sizes(self, indices: np.ndarray) -> list[tuple[int, int]]:
        return sizes_of(self.whole, self.indices[indices])

    def crops(
        self, indices: np.ndarray, numbers: np.ndarray, crops: HostCrops
    ) -> Views:
        return self.whole.read_crops(self.indices[indices], numbers, crops)


def subset_indices(size: int, n: int, *, seed: int, name: str = "set") -> np.ndarray:
    """Draw ``n`` of ``0..size-1`` without replacement, ascending, int64 ``[n]``.

    A smaller subset of the same seed is contained in every larger one.

    Raises:
        DataError: if ``n`` is not between 1 and the size.

    >>> subset_indices(5, 5, seed=0)
    array([0, 1, 2, 3, 4])
    """
    if not 1 <= n <= size:
        raise DataError(
            f"{n} examples requested from {name!r}, which has {size}; use 1 to {size}"
        )
    key = np.array([seed, 0x5B5E7], np.uint64)  # not an epoch of order.permutation
    words = np.random.Philox(key=key).random_raw(size)
    return np.sort(np.argsort(words, kind="stable")[:n])


def subset(source: Source, n: int, *, seed: int) -> Source:
    """Draw a fixed random subset, the same one as ``load(examples=n)``.

    Args:
        source: the whole set.
        n: number of images to keep, 1 to ``source.size``.
        seed: seed of the draw.

    Returns:
        A `Source` of ``n`` images in their original order.

    Raises:
        DataError: if ``n`` is not between 1 and the size.

    >>> from ssljax.data import from_arrays
    >>> subset(from_arrays(np.zeros((9, 8, 8, 3), np.uint8)), 4, seed=0).size
    4
    """
    return rows_of(source, subset_indices(source.size, n, seed=seed, name=source.name))


def rows_of(source: Source, chosen: np.ndarray) -> Source:
    """Take some images of a source, int64 ``[n]``; a streamed set stays streamed.

    >>> from ssljax.data import from_arrays
    >>> whole = from_arrays(np.zeros((9, 8, 8, 3), np.uint8))
    >>> rows_of(whole, np.array([3, 5])).size
    2
    """
    labels = None if source.labels is None else source.labels[chosen]
    labelled = source.labelled if labels is None else bool((labels >= 0).any())
    images = None if source.images is None else source.images[chosen]
    reader = (
        SubsetReader(source, chosen)
        if images is None
        else ArrayReader(images, labels, SubsetReader(source, chosen).file_names())
    )
    return replace(
        source,
        size=len(chosen),
        labels=labels,
        labelled=labelled,
        num_classes=source.num_classes if labelled else None,
        images=images,
        read=reader,
    )


def sizes_of(source: Source, indices: np.ndarray) -> list[tuple[int, int]]:
    """Return width and height of original images that can be read.

    Empty where only stored images are known: in memory, or by a user's own reader.

    >>> from ssljax.data import from_arrays
    >>> sizes_of(from_arrays(np.zeros((9, 8, 8, 3), np.uint8)), np.arange(2))
    []
    """
    read = getattr(source.read, "pixel_sizes", None)
    return [] if read is None or source.images is not None else read(indices)


def channel_statistics(
    source: Source, *, examples: int = 10_000, seed: int = 0
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure the mean and standard deviation of each channel, for normalisation.

    Args:
        source: any source; streamed images are decoded.
        examples: how many images to measure, or all of them if there are fewer.
        seed: seed of the draw of these images.

    Returns:
        ``(mean, std)``, one float per channel, for pixels scaled to ``[0, 1]``. The
        standard deviation is at least 1/255, so that dividing by it is safe.

    >>> from ssljax.data import from_arrays
    >>> channel_statistics(from_arrays(np.full((2, 8, 8, 1), 51, np.uint8)))[0]
    (0.2,)
    """
    n = min(examples, source.size)
    chosen = subset_indices(source.size, n, seed=seed, name=source.name)
    total = np.zeros(source.image_shape[2], np.int64)
    squares = np.zeros_like(total)
    for part in np.array_split(chosen, -(-n // 256)):
        # Damaged images are reported when training reaches them, not here as well.
        images = source.read_many(part).images
        pixels = images.reshape(-1, source.image_shape[2])
        # Integer sums are exact, so the result does not depend on their order.
        total += pixels.sum(axis=0, dtype=np.int64)
        squares += (pixels.astype(np.uint32) ** 2).sum(axis=0, dtype=np.int64)
    count = n * source.image_shape[0] * source.image_shape[1]
    mean = total / count / 255
    variance = np.maximum(squares / count / 255**2 - mean**2, 0)
    std = np.maximum(np.sqrt(variance), 1 / 255)
    return tuple(map(float, mean)), tuple(map(float, std))
