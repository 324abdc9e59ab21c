"""A recipe: a config that has a name, and what is known about running it."""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass

from ssljax.config import Config
from ssljax.recipes.datasets import Dataset
from ssljax.recipes.smoke import shrink

NOT_MEASURED = "not yet measured"


@dataclass(frozen=True)
class Recipe:
    """One line of `ssljax list recipes`, and the config behind it.

    ``expected``, ``time`` and ``source`` are short, since they are columns of that
    list; `describe` adds the notes.
    """

    name: str
    """What people type: ``dataset/method``."""
    method: str
    """The method, in words."""
    dataset: Dataset
    make: Callable[[Dataset], Config]
    expected: str
    """The accuracy to expect and who reports it."""
    source: str
    """Whose settings these are."""
    time: str = NOT_MEASURED
    notes: tuple[str, ...] = ()
    make_smoke: Callable[[Config], Config] | None = None
    """From the full config to the one of ``--smoke``, where `shrink` does not fit."""

    def config(self, *, smoke: bool = False) -> Config:
        """Return the config, or with ``smoke`` one that a CPU trains in minutes."""
        full = self.make(self.dataset)
        if not smoke:
            return full
        return (self.make_smoke or shrink)(full)

    @property
    def epochs(self) -> float:
        """Return the epochs of the full config."""
        return self.make(self.dataset).epochs

    @property
    def title(self) -> str:
        """Return the method and the data set, in words."""
        return f"{self.method} on {self.dataset.title}"

    @property
    def command(self) -> str:
        """Return the command line that trains the recipe."""
        extra = " --data.path DIR" if self.dataset.data.name == "folder" else ""
        folder = self.name.replace("/", "_")
        return f"ssljax pretrain {self.name}{extra} --workdir runs/{folder}"

    def describe(self, *, width: int = 80) -> str:
        """Return the whole record as text: command, time, result, source, notes."""
        rows = [
            ("Command:", self.command),
            ("Epochs:", f"{self.epochs:g}"),
            ("Time:", self.time),
            ("Result:", self.expected),
            ("Source:", self.source),
        ]
        paragraphs = [
            textwrap.fill(note, width, break_on_hyphens=False)
            for note in (*self.notes, *self.dataset.notes)
        ]
        table = "\n".join(f"{heading:<9} {value}" for heading, value in rows)
        return "\n\n".join([self.title, table, *paragraphs])
