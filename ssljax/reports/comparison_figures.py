"""Curves and spectra of several runs over each other."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ssljax.reports.compared_runs import ComparedRun, Group
from ssljax.reports.fonts import legible
from ssljax.reports.style import (
    NothingToDraw,
    house_style,
    new_figure,
    number,
    plain_numbers,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart, without yellow on white.
_COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7"),
    *("#56b4e9", "#e69f00", "#000000"),
)
_LINES: tuple[Any, ...] = ("-", "--", ":", "-.")
_PANELS = {
    "loss": ("Loss", "loss"),
    "probe_accuracy": ("Online linear probe", "accuracy (%)"),
    "knn_accuracy": ("kNN monitor", "accuracy (%)"),
    "spectrum/rankme": ("RankMe (not centred)", "dimensions"),
    "spectrum/effective_rank": ("Effective rank (centred)", "dimensions"),
    "spectrum/mean_cosine": ("Mean cosine", "cosine"),
}
_SMALLEST = 1e-10  # of the largest eigenvalue; what is below is drawn here


def curves(groups: Sequence[Group]) -> "Figure":
    """Draw training curves of all runs, one panel per metric, over epochs.

    Args:
        groups: runs of one colour.

    Returns:
        A matplotlib figure without a window.

    Raises:
        NothingToDraw: if no run has logged a number.
    """
    panels = {
        key: lines
        for key in _PANELS
        if (lines := [_line(run, key) for group in groups for run in group.runs])
        and any(len(x) for x, _ in lines)
    }
    if not panels:
        raise NothingToDraw("nothing to draw: no run has logged a metric")
    columns = min(3, len(panels)) if len(panels) != 4 else 2
    rows = math.ceil(len(panels) / columns)
    with house_style([group.label for group in groups]):
        figure = new_figure(3.1 * max(columns, 2), 2.3 * rows + 0.25)
        grid = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes in grid[len(panels) :]:
            axes.remove()
        for i, (key, lines) in enumerate(panels.items()):
            axes = grid[i]
            for style, (x, y) in zip(_styles(groups), lines, strict=True):
                marker = "o" if len(x) < 3 else None
                axes.plot(x, y, linewidth=1.1, marker=marker, markersize=3, **style)
            title, unit = _PANELS[key]
            axes.set_title(title)
            axes.set_ylabel(unit)
            if i + columns >= len(panels):
                axes.set_xlabel("epoch")
        _legend(figure, groups)
    return figure


def spectra(groups: Sequence[Group]) -> "Figure":
    """Draw the last eigenvalues of all runs over each run's largest.

    Args:
        groups: runs of one colour.

    Returns:
        A matplotlib figure without a window.

    Raises:
        NothingToDraw: if no run has logged eigenvalues.
    """
    found = [_last_eigenvalues(run) for group in groups for run in group.runs]
    if not any(len(values) for values in found):
        raise NothingToDraw("nothing to draw: no run has logged eigenvalues")
    with house_style([group.label for group in groups]):
        figure = new_figure(7.4, 4.2)
        axes = figure.add_subplot()
        for style, values in zip(_styles(groups), found, strict=True):
            axes.plot(
                np.arange(1, len(values) + 1),
                np.maximum(values, _SMALLEST),
                marker="o",
                markersize=3,
                **style,
            )
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
        axes.set_xlabel("rank (1 = largest)")
        axes.set_ylabel("eigenvalue / largest")
        axes.set_title("Spectrum of the embedding covariance, last panel")
        _legend(figure, groups)
    return figure


def _styles(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return colour and line of every run."""
    return [
        {
            "color": _COLOURS[i % len(_COLOURS)],
            "linestyle": _LINES[i // len(_COLOURS) % len(_LINES)],
        }
        for i, group in enumerate(groups)
        for _ in group.runs
    ]


def _line(run: ComparedRun, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Return epochs and values; a resumed run's later record of an epoch counts."""
    found: dict[float, float] = {}
    for record in run.metrics:
        epoch, value = number(record.get("epoch")), number(record.get(key))
        if epoch is not None and value is not None:
            found[epoch] = value if math.isfinite(value) else math.nan
    epochs = np.array(sorted(found))
    return epochs, np.array([found[epoch] for epoch in epochs])


def _last_eigenvalues(run: ComparedRun) -> np.ndarray:
    for record in reversed(run.metrics):
        row = record.get("spectrum/eigenvalues")
        if isinstance(row, list) and row:
            values = np.array(
                [math.nan if (v := number(x)) is None else v for x in row]
            )
            largest = np.nanmax(values) if np.isfinite(values).any() else 0.0
            if largest > 0:
                return values / largest
    return np.zeros(0)


def _legend(figure: "Figure", groups: Sequence[Group]) -> None:
    from matplotlib.lines import Line2D

    firsts = np.cumsum([0, *(len(group.runs) for group in groups[:-1])])
    styles = _styles(groups)
    handles = []
    for group, first in zip(groups, firsts, strict=True):
        count = len(group.runs)
        label = legible(group.label) + (f" ({count} seeds)" if count > 1 else "")
        handles.append(Line2D([], [], label=label, **styles[first]))
    figure.legend(handles=handles, loc="outside lower left", ncols=1)
