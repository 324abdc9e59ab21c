"""Phase diagrams: regimes in greys and hatches, boundaries as lines, and as text."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ssljax.reports.style import house_style, new_figure
from ssljax.reports.theory import to_bytes
from ssljax.reports.theory_legends import caption_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ssljax.analytic.fingerprint.phases import PhaseMap

# By index of `REGIMES`: grey, hatch, and the letter of the text.
_LOOKS = (
    ("1.0", "", " "),
    ("0.45", "", "c"),
    ("0.72", "", "."),
    ("0.95", "////", "s"),
    ("0.95", "", "e"),
)
_COLLAPSE, _SPREADS = 1, 3
_LETTERS = "".join(letter for _, _, letter in _LOOKS)


def phase_caption(found: "PhaseMap", others: float | None) -> str:
    """Return what a diagram shows, in one or two sentences."""
    watched = "one mode"
    if "correlation" in (found.x_name, found.y_name):
        watched += ", by the correlation of its two views"
    text = f"What becomes of {watched}"
    if others is not None:
        text += f"; that of all other modes, which rest, is {others:g}"
    text += "."
    if measured_boundary(found) is not None:
        text += " Circles: its growth while small is 0"
        text += ", measured between the cells"
        text += "; line: by the closed form." if found.boundary is not None else "."
    return text


def measured_boundary(found: "PhaseMap") -> np.ndarray | None:
    """Return the y at which the growth crosses zero, per x; None if it never does.

    Interpolated between the grid's values, NaN where a column has no crossing or where
    the whole spectrum shrinks.
    """
    place = np.full(len(found.x), np.nan)
    for column, growth in enumerate(found.growth.T):
        signs = growth > 0
        crossings = np.flatnonzero(signs[1:] != signs[:-1])
        # Where all shrinks, a growth relative to the others' size means little.
        shrinks = (found.regime[:, column] == _COLLAPSE).any()
        if len(crossings) != 1 or shrinks:
            continue
        (i,) = crossings
        low, high = growth[i], growth[i + 1]
        part = low / (low - high)
        place[column] = found.y[i] + part * (found.y[i + 1] - found.y[i])
    return None if np.isnan(place).all() else place


def draw_phases(found: "PhaseMap", caption: str = "") -> "Figure":
    """Draw a phase diagram.

    Args:
        found: an `ssljax.analytic.fingerprint.PhaseMap`.
        caption: below the diagram.

    Returns:
        A matplotlib figure without a window.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    from ssljax.analytic.fingerprint.phases import REGIMES

    with house_style():
        figure = new_figure(4.6, 3.9)
        axes = figure.add_subplot()
        axes.grid(False)
        colours = ListedColormap([grey for grey, _, _ in _LOOKS])
        x_edges, y_edges = (
            _edges(values, name != "correlation")
            for values, name in ((found.x, found.x_name), (found.y, found.y_name))
        )
        # A cell around every point of the grid.
        axes.pcolormesh(
            x_edges,
            y_edges,
            found.regime,
            cmap=colours,
            vmin=-0.5,
            vmax=len(REGIMES) - 0.5,
            edgecolors="none",
            rasterized=True,
        )
        for row, column in np.argwhere(found.regime == _SPREADS):
            _hatch(axes, x_edges[column : column + 2], y_edges[row : row + 2])
        for name, axis in ((found.x_name, "x"), (found.y_name, "y")):
            if name != "correlation":
                getattr(axes, f"set_{axis}scale")("log")
        _boundaries(axes, found)
        axes.set_xlim(x_edges[0], x_edges[-1])
        axes.set_ylim(y_edges[0], y_edges[-1])
        _plain_axes(axes, found)
        axes.set_title(found.loss)
        patches: list[Any] = [
            Patch(
                facecolor=_LOOKS[k][0],
                hatch=_LOOKS[k][1] or None,
                edgecolor="0.4",
                linewidth=0.5,
                label=REGIMES[k],
            )
            for k in np.unique(found.regime)
        ]
        handles = axes.get_legend_handles_labels()[0]
        figure.legend(
            handles=[*patches, *handles],
            loc="outside upper center",
            ncols=2,
            fontsize=7.5,
        )
        caption_below(figure, caption)
    return figure


def save_phases(
    found: "PhaseMap", folder: Path, kind: str = "svg", caption: str = ""
) -> Path:
    """Draw a diagram into ``folder / phases_LOSS.kind``; the folder is created."""
    path = Path(folder) / f"phases_{found.loss}.{kind}"
    data = to_bytes(draw_phases(found, caption), kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def phase_text(found: "PhaseMap") -> str:
    """Return the diagram as letters, y upwards, with its legend and boundary."""
    from ssljax.analytic.fingerprint.phases import REGIMES

    width = max(len(f"{y:.3g}") for y in found.y)
    lines = [f"{found.y_name}"]
    for y, row in zip(found.y[::-1], found.regime[::-1], strict=True):
        lines.append(f"{y:>{width}.3g} | " + " ".join(_LETTERS[k] for k in row))
    lines.append(" " * (width + 1) + "+" + "-" * (2 * len(found.x)))
    low, high = f"{found.x[0]:.3g}", f"{found.x[-1]:.3g}"
    axis = f"{low} {found.x_name} {high}"
    room = 2 * len(found.x) - 1
    if len(axis) < room:
        axis = low + f" {found.x_name} ".center(room - len(low) - len(high)) + high
    lines.append(" " * (width + 3) + axis)
    counts = np.bincount(found.regime.ravel(), minlength=len(REGIMES))
    lines += [
        f"{_LETTERS[k] if _LETTERS[k].strip() else 'blank'}: {REGIMES[k]}, "
        f"{counts[k]} of {found.regime.size}"
        for k in np.flatnonzero(counts)
    ]
    measured = measured_boundary(found)
    if measured is not None and found.boundary is not None:
        both = np.isfinite(measured) & np.isfinite(found.boundary)
        gap = np.abs(measured - found.boundary)[both].max(initial=0.0)
        lines.append(
            f"growth 0: within {gap:.2g} of the closed form at {both.sum()} of "
            f"{len(found.x)} values of {found.x_name}"
        )
    return "\n".join(lines)


def _edges(values: np.ndarray, logarithmic: bool) -> np.ndarray:
    """Return the borders of the cells around values, half way to their neighbours."""
    places = np.log(values) if logarithmic else np.asarray(values)
    if len(places) == 1:
        edges = np.array([places[0] - 0.05, places[0] + 0.05])
    else:
        middle = 0.5 * (places[1:] + places[:-1])
        first, last = 1.5 * places[[0, -1]] - 0.5 * places[[1, -2]]
        edges = np.concatenate([[first], middle, [last]])
    return np.exp(edges) if logarithmic else edges


def _hatch(axes: "Axes", x: np.ndarray, y: np.ndarray) -> None:
    axes.fill_between(
        x, y[0], y[1], facecolor="none", hatch="////", edgecolor="0.4", linewidth=0.0
    )


def _boundaries(axes: "Axes", found: "PhaseMap") -> None:
    measured = measured_boundary(found)
    if found.boundary is not None:
        axes.plot(found.x, found.boundary, "-", color="0.1", label="closed form")
    if measured is not None:
        axes.plot(
            found.x,
            measured,
            "o",
            markersize=3.2,
            markeredgewidth=0.8,
            color="0.1",
            markerfacecolor="none",
            label="measured, growth 0",
        )


def _plain_axes(axes: "Axes", found: "PhaseMap") -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for name, axis in ((found.x_name, axes.xaxis), (found.y_name, axes.yaxis)):
        axis.set_label_text(name.replace("_", " "))
        if name != "correlation":
            # Ranges of one or two decades: 1, 2 and 5 of each.
            axis.set_major_locator(LogLocator(base=10, subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            axis.set_minor_formatter(NullFormatter())
