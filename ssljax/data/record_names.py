"""The names of the files that a TFDS set was made of, where its records keep them."""

from collections.abc import Callable
from typing import Any

import numpy as np

KEYS = ("file_name", "image/file_name", "filename", "image/filename")
"""Features that hold the names; the first is that of ``imagenet2012``."""
_CHUNK = 2048  # records read at once


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
