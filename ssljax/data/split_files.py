"""The files of a split of a folder, with their labels.

Labels are numbered over all splits. No exact copy of an image is on both sides.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ssljax.data.decode import parallel_map
from ssljax.data.examine import digest
from ssljax.data.layout import Layout, read_layout, role
from ssljax.data.scan import Scan, scan
from ssljax.data.source import DataError
from ssljax.data.walk import passed_over_note


@dataclass
class Listing:
    """The files of a split.

    Attributes:
        files: ``(path relative to root, label)``.
        classes: names in label order, None without.
        notes: lines for the user.
        everything: the files of all splits, for what must be the same in each.
        skipped: ``(path relative to root, reason)`` of the files of the split that
            cannot be read; `files` has the others.
        sizes: int ``[len(files), 2]``, width and height.
    """

    files: list[tuple[str, int]]
    classes: tuple[str, ...] | None
    notes: list[str]
    everything: list[str] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.int32))


def files_of_split(root: Path, split: str) -> Listing:
    """Return the files of a split in order, and the class names.

    Args:
        root: folder of the data set.
        split: ``train``, ``test``, or another split folder by name.

    Raises:
        DataError: if there is no such split, or its folders cannot be told apart.
    """
    layout = read_layout(root)
    facts = scan(root, _paths(layout, _folders_read(layout, root, split)))
    listing = _listing(layout, root, split, facts)
    listing.everything = _paths(layout, sorted(layout.splits.values()) or [""])
    at = facts.at
    indices = [at[path] for path, _ in listing.files]
    bad = facts.reasons
    listing.skipped = [(facts.files[i], bad[i]) for i in indices if i in bad]
    listing.files = [
        item for item, i in zip(listing.files, indices, strict=True) if i not in bad
    ]
    listing.sizes = facts.sizes[[i for i in indices if i not in bad]]
    return listing


def _folders_read(layout: Layout, root: Path, split: str) -> list[str]:
    """Return the folders whose files must be known for a split."""
    if not layout.splits:
        return [""]
    folder = _folder_of(layout, root, split)
    train, held_out = layout.splits["train"], layout.held_out
    folders = [train if folder is None else folder]
    if split == "train":
        folders += (
            [layout.splits["unlabelled"]] if "unlabelled" in layout.splits else []
        )
    if folder == train and held_out is not None:
        folders.append(held_out)
    return list(dict.fromkeys(folders))


def _paths(layout: Layout, folders: list[str]) -> list[str]:
    return [
        f"{folder}/{file}" if folder else file
        for folder in folders
        for file in layout.images(folder)
    ]


def _listing(layout: Layout, root: Path, split: str, facts: Scan) -> Listing:
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
        return _drawn(facts, root, _labelled(files, classes), classes, split, notes)
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
        labelled = _under(train, _labelled(layout.images(train), classes))
        listing = _drawn(facts, root, labelled, classes, split, notes)
    else:
        files = layout.images(folder)
        own = None if folder == layout.splits.get("unlabelled") else classes
        listing = Listing(_under(folder, _labelled(files, own)), classes, notes)
        if folder == train:
            assert held_out is not None
            listing = _without_copies(facts, root, listing, layout, held_out)
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
    facts: Scan,
    root: Path,
    items: list[tuple[str, int]],
    classes: tuple[str, ...] | None,
    split: str,
    notes: list[str],
) -> Listing:
    """Keep the images of one split where none is held out.

    It is drawn by content. Copies stay together, and adding, removing or renaming a
    file moves no other.
    """
    at = facts.at
    held_out = (facts.marks % 10 == 0).tolist()
    files = [i for i in items if held_out[at[i[0]]] == (split == "test")]
    if items and not files and split == "train":
        raise DataError(
            f"all {len(items)} images in {str(root)!r} are held out, because they are "
            "copies of a few; add others, or a folder test"
        )
    notes = [*notes, "one image in ten is held out as the test split"]
    return Listing(files, classes, notes)


def _without_copies(
    facts: Scan, root: Path, train: Listing, layout: Layout, held_out: str
) -> Listing:
    """Leave out the training images of which a copy is held out."""
    at = facts.at
    tests = np.array([at[p] for p in _paths(layout, [held_out])], np.int64)
    own = np.array([at[path] for path, _ in train.files], np.int64)
    own = own[~np.isin(own, list(facts.reasons))]  # listed for what they are
    suspects = own[np.isin(facts.marks[own], facts.marks[tests])]
    alike = tests[np.isin(facts.marks[tests], facts.marks[suspects])]
    # Marks leave out the middle of a file: a scan's margins may be another's.
    known = set(parallel_map(lambda i: digest(root / facts.files[i]), alike)) - {None}
    found = parallel_map(lambda i: digest(root / facts.files[i]), suspects)
    copies = {
        facts.files[i] for i, d in zip(suspects, found, strict=True) if d in known
    }
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
