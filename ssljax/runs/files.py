"""Read and write the small files of a run: whole or not at all, in strict JSON."""

import contextlib
import errno
import json
import math
import os
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax.config.checks import ConfigError
from ssljax.config.paths import as_path, first_line, in_bucket

TRIAL = ".ssljax."
"""How the names of files begin that are written to see whether they can be."""


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Replace a file in one move, so that a kill leaves the old or the new content.

    Args:
        path: the file; its folder is created.
        content: bytes, or text that becomes UTF-8. File names that are not text
            (surrogate escapes) keep their bytes.
    """
    path = as_path(path)
    data = content
    if isinstance(data, str):
        data = data.encode("utf-8", errors="surrogateescape")
    if in_bucket(path):
        # An object appears whole, when it is closed.
        with refused_by_bucket(path):
            path.write_bytes(data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since a rename across file systems is a copy.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            # Without it, a power cut after the renaming can leave an empty file.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def move_folder(source: Path, target: Path) -> None:
    """Move a folder to a place where there is none.

    On a bucket every object is copied, and deleted once all are: a kill leaves both
    folders, and the new one may lack objects.
    """
    if not in_bucket(source):
        os.rename(source, target)
        return
    import fsspec

    with refused_by_bucket(source):
        places, root = fsspec.url_to_fs(str(source))
        _, other = fsspec.url_to_fs(str(target))
        for name in places.find(root):
            places.cp_file(name, f"{other}{name.removeprefix(root)}")
        places.rm(root, recursive=True)


@contextlib.contextmanager
def refused_by_bucket(path: Path) -> Iterator[None]:
    """Raise the errors of a bucket's library, of types of its own, as `OSError`."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, first_line(error), str(path)) from error


def why_unwritable(path: str | os.PathLike[str], *, folder: bool) -> str | None:
    """Return why a file or a folder cannot be written later, None if it can.

    Nothing stays behind: a folder that is missing is not created, and its nearest
    existing parent is tried instead.

    >>> why_unwritable("/dev/null/page.html", folder=False)
    '/dev/null is a file, not a folder'
    """
    path = as_path(path)
    if in_bucket(path):
        trial = (path if folder else path.parent) / f"{TRIAL}{uuid.uuid4().hex[:8]}"
        try:
            with refused_by_bucket(path):
                trial.write_bytes(b"\n")
                trial.unlink()
        except FileNotFoundError:
            return "there is no such bucket"
        except OSError as error:
            return reason_of(error)
        return None
    path = path.absolute()
    try:
        if not folder and path.is_dir():
            return f"{path} is a folder, not a file"
        if not folder and path.exists() and not os.access(path, os.W_OK):
            return f"{path} is read-only"
        place = path if folder else path.parent
        while not place.exists():
            place = place.parent
        if not place.is_dir():
            return f"{place} is a file, not a folder"
        # A question about permissions would not say why they are refused.
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        return reason_of(error)
    return None


def reason_of(error: OSError) -> str:
    """Return the system's words for an error, such as ``No space left on device``."""
    return error.strerror or " ".join(str(error).split()) or "input/output error"


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Replace a file by a value as strict, indented JSON."""
    text = json.dumps(plain(value), indent=2, allow_nan=False)
    write_atomically(path, text + "\n")


def json_lines(records: Iterable[Mapping[str, Any]]) -> str:
    """Return records as strict JSON, one a line.

    >>> json_lines([{"step": 1, "loss": float("nan")}])
    '{"step": 1, "loss": null}\\n'
    """
    return "".join(json.dumps(plain(r), allow_nan=False) + "\n" for r in records)


def read_text(path: Path, *, errors: str = "strict") -> str:
    """Return a file's content as text; ``errors`` is for bytes that are not UTF-8."""
    if in_bucket(path):  # where a path takes no ``errors``
        return path.read_bytes().decode("utf-8", errors=errors)
    return path.read_text("utf-8", errors=errors)


def read_object(path: Path, notes: list[str] | None = None) -> dict[str, Any]:
    """Return the JSON object in a file, empty if it is missing or damaged.

    Args:
        path: the file.
        notes: gets a sentence about a file that is damaged or cannot be read. None
            refuses one that cannot be read.

    Raises:
        ConfigError: if an existing file cannot be read and ``notes`` is None.
    """
    try:
        value = json.loads(read_text(path))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and notes is None:
            # The content may be intact, and a caller would write an empty record over
            # it or take unknown data for the run's.
            raise ConfigError(
                f"{path} cannot be read ({reason_of(error)}); make it readable again"
            ) from error
        if notes is not None:
            notes.append(f"{path.name} could not be read and was ignored: {error}")
        return {}
    if isinstance(value, dict):
        return value
    if notes is not None:
        notes.append(f"{path.name} is not a JSON object and was ignored.")
    return {}


def read_json_lines(path: Path, notes: list[str] | None = None) -> list[dict[str, Any]]:
    """Return the objects of a JSON-lines file, without a half-written last line.

    Args:
        path: the file; a missing one counts as empty.
        notes: gets a sentence that counts the damaged lines, which are left out. None
            refuses them.

    Raises:
        ConfigError: if a line before the last is damaged and ``notes`` is None.
    """
    try:
        lines = read_text(path, errors="replace").split("\n")
    except FileNotFoundError:
        return []
    records, damaged = [], 0
    # Only the line feed makes a line whole: "12" may be the start of "123".
    for number, line in enumerate(lines[:-1], start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("not an object")
        except ValueError as error:
            if notes is None:
                raise ConfigError(
                    f"{path} line {number} is damaged; remove the line to continue"
                ) from error
            damaged += 1
            continue
        records.append(record)
    if damaged and notes is not None:
        lines_are = (
            "1 damaged line was" if damaged == 1 else f"{damaged} damaged lines were"
        )
        notes.append(f"{path.name}: {lines_are} left out.")
    return records


def plain(value: Any) -> Any:
    """Return a value as strict JSON can hold it; NaN and infinity become None.

    Arrays and their scalars become lists, floats and ints; records
    (`ssljax.runs.records`) become the objects that their files hold.

    >>> plain({"loss": np.float32(0.5), "panel": np.array([1.0, np.nan])})
    {'loss': 0.5, 'panel': [1.0, None]}
    """
    if hasattr(value, "as_object"):
        return plain(value.as_object())
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.asarray(value)
        # bfloat16 has no Python scalar of its own; float32 holds it exactly.
        if array.dtype.kind == "V":
            array = array.astype(np.float32)
        return plain(array.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return str(value)
    return value
