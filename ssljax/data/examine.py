"""What a file says of its image without decoding it, from one look at both ends."""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from ssljax.data.complete import is_whole
from ssljax.data.decode import SIDES, decode
from ssljax.data.opening import (
    Unreachable,
    check_file,
    open_image,
    unreadable,
    upright_size,
)
from ssljax.data.plain_headers import plain_header

_ENDS = 4096  # bytes of a file's beginning and of its end


class Facts(NamedTuple):
    """What is known of a file.

    Attributes:
        width: pixels after orientation; 0 if it cannot be read.
        height: likewise.
        mark: 64 bits of its size, beginning and end: the same for all copies.
        reason: why it cannot be read, None if it can.
        reached: whether it could be opened.
    """

    width: int
    height: int
    mark: int
    reason: str | None = None
    reached: bool = True


def examine(path: str) -> Facts:
    """Read an image's size and mark, and check that its file is complete.

    A file that ends as its format demands is complete. Any other end, of a motion photo
    or after padding, is a reason to decode it, which decides.

    Args:
        path: the file.

    Returns:
        The facts; a file that cannot be opened or read has a reason.
    """
    mark = None
    try:
        found = os.stat(path)
        check_file(found)
        length = found.st_size
        with open(path, "rb", buffering=0) as file:
            head, tail = file.read(_ENDS), b""
            if length > _ENDS:
                file.seek(max(_ENDS, length - _ENDS))
                tail = file.read(_ENDS)

            def read(start: int, count: int) -> bytes:
                if start + count <= len(head):
                    return head[start : start + count]
                if start >= length - len(tail):
                    return tail[start - (length - len(tail)) :][:count]
                file.seek(start)
                return file.read(count)

            mark = _mark(f"{length} ".encode() + head + tail)
            plain, tags = plain_header(head), None
            if plain is None:
                with open_image(path) as image:
                    plain = image.format, *upright_size(image)
                    tags = getattr(image, "tag_v2", None)
            kind, width, height = plain
            whole = is_whole(kind, tags, read, length)
        if not whole:
            # At a small size, which a JPEG need not be decoded in full for.
            decode(path, size=SIDES[0])
    except Exception as error:  # Pillow's plugins raise almost anything
        why = unreadable(error)
        if mark is None:  # until a file can be opened, its name decides on its split
            mark = _mark(os.fsencode(os.path.basename(path)))
        return Facts(0, 0, mark, str(why), not isinstance(why, Unreachable))
    return Facts(width, height, mark)


def digest(path: str | Path) -> bytes | None:
    """Return a digest of all of a file, None if it cannot be read."""
    try:
        check_file(os.stat(path))
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except (OSError, Unreachable):
        return None


def _mark(content: bytes) -> int:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
