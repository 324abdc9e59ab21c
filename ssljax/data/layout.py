"""Which sub-folders of a folder are splits, in the spellings that people use.

`role` names the split that a folder's name stands for. `read_layout` decides what the
folders of a data set are: splits, or classes. What it decides against expectation is
said in its notes.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ssljax.data.source import DataError
from ssljax.data.walk import LITTER, Found, walk

Role = Literal["train", "test", "validation", "unlabelled"]

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev"), "validation"),
    **dict.fromkeys(("unlabeled", "unlabelled", "unlabel"), "unlabelled"),
}
_ENDINGS = ("set", "data", "images", "imgs", "split")


def role(name: str) -> Role | None:
    """Return the split that a folder's name stands for, None for any other name.

    >>> role("Training_Set"), role("VAL"), role("test-images"), role("cat")
    ('train', 'validation', 'test', None)
    """
    plain = "".join(c for c in name.casefold() if c not in "_- .")
    for ending in ("", *_ENDINGS):
        if plain.endswith(ending):
            found = _ROLES.get(plain.removesuffix(ending))
            if found is not None:
                return found
    return None


@dataclass
class Layout:
    """The folders of a data set.

    Attributes:
        splits: folder name per role; empty where the folders are classes.
        found: the images per folder of a split; under ``""`` all, without splits.
        notes: lines for the user.
    """

    splits: dict[Role, str] = field(default_factory=dict)
    found: dict[str, Found] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def held_out(self) -> str | None:
        """Return the folder of the test split: one with classes before a flat one."""
        names = [self.splits[r] for r in ("test", "validation") if r in self.splits]
        with_classes = [n for n in names if any("/" in f for f in self.images(n))]
        return (with_classes or names or [None])[0]

    def images(self, folder: str) -> list[str]:
        """Return the images below a folder, relative to it."""
        return self.found[folder].images


def read_layout(root: Path) -> Layout:
    """Decide which sub-folders are splits, and list the images.

    They are splits if one is for training and another is held out or unlabelled, or
    none beside it has images.

    Args:
        root: the folder of the data set.

    Returns:
        The splits with their images.

    Raises:
        DataError: if two folders claim the same split, if all look like splits and none
            is for training, or if the splits are one folder further down.
    """
    folders = sorted(
        p.name
        for p in root.iterdir()
        if p.is_dir() and p.name[0] != "." and p.name.lower() not in LITTER
    )
    splits = _by_role(root, folders)
    if not splits:
        _look_below(root, folders)
        return Layout(found={"": walk(root)})
    if "train" not in splits:
        if len(splits) == len(folders) and len(folders) > 1:
            raise DataError(
                f"folder {str(root)!r} has {_listed(folders)} and no folder for "
                "training; rename one to train"
            )
        note = (
            f"{_listed(sorted(splits.values()))} counts as a class: there is no folder "
            "named train"
        )
        return Layout(found={"": walk(root)}, notes=[note] if len(folders) > 1 else [])
    found = {name: walk(root / name) for name in folders}
    others = [n for n in folders if n not in splits.values() and found[n].images]
    if set(splits) == {"train"} and others:
        note = f"{splits['train']} counts as a class: no folder beside it is held out"
        return Layout(found={"": walk(root)}, notes=[note])
    notes = []
    if others:
        notes.append(
            f"not read: {_listed(others)}, beside the splits "
            f"{_listed(sorted(splits.values()))}"
        )
    return Layout(splits, found, notes)


def _by_role(root: Path, folders: list[str]) -> dict[Role, str]:
    splits: dict[Role, str] = {}
    for name in folders:
        kind = role(name)
        if kind is None:
            continue
        if kind in splits and walk(root / name).images:
            if not walk(root / splits[kind]).images:
                splits[kind] = name
                continue
            raise DataError(
                f"folder {str(root)!r} has {splits[kind]!r} and {name!r}, both for "
                f"the {kind} split; rename or move one"
            )
        splits.setdefault(kind, name)
    return splits


def _look_below(root: Path, folders: list[str]) -> None:
    """Refuse a folder whose only child has the split folders."""
    if len(folders) != 1:
        return
    child = root / folders[0]
    below = [p.name for p in child.iterdir() if p.is_dir()]
    if "train" in map(role, below):
        raise DataError(
            f"folder {str(root)!r} has one sub-folder, and the splits are in there; "
            f"use --data.path {child}"
        )


def _listed(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
