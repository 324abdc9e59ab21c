"""Bring images of more than 8 bits to 8, on one scale for a whole data set.

The files rarely say which of their values is white: 12-bit cameras write 16-bit files,
and floating-point images go to 1, to 255 or to 65535. `choose_levels` decides from the
largest values of a sample of the set, so that no image is scaled by its own.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ssljax.data.source import DataError

_BITS = (8, 10, 12, 14, 16, 32)
# A resized or converted image may overshoot white by rounding.
_WHITES = ((1.0, 1.01), (255.0, 256.0), (65535.0, 65536.0))
# Between these, white may be anything.
_SHADOWS = 16.0


class Levels(NamedTuple):
    """The value of white in integer and in floating-point images; None is not known."""

    integer: int | None = None
    real: float | None = None


class Extremes(NamedTuple):
    """The smallest and the largest value of an image of more than 8 bits."""

    real: bool
    low: float
    high: float


def is_deep(image: Any) -> bool:
    """Return whether a Pillow image has more than 8 bits per channel."""
    return image.mode.startswith(("I", "F"))


def values_of(image: Any) -> np.ndarray:
    """Return the values of a deep Pillow image in float64.

    Raises:
        ValueError: where they are not finite.
    """
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", None)
    # Pillow reads unsigned 32-bit TIFF files as signed. Tag 258 has the bits, 339 the
    # format, where 1, also the default, is unsigned.
    if values.dtype == np.int32 and tags is not None:
        bits, kind = (np.ravel(tags.get(tag, 0))[0] for tag in (258, 339))
        if bits == 32 and kind in (0, 1):
            values = values.view(np.uint32)
    if tags is not None and values.dtype.kind != "f" and tags.get(262) == 0:
        # White is zero, which Pillow heeds up to 8 bits.
        values = np.iinfo(values.dtype).max - values
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("pixels are not finite")
    return values


def extremes(image: Any) -> Extremes:
    """Return the smallest and the largest value of a deep Pillow image."""
    values = values_of(image)
    return Extremes(
        image.mode.startswith("F"), float(values.min()), float(values.max())
    )


def choose_levels(found: Sequence[Extremes], name: str) -> Levels:
    """Choose one scale for all images of a data set.

    Integers end at the smallest of 8, 10, 12, 14, 16 and 32 bits that holds them all,
    real numbers at 1, 255 or 65535.

    Args:
        found: of a sample of the data set's images of more than 8 bits.
        name: the data set, for messages.

    Raises:
        DataError: where no scale fits: negative values, or white between two scales.

    >>> choose_levels([Extremes(False, 0, 4000), Extremes(True, 0, 1.0000002)], "x")
    Levels(integer=4095, real=1.0)
    """
    whole = [each for each in found if not each.real]
    real = [each for each in found if each.real]
    integer = white = None
    if whole:
        _check_low(whole, name)
        high = max(each.high for each in whole)
        integer = next(2**bits - 1 for bits in _BITS if high < 2**bits)
    if real:
        _check_low(real, name)
        high = max(each.high for each in real)
        white = next((w for w, most in _WHITES if high <= most), None)
        if white is None or _WHITES[0][1] < high < _SHADOWS:
            raise DataError(
                f"images of {name} have floating-point values up to {high:g}, for "
                "which no scale is known; scale them to 0 to 1, or store 8 or 16 bits"
            )
    return Levels(integer, white)


def levels_note(levels: Levels, count: int) -> str:
    """Return the line that says which value is white."""
    parts = []
    if levels.integer is not None:
        parts.append(f"{levels.integer} in integer images")
    if levels.real is not None:
        parts.append(f"{levels.real:g} in floating-point images")
    return (
        f"images of more than 8 bits are scaled with white at {' and '.join(parts)}, "
        f"from the largest values of {count}"
    )


def to_eight_bits(image: Any, levels: Levels | None) -> Any:
    """Scale a deep Pillow image to 8 bits, where Pillow's own conversion would clip.

    Without a known level white is the largest value of 16 bits, or 1.
    """
    from PIL import Image

    real = image.mode.startswith("F")
    white = None if levels is None else levels.real if real else levels.integer
    if white is None:
        white = 1.0 if real else 65535
    scaled = np.rint(values_of(image) * (255.0 / white))
    return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))


def _check_low(found: Sequence[Extremes], name: str) -> None:
    low = min(each.low for each in found)
    if low < 0:
        raise DataError(
            f"images of {name} have values down to {low:g}, for which no scale is "
            "known; store 8 or 16 bits, or scale them to 0 to 1"
        )
