"""Reading encoded images by index, and holding a whole set in memory or not."""

from dataclasses import dataclass

import numpy as np

from ssljax.data import decode
from ssljax.data.source import MEMORY_LIMIT, ArrayReader, DataError, Source, Taken

_CHUNK = 2048  # records fetched at once while a set is read into memory


@dataclass
class Reader:
    """Base of the readers of encoded images; a subclass says how to `fetch`.

    Attributes:
        count: number of images.
        image_size: side that images are fitted to; None keeps their own.
        channels: 3 or 1.
    """

    count: int
    image_size: int | None
    channels: int

    def fetch(self, indices: np.ndarray) -> list[tuple[bytes | str, int]]:
        """Encoded bytes or path, and label or -1, for every index."""
        raise NotImplementedError

    def describe(self, index: int) -> str:
        """What an image is called where it has to be named."""
        return f"image {index}"

    def __call__(self, index: int) -> tuple[np.ndarray, int]:
        images, labels, _ = self.many(np.array([index]))
        return images[0], int(labels[0])

    def many(self, indices: np.ndarray) -> Taken:
        """Images uint8 ``[B, H, W, C]``, labels int32 ``[B]``, and what was replaced.

        A file that turns out to be damaged is replaced by the next readable image of
        the same label: a pure function of the data, so every worker agrees.

        Raises:
            DataError: if a file cannot be opened, which says nothing of its content.
        """
        items = self.fetch(indices)
        decoded = decode.parallel_map(self._try_decode, items)
        replaced = []
        for place, result in enumerate(decoded):
            if isinstance(result, decode.UnreadableImage):
                index = int(indices[place])
                decoded[place] = self._replacement(index, items[place], result)
                replaced.append((self.describe(index), str(result)))
        labels = np.array([label for _, label in items], np.int32)
        return np.stack(decoded), labels, tuple(replaced)

    def decode_all(self) -> tuple[np.ndarray, np.ndarray, list[tuple[int, str]]]:
        """Every readable image, its label, and ``(index, reason)`` of the others."""
        images: np.ndarray | None = None
        labels, failed, filled = [], [], 0
        for start in range(0, self.count, _CHUNK):
            span = np.arange(start, min(start + _CHUNK, self.count))
            items = self.fetch(span)
            for index, (_, label), result in zip(
                span, items, decode.parallel_map(self._try_decode, items), strict=True
            ):
                if isinstance(result, decode.UnreadableImage):
                    failed.append((int(index), str(result)))
                    continue
                if images is None:
                    images = _room_for(self.count, result.shape)
                images[filled] = result
                labels.append(label)
                filled += 1
        if images is None:
            raise DataError(f"no image can be read; the first: {failed[0][1]}")
        return images[:filled], np.array(labels, np.int32), failed

    def _try_decode(self, item):
        try:
            return decode.decode(item[0], size=self.image_size, channels=self.channels)
        except decode.UnreadableImage as error:
            return error

    def _replacement(self, index: int, item, error: Exception) -> np.ndarray:
        label = item[1]
        for step in range(1, self.count + 1):
            # Another image in its place would hide that the disk or mount is gone.
            if isinstance(error, decode.Unreachable):
                raise DataError(f"{item[0]} cannot be opened ({error}); bring it back")
            item = self.fetch(np.array([(index + step) % self.count]))[0]
            if item[1] == label:
                result = self._try_decode(item)
                if not isinstance(result, decode.UnreadableImage):
                    return result
                error = result
        raise DataError(f"no image of class {label} can be read; the last: {error}")


def hold(
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
    """Makes the `Source` of a reader, in memory if ``store`` and its size say so."""
    decoded_bytes = reader.count * int(np.prod(image_shape))
    in_memory = store == "memory" or (store == "auto" and decoded_bytes <= MEMORY_LIMIT)
    read, images, size = reader, None, reader.count
    if in_memory:
        images, labels, failed = reader.decode_all()
        skipped += tuple((reader.describe(i), reason) for i, reason in failed)
        labelled = labelled and bool((labels >= 0).any())
        labels = labels if labelled else None
        read, size = ArrayReader(images, labels), len(images)
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


def _room_for(count: int, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.empty((count, *shape), np.uint8)
    except MemoryError:
        raise DataError(
            f"{count} images of shape {shape} do not fit into memory; use --data.store "
            "stream, fewer --data.examples or a smaller --data.image-size"
        ) from None


def size_note(size: int, what: str) -> str:
    """What `Source.note` says when the image size was chosen and not given."""
    return (
        f"{what} vary in size: resized to {size} x {size} (the largest of 32, 64, 96 "
        "and 224 not above the median shorter side); set image_size to choose"
    )
