"""Decode crops of an image: each is cut out of the original and resized once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssljax.data.decode import eight_bit, upright
from ssljax.data.depth import Levels
from ssljax.data.host_crop import Box, HostCrops
from ssljax.data.opening import open_image, orientation, unreadable
from ssljax.data.presets import Interpolation

_DCT_SCALES = (8, 4, 2, 1)  # the reductions that libjpeg decodes at directly


def decode_crops(
    data: bytes | str | Path,
    numbers: np.ndarray,
    crops: HostCrops,
    *,
    channels: int = 3,
    levels: Levels | None = None,
) -> list[np.ndarray]:
    """Decode an image once and cut its views out of it.

    Pixels become 8-bit and upright as in `ssljax.data.decode.decode`. A JPEG is decoded
    at a half, a quarter or an eighth if no crop is then smaller than its view. As in
    torchvision and on the device, the box is cut out before it is resized with the
    view's antialiased filter, so that pixels outside have no influence.

    Args:
        data: the encoded bytes, or the path of a file.
        numbers: the image's random numbers, ``[views, 22]``, see `HostCrops.draw`.
        crops: the distribution and the size of each view.
        channels: 3 for RGB or 1 for grey.
        levels: which value is white in images of more than 8 bits.

    Returns:
        For each view uint8 ``[size, size, channels]``.

    Raises:
        UnreadableImage: if the image cannot be decoded; `Unreachable` if its file
            cannot be opened.
    """
    try:
        with open_image(data) as image:
            jpeg = image.format == "JPEG"
            # Only a JPEG's boxes are needed before its pixels are decoded. Another
            # format's size is asked later: a PNG may have its EXIF data at the end.
            boxes, reduction = None, 1
            if jpeg:
                lies = orientation(image) >= 5
                width, height = image.size[::-1] if lies else image.size
                boxes = crops.boxes(numbers, height=height, width=width)
                reduction = _reduce(image, boxes, crops.sizes)
            plain = eight_bit(image, "RGB" if channels == 3 else "L", levels)
            plain = upright(plain, orientation(image))
    except Exception as error:  # Pillow's plugins raise almost anything
        raise unreadable(error) from error
    if boxes is None:
        boxes = crops.boxes(numbers, height=plain.height, width=plain.width)
    pixels = [
        np.asarray(_cut(plain, box, reduction, size, view.interpolation))
        for box, size, view in zip(boxes, crops.sizes, crops.views, strict=True)
    ]
    return pixels if channels == 3 else [plane[..., None] for plane in pixels]


def dct_scale(boxes: Sequence[Box], sizes: Sequence[int]) -> int:
    """Return the largest reduction, 8, 4, 2 or 1, that leaves every crop large enough.

    Args:
        boxes: in pixels of the original.
        sizes: side of each box's view.

    >>> dct_scale([Box(0, 0, 900, 1000)], [224])
    4
    """
    room = min(
        min(box.height, box.width) / size
        for box, size in zip(boxes, sizes, strict=True)
    )
    return next((scale for scale in _DCT_SCALES if scale <= room), 1)


def _reduce(image, boxes: Sequence[Box], sizes: Sequence[int]) -> int:
    """Have a JPEG decoded at a fraction of its size, and return the reduction."""
    scale = dct_scale(boxes, sizes)
    if scale == 1:
        return 1
    width, height = image.size
    done = image.draft(None, (max(1, width // scale), max(1, height // scale)))
    # A file that cannot be decoded at a fraction keeps its size.
    return 1 if done is None else round(width / done[1][2])


def _cut(image, box: Box, reduction: int, size: int, interpolation: Interpolation):
    from PIL import Image

    left, top = box.x / reduction, box.y / reduction
    right, bottom = left + box.width / reduction, top + box.height / reduction
    # Pillow's filter would reach over the edges of a box, but not of an image.
    x, y = int(left), int(top)
    part = image.crop(
        (
            x,
            y,
            min(-int(-right // 1), image.width),
            min(-int(-bottom // 1), image.height),
        )
    )
    inner = (
        left - x,
        top - y,
        min(right - x, part.width),
        min(bottom - y, part.height),
    )
    return part.resize((size, size), Image.Resampling[interpolation.upper()], box=inner)
