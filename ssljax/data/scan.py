"""The facts of all files of a folder, kept in the user's cache between starts.

A file whose size, times and inode are those of the last scan is not opened again. Its
time of change cannot be set, so a file that is replaced, edited, or made unreadable is
always looked at again.
"""

import hashlib
import json
import os
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ssljax.config.user_cache import user_cache
from ssljax.data.decode import parallel_map
from ssljax.data.examine import Facts, examine

FORMAT = 1  # raise it when the meaning of a fact changes
FEWEST = 2000  # files examined anew that are worth keeping: about a third of a second
# Files that are gone stay in the cache; this bounds how many.
_LARGER = 4
# Files changed this shortly before the scan may change once more at the same time.
_UNSETTLED = 2 * 10**9  # nanoseconds


@dataclass
class Scan:
    """What is known of the files of a folder.

    Attributes:
        files: paths relative to the folder, ``N`` of them.
        sizes: int32 ``[N, 2]``, width and height after orientation.
        marks: uint64 ``[N]``, the same for copies.
        reasons: why a file cannot be read, by index.
        examined: number of files that were opened.
    """

    files: list[str]
    sizes: np.ndarray
    marks: np.ndarray
    reasons: dict[int, str]
    examined: int

    @cached_property
    def at(self) -> dict[str, int]:
        """The index of each file."""
        return {file: i for i, file in enumerate(self.files)}


@dataclass
class _Kept:
    """A scan as it is kept, with the stamps of its files."""

    files: list[str]
    stamps: np.ndarray
    sizes: np.ndarray
    marks: np.ndarray
    reasons: dict[int, str]


def scan(root: Path, files: Sequence[str]) -> Scan:
    """Examine files, or take what the last scan found where they are the same.

    Args:
        root: the folder.
        files: paths relative to it, each once.

    Returns:
        Their facts, in the same order.
    """
    base, began = os.path.join(str(root), ""), time.time_ns()
    paths = [base + file for file in files]
    stamps = np.array(parallel_map(stamp_of, paths), np.int64).reshape(-1, 4)
    place = _place(root)
    kept = None if place is None or len(files) < FEWEST else _load(place)
    sizes = np.zeros((len(files), 2), np.int32)
    marks = np.zeros(len(files), np.uint64)
    new = np.ones(len(files), bool)
    reasons = {}
    if kept is not None:
        at = _positions(kept.files, files)
        new = (at < 0) | (stamps[:, 0] < 0)
        new |= (kept.stamps[at] != stamps).any(1)
        sizes, marks = kept.sizes[at], kept.marks[at]
        if kept.reasons:
            known = np.flatnonzero(~new)
            reasons = {
                int(i): kept.reasons[int(at[i])]
                for i in known[np.isin(at[known], list(kept.reasons))]
            }
    fresh = np.flatnonzero(new)
    found: list[Facts] = parallel_map(lambda i: examine(paths[i]), fresh)
    for i, facts in zip(fresh.tolist(), found, strict=True):
        sizes[i], marks[i] = facts[:2], facts.mark
        if facts.reason is not None:
            reasons[i] = facts.reason
            if not facts.reached:  # the reason may lie outside of the file
                stamps[i] = -1
    if place is not None and len(fresh) >= FEWEST:
        # Stored as a stamp that no file has.
        unsettled = stamps[:, 1:3].max(1) > began - _UNSETTLED
        settled = np.where(unsettled[:, None], -1, stamps)
        _save(place, _Kept(list(files), settled, sizes, marks, dict(reasons)), kept)
    return Scan(list(files), sizes, marks, reasons, len(fresh))


def stamp_of(path: str) -> tuple[int, int, int, int]:
    """Return size, times and inode of a file; -1 for all if it cannot be reached."""
    try:
        found = os.stat(path)
    except OSError:
        return (-1, -1, -1, -1)
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino


def _place(root: Path) -> Path | None:
    try:
        name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:24]
        return user_cache("folders") / f"{name}.npz"
    except RuntimeError:  # there is no home folder
        return None


def _version() -> str:
    """Return what the facts depend on beside the files."""
    import PIL
    from PIL import features

    return f"{FORMAT} {PIL.__version__} {features.check('avif')}"


def _positions(kept: list[str], files: Sequence[str]) -> np.ndarray:
    """Return where each file is among those that are kept, -1 if nowhere."""
    if kept == list(files):
        return np.arange(len(files))
    where = {file: i for i, file in enumerate(kept)}
    return np.array([where.get(file, -1) for file in files], np.int64)


def _load(place: Path) -> _Kept | None:
    """Read what is kept; None if there is nothing, or it cannot be used."""
    try:
        with place.open("rb") as opened, np.load(opened) as file:
            version, reasons = json.loads(file["about"].tobytes())
            if version != _version():
                return None
            files = os.fsdecode(file["files"].tobytes()).split("\0")
            kept = _Kept(
                files,
                file["stamps"],
                file["sizes"],
                file["marks"],
                {int(i): reason for i, reason in reasons.items()},
            )
            same = {len(kept.stamps), len(kept.sizes), len(kept.marks)} == {len(files)}
            return kept if same else None
    except Exception:  # another version's, or damaged: it is made again
        return None


def _save(place: Path, new: _Kept, old: _Kept | None) -> None:
    """Keep a scan, and of the last one what this one did not ask for."""
    if old is not None and len(old.files) <= _LARGER * len(new.files):
        asked = set(new.files)
        rest = [i for i, file in enumerate(old.files) if file not in asked]
        moved = {i: len(new.files) + k for k, i in enumerate(rest)}
        new.reasons |= {moved[i]: r for i, r in old.reasons.items() if i in moved}
        new.files += [old.files[i] for i in rest]
        new.stamps = np.concatenate([new.stamps, old.stamps[rest]])
        new.sizes = np.concatenate([new.sizes, old.sizes[rest]])
        new.marks = np.concatenate([new.marks, old.marks[rest]])
    about = json.dumps([_version(), new.reasons]).encode()
    temporary = place.with_name(f".{place.stem}.{uuid.uuid4().hex[:8]}.npz")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError:  # the next start scans again
        return
    try:
        with temporary.open("wb") as file:
            np.savez(
                file,
                about=np.frombuffer(about, np.uint8),
                files=np.frombuffer(os.fsencode("\0".join(new.files)), np.uint8),
                stamps=new.stamps,
                sizes=new.sizes,
                marks=new.marks,
            )
        os.replace(temporary, place)
    except OSError:  # a full or read-only disk
        with suppress(OSError):
            temporary.unlink()
