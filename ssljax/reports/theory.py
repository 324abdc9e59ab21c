"""Figures of theory against simulation: theory as lines, simulation as open markers.

Everything is grey, and modes differ by dashes and markers, so that a printed page
shows as much as the screen. The same data give the same bytes.
"""

import io
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssljax.reports.style import (
    house_style,
    new_figure,
    plain_numbers,
    signed_numbers,
)
from ssljax.reports.svg import compact
from ssljax.reports.theory_legends import caption_below, legend_below, shared_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ssljax.analytic.checklist import Panel, Picture

FORMATS = ("svg", "png")
_DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (3, 3)))
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
_POINTS = (12, 22)  # of a curve: at least, and at most
_ALL_POINTS = 800
_LINE_POINTS = 300
_SMALL_MULTIPLES = 7
_WIDEST = 42  # characters of a title or label
_SMALL_TEXT: dict[Any, Any] = {
    "axes.titlesize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
}
# Text stays text: smaller files, and readers can search them.
_SVG: dict[Any, Any] = {"svg.hashsalt": "ssljax", "svg.fonttype": "none"}


def draw(picture: "Picture") -> "Figure":
    """Draw a figure with one set of axes per panel.

    Args:
        picture: an `ssljax.analytic.checklist.Picture`. Labels are one per pair of x
            and y, or one per curve; without any, "theory" and "simulation". From seven
            panels on they are small and share labels and legend.

    Returns:
        A matplotlib figure without a window.

    Raises:
        ValueError: for a picture without panels, or x and y that do not fit.

    >>> from ssljax.analytic.checklist import Panel, Picture
    >>> x = np.linspace(0, 1, 50)
    >>> panel = Panel("growth", "time", "size", lines=[(x, x)], points=[(x, x)])
    >>> figure = draw(Picture("one", [panel]))
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['theory', 'simulation']
    """
    panels = list(picture.panels)
    if not panels:
        raise ValueError(f"picture {picture.name!r} has no panels")
    small = len(panels) >= _SMALL_MULTIPLES
    columns = _columns(len(panels))
    rows = -(-len(panels) // columns)
    with house_style():
        import matplotlib

        if small:
            matplotlib.rcParams.update(_SMALL_TEXT)
        width, height = (2.15, 1.45) if small else (3.4, 2.7)
        if panels[0].equal:
            height = 0.8 * width
        figure = new_figure(max(width * columns, 4.2), height * rows + 0.4)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=small, sharey=small)
        axes_of = list(grid.flat)
        for axes in axes_of[len(panels) :]:
            axes.remove()
        shown = sum(_curves_in(panel.points) for panel in panels)
        points = int(np.clip(_ALL_POINTS // max(shown, 1), *_POINTS))
        for i, (axes, panel) in enumerate(zip(axes_of, panels, strict=False)):
            _draw_panel(axes, panel, size=2.6 if small else 3.8, points=points)
            if small:
                # What a panel below would share is shown where there is none.
                axes.tick_params(labelbottom=i + columns >= len(panels))
                axes.minorticks_off()
            else:
                axes.set_xlabel(textwrap.fill(panel.x_label, _WIDEST))
                axes.set_ylabel(textwrap.fill(panel.y_label, _WIDEST - 8))
        words = [axes.get_legend_handles_labels()[1] for axes in figure.axes]
        alike = len(panels) > 1 and all(labels == words[0] for labels in words)
        # Constrained layout leaves no room for a label that it has not placed itself.
        room = 0.2 if small else 0.0
        bottom = caption_below(figure, picture.caption, label=room)
        if small:
            place = {"y": bottom} if picture.caption else {}
            figure.supxlabel(panels[0].x_label, fontsize=8.5, **place)
            figure.supylabel(panels[0].y_label, fontsize=8.5)
        if small or alike:
            shared_legend(figure)
        else:
            for axes in figure.axes:
                legend_below(axes)
    return figure


def to_bytes(figure: "Figure", kind: str = "svg") -> bytes:
    """Return the figure as SVG or PNG, the same bytes each time, and clear it.

    >>> to_bytes(new_figure(1, 1), "png")[1:4]
    b'PNG'
    """
    if kind not in FORMATS:
        raise ValueError(f"kind must be one of {', '.join(FORMATS)}, got {kind!r}")
    buffer = io.BytesIO()
    nothing = {"svg": ("Date", "Creator"), "png": ("Software",)}[kind]
    with house_style():
        import matplotlib

        matplotlib.rcParams.update(_SVG)
        figure.savefig(buffer, format=kind, metadata=dict.fromkeys(nothing))
    figure.clear()
    return compact(buffer.getvalue()) if kind == "svg" else buffer.getvalue()


def save(picture: "Picture", folder: Path, kind: str = "svg") -> Path:
    """Draw a picture into ``folder / name.kind``; the folder is created."""
    path = Path(folder) / f"{picture.name}.{kind}"
    data = to_bytes(draw(picture), kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _columns(panels: int) -> int:
    if panels >= _SMALL_MULTIPLES:
        return 4
    return {4: 2}.get(panels, min(panels, 3))


def _draw_panel(axes: "Axes", panel: "Panel", *, size: float, points: int) -> None:
    axes.set_title(textwrap.fill(panel.title, _WIDEST))
    if panel.equal:
        axes.set_aspect("equal", "box")
    if panel.log_x:
        axes.set_xscale("log")
        plain_numbers(axes.xaxis)
    if panel.log_y:
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    elif panel.linear_within is not None:
        axes.set_yscale("symlog", linthresh=panel.linear_within, linscale=1.5)
        signed_numbers(axes.yaxis)
    line_count = _curves_in(panel.lines)
    for k, x, y, label in _curves(panel.lines, panel.line_labels, "theory"):
        if np.ptp(x) == 0:  # a time, not a curve
            axes.plot(x, y, ":", color="0.5", linewidth=0.9, label=label, zorder=1)
            continue
        chosen = _spaced(x, log=panel.log_x, most=_LINE_POINTS)
        chosen = chosen[_bends(x[chosen], y[chosen], panel)]
        axes.plot(
            x[chosen],
            y[chosen],
            linestyle=_DASHES[k % len(_DASHES)],
            color=_grey(k, line_count),
            linewidth=1.1,
            label=label,
        )
    point_count = _curves_in(panel.points)
    for k, x, y, label in _curves(panel.points, panel.point_labels, "simulation"):
        chosen = _spaced(x, log=panel.log_x, most=points)
        axes.plot(
            x[chosen],
            y[chosen],
            linestyle="none",
            marker=_MARKERS[k % len(_MARKERS)],
            markersize=size,
            markeredgewidth=0.8,
            markeredgecolor=_grey(k, point_count),
            markerfacecolor="none",
            label=label,
        )
    if not panel.log_y:
        low, high = axes.get_ylim()
        if low < 0 < high:
            axes.axhline(0.0, color="0.6", linewidth=0.7, zorder=0.5)


def _curves(
    pairs: Sequence[tuple[Any, Any]], labels: Sequence[str], default: str
) -> Iterator[tuple[int, np.ndarray, np.ndarray, str | None]]:
    """Yield number, x, y and label of every column of every pair."""
    labels = list(labels) or [default]
    per_curve = len(labels) == _curves_in(pairs)
    k = 0
    for number, (x, y) in enumerate(pairs):
        x, y = np.asarray(x, float), _matrix(y)
        if len(x) != len(y):
            raise ValueError(f"{len(x)} places do not fit {len(y)} values")
        for column in range(y.shape[1]):
            place = k if per_curve else number
            first = per_curve or column == 0
            yield (
                k,
                x,
                y[:, column],
                labels[place] if (first and place < len(labels)) else None,
            )
            k += 1


def _curves_in(pairs: Sequence[tuple[Any, Any]]) -> int:
    return sum(_matrix(y).shape[1] for _, y in pairs)


def _matrix(y: Any) -> np.ndarray:
    y = np.asarray(y, float)
    return y[:, None] if y.ndim == 1 else y


def _spaced(x: np.ndarray, *, log: bool, most: int) -> np.ndarray:
    """Return at most ``most`` indices, evenly spaced along the axis as it is drawn."""
    if len(x) <= most:
        return np.arange(len(x))
    place = x
    if log:
        place = np.log(np.where(x > 0, x, x[x > 0].min(initial=1.0)))
    order = np.argsort(place, kind="stable")
    gaps = np.diff(place[order])
    if gaps.max() < 2 * gaps.min() and len(x) < 8 * most:
        return order[:: -(-len(x) // most)]
    wanted = np.linspace(place.min(), place.max(), most)
    nearest = np.searchsorted(place[order], wanted).clip(0, len(x) - 1)
    return order[np.unique(nearest)]


def _bends(x: np.ndarray, y: np.ndarray, panel: "Panel") -> np.ndarray:
    """Return the indices that a line needs: the rest is straight to a thousandth."""
    across = np.log(np.where(x > 0, x, np.nan)) if panel.log_x else x
    up = np.log(np.where(y > 0, y, np.nan)) if panel.log_y else y
    finite = np.isfinite(across).all() and np.isfinite(up).all()
    if len(x) < 3 or not finite or np.diff(across).min() <= 0:
        return np.arange(len(x))
    tolerance = 1e-3 * max(np.ptp(up), 1e-3 * np.abs(up).max())
    kept, spans = {0, len(x) - 1}, [(0, len(x) - 1)]
    while spans:
        first, last = spans.pop()
        inside = slice(first + 1, last)
        chord = np.interp(across[inside], across[[first, last]], up[[first, last]])
        away = np.abs(up[inside] - chord)
        if len(away) and away.max() > tolerance:
            worst = first + 1 + int(away.argmax())
            kept.add(worst)
            spans += [(first, worst), (worst, last)]
    return np.array(sorted(kept))


def _grey(k: int, count: int) -> str:
    """Return a grey, dark for the first curve; the palest still shows on white."""
    return f"{0.1 + 0.5 * k / max(count - 1, 1):.2f}"
