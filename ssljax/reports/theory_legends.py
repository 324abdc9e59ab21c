"""Legends and captions of the theory figures."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_LABELS = 10
_CAPTION_SIZE = 7.5  # points
# Of a character, and of a line, in units of the size.
_CHARACTER, _LINE = 0.52, 1.45


def legend_below(axes: "Axes") -> None:
    """Put the legend below the panel; inside, it would sooner or later hide curves."""
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        axes.legend(
            handles[:_MOST_LABELS],
            labels[:_MOST_LABELS],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2 - 0.06 * axes.get_xlabel().count("\n")),
            ncols=_legend_columns(labels[:_MOST_LABELS]),
            fontsize=6.8,
            handlelength=2.2,
            columnspacing=1.2,
        )


def _legend_columns(labels: Sequence[str], *, widest: int = 68) -> int:
    """Return how many columns, filled one after the other, fit below a panel."""
    for columns in range(min(len(labels), 3), 1, -1):
        rows = -(-len(labels) // columns)
        starts = range(0, len(labels), rows)
        if sum(9 + max(map(len, labels[i : i + rows])) for i in starts) <= widest:
            return columns
    return 1


def shared_legend(figure: "Figure") -> None:
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        figure.legend(
            list(found.values()),
            list(found),
            loc="outside upper center",
            ncols=min(len(found), 4),
            fontsize=7.5,
        )


def caption_below(figure: "Figure", caption: str, *, label: float = 0.0) -> float:
    """Write a caption under everything else, and make the figure that much higher.

    Args:
        figure: what to write under.
        caption: nothing is written if it is empty.
        label: room for a label of all axes between them and the caption, in inches.

    Returns:
        The share of the new height that the caption takes.
    """
    if not caption:
        return 0.0
    inches = _CAPTION_SIZE / 72.0
    width, height = figure.get_size_inches()
    characters = int(0.96 * width / (_CHARACTER * inches))
    lines = textwrap.wrap(caption, characters)
    room = (len(lines) + 1) * _LINE * inches
    total = height + room + label
    figure.set_size_inches(width, total)
    share, above = room / total, (room + label) / total
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0.0, above, 1.0, 1.0 - above))  # pyright: ignore[reportCallIssue]
    figure.text(
        0.02,
        0.6 * _LINE * inches / total,
        "\n".join(lines),
        fontsize=_CAPTION_SIZE,
        color="0.25",
        va="bottom",
        linespacing=_LINE,
    )
    return share
