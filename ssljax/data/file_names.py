"""The names of the files that the images of a set come from."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ssljax.data.source import Source

KEYS = ("file_name", "image/file_name", "filename", "image/filename")
"""Features that hold the names; the first is that of ``imagenet2012``."""
_CHUNK = 2048  # records read at once


def file_names(source: Source, *, quick: bool = False) -> tuple[str, ...] | None:
    """Return the name of every image's file, None where images have no names.

    Names in a folder are paths below it.

    Args:
        source: the images.
        quick: return None for a TFDS set, whose names take a pass over its records.

    >>> from ssljax.data import from_arrays
    >>> file_names(from_arrays(np.zeros((2, 8, 8, 3), np.uint8))) is None
    True
    """
    known = getattr(source.read, "file_names", None)
    if known is None:
        return getattr(source.read, "names", None)  # of a set in memory
    if quick and not getattr(source.read, "named", True):
        return None
    return known()


def read(
    reader: Any, made: Any, open_records: Callable[[Any, str, str], Any]
) -> tuple[str, ...] | None:
    """Read the names of all images of a reader, without decoding one.

    Args:
        reader: a `ssljax.data.tfds.TfdsReader`.
        made: the TFDS builder of its set.
        open_records: opens a split of the builder for random access.

    Returns:
        One name per image, or None where the set keeps none.
    """
    key = next((key for key in KEYS if key in made.info.features), None)
    if key is None:
        return None
    records = reader.records
    if records is None:
        records = open_records(made, reader.split, reader.image_key)
    rows = reader.positions
    rows = np.arange(reader.count) if rows is None else rows
    found: list[str] = []
    for start in range(0, len(rows), _CHUNK):
        for row in records.__getitems__(rows[start : start + _CHUNK].tolist()):
            name = row[key]
            found.append(name.decode() if isinstance(name, bytes) else str(name))
    return tuple(found)
