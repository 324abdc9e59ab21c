"""Load a folder of images of any size, with or without class sub-folders.

Layouts::

    root/*.png                          no labels
    root/CLASS/**/*.png                 the first-level sub-folder is the class
    root/train/..., root/test/...       the same below each split

``val``, ``validation`` or ``valid`` is used as ``test`` if there is no ``test``.
Without a held-out folder one image in ten is the test split, chosen by a hash of its
relative path, so that adding or removing files never moves another one. ``train``
beside other folders of images, none of them held out, counts as a class.

Images beside the class sub-folders are kept as unlabelled (-1), and so are classes
that occur in neither train nor test. A single sub-folder is not a class. Files are
sorted by path, so the order is the same on every file system; names that start with a
dot are ignored.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ssljax.data import decode
from ssljax.data.reader import Reader, chosen_size_note, make_source
from ssljax.data.source import DataError, Source
from ssljax.data.subsets import subset_indices

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
_HELD_OUT = ("test", "val", "validation", "valid")
_SAMPLE = 200  # images whose median shorter side decides the size


@dataclass
class FolderReader(Reader):
    """Read the files of a folder."""

    root: str
    paths: tuple[str, ...]  # relative to root
    labels: np.ndarray

    def describe(self, index: int) -> str:
        return self.paths[index]

    def fetch(self, indices: np.ndarray) -> list[tuple[bytes | str, int]]:
        return [
            (os.path.join(self.root, self.paths[i]), int(self.labels[i]))
            for i in indices
        ]


def load_folder(
    path: str,
    *,
    split: str = "train",
    image_size: int | None = None,
    examples: int | None = None,
    store: str = "auto",
    seed: int = 0,
) -> Source:
    """Load a folder of images as RGB; see `ssljax.data.load` for the arguments.

    Unreadable files are left out and listed in ``Source.skipped``. They are found by
    the header and the end of the file; a set read into memory is decoded as well.

    Raises:
        DataError: if the folder is missing or has no readable image of the split.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{path!r} {what}; set --data.path to a folder of images")
    files, classes, hashed = _files_of_split(root, split)  # relative to root
    if not files:
        raise DataError(
            f"no image in {path!r} for split {split!r}; "
            f"images end in {', '.join(SUFFIXES)}"
        )
    headers = decode.parallel_map(lambda item: _probe(root / item[0]), files)
    skipped = tuple(
        (item[0], header)
        for item, header in zip(files, headers, strict=True)
        if isinstance(header, str)
    )
    good = [
        (item, min(header))
        for item, header in zip(files, headers, strict=True)
        if not isinstance(header, str)
    ]
    if not good:
        raise DataError(
            f"none of the {len(files)} images in {path!r} can be read; "
            f"the first is {skipped[0][0]}: {skipped[0][1]}"
        )
    notes = ["one image in ten is held out as the test split"] if hashed else []
    if image_size is None:
        sample = subset_indices(len(good), min(_SAMPLE, len(good)), seed=0)
        sides = [good[i][1] for i in sample]
        image_size = decode.choose_size(sides)
        notes.append(chosen_size_note(image_size, "images of the folder", sides))
    if examples is not None:
        chosen = subset_indices(len(good), examples, seed=seed, name=root.name)
        good = [good[i] for i in chosen]
    kept = [item for item, _ in good]
    labels = np.array([label for _, label in kept], np.int32)
    labelled = bool((labels >= 0).any())
    reader = FolderReader(
        count=len(kept),
        image_size=image_size,
        channels=3,
        root=str(root),
        paths=tuple(relative for relative, _ in kept),
        labels=labels,
    )
    return make_source(
        reader,
        name=f"folder:{root.resolve().name}",
        split=split,
        image_shape=(image_size, image_size, 3),
        store=store,
        labels=labels if labelled else None,
        labelled=labelled,
        class_names=classes,
        num_classes=len(classes) if classes else None,
        skipped=skipped,
        note="; ".join(notes),
    )


def _probe(path: Path) -> tuple[int, int] | str:
    """Return the size of an image, or the reason why it cannot be read."""
    try:
        return decode.probe(path)
    except decode.UnreadableImage as error:
        return str(error)


def _files_of_split(
    root: Path, split: str
) -> tuple[list[tuple[str, int]], tuple[str, ...] | None, bool]:
    """Return ``(path relative to root, label)`` in order, and the class names.

    The last value says whether the split was drawn by a hash.
    """
    folders = {p.name for p in root.iterdir() if p.is_dir() and p.name[0] != "."}
    held_out = next((name for name in _HELD_OUT if name in folders), None)
    if not _has_splits(root, folders, held_out, split):
        if split not in ("train", "test"):
            raise DataError(
                f"folder {str(root)!r} has no split {split!r}; use train or test"
            )
        files = _images_below(root)
        classes = _class_names(files)
        return _hashed(_labelled(files, classes), split), classes, True
    below = {n: _images_below(root / n) for n in {"train", *_HELD_OUT} & folders}
    # Numbered over all splits, because a label must mean the same in each.
    classes = _class_names([f for files in below.values() for f in files])
    if held_out is None and split in ("train", "test"):
        items = _hashed(_labelled(below["train"], classes), split)
        return _under("train", items), classes, True
    folder = held_out if split == "test" else split
    if folder not in folders:
        raise DataError(
            f"folder {str(root)!r} has no split {split!r}; it has "
            + ", ".join(sorted(folders))
        )
    files = below[folder] if folder in below else _images_below(root / folder)
    return _under(folder, _labelled(files, classes)), classes, False


def _has_splits(
    root: Path, folders: set[str], held_out: str | None, split: str
) -> bool:
    """Decide whether ``train`` is a split, or a class beside ``car`` and ``bus``."""
    if "train" not in folders:
        return False
    others = folders - {"train", split}
    return held_out is not None or not any(_images_below(root / n) for n in others)


def _hashed(items: list[tuple[str, int]], split: str) -> list[tuple[str, int]]:
    """Keep the images of one split, in a folder without split folders."""
    return [item for item in items if _hashed_split(item[0]) == split]


def _under(folder: str, items: list[tuple[str, int]]) -> list[tuple[str, int]]:
    return [(f"{folder}/{relative}", label) for relative, label in items]


def _images_below(root: Path) -> list[str]:
    """Return relative POSIX paths of all images, sorted; links are followed once."""
    found, seen = [], set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder already visited
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(n for n in subfolders if not n.startswith("."))
        for name in files:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                found.append(Path(folder, name).relative_to(root).as_posix())
    return sorted(found)


def _class_names(files: list[str]) -> tuple[str, ...] | None:
    names = sorted({f.split("/", 1)[0] for f in files if "/" in f})
    return tuple(names) if len(names) > 1 else None


def _labelled(
    files: list[str], classes: tuple[str, ...] | None
) -> list[tuple[str, int]]:
    number = {name: index for index, name in enumerate(classes or ())}
    return [(f, number.get(f.split("/", 1)[0], -1) if "/" in f else -1) for f in files]


def _hashed_split(relative: str) -> str:
    # Python's own hash of text differs between processes.
    digest = hashlib.sha256(relative.encode("utf-8", "surrogateescape")).digest()
    return "test" if int.from_bytes(digest[:8], "big") % 10 == 0 else "train"
