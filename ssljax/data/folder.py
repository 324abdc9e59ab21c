"""Load a folder of images of any size, with or without class sub-folders.

Layouts::

    root/*.png                          no labels
    root/CLASS/**/*.png                 the first-level sub-folder is the class
    root/train/..., root/test/...       the same below each split

Names of splits are recognised in their usual spellings, see `ssljax.data.layout`. The
validation images are the test split if there is no other, or none with classes. Without
a held-out folder one image in ten is the test split, chosen by its content, so that
copies stay together, and adding or removing files never moves another one. ``train``
beside other folders of images, none of them held out, counts as a class. Images of a
folder ``unlabelled`` are training images without labels.

Images beside the class sub-folders are kept as unlabelled (-1), and so are classes
that occur in neither train nor test. A single sub-folder is not a class. Files are
sorted by path, so the order is the same on every file system; names that start with a
dot are ignored.
"""

import hashlib
import os
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ssljax.data import decode
from ssljax.data.bucket_copy import local_copy
from ssljax.data.reader import Reader, chosen_size_note, make_source
from ssljax.data.sampled_levels import sampled_levels
from ssljax.data.scan import stamp_of
from ssljax.data.smaller import check_complete
from ssljax.data.source import DataError, Source
from ssljax.data.split_files import files_of_split
from ssljax.data.subsets import subset_indices
from ssljax.data.walk import SUFFIXES, shown

_SAMPLE = 200  # images whose median shorter side decides the size


@dataclass
class FolderReader(Reader):
    """Read the files of a folder."""

    root: str
    paths: tuple[str, ...]  # relative to root
    labels: np.ndarray
    named: ClassVar[bool] = True

    def describe(self, index: int) -> str:
        return shown(self.paths[index])

    def fetch(self, indices: np.ndarray) -> list[tuple[bytes | str, int]]:
        return [
            (os.path.join(self.root, self.paths[i]), int(self.labels[i]))
            for i in indices
        ]

    def file_names(self) -> tuple[str, ...] | None:
        return self.paths

    def stamp(self) -> str:
        """Return a digest of every file's name and of what tells that it changed."""
        files = [os.path.join(self.root, path) for path in self.paths]
        facts = repr((self.paths, decode.parallel_map(stamp_of, files)))
        return hashlib.sha256(os.fsencode(facts)).hexdigest()


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
    root = local_copy(path)
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{path!r} {what}; set --data.path to a folder of images")
    check_complete(root)
    listing = files_of_split(root, split)
    good, classes, notes = listing.files, listing.classes, listing.notes
    skipped = tuple((shown(file), reason) for file, reason in listing.skipped)
    if not good and not skipped:
        raise DataError(
            f"no image in {path!r} for split {split!r}; "
            f"images end in {', '.join(SUFFIXES)}"
        )
    if not good:
        raise DataError(
            f"none of the {len(skipped)} images in {path!r} can be read; "
            f"the first is {skipped[0][0]}: {skipped[0][1]}"
        )
    every = listing.everything
    sample = subset_indices(len(every), min(_SAMPLE, len(every)), seed=0)
    levels = sampled_levels([root / every[i] for i in sample], str(root), notes)
    if image_size is None:
        sample = subset_indices(len(good), min(_SAMPLE, len(good)), seed=0)
        sides = listing.sizes[sample].min(1).tolist()
        image_size = decode.choose_size(sides)
        notes.append(chosen_size_note(image_size, "images of the folder", sides))
    if examples is not None:
        chosen = subset_indices(len(good), examples, seed=seed, name=root.name)
        good = [good[i] for i in chosen]
    labels = np.array([label for _, label in good], np.int32)
    labelled = bool((labels >= 0).any())
    reader = FolderReader(
        count=len(good),
        image_size=image_size,
        channels=3,
        root=str(root),
        paths=tuple(relative for relative, _ in good),
        labels=labels,
        levels=levels,
    )
    return make_source(
        reader,
        name=f"folder:{shown(root.resolve().name)}",
        split=split,
        image_shape=(image_size, image_size, 3),
        store=store,
        labels=labels if labelled else None,
        labelled=labelled,
        class_names=None if classes is None else tuple(map(shown, classes)),
        num_classes=len(classes) if classes else None,
        skipped=skipped,
        note=shown("; ".join(notes)),
    )
