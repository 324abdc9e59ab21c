"""Open an image without decoding it, and say in one line why one cannot be used."""

import errno
import io
import os
import stat
import warnings
from pathlib import Path
from typing import Any, BinaryIO

# Where Pillow itself refuses, at twice the size at which it warns of a bomb: photos and
# panoramas have up to 180 megapixels.
MAX_PIXELS = 178_956_970
_TEXT_BYTES = 64 * 2**20  # of a PNG's text and colour profile
_HEAD = 512  # bytes that say what a file is
_MAGIC = (
    *((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG", "PNG"), (b"GIF8", "GIF")),
    *((b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"RIFF", "WebP"), (b"BM", "BMP")),
)
_HEIF = (b"heic", b"heix", b"heim", b"mif1", b"msf1", b"hevc")
# One line for each such photo would drown a run's own; it is read without orientation.
warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning, r"PIL\.")


class UnreadableImage(ValueError):
    """An image cannot be decoded; the message is the reason."""


class Unreachable(UnreadableImage):
    """An image file cannot be opened: missing, forbidden, or on a failing disk."""


def open_image(data: bytes | str | Path | BinaryIO) -> Any:
    """Open an image whose header is fine; Pillow's limits are set to those here.

    Args:
        data: the encoded bytes, the path of a file, or an open file.

    Returns:
        The Pillow image, to be closed.

    Raises:
        UnreadableImage: if it is not an image, too large or of size zero.
        OSError: if the file cannot be opened.
    """
    from PIL import Image, PngImagePlugin, UnidentifiedImageError

    # Both are Pillow's for the whole process; they are only ever raised.
    PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, _TEXT_BYTES)
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_PIXELS)
    if isinstance(data, str | Path):
        check_file(os.stat(data))
    try:
        image = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)
    except UnidentifiedImageError as error:
        raise UnreadableImage(_what_it_is(_head(data))) from error
    try:
        width, height = image.size
        if width < 1 or height < 1:
            raise UnreadableImage("image has size zero")
        if width * height > MAX_PIXELS:
            raise UnreadableImage(f"decompression bomb: {width} x {height} pixels")
    except UnreadableImage:
        image.close()
        raise
    return image


def check_file(found: os.stat_result) -> None:
    """Refuse what would block when it is read, such as a pipe.

    Raises:
        Unreachable: if it is not a regular file.
    """
    if not stat.S_ISREG(found.st_mode):
        raise Unreachable("not a file but a folder, pipe, socket or device")


def upright_size(image: Any) -> tuple[int, int]:
    """Return ``(width, height)`` of an open image after orientation."""
    width, height = image.size
    if image.format == "TIFF":
        # Pillow has turned the size already, in some versions.
        width, height = image.tag_v2.get(256, width), image.tag_v2.get(257, height)
    # Pillow decodes a whole PNG to look for EXIF data behind the pixels.
    cheap = image.format != "PNG" or "exif" in image.info
    if cheap and orientation(image) >= 5:  # it lies on its side
        return height, width
    return width, height


def header_size(data: bytes | str | Path) -> tuple[int, int]:
    """Read ``(width, height)`` after orientation, from the header alone.

    Raises:
        UnreadableImage: if it is not an image, too large or of size zero.
    """
    try:
        with open_image(data) as image:
            return upright_size(image)
    except Exception as error:  # Pillow's plugins raise almost anything
        raise unreadable(error) from error


def orientation(image: Any) -> int:
    """Return EXIF's orientation, 1 to 8; what cannot be understood means none."""
    try:
        found = image.getexif().get(274, 1)
        found = found[0] if isinstance(found, tuple | bytes) else found
        found = int(found)
    except Exception:  # damaged metadata raise almost anything, the pixels are fine
        return 1
    return found if 1 <= found <= 8 else 1


def unreadable(error: Exception) -> UnreadableImage:
    """Turn any exception of Pillow into one line that is the same every time."""
    if isinstance(error, UnreadableImage):
        return error
    # Pillow's own OSErrors have no number, and damaged offsets give "invalid argument".
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return Unreachable(error.strerror or "input/output error")
    if type(error).__name__.startswith("DecompressionBomb"):
        return UnreadableImage(f"decompression bomb: more than {MAX_PIXELS:,} pixels")
    text = str(error).splitlines()[0] if str(error) else "damaged image"
    return UnreadableImage(text)


def _head(data: bytes | str | Path | BinaryIO) -> bytes:
    if isinstance(data, bytes):
        return data[:_HEAD]
    if isinstance(data, str | Path):
        with open(data, "rb") as file:
            return file.read(_HEAD)
    data.seek(0)
    return data.read(_HEAD)


def _what_it_is(head: bytes) -> str:
    """Return why bytes are not an image, from their beginning.

    >>> _what_it_is(b""), _what_it_is(b"words")
    ('empty file', 'not an image')
    """
    if not head:
        return "empty file"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head")):
        return "not an image: a web page"
    if text.startswith((b"<?xml", b"<svg")):
        return "not an image: XML or SVG"
    if text.startswith(b"version https://git-lfs"):
        return "not an image: a Git LFS pointer; run git lfs pull"
    if head[4:8] == b"ftyp":
        kind = "HEIC" if head[8:12] in _HEIF else "AVIF"
        return f"a damaged {kind} file, or a kind that Pillow cannot read"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return f"a damaged {kind} file, or a kind that Pillow cannot read"
    return "not an image"
