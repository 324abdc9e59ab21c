"""Compare runs: mean and standard deviation over seeds, for every protocol."""

import csv
import io
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ssljax.evaluation.records_table import as_frame, as_html
from ssljax.reports.compared_runs import ComparedRun, Group, group_runs, read_runs

ONLINE = {"probe_accuracy": "online probe", "knn_accuracy": "kNN monitor"}
"""Accuracies that training logs, with the name of their column."""
ENCODER = "encoder"


class Column(NamedTuple):
    """What was measured: a protocol with its settings, on a split."""

    protocol: str
    split: str
    train_examples: int | None
    test_examples: int | None

    @property
    def online(self) -> bool:
        """Whether training logged it, and no evaluation measured it."""
        return self.test_examples is None

    @property
    def heading(self) -> str:
        """The protocol without its settings: ``knn k=5``."""
        return self.protocol.partition(" (")[0]

    @property
    def label(self) -> str:
        """The protocol with all that tells what its number means."""
        if self.online:
            return f"{self.protocol}, logged by the last step of training"
        return (
            f"{self.protocol}, split {self.split}, fitted on "
            f"{self.train_examples or 0:,} images, tested on {self.test_examples:,}"
        )


class Cell(NamedTuple):
    """Accuracy in percent over the seeds of a group."""

    mean: float
    deviation: float | None
    """Of the sample, divided by n - 1; None for one run."""
    count: int

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {self.deviation:.2f}"
        return f"{self.mean:.2f}{spread}"


@dataclass(frozen=True)
class Comparison:
    """Groups of runs by protocols; notebooks show it as a table.

    Attributes:
        groups: runs that differ in their seed alone.
        columns: what was measured in any of them.
        notes: what a reader has to know: runs without an evaluation, alarms.
    """

    groups: tuple[Group, ...]
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()

    def cell(self, group: Group, column: Column) -> Cell | None:
        """Return mean and deviation over the runs that have the number."""
        found = [measured(run).get(column) for run in group.runs]
        values = [value for value in found if value is not None]
        if not values:
            return None
        spread = statistics.stdev(values) if len(values) > 1 else None
        return Cell(statistics.fmean(values), spread, len(values))

    @property
    def records(self) -> list[dict[str, Any]]:
        """One record per group and protocol, with mean, deviation and seeds."""
        return [
            {
                "group": group.label,
                "protocol": column.protocol,
                "split": column.split,
                "train_examples": column.train_examples,
                "test_examples": column.test_examples,
                "mean": cell.mean,
                "deviation": cell.deviation,
                "runs": cell.count,
                "seeds": [run.seed for run in group.runs],
            }
            for group in self.groups
            for column in self.columns
            if (cell := self.cell(group, column)) is not None
        ]

    def frame(self) -> Any:
        """Return the records as a pandas data frame.

        Raises:
            ImportError: if pandas is not installed.
        """
        return as_frame(self.records)

    @property
    def table(self) -> list[list[str]]:
        """Headings, then one row per group; a dash where nothing was measured."""
        head = ["", "runs", *self.headings]
        rows = [
            [group.label, str(len(group.runs)), *self._row(group)]
            for group in self.groups
        ]
        return [head, *rows]

    @property
    def headings(self) -> list[str]:
        """The columns in short, with what tells two of the same protocol apart."""
        shown = []
        for column in self.columns:
            twins = [each for each in self.columns if each.heading == column.heading]
            several = len({each.protocol for each in twins}) > 1
            parts = [column.protocol if several else column.heading]
            for name in ("split", "train_examples", "test_examples"):
                # Of a transfer, the set says more than the protocol.
                always = name == "split" and column.heading.startswith("transfer ")
                if always or len({getattr(each, name) for each in twins}) > 1:
                    value = getattr(column, name)
                    parts.append(value if name == "split" else f"{value:,} {name[:-9]}")
            shown.append(", ".join(parts))
        return shown

    @property
    def settings(self) -> list[list[str]]:
        """Headings, then one row for every setting that differs between groups."""
        keys = sorted({key for group in self.groups for key in group.differing})
        rows = [
            [key, *(_shown(group.differing.get(key)) for group in self.groups)]
            for key in keys
        ]
        return [["setting", *(group.label for group in self.groups)], *rows]

    def __str__(self) -> str:
        """Return both tables as aligned text, for a terminal."""
        parts = [_aligned(self.table)]
        if len(self.settings) > 1 and len(self.groups) > 1:
            parts.append(_aligned(self.settings))
        parts += list(self.notes)
        return "\n\n".join(parts)

    def markdown(self) -> str:
        """Return both tables, what their columns mean, and the notes."""
        lines = ["# Comparison of runs", "", LEGEND, "", *_pipes(self.table), ""]
        lines += [f"- {column.label}" for column in self.columns]
        if len(self.settings) > 1 and len(self.groups) > 1:
            lines += ["", "## Settings that differ", "", *_pipes(self.settings)]
        lines += ["", "## Runs", ""]
        for group in self.groups:
            names = ", ".join(f"`{run.name}` (seed {run.seed})" for run in group.runs)
            lines.append(f"- {group.label}: {names}")
        if self.notes:
            lines += ["", *(f"- {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Return one line per run and protocol, nothing averaged."""
        file = io.StringIO()
        out = csv.writer(file, lineterminator="\n")
        out.writerow(
            "run,group,seed,step,protocol,split,train_examples,test_examples,accuracy"
            "".split(",")
        )
        for group in self.groups:
            for run in group.runs:
                for column, accuracy in measured(run).items():
                    step = run.step if column.online else run.evaluation.step
                    out.writerow(
                        [run.name, group.label, run.seed, step, *column, accuracy]
                    )
        return file.getvalue()

    def _repr_html_(self) -> str:
        head, *rows = self.table
        return as_html(head, rows)

    def _row(self, group: Group) -> Iterator[str]:
        for column in self.columns:
            cell = self.cell(group, column)
            if cell is None:
                yield "–"
            elif cell.count < len(group.runs):
                yield f"{cell} (of {cell.count})"
            else:
                yield str(cell)


LEGEND = (
    "Accuracy of the frozen encoder in percent: mean ± standard deviation of the runs "
    "that differ in their seed alone."
)


def compare_runs(workdirs: Sequence[str | Path]) -> Comparison:
    """Compare runs by their evaluations and logs.

    Args:
        workdirs: run folders.

    Raises:
        ConfigError: if there is none, or one holds no run.
    """
    notes: list[str] = []
    runs = read_runs(workdirs, notes)
    groups = group_runs(runs)
    columns = list(dict.fromkeys(c for run in runs for c in measured(run)))
    # What training logged comes last: it is measured on fewer images.
    columns.sort(key=lambda column: column.online)
    missing = [run.name for run in runs if not run.evaluation.rows]
    if missing:
        notes.append(
            f"not evaluated: {', '.join(missing)}; run ssljax evaluate on "
            f"{'it' if len(missing) == 1 else 'them'}"
        )
    notes += [
        f"{run.name}: {run.alarms} alarm{'s' if run.alarms > 1 else ''} of collapse"
        for run in runs
        if run.alarms
    ]
    for group in groups:
        steps = {run.step for run in group.runs}
        if len(steps) > 1:
            listed = ", ".join(f"{run.name} at {run.step}" for run in group.runs)
            notes.append(f"{group.label}: not all at one step ({listed})")
        seeds = [run.seed for run in group.runs]
        if len(set(seeds)) < len(seeds):
            notes.append(
                f"{group.label}: runs of the same seed are averaged as if they were "
                "independent"
            )
    return Comparison(tuple(groups), tuple(columns), tuple(notes))


def measured(run: ComparedRun) -> dict[Column, float]:
    """Return the accuracies of a run's encoder, in percent."""
    found = {
        Column(
            row.protocol or "protocol not recorded",
            row.split or "",
            row.train_examples,
            row.test_examples,
        ): row.accuracy
        for row in run.evaluation.rows
        if row.representation == ENCODER and row.accuracy is not None
    }
    for key, name in ONLINE.items():
        values = [record[key] for record in run.metrics if key in record]
        if values and isinstance(values[-1], int | float):
            found[Column(name, "", None, None)] = float(values[-1])
    return found


def _shown(value: Any) -> str:
    return "–" if value is None else str(value)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        first, *others = (c.ljust(w) for c, w in zip(row, widths, strict=True))
        lines.append("  ".join([first, *others]).rstrip())
    return "\n".join(lines)


def _pipes(rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    head, *body = rows
    return [line(head), "|" + "---|" * len(head), *map(line, body)]
