"""The size of plain JPEG and PNG files from their first bytes, at a tenth of the cost.

Pillow parses all tables of a header, which is most of the time of listing a million
files. What is not plain here, such as a file with EXIF data, is left to it.
"""

import zlib

from ssljax.data.opening import MAX_PIXELS

_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_SCAN = 0xDA  # the pixels follow
# EXIF or XMP, which may have an orientation, and markers without a length.
_OTHERS = frozenset({0xE1, *range(0xD0, 0xDA)})


def plain_header(head: bytes) -> tuple[str, int, int] | None:
    """Return ``(format, width, height)``, or None where Pillow must look.

    Args:
        head: the first bytes of a file, some thousand.

    >>> plain_header(b"words")
    """
    if head.startswith(b"\xff\xd8\xff"):
        kind, size = "JPEG", _jpeg(head)
    elif head.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
        kind, size = "PNG", _png(head)
    else:
        return None
    if size is None or not 0 < size[0] * size[1] <= MAX_PIXELS:
        return None
    return kind, *size


def _jpeg(head: bytes) -> tuple[int, int] | None:
    """Follow the segments to the first scan; the frame's has the size."""
    place, size = 2, None
    while place + 10 <= len(head):
        if head[place] != 0xFF:
            return None
        marker = head[place + 1]
        if marker == _SCAN:
            return size
        if marker in _OTHERS or not 0xC0 <= marker <= 0xFE:
            return None
        if marker in _FRAMES:
            bits, parts = head[place + 4], head[place + 9]
            if bits != 8 or parts not in (1, 3, 4):
                return None
            height = int.from_bytes(head[place + 5 : place + 7], "big")
            size = int.from_bytes(head[place + 7 : place + 9], "big"), height
        place += 2 + int.from_bytes(head[place + 2 : place + 4], "big")
    return None


def _png(head: bytes) -> tuple[int, int] | None:
    """Read the first chunk, where no EXIF data are in sight."""
    check = int.from_bytes(head[29:33], "big")
    if b"eXIf" in head or zlib.crc32(head[12:29]) != check:
        return None
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
