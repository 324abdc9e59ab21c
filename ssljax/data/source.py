"""Where images come from: one `Source` whatever they were loaded from."""

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

# Above this many decoded bytes a set is streamed unless the caller says otherwise.
MEMORY_LIMIT = 2 * 2**30
# Images, labels, and name and reason of every image that another one stands for.
Taken = tuple[np.ndarray, np.ndarray, tuple[tuple[str, str], ...]]


class DataError(ValueError):
    """Data cannot be used; the message is one line that says what to do."""


@dataclass(frozen=True)
class Source:
    """A fixed, indexable set of uint8 images.

    Attributes:
        name: what it was loaded as.
        split: ``"train"``, ``"test"`` or whatever was asked for.
        size: number of images.
        image_shape: ``(height, width, channels)``, the same for every image.
        labels: int32 ``[size]`` with -1 for unlabelled; None when there are no labels
            at all, or when they are read together with the images.
        class_names: names in label order, where known.
        labelled: whether at least some images carry a label.
        num_classes: number of classes; None when unlabelled.
        images: uint8 ``[size, H, W, C]`` when the set lives in memory, else None.
        read: ``read(i)`` gives image i, uint8 ``[H, W, C]``, and its label or -1. It
            can be pickled, so that worker processes can read too.
        skipped: ``(path, reason)`` of files that could not be read.
        note: a decision the user should hear of, such as a chosen image size.
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
        """Reads many images at once, in threads where they have to be decoded.

        An image whose content is damaged is replaced by the next readable one of its
        class, with a warning.

        Args:
            indices: ``[B]``, any order, repeats allowed.

        Returns:
            Images uint8 ``[B, H, W, C]`` and labels int32 ``[B]``, -1 for unlabelled.

        >>> source = from_arrays(np.zeros((3, 8, 8, 3), np.uint8))
        >>> source.take(np.array([2, 0]))[0].shape
        (2, 8, 8, 3)
        """
        images, labels, replaced = self.take_and_tell(indices)
        for name, reason in replaced:
            warn_replaced(name, reason)
        return images, labels

    def take_and_tell(self, indices: np.ndarray) -> Taken:
        """As `take`, but what was replaced is returned and there is no warning.

        >>> source = from_arrays(np.zeros((3, 8, 8, 3), np.uint8))
        >>> source.take_and_tell(np.array([2, 0]))[2]
        ()
        """
        indices = np.asarray(indices, np.int64)
        if indices.size and not 0 <= indices.min() <= indices.max() < self.size:
            raise IndexError(f"indices must be 0 to {self.size - 1}")
        if self.images is not None:
            if self.labels is None:
                return self.images[indices], np.full(len(indices), -1, np.int32), ()
            return self.images[indices], self.labels[indices], ()
        many = getattr(self.read, "many", None)  # our readers have it
        if many is not None:
            return many(indices)
        pairs = [self.read(int(index)) for index in indices]
        labels = np.array([label for _, label in pairs], np.int32)
        return np.stack([image for image, _ in pairs]), labels, ()

    def fingerprint(self) -> str:
        """Twelve hex digits that change when the set does; cheap for any size."""
        digest = hashlib.sha256(
            repr((self.name, self.split, self.size, self.image_shape)).encode()
        )
        spread = np.linspace(0, self.size - 1, min(self.size, 32)).astype(int)
        for index in spread.tolist():
            image, label = self.read(index)
            digest.update(np.ascontiguousarray(image).tobytes())
            digest.update(repr(int(label)).encode())
        return digest.hexdigest()[:12]


def warn_replaced(name: str, reason: str) -> None:
    """Tell of an image that another one stands for; the caller's caller is shown."""
    warnings.warn(
        f"{name} cannot be read ({reason}); another of its class is used", stacklevel=3
    )


@dataclass(frozen=True)
class ArrayReader:
    """``read`` of a set that lives in memory."""

    images: np.ndarray
    labels: np.ndarray | None

    def __call__(self, index: int) -> tuple[np.ndarray, int]:
        label = -1 if self.labels is None else int(self.labels[index])
        return self.images[index], label


def from_arrays(
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    class_names: tuple[str, ...] | None = None,
    name: str = "arrays",
    split: str = "train",
) -> Source:
    """Makes a source of images that are already in memory; nothing is copied.

    Args:
        images: uint8 ``[N, H, W, C]``, or ``[N, H, W]`` for one channel.
        labels: integers ``[N]``, -1 for unlabelled; None when there are none.
        class_names: names in label order.
        name: name of the set, shown in reports.
        split: name of the split.

    Returns:
        The `Source`.

    Raises:
        DataError: for another type, a size of zero, or labels that do not fit.

    >>> source = from_arrays(np.zeros((4, 8, 8, 3), np.uint8), [0, 1, 1, 0])
    >>> source.size, source.num_classes
    (4, 2)
    """
    images = np.asarray(images)
    if images.dtype != np.uint8:
        told = f"images must be uint8 in 0..255, got {images.dtype}"
        # As uint8 they would become black, or whatever the processor makes of them.
        bad = 0 if images.dtype.kind != "f" else int((~np.isfinite(images)).sum())
        if bad:
            raise DataError(
                f"{told} with {bad} values that are NaN or infinite; find out where "
                "they come from and drop those images before converting the others"
            )
        raise DataError(
            f"{told}; convert with (255 * images).round().astype('uint8') if they "
            "lie in 0..1"
        )
    if images.ndim == 3:
        if images.shape[2] in (1, 3, 4):
            raise DataError(
                f"images of shape {images.shape} look like one image; "
                "pass images[None] for a set of one, or [N, H, W] for grey images"
            )
        images = images[..., None]
    if images.ndim != 4:
        raise DataError(
            f"images must be [N, H, W, C] or [N, H, W], got {images.ndim} dimensions"
        )
    if 0 in images.shape:
        raise DataError(f"images have size zero: shape {images.shape}")
    size, shape = len(images), images.shape[1:]
    if labels is not None:
        labels = _checked_labels(labels, size, class_names)
    labelled, num_classes = False, None
    if labels is not None and labels.max() >= 0:
        labelled = True
        num_classes = len(class_names) if class_names else int(labels.max()) + 1
    return Source(
        name=name,
        split=split,
        size=size,
        image_shape=(int(shape[0]), int(shape[1]), int(shape[2])),
        labels=labels,
        class_names=tuple(class_names) if class_names else None,
        labelled=labelled,
        num_classes=num_classes,
        images=images,
        read=ArrayReader(images, labels),
    )


def _checked_labels(labels, size: int, class_names) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.shape != (size,):
        raise DataError(f"{size} images need labels [{size}], got {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise DataError(f"labels must be integers, got {labels.dtype}")
    if labels.min() < -1:
        raise DataError(
            f"labels must be 0, 1, ... or -1 for unlabelled, got {labels.min()}"
        )
    if class_names and labels.max() >= len(class_names):
        raise DataError(
            f"label {labels.max()} has no name: class_names has {len(class_names)}"
        )
    return labels.astype(np.int32)
