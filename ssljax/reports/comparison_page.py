"""Write a comparison: a page with curves and spectra of all runs, markdown and CSV."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ssljax.config.checks import ConfigError
from ssljax.config.paths import as_path
from ssljax.reports.comparison import LEGEND, Comparison, compare_runs
from ssljax.reports.comparison_figures import curves, spectra
from ssljax.reports.html import Figure, render
from ssljax.reports.style import NothingToDraw, to_png
from ssljax.runs import files

if TYPE_CHECKING:
    import matplotlib.figure


def compare(
    workdirs: Sequence[str | Path], *, out: str | Path | None = None
) -> Comparison:
    """Compare runs: mean and deviation over seeds, and the settings that differ.

    Args:
        workdirs: run folders. Runs that differ in their seed alone are averaged.
        out: folder for ``comparison.html``, ``comparison.md`` and ``comparison.csv``;
            None writes nothing.

    Returns:
        The comparison: ``print`` shows it as text, a notebook as a table, and
        ``records`` and ``frame()`` give the numbers.

    Raises:
        ConfigError: if there is no run, a folder holds none, or ``out`` cannot be
            written.
    """
    comparison = compare_runs(workdirs)
    if out is not None:
        write_comparison(comparison, as_path(out))
    return comparison


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write the page, the markdown file and the CSV file.

    Raises:
        ConfigError: if the folder cannot be written.
    """
    why = files.why_unwritable(folder, folder=True)
    if why is not None:
        raise ConfigError(f"--out {folder} cannot be written ({why}); use another")
    folder.mkdir(parents=True, exist_ok=True)
    groups = comparison.groups
    figures = [
        _figure(
            "Curves",
            lambda: curves(groups),
            "One line per run, one colour per group. Losses of different methods have "
            "different units.",
            "No run has logged a number yet.",
        ),
        _figure(
            "Spectra",
            lambda: spectra(groups),
            "Eigenvalues of the embedding covariance at the last panel of each run, "
            "over the largest. A line that falls early has few dimensions left.",
            "No run has logged eigenvalues: the monitor was off.",
        ),
    ]
    files.write_atomically(folder / "comparison.md", comparison.markdown())
    files.write_atomically(folder / "comparison.csv", comparison.csv())
    render(
        folder / "comparison.html",
        "comparison.html.jinja",
        title=_title(comparison),
        accuracies=comparison.table,
        columns=[column.label for column in comparison.columns],
        legend=LEGEND,
        settings=comparison.settings if len(groups) > 1 else [],
        groups=[
            (group.label, ", ".join(f"{r.name} (seed {r.seed})" for r in group.runs))
            for group in groups
        ],
        notes=comparison.notes,
        figures=figures,
    )


def _title(comparison: Comparison) -> str:
    count = sum(len(group.runs) for group in comparison.groups)
    settings = len(comparison.groups)
    return (
        f"{count} run{'s' if count > 1 else ''} of {settings} "
        f"setting{'s' if settings > 1 else ''}"
    )


def _figure(
    heading: str,
    make: Callable[[], "matplotlib.figure.Figure"],
    caption: str,
    missing: str,
) -> Figure:
    try:
        return Figure(heading, caption, to_png(make()))
    except NothingToDraw:
        return Figure(heading, missing, None)
