"""Decode images, from bytes or files, to uint8 pixels of one size."""

import errno
import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ssljax.data.depth import Extremes, Levels, extremes, is_deep, to_eight_bits

SIDES = (32, 64, 96, 224)  # target sizes of data sets whose image sizes vary
# Where Pillow itself refuses, at twice the size at which it warns of a bomb: photos and
# panoramas have up to 180 megapixels.
MAX_PIXELS = 178_956_970
_TEXT_BYTES = 64 * 2**20  # of a PNG's text and colour profile
# One line for each such photo would drown a run's own; it is read without orientation.
warnings.filterwarnings("ignore", "Corrupt EXIF data", UserWarning, r"PIL\.")


class UnreadableImage(ValueError):
    """An image cannot be decoded; the message is the reason."""


class Unreachable(UnreadableImage):
    """An image file cannot be opened: missing, forbidden, or on a failing disk."""


def threads() -> int:
    """Return how many threads decode: the cores this process may use, at most 16."""
    cores = (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )
    return min(cores, 16)


def parallel_map(function, items) -> list:
    """Compute ``list(map(function, items))`` in threads.

    Threads help because Pillow releases the interpreter lock while it decodes.

    >>> parallel_map(abs, [-1, 2])
    [1, 2]
    """
    items = list(items)
    if len(items) < 8 or threads() == 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads()) as pool:
        # Executor.map submits one future per item; a CIFAR image is too small for that.
        chunk = max(1, min(256, len(items) // (4 * threads())))
        parts = [items[i : i + chunk] for i in range(0, len(items), chunk)]
        done = pool.map(lambda part: [function(item) for item in part], parts)
        return [result for part in done for result in part]


def decode(
    data: bytes | str | Path,
    *,
    size: int | None,
    channels: int = 3,
    levels: Levels | None = None,
) -> np.ndarray:
    """Decode one image of any format.

    Palettes, CMYK, 16-bit and floating-point images become 8-bit. Transparency is
    composited on white, the EXIF orientation is applied, and an animation gives its
    first frame. Colour profiles are ignored.

    Args:
        data: the encoded bytes, or the path of a file.
        size: side of the result: the shorter side is resized to it with antialiased
            bicubic interpolation, then the centre is cropped. None keeps the size.
        channels: 3 for RGB or 1 for grey.
        levels: which value is white in images of more than 8 bits.

    Returns:
        uint8 ``[H, W, channels]``.

    Raises:
        UnreadableImage: if the image cannot be decoded; `Unreachable` if its file
            cannot be opened.
    """
    try:
        with open_image(data) as image:
            if size is not None and image.format == "JPEG":
                # The JPEG decoder may drop resolution that the resize would discard;
                # twice the target leaves the rest to the antialiasing filter.
                image.draft(None, (2 * size, 2 * size))
            plain = eight_bit(image, "RGB" if channels == 3 else "L", levels)
            # Afterwards, as a PNG may have its EXIF data behind the pixels.
            plain = upright(plain, orientation_of(image))
    except Exception as error:  # Pillow's plugins raise almost anything
        raise unreadable(error) from error
    if size is not None:
        plain = _fit(plain, size)
    pixels = np.asarray(plain)
    return pixels if channels == 3 else pixels[..., None]


def header_size(data: bytes | str | Path) -> tuple[int, int]:
    """Read ``(width, height)`` after orientation, from the header alone.

    Raises:
        UnreadableImage: if it is not an image, too large or of size zero.
    """
    return _header(data)[:2]


def probe(path: str | Path) -> tuple[int, int]:
    """Read ``(width, height)`` of a file and check that the file is complete.

    A JPEG, PNG or WebP file that ends as its format demands is complete. Any other end,
    of a motion photo or after padding, is a reason to decode it, which decides.

    Raises:
        UnreadableImage: if it is not an image, too large, empty or truncated.
    """
    width, height, kind = _header(path)
    if not _is_whole(Path(path), kind):
        # At a small size, which a JPEG need not be decoded in full for.
        decode(path, size=SIDES[0])
    return width, height


def extremes_of(path: str | Path) -> Extremes | None:
    """Read an image's smallest and largest value; None if it has 8 bits or less.

    Raises:
        UnreadableImage: if the image cannot be decoded.
    """
    try:
        with open_image(path) as image:
            return extremes(image) if is_deep(image) else None
    except Exception as error:  # Pillow's plugins raise almost anything
        raise unreadable(error) from error


def _header(data: bytes | str | Path) -> tuple[int, int, str | None]:
    try:
        with open_image(data) as image:
            width, height = image.size
            # Pillow decodes a whole PNG to look for EXIF data behind the pixels.
            cheap = image.format != "PNG" or "exif" in image.info
            if cheap and orientation_of(image) >= 5:  # it lies on its side
                width, height = height, width
            return width, height, image.format
    except Exception as error:  # Pillow's plugins raise almost anything
        raise unreadable(error) from error


def open_image(data: bytes | str | Path):
    """Open an image whose header is fine; Pillow's limits are set to those here."""
    from PIL import Image, PngImagePlugin

    # Both are Pillow's for the whole process; they are only ever raised.
    PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, _TEXT_BYTES)
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, MAX_PIXELS)
    image = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data)
    try:
        _check_header(image)
    except UnreadableImage:
        image.close()
        raise
    return image


def orientation_of(image) -> int:
    """Return EXIF's orientation, 1 to 8; what cannot be understood means none."""
    try:
        found = image.getexif().get(274, 1)
        found = found[0] if isinstance(found, tuple | bytes) else found
        found = int(found)
    except Exception:  # damaged metadata raise almost anything, the pixels are fine
        return 1
    return found if 1 <= found <= 8 else 1


def upright(image, orientation: int):
    """Turn an image as an EXIF orientation asks."""
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    turn = turns.get(orientation)
    return image if turn is None else image.transpose(turn)


def choose_size(shorter_sides: list[int]) -> int:
    """Choose the largest of 32, 64, 96 and 224 not above the median shorter side.

    >>> choose_size([500, 375, 80])
    224
    >>> choose_size([20])
    32
    """
    median = float(np.median(shorter_sides))
    return max((side for side in SIDES if side <= median), default=SIDES[0])


def resize_many(images: np.ndarray, size: int) -> np.ndarray:
    """Resize and centre-crop an array of images to uint8 ``[N, size, size, C]``."""
    from PIL import Image

    def one(pixels: np.ndarray) -> np.ndarray:
        # Pillow takes 1, 3 or 4 channels; one at a time works for any number.
        planes = [
            np.asarray(_fit(Image.fromarray(np.ascontiguousarray(plane)), size))
            for plane in np.moveaxis(pixels, -1, 0)
        ]
        return np.stack(planes, axis=-1)

    return np.stack(parallel_map(one, images))


def _check_header(image) -> None:
    width, height = image.size
    if width < 1 or height < 1:
        raise UnreadableImage("image has size zero")
    if width * height > MAX_PIXELS:
        raise UnreadableImage(f"decompression bomb: {width} x {height} pixels")


def _is_whole(path: Path, kind: str | None) -> bool:
    """Check whether a file ends as its format demands."""
    length = path.stat().st_size
    with open(path, "rb") as file:
        if kind == "WEBP":
            # RIFF: bytes 4 to 7 have the length of what follows them.
            return length >= int.from_bytes(file.read(8)[4:], "little") + 8
        if kind not in ("JPEG", "PNG"):
            return True
        file.seek(max(0, length - 32))
        tail = file.read()
    return (b"\xff\xd9" if kind == "JPEG" else b"IEND") in tail


def eight_bit(image, mode: str, levels: Levels | None):
    """Convert an image of any mode to ``"RGB"`` or ``"L"``, on white."""
    from PIL import Image

    if is_deep(image):
        image = to_eight_bits(image, levels)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert(mode)


def _fit(image, size: int):
    """Resize the shorter side to ``size`` and crop the centre, in one resampling."""
    from PIL import Image

    width, height = image.size
    if (width, height) == (size, size):
        return image
    side = min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return image.resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side)
    )


def unreadable(error: Exception) -> UnreadableImage:
    """Turn any exception of Pillow into one line that is the same every time."""
    # Pillow's own OSErrors have no number, and damaged offsets give "invalid argument".
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return Unreachable(error.strerror or "input/output error")
    if type(error).__name__.startswith("DecompressionBomb"):
        return UnreadableImage(f"decompression bomb: more than {MAX_PIXELS:,} pixels")
    # Pillow's message has the buffer's address, which differs from run to run.
    text = str(error).splitlines()[0] if str(error) else "damaged image"
    unknown = text.startswith("cannot identify")
    return UnreadableImage("not an image" if unknown else text)
