"""All encoded images of a folder or a TFDS set, and where copies of them belong."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from ssljax.data.bucket_copy import local_copy
from ssljax.data.depth import Levels
from ssljax.data.sampled_levels import sampled_levels
from ssljax.data.source import DataError, Source
from ssljax.data.subsets import subset_indices
from ssljax.data.tfds import TfdsReader, builder, check_prepared, load_tfds
from ssljax.data.tfds_folder import tfds_copy
from ssljax.data.walk import walk

_SAMPLE = 200  # images that decide which value is white
_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")


class Encoded(Protocol):
    """The images of all splits, still encoded."""

    source: str
    """Absolute path of the folder, or name of the TFDS set."""
    levels: Levels | None
    """Which value is white in images of more than 8 bits."""

    @property
    def size(self) -> int: ...

    def read(self, rows: np.ndarray) -> list[tuple[bytes | str, str]]:
        """Return the bytes or the path of images, and a JPEG's path in a copy."""
        ...

    def missing(self, copy: Path) -> np.ndarray:
        """Return the images, int64 ``[M]``, that a copy does not have yet."""
        ...


def encoded_set(name: str, data_dir: str | None = None) -> Encoded:
    """Find all images of a folder or a prepared TFDS set.

    Args:
        name: path of an existing folder, or else a name of TFDS.
        data_dir: TFDS directory; None reads TFDS_DATA_DIR, then the home folder's.

    Raises:
        DataError: if there is neither, or it has no image.
    """
    root = local_copy(name)
    if root.is_dir():
        return _folder(root.resolve())
    if root.exists() or name[:1] in ("/", ".", "~"):
        raise DataError(f"{name!r} is not a folder; name a folder of images, or a set")
    return _tfds(name, data_dir)


@dataclass
class _Folder:
    source: str
    levels: Levels | None
    files: list[str]
    names: list[str]

    @property
    def size(self) -> int:
        return len(self.files)

    def read(self, rows: np.ndarray) -> list[tuple[bytes | str, str]]:
        return [(f"{self.source}/{self.files[i]}", self.names[i]) for i in rows]

    def missing(self, copy: Path) -> np.ndarray:
        return np.array(
            [i for i, name in enumerate(self.names) if not (copy / name).exists()],
            np.int64,
        )


def _folder(root: Path) -> _Folder:
    files = walk(root).images
    if not files:
        raise DataError(f"no image in {str(root)!r}; name a folder of images")
    sample = subset_indices(len(files), min(_SAMPLE, len(files)), seed=0)
    levels = sampled_levels([root / files[i] for i in sample], str(root), [])
    return _Folder(str(root), levels, files, jpeg_names(files))


def jpeg_names(files: list[str]) -> list[str]:
    """Return a JPEG's name for each file, all different.

    >>> jpeg_names(["a/1.png", "a/2.jpeg", "b/1.png", "b/1.jpg"])
    ['a/1.jpg', 'a/2.jpeg', 'b/1.png.jpg', 'b/1.jpg']
    """
    paths = [PurePosixPath(file) for file in files]
    wanted = [
        path if path.suffix.lower() in _JPEG else path.with_suffix(".jpg")
        for path in paths
    ]
    # In lower case, as some file systems do not tell them apart.
    count = Counter(str(path).lower() for path in wanted)
    return [
        str(new) if new == old or count[str(new).lower()] == 1 else f"{old}.jpg"
        for old, new in zip(paths, wanted, strict=True)
    ]


@dataclass
class _Tfds:
    source: str
    levels: Levels | None
    splits: list[Source]
    readers: list[TfdsReader]

    @property
    def starts(self) -> np.ndarray:
        return np.cumsum([0, *(reader.count for reader in self.readers)])

    @property
    def size(self) -> int:
        return int(self.starts[-1])

    def read(self, rows: np.ndarray) -> list[tuple[bytes | str, str]]:
        found: dict[int, tuple[bytes | str, str]] = {}
        for start, source, reader in zip(
            self.starts, self.splits, self.readers, strict=False
        ):
            own = [int(i - start) for i in rows if 0 <= i - start < reader.count]
            if own:
                for i, item in zip(own, reader.fetch(np.array(own)), strict=True):
                    found[int(start) + i] = item[0], _record_name(source, i, item[1])
        return [found[i] for i in rows.tolist()]

    def missing(self, copy: Path) -> np.ndarray:
        rows = np.ones(self.size, bool)
        for start, source in zip(self.starts, self.splits, strict=False):
            for path in (copy / source.split).rglob("*.jpg"):
                if path.stem.isdigit():
                    rows[start + int(path.stem)] = False
        return np.flatnonzero(rows)


def _record_name(source: Source, index: int, label: int) -> str:
    """Return the path of a record's copy: split, class, and number."""
    if label < 0:
        return f"{source.split}/{index:08}.jpg"
    if source.class_names is None:
        digits = len(str((source.num_classes or 1) - 1))
        return f"{source.split}/{label:0{digits}}/{index:08}.jpg"
    name = source.class_names[label].replace("/", "_")
    return f"{source.split}/{name}/{index:08}.jpg"


def _tfds(name: str, data_dir: str | None) -> _Tfds:
    folder = tfds_copy(name, data_dir)
    made = builder(name, folder)
    check_prepared(made, name, folder)
    splits, readers = [], []
    for split, info in made.info.splits.items():
        if info.num_examples:
            source = load_tfds(name, split=split, data_dir=data_dir, store="stream")
            assert isinstance(source.read, TfdsReader)
            splits.append(source)
            readers.append(source.read)
    if not readers:
        raise DataError(f"data set {name!r} has no image; choose another")
    return _Tfds(name, readers[0].levels, splits, readers)
