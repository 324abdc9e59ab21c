"""The files of a split of a folder, with their labels.

Labels are numbered over all splits. No exact copy of an image is on both sides.
"""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from ssljax.data import decode
from ssljax.data.layout import Layout, read_layout, role
from ssljax.data.source import DataError
from ssljax.data.walk import passed_over_note

_ENDS = 4096  # bytes of a file's beginning and of its end that tell it from others
# Comparing more files than this would take minutes at every start.
_MOST_COMPARED = 200_000


@dataclass
class Listing:
    """The files of a split.

    Attributes:
        files: ``(path relative to root, label)``.
        classes: names in label order, None without.
        notes: lines for the user.
        everything: the files of all splits, for what must be the same in each.
    """

    files: list[tuple[str, int]]
    classes: tuple[str, ...] | None
    notes: list[str]
    everything: list[str] = field(default_factory=list)


def files_of_split(root: Path, split: str) -> Listing:
    """Return the files of a split in order, and the class names.

    Args:
        root: folder of the data set.
        split: ``train``, ``test``, or another split folder by name.

    Raises:
        DataError: if there is no such split, or its folders cannot be told apart.
    """
    layout = read_layout(root)
    listing = _listing(layout, root, split)
    folders = sorted(layout.splits.values()) or [""]
    listing.everything = [
        f"{folder}/{file}" if folder else file
        for folder in folders
        for file in layout.images(folder)
    ]
    return listing


def _listing(layout: Layout, root: Path, split: str) -> Listing:
    notes = list(layout.notes)
    said = passed_over_note(list(layout.found.values()))
    if said is not None:
        notes.append(said)
    if not layout.splits:
        if split not in ("train", "test"):
            raise DataError(
                f"folder {str(root)!r} has no split {split!r}; use train or test"
            )
        files = layout.images("")
        classes = _class_names(files)
        return _drawn(root, "", _labelled(files, classes), classes, split, notes)
    folder = _folder_of(layout, root, split)
    train, held_out = layout.splits["train"], layout.held_out
    # Numbered over all splits, because a label must mean the same in each.
    classes = _class_names(
        [
            file
            for kind, name in layout.splits.items()
            for file in layout.images(name)
            if kind != "unlabelled"
        ]
    )
    if folder is None or (folder == train and held_out is None):
        labelled = _labelled(layout.images(train), classes)
        listing = _drawn(root, train, labelled, classes, split, notes)
    else:
        files = layout.images(folder)
        own = None if folder == layout.splits.get("unlabelled") else classes
        listing = Listing(_under(folder, _labelled(files, own)), classes, notes)
        if folder == train:
            assert held_out is not None
            listing = _without_copies(root, listing, layout, held_out)
        elif classes and split == "test" and not any("/" in f for f in files):
            notes.append(
                f"no accuracy: {folder} has no class folders, so its images have no "
                "labels"
            )
    unlabelled = layout.splits.get("unlabelled")
    if folder in (train, None) and split == "train" and unlabelled is not None:
        extra = layout.images(unlabelled)
        listing.files += _under(unlabelled, [(f, -1) for f in extra])
        notes.append(
            f"{len(extra):,} images of {unlabelled} are used without labels; choose "
            "those with labels by --data.labelled-split"
        )
    return listing


def _folder_of(layout: Layout, root: Path, split: str) -> str | None:
    """Return the folder that a split's name means; None is to be drawn from train."""
    if split == "train":
        return layout.splits["train"]
    if split == "test":
        return layout.held_out
    if split in layout.found:
        return split
    same = [n for n in layout.splits.values() if role(n) == role(split) is not None]
    if same:
        return same[0]
    raise DataError(
        f"folder {str(root)!r} has no split {split!r}; it has "
        + ", ".join(sorted(layout.found))
    )


def _drawn(
    root: Path,
    folder: str,
    items: list[tuple[str, int]],
    classes: tuple[str, ...] | None,
    split: str,
    notes: list[str],
) -> Listing:
    """Keep the images of one split where none is held out."""
    items = _under(folder, items) if folder else items
    sides = decode.parallel_map(lambda item: _side(root / item[0]), items)
    files = [item for item, side in zip(items, sides, strict=True) if side == split]
    if items and not files and split == "train":
        raise DataError(
            f"all {len(items)} images in {str(root)!r} are held out, because they are "
            "copies of a few; add others, or a folder test"
        )
    notes = [*notes, "one image in ten is held out as the test split"]
    return Listing(files, classes, notes)


def _without_copies(
    root: Path, train: Listing, layout: Layout, held_out: str
) -> Listing:
    """Leave out the training images of which a copy is held out."""
    tests = [f"{held_out}/{file}" for file in layout.images(held_out)]
    sizes = set(decode.parallel_map(lambda path: _size(root / path), tests))
    paths = [path for path, _ in train.files]
    own = decode.parallel_map(lambda path: _size(root / path), paths)
    suspects = [p for p, size in zip(paths, own, strict=True) if size in sizes]
    if len(suspects) > _MOST_COMPARED:
        return train
    known = set(decode.parallel_map(lambda path: _content(root / path), tests))
    marks = decode.parallel_map(lambda path: _content(root / path), suspects)
    copies = {p for p, mark in zip(suspects, marks, strict=True) if mark in known}
    if copies:
        train.notes.append(
            f"{len(copies):,} training images are left out: exact copies of images in "
            f"{held_out}, such as {min(copies)}"
        )
    files = [item for item in train.files if item[0] not in copies]
    if copies and not files:
        raise DataError(
            f"every training image in {str(root)!r} is a copy of one in {held_out}; "
            f"remove {held_out} to draw a test split, or hold out others"
        )
    return Listing(files, train.classes, train.notes)


def _under(folder: str, items: list[tuple[str, int]]) -> list[tuple[str, int]]:
    return [(f"{folder}/{relative}", label) for relative, label in items]


def _class_names(files: list[str]) -> tuple[str, ...] | None:
    names = sorted({f.split("/", 1)[0] for f in files if "/" in f})
    return tuple(names) if len(names) > 1 else None


def _labelled(
    files: list[str], classes: tuple[str, ...] | None
) -> list[tuple[str, int]]:
    number = {name: index for index, name in enumerate(classes or ())}
    return [(f, number.get(f.split("/", 1)[0], -1) if "/" in f else -1) for f in files]


def _side(path: Path) -> str:
    """Return the split of an image, drawn by its content.

    Copies stay together, and adding, removing or renaming a file moves no other.
    """
    return "test" if int.from_bytes(_content(path)[:8], "big") % 10 == 0 else "train"


def _content(path: Path) -> bytes:
    """Return a digest of a file's size, beginning and end: the same for all copies."""
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(f"{size} ".encode() + file.read(_ENDS))
            if size > _ENDS:
                file.seek(max(_ENDS, size - _ENDS))
                digest.update(file.read(_ENDS))
    except OSError:
        # It is listed as unreadable later; until then its name decides.
        digest.update(os.fsencode(path.name))
    return digest.digest()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
