"""What the files of a run hold, as types: the same code writes them and reads them.

A record has a field for every key that its file may have. Reading is lenient, because
a folder may come from an older or a newer version: a key that is missing or of another
type reads as None, and keys that this version does not know are kept in ``extra`` and
written again.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from ssljax.runs import files


@dataclass(frozen=True)
class Record:
    """A JSON object of known keys."""

    @classmethod
    def from_object(cls, value: Any) -> Self:
        """Return the record in an object as JSON gives it."""
        value = value if isinstance(value, Mapping) else {}
        hints = typing.get_type_hints(cls)
        known = {f.name for f in dataclasses.fields(cls)} - {"extra"}
        found = {name: _of_type(hints[name], value.get(name)) for name in known}
        # A field that is never None, such as the rows of a table, has a default.
        found = {name: item for name, item in found.items() if item is not None}
        if "extra" in hints:
            found["extra"] = {k: v for k, v in value.items() if k not in known}
        return cls(**found)

    def as_object(self) -> dict[str, Any]:
        """Return the object for the file, keys in the order of the fields."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return values | values.pop("extra", {})

    def save(self, path: Path) -> None:
        """Write the record as a JSON file."""
        files.write_json(path, self)

    @classmethod
    def load(cls, path: Path, notes: list[str] | None = None) -> Self:
        """Read a JSON file; a missing or damaged one gives a record of Nones.

        Args:
            path: the file.
            notes: gets a sentence about a file that is damaged or cannot be read. None
                refuses one that cannot be read.

        Raises:
            ConfigError: if an existing file cannot be read and ``notes`` is None.
        """
        return cls.from_object(files.read_object(path, notes))


@dataclass(frozen=True)
class DataRecord(Record):
    """The training images of a run, from ``data.json``."""

    name: str | None = None
    split: str | None = None
    examples: int | None = None
    image_shape: tuple[int, ...] | None = None
    num_classes: int | None = None
    """None without labels."""
    class_names: tuple[str, ...] | None = None
    mean: tuple[float, ...] | None = None
    """Of each channel, in [0, 1]."""
    std: tuple[float, ...] | None = None
    fingerprint: str | None = None
    skipped: int | None = None
    """How many files could not be read."""
    note: str | None = None
    crop: str | None = None
    """Whether views are cut out of the ``original`` images or of ``stored`` ones."""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether the network and its input can be rebuilt from the record."""
        return None not in (self.image_shape, self.examples, self.mean, self.std)


@dataclass(frozen=True)
class EvaluationRow(Record):
    """One number of an evaluation, see `ssljax.evaluation.evaluate_features`."""

    representation: str | None = None
    protocol: str | None = None
    split: str | None = None
    train_examples: int | None = None
    test_examples: int | None = None
    seed: int | None = None
    """Of all that the evaluation drew; None in the file of an older version."""
    accuracy: float | None = None
    """In percent; None for a protocol without an accuracy."""
    interval: float | None = None
    """Half the 95 % interval of an accuracy that is the mean of several draws."""
    detail: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The protocol alone: ``knn`` of ``knn k=5 (cosine, T=0.1)``."""
        return (self.protocol or "").partition(" ")[0]


@dataclass(frozen=True)
class EvaluatedData(Record):
    """Names of the images that an evaluation used."""

    train: str | None = None
    test: str | None = None


@dataclass(frozen=True)
class Evaluation(Record):
    """The table of an evaluation, from ``evaluation.json``."""

    step: int | None = None
    data: EvaluatedData = EvaluatedData()
    written: str | None = None
    """Time in ISO format."""
    rows: tuple[EvaluationRow, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Alarm(Record):
    """One line of ``alarms.jsonl``."""

    step: float | None = None
    kind: str | None = None
    message: str | None = None
    advice: str | None = None


@dataclass(frozen=True)
class SkippedFile:
    """One line of ``skipped_files.txt``: a file that could not be used, and why."""

    name: str
    reason: str = ""

    @property
    def line(self) -> str:
        """The line with its line feed: name, tab, reason."""
        return f"{_one_line(self.name)}\t{_one_line(self.reason)}\n"

    @classmethod
    def load_all(cls, path: Path) -> list["SkippedFile"]:
        """Read the file; a missing one has none."""
        try:
            # File names need not be text.
            text = files.read_text(path, errors="surrogateescape")
        except FileNotFoundError:
            return []
        parts = [line.partition("\t") for line in text.split("\n") if line.strip()]
        return [cls(name.strip(), reason) for name, _, reason in parts]


def _of_type(hint: Any, value: Any) -> Any:
    """Return the value as the type of a field, or None where it is of another type."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        (hint,) = (each for each in typing.get_args(hint) if each is not type(None))
    if isinstance(hint, type) and issubclass(hint, Record):
        return hint.from_object(value)
    if typing.get_origin(hint) is tuple:
        each = typing.get_args(hint)[0]
        if not isinstance(value, list | tuple):
            return None
        if isinstance(each, type) and issubclass(each, Record):
            value = [item for item in value if isinstance(item, Mapping)]
        items = tuple(_of_type(each, item) for item in value)
        # Half a mean or half a command line would be worse than none.
        return None if None in items else items
    if typing.get_origin(hint) is Mapping:
        return dict(value) if isinstance(value, Mapping) else None
    if isinstance(value, bool):  # a bool is an int to Python
        return None
    if hint is float and isinstance(value, int | float):
        return float(value)
    return value if isinstance(value, hint) else None


def _one_line(text: str | Path) -> str:
    return " ".join(str(text).split())
