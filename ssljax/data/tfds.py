"""Load TFDS sets by name: random access to array_record files, without TensorFlow."""

import shlex
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ssljax.config.checks import similar
from ssljax.data import decode, file_names
from ssljax.data.depth import Levels
from ssljax.data.opening import UnreadableImage, header_size
from ssljax.data.reader import Reader, chosen_size_note, make_source
from ssljax.data.retry import Retries, gave_up, is_transient
from ssljax.data.sampled_levels import sampled_levels
from ssljax.data.source import DataError, Source
from ssljax.data.subsets import subset_indices
from ssljax.data.tfds_folder import tfds_copy, tfds_dir

# The labels of these test splits were never published, so "test" means validation.
_HIDDEN_TEST = ("imagenet2012",)
_ALIASES = {
    "train": ("train", "training"),
    "test": ("test", "validation", "val", "valid"),
    "val": ("validation", "val", "valid"),
    "validation": ("validation", "val", "valid"),
    "unlabelled": ("unlabelled", "unlabeled"),
    "unlabeled": ("unlabelled", "unlabeled"),
}
_SAMPLE = 200  # records whose median shorter side decides the size


@dataclass
class TfdsReader(Reader):
    """Read records by index; every process opens the files itself on first use."""

    name: str
    data_dir: str
    split: str
    image_key: str
    label_key: str | None
    positions: np.ndarray | None  # of a subset; None is the whole split
    records: Any = field(default=None, repr=False)

    def describe(self, index: int) -> str:
        return f"record {index if self.positions is None else self.positions[index]}"

    def fetch(self, indices: np.ndarray) -> list[tuple[bytes | str, int]]:
        if self.records is None:
            self.records = open_records(
                builder(self.name, self.data_dir), self.split, self.image_key
            )
        if self.positions is not None:
            indices = self.positions[indices]
        try:
            records, wanted = self.records, [int(i) for i in indices]
            rows = Retries().call(lambda: records.__getitems__(wanted))
        except (RuntimeError, OSError) as error:
            # Files are opened by the first read, and each block is checked when read.
            what = f"the files of {self.name!r} in {self.data_dir} cannot be read"
            what += f" ({' '.join(str(error).split())[:200]})"
            if is_transient(error):
                raise gave_up(what) from error
            command = prepare_command(self.name, self.data_dir)
            raise DataError(
                f"{what}; bring them back, or delete that data set and run `{command}`"
            ) from error
        return [
            (row[self.image_key], int(row[self.label_key]) if self.label_key else -1)
            for row in rows
        ]

    def file_names(self) -> tuple[str, ...] | None:
        return file_names.read(self, builder(self.name, self.data_dir), open_records)

    def __getstate__(self):
        # Open files cannot be pickled for worker processes.
        return {**self.__dict__, "records": None}


def load_tfds(
    name: str,
    *,
    split: str = "train",
    data_dir: str | None = None,
    image_size: int | None = None,
    examples: int | None = None,
    store: str = "auto",
    seed: int = 0,
) -> Source:
    """Load a prepared TFDS set; see `ssljax.data.load` for the arguments.

    Raises:
        DataError: if the set is unknown, not prepared, not in array_record files, or
            has no image.
    """
    folder = tfds_copy(name, data_dir)
    made = builder(name, folder)
    check_prepared(made, name, folder)
    actual, split_note = _resolve_split(made, name, split)
    image_key, label_key = _keys(made, name)
    shape = made.info.features[image_key].shape
    channels = 1 if shape[2] == 1 else 3
    total = made.info.splits[actual].num_examples
    if not total:
        raise DataError(f"split {split!r} of {name!r} is empty; choose another split")
    positions = None
    if examples is not None:
        positions = subset_indices(total, examples, seed=seed, name=name)
    reader = TfdsReader(
        count=total if positions is None else len(positions),
        image_size=image_size,
        channels=channels,
        name=name,
        data_dir=folder,
        split=actual,
        image_key=image_key,
        label_key=label_key,
        positions=positions,
    )
    reader.records = open_records(made, actual, image_key)
    notes = [split_note] if split_note else []
    if made.info.features[image_key].np_dtype == np.uint16:
        reader.levels = _levels(made, reader, notes)
    if image_size is None and (shape[0] is None or shape[1] is None):
        sides = _shorter_sides(reader)
        reader.image_size = decode.choose_size(sides)
        notes.append(chosen_size_note(reader.image_size, f"images of {name}", sides))
    side = reader.image_size
    height, width = (side, side) if side else shape[:2]
    feature = made.info.features[label_key] if label_key else None
    return make_source(
        reader,
        name=name,
        split=split,
        image_shape=(int(height), int(width), channels),
        store=store,
        labels=None,
        labelled=label_key is not None and any(row[1] >= 0 for row in _sample(reader)),
        class_names=_class_names(feature),
        num_classes=feature.num_classes if feature is not None else None,
        skipped=(),
        note="; ".join(notes),
    )


def prepare_command(name: str, folder: str) -> str:
    """Return the command that prepares a set in the folder where it is missing."""
    where = "" if folder == tfds_dir(None) else f" --data-dir {shlex.quote(folder)}"
    return f"ssljax data prepare {name}{where}"


def builder(name: str, folder: str, **options: Any) -> Any:
    """Return the TFDS builder of ``name`` in ``folder``.

    Raises:
        DataError: if there is no such data set or version.
    """
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(name, data_dir=folder, **options)
    except (AssertionError, ValueError, TypeError, FileNotFoundError) as error:
        # TFDS raises any of these for an unknown config or version or a misspelt name
        # (DatasetNotFoundError is a ValueError).
        known = tfds.list_builders(with_community_datasets=False)
        base = name.split("/")[0].split(":")[0]
        if base in known:
            text = " ".join(str(error).split())
            raise DataError(f"cannot open data set {name!r}: {text}") from None
        near = similar(base, ["shapes", "folder", *known])
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise DataError(
            f"no data set is called {name!r}; {hint}`ssljax data list` shows some"
        ) from None


def check_prepared(made, name: str, folder: str) -> None:
    """Check that a set is there and readable.

    Raises:
        DataError: if it must be prepared first; the message has the command.
    """
    if not made.info.splits:
        raise DataError(
            f"data set {name!r} is not in {folder}; run "
            f"`{prepare_command(name, folder)}`, or set TFDS_DATA_DIR or "
            "--data.data-dir to the folder that has it"
        )
    found = made.info.file_format.value
    if found != "array_record":
        raise DataError(
            f"data set {name!r} in {folder} is stored in {found} files, which have no "
            f"random access; delete {made.data_path} or choose another "
            f"--data.data-dir, then run `{prepare_command(name, folder)}`"
        )


def open_records(made, split: str, image_key: str):
    """Open the records of a split for random access, images left encoded."""
    import tensorflow_datasets as tfds

    try:
        return made.as_data_source(
            split, decoders={image_key: tfds.decode.SkipDecoding()}
        )
    except (ValueError, OSError, NotImplementedError) as error:
        text = " ".join(str(error).split())
        raise DataError(
            f"cannot read split {split!r} of {made.info.full_name} ({text}); "
            "check how the split is written and that the files are in place"
        ) from None


def _resolve_split(made, name: str, split: str) -> tuple[str, str]:
    """Return the set's own name of the split, and a note if it differs."""
    has = list(made.info.splits)
    wanted = _ALIASES.get(split, (split,))
    if split == "test" and name.split("/")[0].split(":")[0] in _HIDDEN_TEST:
        wanted = wanted[1:]
    for candidate in wanted:
        if candidate in has:
            note = f"split {split!r} is {name}'s {candidate!r}"
            return candidate, "" if candidate == split else note
    # TFDS itself checks expressions such as train[:90%] or train+test.
    if "[" in split or "+" in split:
        return split, ""
    raise DataError(f"{name!r} has no split {split!r}; it has {', '.join(has)}")


def _keys(made, name: str) -> tuple[str, str | None]:
    """Return the names of the image and the label feature."""
    import tensorflow_datasets as tfds

    features = dict(made.info.features)
    images = [k for k, f in features.items() if type(f) is tfds.features.Image]
    if not images:
        raise DataError(
            f"{name!r} has no image feature, only {', '.join(features)}; "
            "choose a data set of images"
        )
    labels = [k for k, f in features.items() if isinstance(f, tfds.features.ClassLabel)]
    image = "image" if "image" in images else images[0]
    kind, channels = features[image].np_dtype, features[image].shape[2]
    # Pillow drops the lower bits of 16-bit colour, and TFDS packs floats into 8 bits.
    if kind != np.uint8 and (kind != np.uint16 or channels != 1):
        what = f"{channels}-channel uint16" if kind == np.uint16 else np.dtype(kind)
        raise DataError(
            f"images of {name!r} are {what}; choose a data set of 8-bit images, or of "
            "uint16 images with one channel"
        )
    if not labels:
        return image, None
    return image, "label" if "label" in labels else labels[0]


def _class_names(feature) -> tuple[str, ...] | None:
    if feature is None:
        return None
    names = tuple(feature.names)
    # TFDS makes up the names 0, 1, 2, ... if a set has none.
    return None if names == tuple(map(str, range(len(names)))) else names


def _sample(reader: TfdsReader) -> list[tuple[bytes | str, int]]:
    return reader.fetch(
        subset_indices(reader.count, min(_SAMPLE, reader.count), seed=0)
    )


def _levels(made, reader: TfdsReader, notes: list[str]) -> Levels | None:
    """Choose the scale of 16-bit images, from a sample of all splits."""
    images = []
    for split, info in made.info.splits.items():
        if info.num_examples:
            whole = replace(
                reader, count=info.num_examples, split=split, positions=None
            )
            whole.records = None
            images += [data for data, _ in _sample(whole)]
    return sampled_levels(images, reader.name, notes)


def _shorter_sides(reader: TfdsReader) -> list[int]:
    sides = []
    for data, _ in _sample(reader):
        try:
            sides.append(min(header_size(data)))
        except UnreadableImage:
            continue
    if not sides:
        raise DataError(f"no image of {reader.name!r} can be read")
    return sides
