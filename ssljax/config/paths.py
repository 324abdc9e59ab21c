"""What a path is: one of this machine, or of a bucket (`gs://`, `s3://`)."""

import functools
import os
import re
from pathlib import Path
from typing import cast

from ssljax.config.checks import ConfigError

# One slash is enough: pathlib drops the other one. A single letter is a drive.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)
# The package by which fsspec reads and writes each.
_PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}


def as_path(path: str | os.PathLike[str]) -> Path:
    """Return the path object by which a file or folder is read and written.

    Args:
        path: of this machine, where ``~`` is the home folder, or
            ``gs://BUCKET/FOLDER`` or ``s3://BUCKET/FOLDER``.

    Returns:
        A `pathlib.Path`, or for a bucket an `etils.epath.Path`, which has its methods.

    Raises:
        ConfigError: for another URL, a bucket that cannot be reached, or one whose
            package is not installed.

    >>> as_path("runs/first")
    PosixPath('runs/first')
    """
    url = url_of(path)
    if url is None:
        return Path(path).expanduser()
    scheme, _, inside = url.partition("://")
    if scheme not in _PACKAGES:
        raise ConfigError(
            f"{url} cannot be used; allowed: a path of this machine, "
            "gs://BUCKET/FOLDER or s3://BUCKET/FOLDER"
        )
    bucket = inside.partition("/")[0]
    if not bucket:
        raise ConfigError(f"{url} names no bucket; write {scheme}://BUCKET/FOLDER")
    _check_bucket(scheme, bucket)
    from etils import epath

    return cast(Path, epath.Path(url))


def absolute_path(path: str | os.PathLike[str]) -> Path:
    """Return the path object of `as_path`, independent of the working directory."""
    found = as_path(path)
    return found if in_bucket(found) else found.absolute()


def url_of(path: str | os.PathLike[str]) -> str | None:
    """Return a path as the URL that was meant, None for one of this machine.

    >>> url_of(Path("gs://bucket/run")), url_of("runs/first")
    ('gs://bucket/run', None)
    """
    found = _URL.fullmatch(os.fspath(path))
    return None if found is None else f"{found[1].lower()}://{found[2].rstrip('/')}"


def in_bucket(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is one of a bucket."""
    return url_of(path) is not None


def absolute(path: str | os.PathLike[str]) -> str:
    """Return a path from the root of the file system; ``~`` is the home folder.

    >>> absolute("gs://bucket/images/")
    'gs://bucket/images'
    """
    return url_of(path) or os.path.abspath(os.path.expanduser(path))


def local(path: str | os.PathLike[str], name: str) -> Path:
    """Return a path that must be one of this machine.

    Args:
        path: as it was given.
        name: of the setting, for the message.

    Raises:
        ConfigError: if it is one of a bucket.
    """
    url = url_of(path)
    if url is not None:
        raise ConfigError(
            f"{name} cannot be in a bucket ({url}); use a folder of this machine, or "
            "mount the bucket and use the path of the mount"
        )
    return Path(path).expanduser()


@functools.cache
def _check_bucket(scheme: str, bucket: str) -> None:
    import fsspec
    from fsspec.config import conf

    # Tensorstore writes, and other processes write and delete, without the knowledge
    # of a list that was kept.
    conf.setdefault(scheme, {}).setdefault("use_listings_cache", False)
    try:
        # Any name: the answer says whether the bucket may be read.
        fsspec.filesystem(scheme).exists(f"{bucket}/.ssljax")
    except ImportError as error:
        raise ConfigError(
            f"{scheme}:// needs {_PACKAGES[scheme]}, which is not installed; "
            'pip install "ssljax[buckets]"'
        ) from error
    except Exception as error:  # each library below has its own types
        raise ConfigError(
            f"{scheme}://{bucket} cannot be read ({first_line(error)}); check the "
            "name of the bucket and the credentials of this machine"
        ) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error, or the name of its type."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
