"""`ssljax compare DIR ...`: runs beside each other, averaged over seeds."""

from dataclasses import dataclass
from pathlib import Path

from ssljax.commands.parse import parse_positional
from ssljax.config.paths import as_path


@dataclass(frozen=True)
class Compare:
    """Compare runs: accuracy by protocol, mean and deviation over seeds.

    Runs that differ in their seed alone are averaged; the settings that differ between
    the others are listed.
    """

    workdirs: list[Path]
    """Run folders."""
    out: Path | None = None
    """Folder for comparison.html (with curves and spectra), .md and .csv."""


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    asked = parse_positional(Compare, words, command="ssljax compare", flags=("out",))
    from ssljax.reports.comparison_page import compare

    print(compare(asked.workdirs, out=asked.out))
    if asked.out is not None:
        print(f"\n{as_path(asked.out) / 'comparison.html'}")
    return 0
