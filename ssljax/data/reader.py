"""Read encoded images by index, one batch at a time or the whole set into memory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from ssljax.data import decode
from ssljax.data.decode_crops import decode_crops
from ssljax.data.depth import Levels
from ssljax.data.host_crop import HostCrops
from ssljax.data.opening import Unreachable, UnreadableImage, header_size
from ssljax.data.retry import Retries, gave_up, is_transient
from ssljax.data.source import (
    MEMORY_LIMIT,
    ArrayReader,
    DataError,
    Examples,
    Source,
    Views,
)

_CHUNK = 2048  # records fetched at once while a set is read into memory


@dataclass
class Reader:
    """Base of the readers of encoded images; a subclass implements `fetch`.

    Attributes:
        count: number of images.
        image_size: side to resize and crop to; None keeps each image's size.
        channels: 3 for RGB or 1 for grey.
        levels: which value is white in images of more than 8 bits.
        named: whether `file_names` knows them without reading anything.
    """

    count: int
    image_size: int | None
    channels: int
    levels: Levels | None = field(default=None, kw_only=True)
    named: ClassVar[bool] = False

    def fetch(self, indices: np.ndarray) -> list[tuple[bytes | str, int]]:
        """Return the encoded bytes or path, and the label or -1, of every index."""
        raise NotImplementedError

    def describe(self, index: int) -> str:
        """Return the name of an image in messages."""
        return f"image {index}"

    def file_names(self) -> tuple[str, ...] | None:
        """Return the names of the images' files, None where they have none."""
        return None

    def __call__(self, index: int) -> tuple[np.ndarray, int]:
        images, labels, _ = self.many(np.array([index]))
        return images[0], int(labels[0])

    def many(self, indices: np.ndarray) -> Examples:
        """Read a batch; replace each damaged image by the next readable of its label.

        The replacement is a pure function of the data, so every worker agrees on it.

        Raises:
            DataError: if a file cannot be opened: its content may be fine, so no
                other image may take its place.
        """
        images, labels, replaced = self._read(indices, [self._decode] * len(indices))
        return Examples(np.stack(images), labels, replaced)

    def crops(
        self, indices: np.ndarray, numbers: np.ndarray, crops: HostCrops
    ) -> Views:
        """Cut the views of a batch out of the original images.

        A damaged image is replaced as by `many`; the crop of the replacement is drawn
        from the same numbers.

        Args:
            indices: ``[B]``.
            numbers: ``[B, views, 22]``, see `HostCrops.draw`.
            crops: the distribution and the size of each view.

        Raises:
            DataError: as `many`.
        """

        def cut(row: np.ndarray) -> Callable[[bytes | str], list[np.ndarray]]:
            return lambda data: decode_crops(
                data, row, crops, channels=self.channels, levels=self.levels
            )

        rows, labels, replaced = self._read(indices, [cut(row) for row in numbers])
        views = tuple(np.stack(view) for view in zip(*rows, strict=True))
        return Views(views, labels, replaced)

    def pixel_sizes(self, indices: np.ndarray) -> list[tuple[int, int]]:
        """Return width and height of the images that can be read, from headers."""

        def size(item: tuple[bytes | str, int]) -> tuple[int, int] | None:
            try:
                return header_size(item[0])
            except UnreadableImage:
                return None

        found = decode.parallel_map(size, self.fetch(indices))
        return [each for each in found if each is not None]

    def _read(
        self, indices: np.ndarray, decoders: list[Callable[[bytes | str], Any]]
    ) -> tuple[list[Any], np.ndarray, tuple[tuple[str, str], ...]]:
        """Decode each image by its own function; return results, labels, replaced."""
        items, retries = self.fetch(indices), Retries()
        pairs = zip(items, decoders, strict=True)
        decoded = decode.parallel_map(
            lambda pair: _attempt(pair[0], pair[1], retries), pairs
        )
        replaced = []
        for place, result in enumerate(decoded):
            if isinstance(result, UnreadableImage):
                index, item = int(indices[place]), items[place]
                decoded[place] = self._replacement(index, item, result, decoders[place])
                replaced.append((self.describe(index), str(result)))
        labels = np.array([label for _, label in items], np.int32)
        return decoded, labels, tuple(replaced)

    def decode_all(self) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]:
        """Decode the whole set.

        Returns:
            Every readable image, their labels, and ``(index, reason)`` of the others.

        Raises:
            DataError: if no image can be read, or they do not fit into memory.
        """
        images: np.ndarray | None = None
        labels, failed, filled, retries = [], [], 0, Retries()
        for start in range(0, self.count, _CHUNK):
            span = np.arange(start, min(start + _CHUNK, self.count))
            items = self.fetch(span)
            for index, (_, label), result in zip(
                span,
                items,
                decode.parallel_map(
                    lambda item: _attempt(item, self._decode, retries), items
                ),
                strict=True,
            ):
                if isinstance(result, UnreadableImage):
                    failed.append((int(index), str(result)))
                    continue
                # The first image shows the shape; damaged ones leave spare rows.
                if images is None:
                    images = _allocate(self.count, result.shape)
                images[filled] = result
                labels.append(label)
                filled += 1
        if images is None:
            raise DataError(
                f"none of the {self.count} images can be read; "
                f"{self.describe(failed[0][0])}: {failed[0][1]}"
            )
        return images[:filled], np.array(labels, np.int32), failed

    def _decode(self, data: bytes | str) -> np.ndarray:
        return decode.decode(
            data, size=self.image_size, channels=self.channels, levels=self.levels
        )

    def _replacement(
        self, index: int, item, error: Exception, decoder: Callable[[bytes | str], Any]
    ) -> Any:
        """Return the next readable image of the same label, searching cyclically."""
        label, retries = item[1], Retries()
        for step in range(1, self.count + 1):
            # Using another image would hide that the disk or mount is gone.
            if isinstance(error, Unreachable) and is_transient(error):
                raise gave_up(f"{item[0]} cannot be read ({error})")
            if isinstance(error, Unreachable):
                raise DataError(f"{item[0]} cannot be opened ({error}); bring it back")
            item = self.fetch(np.array([(index + step) % self.count]))[0]
            if item[1] == label:
                result = _attempt(item, decoder, retries)
                if not isinstance(result, UnreadableImage):
                    return result
                error = result
        raise DataError(
            f"no image of class {label} can be read (the last one tried: {error}); "
            "replace the damaged images"
        )


def _attempt(
    item: tuple[bytes | str, int],
    decoder: Callable[[bytes | str], Any],
    retries: Retries,
):
    """Return what the decoder makes of an item, or the error of a damaged image."""
    try:
        return retries.call(lambda: decoder(item[0]))
    except UnreadableImage as error:
        return error


def make_source(
    reader: Reader,
    *,
    name: str,
    split: str,
    image_shape: tuple[int, int, int],
    store: str,
    labels: np.ndarray | None,
    labelled: bool,
    class_names: tuple[str, ...] | None,
    num_classes: int | None,
    skipped: tuple[tuple[str, str], ...],
    note: str,
) -> Source:
    """Make the `Source` of a reader.

    Args:
        reader: reads the encoded images.
        name: name of the data set.
        split: the split that was asked for.
        image_shape: ``(height, width, channels)``.
        store: ``"memory"``, ``"stream"``, or ``"auto"``: memory if the decoded images
            take at most `MEMORY_LIMIT` bytes.
        labels: int32 ``[count]`` if known before reading, else None.
        labelled: whether any image has a label.
        class_names: names in label order, None if unknown.
        num_classes: number of classes, None if unlabelled.
        skipped: ``(name, reason)`` of the images already left out.
        note: a choice to report to the user.

    Raises:
        DataError: if the set is read into memory and that fails.
    """
    decoded_bytes = reader.count * int(np.prod(image_shape))
    in_memory = store == "memory" or (store == "auto" and decoded_bytes <= MEMORY_LIMIT)
    read, images, size = reader, None, reader.count
    if in_memory:
        images, labels, failed = reader.decode_all()
        skipped += tuple((reader.describe(i), reason) for i, reason in failed)
        labelled = labelled and bool((labels >= 0).any())
        labels = labels if labelled else None
        names = reader.file_names() if reader.named else None
        if names is not None and failed:
            left_out = {i for i, _ in failed}
            names = tuple(each for i, each in enumerate(names) if i not in left_out)
        read, size = ArrayReader(images, labels, names), len(images)
    return Source(
        name=name,
        split=split,
        size=size,
        image_shape=image_shape,
        labels=labels,
        class_names=class_names if labelled else None,
        labelled=labelled,
        num_classes=num_classes if labelled else None,
        images=images,
        read=read,
        skipped=skipped,
        note=note,
    )


def _allocate(count: int, shape: tuple[int, ...]) -> np.ndarray:
    # One array from the start: stacking decoded images would need twice the memory.
    try:
        return np.empty((count, *shape), np.uint8)
    except MemoryError:
        raise DataError(
            f"{count} images of shape {shape} do not fit into memory; use --data.store "
            "stream, fewer --data.examples or a smaller --data.image-size"
        ) from None


def chosen_size_note(size: int, what: str, sides: list[int]) -> str:
    """Return the note for an image size that was chosen from shorter sides."""
    median = float(np.median(sides))
    which = "smallest of 32, 64, 96 and 224"
    if size <= median:
        which = "largest of 32, 64, 96 and 224 not above the median"
    return (
        f"{what} are resized to {size} x {size}, the {which} (median shorter side "
        f"{median:g}); set --data.image-size to choose another"
    )
