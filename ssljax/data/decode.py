"""Decode images, from bytes or files, to uint8 pixels of one size."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ssljax.data.depth import Levels, is_deep, to_eight_bits
from ssljax.data.opening import open_image, orientation, unreadable

SIDES = (32, 64, 96, 224)  # target sizes of data sets whose image sizes vary


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
            plain = upright(plain, orientation(image))
    except Exception as error:  # Pillow's plugins raise almost anything
        raise unreadable(error) from error
    if size is not None:
        plain = _fit(plain, size)
    pixels = np.asarray(plain)
    return pixels if channels == 3 else pixels[..., None]


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
