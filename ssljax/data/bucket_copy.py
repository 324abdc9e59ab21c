"""Images of a bucket: copied to this machine before they are used, and kept there.

They are read many times, at random places, by readers that know local files only.
"""

import contextlib
import fcntl
import functools
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from ssljax.config.paths import as_path, first_line, url_of
from ssljax.config.user_cache import user_cache
from ssljax.data.source import DataError

_INDEX = ".ssljax-copy.json"  # what each file was a copy of
_THREADS = 32  # which wait for the network
_CHUNK = 1024  # files after which the index is written
_STAMPS = ("generation", "etag", "ETag", "md5Hash", "LastModified", "mtime")


def local_copy(path: str, inside: str = "") -> Path:
    """Return a folder of this machine with the files of one that may be in a bucket.

    A bucket's files are copied into the user's cache folder, below ``buckets``. Later
    starts copy what has changed there, and remove what is gone.

    Args:
        path: the folder; one of this machine is returned as it is.
        inside: the only part of it that is needed, such as ``cifar10``.

    Raises:
        DataError: if the bucket's folder has no files or cannot be read, or if this
            machine has too little room.
    """
    url = url_of(path)
    return Path(path).expanduser() if url is None else _copied(url, inside)


@functools.cache  # a run asks for every split, and listing takes a while
def _copied(url: str, inside: str) -> Path:
    as_path(url)  # refuses what is no bucket
    import fsspec

    whole = f"{url}/{inside}".rstrip("/")
    places, root = fsspec.url_to_fs(whole)
    home = user_cache("buckets") / url.replace("://", "/", 1)
    place = home / inside
    try:
        files = _files(places.find(root, detail=True), root)
        if not files:
            raise DataError(f"{whole} holds no files; name a folder that has some")
        with _alone(place):
            _copy(places, root, place, files, whole)
    except DataError:
        raise
    except Exception as error:  # each library below has its own types
        raise DataError(
            f"{whole} cannot be copied to {place} ({first_line(error)}); check the "
            "bucket and the disk"
        ) from error
    return home


def _files(found: Mapping[str, Mapping[str, Any]], root: str) -> dict[str, list[Any]]:
    """Return size and stamp of every object by its path below the folder."""
    files = {}
    for name, facts in found.items():
        below = name.removeprefix(f"{root}/")
        # An object whose name ends with a slash stands for an empty folder.
        if below.endswith("/") or ".." in PurePosixPath(below).parts:
            continue
        stamp = next((str(facts[key]) for key in _STAMPS if facts.get(key)), "")
        files[below] = [int(facts["size"] or 0), stamp]
    return files


@contextlib.contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Let one process of this machine at a time copy into a folder."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / f"{_INDEX}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _copy(
    places: Any, root: str, place: Path, files: dict[str, list[Any]], whole: str
) -> None:
    """Copy what is new or has changed, and remove what is gone."""
    from tqdm import tqdm

    index = place / _INDEX
    try:
        kept = json.loads(index.read_text("utf-8"))
    except (OSError, ValueError):
        kept = {}
    kept = {name: facts for name, facts in kept.items() if (place / name).is_file()}
    for file in place.rglob("*"):
        below = file.relative_to(place).as_posix()
        if file.is_file() and below not in files and not file.name.startswith("."):
            file.unlink()
    missing = [name for name, facts in files.items() if kept.get(name) != facts]
    if not missing:
        return
    size = sum(files[name][0] for name in missing)
    free = shutil.disk_usage(place).free
    if size > free:
        raise DataError(
            f"{whole} needs {size / 1e9:.1f} GB in {place}, where {free / 1e9:.1f} GB "
            "are free; set XDG_CACHE_HOME to a larger disk, or mount the bucket"
        )

    def fetch(name: str) -> None:
        target = place / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{uuid.uuid4().hex}.part")
        try:
            places.get_file(f"{root}/{name}", str(temporary))
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)

    with (
        ThreadPoolExecutor(_THREADS) as pool,
        tqdm(
            total=size,
            unit="B",
            unit_scale=True,
            desc=f"copying {whole}",
            file=sys.stderr,
            disable=len(missing) < _CHUNK,
            mininterval=1.0,
        ) as bar,
    ):
        for first in range(0, len(missing), _CHUNK):
            part = missing[first : first + _CHUNK]
            list(pool.map(fetch, part))
            kept |= {name: files[name] for name in part}
            # So that a start after a kill does not copy all of them again.
            temporary = index.with_name(f"{_INDEX}.part")
            temporary.write_text(json.dumps(kept), "utf-8")
            os.replace(temporary, index)
            bar.update(sum(files[name][0] for name in part))
