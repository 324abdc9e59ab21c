"""Where images come from: one `Source` whatever they were loaded from."""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ssljax.data.host_crop import HostCrops

# Above this many decoded bytes a set is streamed unless the caller says otherwise.
_LARGEST_LABEL = 2**31 - 1
MEMORY_LIMIT = 2 * 2**30


class DataError(ValueError):
    """Data cannot be used; the message is one line that says what to do."""


class Examples(NamedTuple):
    """Images read together, with their labels.

    Attributes:
        images: uint8 ``[B, H, W, C]``.
        labels: int32 ``[B]``, -1 for unlabelled.
        replaced: ``(name, reason)`` of every damaged image that was replaced by
            another one.
    """

    images: np.ndarray
    labels: np.ndarray
    replaced: tuple[tuple[str, str], ...] = ()


class Views(NamedTuple):
    """Views of images that the host cut out of the originals, with their labels.

    Attributes:
        views: for each view uint8 ``[B, S, S, C]``.
        labels: int32 ``[B]``, -1 for unlabelled.
        replaced: as in `Examples`.
    """

    views: tuple[np.ndarray, ...]
    labels: np.ndarray
    replaced: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Source:
    """A fixed, indexable set of uint8 images.

    Attributes:
        name: the name it was loaded by.
        split: the split that was asked for, such as ``"train"`` or ``"test"``.
        size: number of images.
        image_shape: ``(height, width, channels)``, the same for every image.
        labels: int32 ``[size]`` with -1 for unlabelled; None when there are no labels
            at all, or when they are read together with the images.
        class_names: names in label order, None if unknown.
        labelled: whether any image has a label.
        num_classes: number of classes; None when unlabelled.
        images: uint8 ``[size, H, W, C]`` when the set is in memory, else None.
        read: ``read(i)`` returns image i, uint8 ``[H, W, C]``, and its label or -1. It
            can be pickled, so that worker processes can read too. A reader of encoded
            images also has ``many(indices)`` and ``crops(indices, numbers, crops)``.
        skipped: ``(path, reason)`` of files that could not be read.
        note: a choice to report to the user, such as the image size; empty if none.
    """

    name: str
    split: str
    size: int
    image_shape: tuple[int, int, int]
    labels: np.ndarray | None = field(repr=False)
    class_names: tuple[str, ...] | None = field(repr=False)
    labelled: bool
    num_classes: int | None
    images: np.ndarray | None = field(repr=False)
    read: Callable[[int], tuple[np.ndarray, int]] = field(repr=False)
    skipped: tuple[tuple[str, str], ...] = ()
    note: str = ""

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read many images at once, decoding in threads.

        A damaged image is replaced by the next readable one of its class, with a
        warning.

        Args:
            indices: ``[B]``, any order, repeats allowed.

        Returns:
            Images uint8 ``[B, H, W, C]`` and labels int32 ``[B]``, -1 for unlabelled.

        >>> source = from_arrays(np.zeros((3, 8, 8, 3), np.uint8))
        >>> source.take(np.array([2, 0]))[0].shape
        (2, 8, 8, 3)
        """
        images, labels, replaced = self.read_many(indices)
        for name, reason in replaced:
            warn_about_replacement(name, reason)
        return images, labels

    def read_many(self, indices: np.ndarray) -> Examples:
        """Read as `take` does, but return the replaced images instead of warning.

        Args:
            indices: ``[B]``, any order, repeats allowed.

        >>> source = from_arrays(np.zeros((3, 8, 8, 3), np.uint8))
        >>> source.read_many(np.array([2, 0])).replaced
        ()
        """
        indices = np.asarray(indices, np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < self.size:
            raise IndexError(f"indices must be 0 to {self.size - 1}")
        if self.images is not None:
            if self.labels is None:
                unlabelled = np.full(len(indices), -1, np.int32)
                return Examples(self.images[indices], unlabelled)
            return Examples(self.images[indices], self.labels[indices])
        # Our own readers decode a batch in threads; a user's `read` need not.
        many = getattr(self.read, "many", None)
        if many is not None:
            return many(indices)
        pairs = [self.read(int(index)) for index in indices]
        labels = np.array([label for _, label in pairs], np.int32)
        return Examples(np.stack([image for image, _ in pairs]), labels)

    def read_crops(
        self, indices: np.ndarray, numbers: np.ndarray, crops: HostCrops
    ) -> Views:
        """Cut views out of the original images, where the set `has_originals`.

        Args:
            indices: ``[B]``, any order, repeats allowed.
            numbers: rows of ``crops.draw``, ``[B, views, 22]``.
            crops: the distribution and the size of each view.
        """
        read: Any = self.read
        return read.crops(np.asarray(indices, np.int64), numbers, crops)

    @property
    def has_originals(self) -> bool:
        """Whether the host can cut crops out of the original images."""
        whole = getattr(self.read, "whole", None)  # of a subset
        if isinstance(whole, Source):
            return whole.has_originals
        return self.images is None and hasattr(self.read, "crops")

    def fingerprint(self) -> str:
        """Return twelve hex digits that change when the set does; cheap at any size."""
        digest = hashlib.sha256(
            repr((self.name, self.split, self.size, self.image_shape)).encode()
        )
        # 32 evenly spaced images: reading all of a streamed set would take hours.
        spread = np.linspace(0, self.size - 1, min(self.size, 32)).astype(int)
        for index in spread.tolist():
            image, label = self.read(index)
            digest.update(np.ascontiguousarray(image).tobytes())
            digest.update(repr(int(label)).encode())
        return digest.hexdigest()[:12]


def warn_about_replacement(name: str, reason: str) -> None:
    """Warn that a damaged image was replaced; the warning shows the caller's caller."""
    warnings.warn(
        f"{name} cannot be read ({reason}); replaced by another image of the same "
        "class",
        stacklevel=3,
    )


@dataclass(frozen=True)
class ArrayReader:
    """Read single images of a set in memory."""

    images: np.ndarray
    labels: np.ndarray | None
    names: tuple[str, ...] | None = None

    def __call__(self, index: int) -> tuple[np.ndarray, int]:
        label = -1 if self.labels is None else int(self.labels[index])
        return self.images[index], label


def from_arrays(
    images: np.ndarray,
    labels: np.ndarray | Sequence[int] | None = None,
    *,
    class_names: tuple[str, ...] | None = None,
    name: str = "arrays",
    split: str = "train",
) -> Source:
    """Make a source of images that are already in memory; nothing is copied.

    Args:
        images: uint8 ``[N, H, W, C]``, or ``[N, H, W]`` for one channel.
        labels: integers ``[N]``, -1 for unlabelled; None if no image has a label.
        class_names: names in label order.
        name: name of the set, shown in reports.
        split: name of the split.

    Returns:
        The `Source`.

    Raises:
        DataError: if the images are not uint8, a size is zero, or the labels do not
            fit.

    >>> source = from_arrays(np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 1, 0])
    >>> source.size, source.num_classes
    (4, 2)
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        wrong_type = f"images must be uint8 in 0..255, got {images.dtype}"
        # Converted to uint8, NaN would become black, or any value, by processor.
        bad = 0 if images.dtype.kind != "f" else int((~np.isfinite(images)).sum())
        if bad:
            raise DataError(
                f"{wrong_type} with {bad} values that are NaN or infinite; find out "
                "where they come from and drop those images before converting the "
                "others"
            )
        raise DataError(
            f"{wrong_type}; if they lie in 0..1, convert them with "
            "(255 * images).round().astype('uint8')"
        )
    if images.ndim == 3:
        if images.shape[2] in (1, 3, 4):
            raise DataError(
                f"shape {images.shape} looks like a single image; pass "
                "images[None] for a set of one, or [N, H, W] for grey images"
            )
        images = images[..., None]
    if images.ndim != 4:
        raise DataError(
            f"images must be [N, H, W, C] or [N, H, W], got {images.ndim} dimensions"
        )
    if images.shape[1] in (1, 3, 4) and images.shape[3] > 4 < images.shape[2]:
        raise DataError(
            f"shape {images.shape} looks like [N, C, H, W]; pass "
            "images.transpose(0, 2, 3, 1)"
        )
    if 0 in images.shape:
        raise DataError(f"images have size zero: shape {images.shape}")
    size, shape = len(images), images.shape[1:]
    checked = None if labels is None else _checked_labels(labels, size, class_names)
    labelled, num_classes = False, None
    if checked is not None and checked.max() >= 0:
        labelled = True
        num_classes = len(class_names) if class_names else int(checked.max()) + 1
    return Source(
        name=name,
        split=split,
        size=size,
        image_shape=(int(shape[0]), int(shape[1]), int(shape[2])),
        labels=checked,
        class_names=tuple(class_names) if class_names else None,
        labelled=labelled,
        num_classes=num_classes,
        images=images,
        read=ArrayReader(images, checked),
    )


def _checked_labels(labels, size: int, class_names) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (size,):
        raise DataError(
            f"{size} images need labels [{size}], got {labels.shape}; "
            "pass one label per image, -1 for unlabelled"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"labels must be integers, got {labels.dtype}; "
            "convert them with labels.astype('int32')"
        )
    if labels.min() < -1:
        raise DataError(
            f"labels must be 0, 1, ... or -1 for unlabelled, got {labels.min()}"
        )
    most = int(labels.max())
    # Labels that are identifiers would make a probe of as many outputs.
    if most > _LARGEST_LABEL or not class_names and most >= 10 * max(size, 1000):
        raise DataError(
            f"{size} images have labels up to {most}; number the classes from 0 with "
            "np.unique(labels, return_inverse=True)[1], or pass class_names"
        )
    if class_names and labels.max() >= len(class_names):
        raise DataError(
            f"label {labels.max()} has no name: class_names has only "
            f"{len(class_names)}; add the missing names"
        )
    return labels.astype(np.int32)
