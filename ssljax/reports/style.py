"""The one look of every figure, and the small parts that the figures share."""

import contextlib
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ssljax.reports.fonts import families

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Any: the stubs of matplotlib 3.11 allow its own literals as keys only.
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.labelsize": 8.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.edgecolor": "0.35",
    "grid.color": "0.88",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.color": "0.25",
    "ytick.color": "0.25",
    "lines.linewidth": 1.3,
    "legend.fontsize": 8.0,
    "legend.frameon": False,
    "figure.dpi": 130.0,
    "savefig.dpi": 130.0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    # Class names and titles are data: a "$" in them must not start a formula.
    "text.parse_math": False,
}
INK = "#1f4e79"
MARK = "#b3261e"


class NothingToDraw(ValueError):
    """Raised where the records hold nothing that the figure shows."""


_NOT_FINITE_WORDS = ("NaN", "Infinity", "-Infinity", "nan", "inf", "-inf")


@contextlib.contextmanager
def house_style(texts: Iterable[str] = ()) -> Iterator[None]:
    """Use matplotlib's defaults plus the house look, whatever the user's matplotlibrc.

    Args:
        texts: names in any script that are going to be drawn; fonts are chosen for
            them.

    >>> import matplotlib
    >>> with house_style():
    ...     matplotlib.rcParams["axes.spines.top"]
    False
    """
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        matplotlib.rcParams["font.family"] = families(texts)
        yield


def new_figure(width: float, height: float) -> "Figure":
    """Create an Agg figure of ``width`` x ``height`` inches, unknown to pyplot.

    >>> new_figure(4, 3).get_size_inches().tolist()
    [4.0, 3.0]
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: "Figure") -> bytes:
    """Return the figure as PNG bytes, the same for the same figure, and clear it.

    >>> to_png(new_figure(1, 1))[1:4]
    b'PNG'
    """
    buffer = io.BytesIO()
    with house_style():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    figure.clear()
    return buffer.getvalue()


def number(value: Any) -> float | None:
    """Return ``value`` as a float if it is a number or a word for a non-finite one.

    >>> number(3), number("NaN"), number("fast"), number(True)
    (3.0, nan, None, None)
    """
    if isinstance(value, str):
        return float(value) if value in _NOT_FINITE_WORDS else None
    if isinstance(value, (bool, np.bool_)):
        return None
    if isinstance(value, (int, float, np.integer, np.floating)):
        return float(value)
    return None


def series(
    records: Sequence[Mapping[str, Any]], key: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return steps and values of one metric, ordered by step.

    A resumed run writes some steps twice; the later record is the one that counts.

    >>> series([{"step": 2, "loss": 1}, {"step": 2, "loss": 4}, {"step": 3}], "loss")
    (array([2.]), array([4.]))
    """
    found: dict[float, float] = {}
    for record in records:
        step, value = number(record.get("step")), number(record.get(key))
        if step is not None and math.isfinite(step) and value is not None:
            found[step] = value
    steps = np.array(sorted(found), dtype=float)
    return steps, np.array([found[s] for s in steps], dtype=float)


def rank_colours(ranks: int) -> tuple[Any, Any]:
    """Return the colour map of eigenvalues by rank, dark for the largest, and its norm.

    >>> colours, scale = rank_colours(3)
    >>> colours(scale(1))[:3] != colours(scale(3))[:3]
    True
    """
    import matplotlib
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    # The palest fifth of the map would vanish on white paper.
    shades = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, 256))
    colours = LinearSegmentedColormap.from_list("ranks", shades)
    return colours, Normalize(1, max(ranks, 2))


def rank_bar(figure: "Figure", axes: "Axes", ranks: int) -> None:
    """Draw the colour bar of `rank_colours` beside axes."""
    from matplotlib.cm import ScalarMappable

    colours, scale = rank_colours(ranks)
    mappable = ScalarMappable(norm=scale, cmap=colours)
    bar = figure.colorbar(mappable, ax=axes, pad=0.02)
    bar.ax.invert_yaxis()
    ticks = np.unique(np.linspace(1, ranks, min(ranks, 6)).round())
    bar.set_ticks(ticks.tolist())
    bar.set_label("rank (1 = largest)")
    bar.outline.set_visible(False)


def draw_series(
    axes: "Axes", steps: np.ndarray, values: np.ndarray, *, log: bool
) -> None:
    """Draw a line over steps, with gaps and crosses where a value is not finite."""
    from matplotlib.ticker import MaxNLocator

    finite = np.isfinite(values)
    # A point between two gaps has no line; without a marker it would be invisible.
    before = np.concatenate([[False], finite[:-1]])
    after = np.concatenate([finite[1:], [False]])
    lonely = finite & ~before & ~after
    axes.plot(steps, np.where(finite, values, np.nan), color=INK)
    axes.plot(steps[lonely], values[lonely], "o", color=INK, markersize=3)
    if log and finite.any() and (values[finite] > 0).all():
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
        if values[finite].max() < 30 * values[finite].min():
            # There may be no power of ten in between to write at the axis.
            axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    if not finite.all():
        axes.plot(
            steps[~finite],
            np.zeros((~finite).sum()),
            "x",
            color=MARK,
            markersize=5,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
        )
        axes.text(
            0.98,
            0.96,
            f"x: {(~finite).sum()} not finite",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=7.5,
            color=MARK,
        )


def step_axis(axes: "Axes", *, label: bool = True) -> None:
    """Set ticks in whole steps, thousands written 20k, and the label.

    >>> axes = new_figure(2, 2).add_subplot()
    >>> step_axis(axes)
    >>> axes.get_xlabel()
    'training step'
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _short(x)))
    if label:
        axes.set_xlabel("training step")


def plain_numbers(axis: Any) -> None:
    """Write powers of ten as 0.001 or 1e-06: formulas are switched off."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(base=10, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def signed_numbers(axis: Any) -> None:
    """Write powers of ten of either sign, and 0, on a symmetric logarithmic axis."""
    from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _short(x: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(x) >= 10 * size or (abs(x) >= size and x % (size / 10) == 0):
            return f"{x / size:g}{letter}"
    return f"{x:g}"
