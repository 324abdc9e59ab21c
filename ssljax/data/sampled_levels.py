"""Choose the scale of images of more than 8 bits from a sample of a data set."""

from collections.abc import Sequence
from pathlib import Path

from ssljax.data.decode import parallel_map
from ssljax.data.depth import (
    Extremes,
    Levels,
    choose_levels,
    extremes,
    is_deep,
    levels_note,
)
from ssljax.data.opening import UnreadableImage, open_image, unreadable


def sampled_levels(
    images: Sequence[bytes | str | Path], name: str, notes: list[str]
) -> Levels | None:
    """Choose one scale for a data set.

    Args:
        images: a sample, encoded or as paths; those that cannot be read do not count.
        name: the data set, for messages.
        notes: receives the line that says which value is white.

    Returns:
        The scale, None if no image of the sample has more than 8 bits.

    Raises:
        DataError: where no scale fits.
    """
    deep = [each for each in parallel_map(_extremes, images) if each is not None]
    if not deep:
        return None
    levels = choose_levels(deep, name)
    notes.append(levels_note(levels, len(deep)))
    return levels


def extremes_of(image: bytes | str | Path) -> Extremes | None:
    """Read an image's smallest and largest value; None if it has 8 bits or less.

    Raises:
        UnreadableImage: if the image cannot be decoded.
    """
    try:
        with open_image(image) as opened:
            return extremes(opened) if is_deep(opened) else None
    except Exception as error:  # Pillow's plugins raise almost anything
        raise unreadable(error) from error


def _extremes(image: bytes | str | Path) -> Extremes | None:
    try:
        return extremes_of(image)
    except UnreadableImage:
        return None  # it is listed with its reason
