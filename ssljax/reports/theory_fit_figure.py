"""The figure of a fitted run: measured eigenvalues under the lines of a theory."""

from typing import TYPE_CHECKING

import numpy as np

from ssljax.reports.style import (
    NothingToDraw,
    house_style,
    new_figure,
    plain_numbers,
    rank_bar,
    rank_colours,
    step_axis,
)
from ssljax.reports.theory_fit_record import RunFit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LINE_POINTS = 300
_LABELS = {"spectrum/cross_eigenvalues": "eigenvalue of the cross-correlation"}
CAPTION = (
    "Points: logged eigenvalues, dark for the largest. Lines: the law of the theory, "
    "dashed where the mode does not follow it; faint points without a line: not "
    "fitted. Diamonds: where the theory has the mode half learned, from its first "
    "value and its rate."
)


def draw_fit(found: RunFit) -> "Figure":
    """Draw every mode's points, and the law of those that were fitted.

    Args:
        found: a fitted run.

    Returns:
        A matplotlib figure without a window; the vertical axis is logarithmic.

    Raises:
        NothingToDraw: (a ValueError) if no eigenvalue is positive.
    """
    values = np.where(found.values > 0, found.values, np.nan)
    if not np.isfinite(values).any():
        raise NothingToDraw("no eigenvalue to draw: all are zero")
    ranks = found.fits[-1].mode
    # Times grow more slowly where the learning rate is low.
    steps = np.linspace(found.steps[0], found.steps[-1], _LINE_POINTS)
    times = np.interp(steps, np.arange(len(found.clock)), found.clock)
    with house_style():
        figure = new_figure(7.4, 4.2)
        axes = figure.add_subplot()
        colours, scale = rank_colours(ranks)
        for column, mode in reversed(list(enumerate(found.fits))):
            colour = colours(scale(mode.mode))
            axes.plot(
                found.steps,
                values[:, column],
                "o",
                color=colour,
                markersize=2.6,
                markeredgewidth=0,
                alpha=0.25 if mode.refused else 0.75,
            )
            if mode.refused:
                continue
            axes.plot(
                steps,
                mode.curve(times),
                linestyle="-" if mode.follows else (0, (4, 2)),
                color=colour,
                linewidth=1.4 if mode.follows else 1.0,
            )
            axes.plot(
                found.step_at(mode.predicted),
                mode.plateau * mode.law.half,
                "D",
                color=colour,
                markersize=5,
                markeredgecolor="white",
                markeredgewidth=0.8,
                zorder=4,
            )
        axes.set_yscale("log")
        low, high = np.nanmin(values), np.nanmax(values)
        # A law that starts far lower must not squeeze the measurements.
        axes.set_ylim(low / 1.6, high * 1.6)
        plain_numbers(axes.yaxis)
        axes.set_ylabel(_LABELS.get(found.metric, "eigenvalue of the covariance"))
        if found.law.quantity == "share":
            axes.set_ylabel("eigenvalue / largest")
        step_axis(axes)
        axes.set_title(f"{found.method}: {found.conclusion.split(';')[0]}")
        rank_bar(figure, axes, ranks)
    return figure
