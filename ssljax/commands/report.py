"""`ssljax report DIR`: the page of a run."""

from dataclasses import dataclass
from pathlib import Path

from ssljax.commands.parse import parse_positional


@dataclass(frozen=True)
class Report:
    """Write report.html and its figures into a run folder, and print its path."""

    workdir: Path
    """Run folder."""


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    asked = parse_positional(Report, words, command="ssljax report")
    from ssljax.reports.report import report

    print(report(asked.workdir))
    return 0
