"""Whether a file ends as its format demands: cheap where decoding it is not."""

from collections.abc import Callable
from typing import Any

import numpy as np

Read = Callable[[int, int], bytes]  # the bytes from a place on, at most so many

_TAIL = 32  # bytes in which an end marker is looked for
_MARKERS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}


def is_whole(kind: str | None, tags: Any, read: Read, length: int) -> bool:
    """Return whether a file has all that its format demands.

    False is only a reason to decode it: a motion photo and a padded file have
    other ends.

    Args:
        kind: Pillow's name of the format.
        tags: of a TIFF file.
        read: returns bytes of the file, from a position and of a number.
        length: bytes of the file.
    """
    if kind in _MARKERS:
        return _MARKERS[kind] in read(max(0, length - _TAIL), _TAIL)
    if kind == "GIF":
        return read(max(0, length - _TAIL), _TAIL).rstrip(b"\0").endswith(b";")
    if kind == "WEBP":  # RIFF: bytes 4 to 7 have the length of what follows them
        return length >= int.from_bytes(read(4, 4), "little") + 8
    if kind == "BMP":  # bytes 2 to 5 have the length of the file, if they have anything
        return length >= int.from_bytes(read(2, 4), "little") > 0
    if kind == "AVIF":
        return _boxes_fit(read, length)
    if kind == "TIFF":
        return _strips_fit(tags, length)
    return False


def _boxes_fit(read: Read, length: int) -> bool:
    """Follow the boxes of an ISO media file, each of which begins with its length."""
    place = 0
    while place < length:
        head = read(place, 16)
        size = int.from_bytes(head[:4], "big")
        if size == 1:  # 64 bits follow
            size = int.from_bytes(head[8:16], "big")
        if size < 8:  # also 0, the rest of the file, however long that should be
            return False
        place += size
    return place == length


def _strips_fit(tags: Any, length: int) -> bool:
    """Check that the parts of a TIFF file's first page lie inside of the file."""
    for starts, sizes in ((273, 279), (324, 325)):  # strips, tiles
        if starts in tags and sizes in tags:
            parts = zip(np.ravel(tags[starts]), np.ravel(tags[sizes]), strict=False)
            return all(start + size <= length for start, size in parts)
    return False
