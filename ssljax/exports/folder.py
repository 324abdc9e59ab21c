"""The folder of an export: written whole or not at all, in place of an earlier one."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from ssljax.config.checks import ConfigError
from ssljax.runs import files

RECORD = "ssljax.json"
"""The file of an export that describes it."""


def sha256(content: bytes) -> str:
    """Return the digest of a file's content, in hexadecimal.

    >>> sha256(b"")[:8]
    'e3b0c442'
    """
    return hashlib.sha256(content).hexdigest()


def check_place(place: Path) -> None:
    """Refuse a folder whose content is not an earlier export, or that is read-only.

    Raises:
        ConfigError: the line says which.
    """
    why = files.why_unwritable(place, folder=True)
    if why is not None:
        raise ConfigError(f"{place} cannot be written ({why}); use another --out")
    if place.is_dir() and any(place.iterdir()) and not (place / RECORD).is_file():
        raise ConfigError(
            f"{place} is not empty and holds no export (no {RECORD}); use another --out"
        )


def replace_folder(place: Path, written: Mapping[str, bytes]) -> None:
    """Write a folder whole or not at all, in place of an earlier one.

    Args:
        place: the folder.
        written: content by the name of the file.

    Raises:
        ConfigError: if the disk refuses; the earlier folder is then as it was.
    """
    name = f".{place.name}.{uuid.uuid4().hex[:8]}"
    new, old = place.with_name(name), place.with_name(f"{name}.old")
    try:
        for file, content in written.items():
            files.write_atomically(new / file, content)
        if place.exists():
            os.rename(place, old)
        os.rename(new, place)
    except OSError as error:
        raise ConfigError(
            f"{place} cannot be written ({files.reason_of(error)}); free some space or "
            "use another --out"
        ) from error
    finally:
        if old.exists() and not place.exists():
            os.rename(old, place)
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
