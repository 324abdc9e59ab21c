"""Figures of arrays: image views, the feature map and the confusion matrix."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ssljax.reports.fonts import drawable, legible
from ssljax.reports.pixels import channel_note, displayable
from ssljax.reports.style import INK, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAX_ROWS = 16
_MAX_COLUMNS = 12
MAX_NAMED = 20
"""Classes that a figure can name; with more it names none."""
_MARKERS = "osD^vPhX<>"


def contact_sheet(
    originals: np.ndarray,
    views: Sequence[np.ndarray],
    *,
    titles: Sequence[str] | None = None,
) -> "Figure":
    """Draw images beside the views that augmentation made of them, one row per image.

    Args:
        originals: images, uint8 ``[n, H, W, C]``.
        views: each uint8 or float in [0, 1], ``[n, h, w, C]``; sizes may differ from
            the original's. Floats outside [0, 1] (standardised views) are stretched
            by one affine map per view, and the view's title says so.
        titles: one name per column, the original's first; or one per view; or None.

    Returns:
        A matplotlib figure without a window: at most 16 rows and 11 views, and the
        heading says what was left out and which channels are shown.

    Raises:
        ValueError: if an array is not ``[n, height, width, channels]``, counts differ,
            or ``titles`` names neither the columns nor the views.

    >>> image = np.zeros((1, 4, 4, 3), np.uint8)
    >>> len(contact_sheet(image, [image, image]).axes)
    3
    """
    originals = np.asarray(originals)
    columns = [originals, *(np.asarray(view) for view in views)]
    for column in columns:
        if column.ndim != 4 or 0 in column.shape:
            raise ValueError(
                "images must be [n, height, width, channels] without an empty axis, "
                f"got shape {column.shape}"
            )
        if len(column) != len(originals):
            raise ValueError(
                f"every view needs {len(originals)} images like the originals, "
                f"got {len(column)}"
            )
    names = _column_names(titles, len(columns) - 1)
    rows, shown = min(len(originals), _MAX_ROWS), min(len(columns), _MAX_COLUMNS)
    notes = [channel_note(originals.shape[-1])]
    if rows < len(originals):
        notes.append(f"first {rows} of {len(originals)} images")
    if shown < len(columns):
        notes.append(f"first {shown - 1} of {len(columns) - 1} views")
    with house_style(names):
        figure = new_figure(max(1.15 * shown, 3.4), 1.1 * rows + 0.7)
        # One axes per column: axes cost more time than the images in them.
        grid = figure.subplots(1, shown, squeeze=False)[0]
        for axes, column, name in zip(grid, columns, names, strict=False):
            pixels, note = displayable(column[:rows])
            axes.set_title(legible(name) + note, fontsize=8.5, loc="center", wrap=True)
            height, width = pixels.shape[1:3]
            tops = 1.06 * height * np.arange(rows)
            for image, top in zip(pixels, tops, strict=True):
                place = (0, width, top + height, top)
                axes.imshow(image, cmap="gray", vmin=0, vmax=1, extent=place)
            axes.set(xlim=(0, width), ylim=(tops[-1] + height, 0), aspect="equal")
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
            if axes is grid[0]:
                labels = [f"image {i}" for i in range(rows)]
                axes.set_yticks(tops + height / 2, labels, fontsize=7.5, rotation=90)
                axes.tick_params(axis="y", length=0)
                for label in axes.get_yticklabels():
                    label.set_va("center")
        heading = "Original and views" + "".join(f"; {n}" for n in notes if n)
        figure.suptitle(heading, fontsize=9.5, x=0.01, ha="left", wrap=True)
    return figure


def feature_map(
    points: np.ndarray,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    *,
    explained: Sequence[float] | np.ndarray | None = None,
) -> "Figure":
    """Draw features in two dimensions, coloured by class.

    Args:
        points: first two principal components of the features, ``[N, 2]``.
        labels: integer classes ``[N]``; negative ones count as unlabelled. None draws
            all points alike.
        class_names: name of each class, or None for their numbers. A name that no
            font of the system can draw is replaced by the number.
        explained: fraction of the variance along each axis, 2 numbers, for the labels.

    Returns:
        A matplotlib figure without a window. With up to 20 classes each has a colour,
        a marker shape and a legend entry; with more there is no legend.

    Raises:
        ValueError: if ``points`` is not ``[N, 2]`` or ``labels`` not ``[N]``.

    >>> points = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> figure = feature_map(points, np.array([0, 1]), ["cat", "dog"])
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['cat', 'dog']
    """
    points = np.asarray(points, dtype=float)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"points must be [N, 2] with N >= 1, got {points.shape}")
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != (len(points),):
            raise ValueError(
                f"labels must be [{len(points)}] like the points, got {labels.shape}"
            )
    size = float(np.clip(20000 / len(points), 6, 36))
    with house_style(class_names if class_names is not None else ()):
        import matplotlib
        from matplotlib.collections import PathCollection

        figure = new_figure(7.4, 5.2)
        axes = figure.add_subplot()
        look = {"s": size, "linewidths": 0, "alpha": 0.65}
        classes = [] if labels is None else [int(c) for c in np.unique(labels)]
        known = [c for c in classes if c >= 0]
        title = f"{len(points)} feature vectors"
        if labels is not None and known and len(known) < len(classes):
            rest = points[labels < 0]
            axes.scatter(*rest.T, color="0.78", marker=".", label="unlabelled", **look)
            title += f" ({len(rest)} unlabelled: pale)"
        if labels is None or not known:
            axes.scatter(*points.T, color=INK, **look)
            title += ", no labels"
        elif len(known) > MAX_NAMED:
            # Too many colours for a legend; classes of similar colour still show.
            hue = np.searchsorted(known, labels[labels >= 0])
            axes.scatter(*points[labels >= 0].T, c=hue, cmap="nipy_spectral", **look)
            title += f", {len(known)} classes by colour (too many for a legend)"
        else:
            palette = matplotlib.colormaps["tab10" if len(known) <= 10 else "tab20"]
            for i, c in enumerate(known):
                colour, marker = palette(i), _MARKERS[i % len(_MARKERS)]
                mine = points[labels == c]
                axes.scatter(
                    *mine.T,
                    color=colour,
                    marker=marker,
                    label=_name(c, class_names),
                    **look,
                )
                # The median's outlined marker finds the class in a grey print.
                axes.plot(
                    *np.median(mine, axis=0),
                    marker=marker,
                    color=colour,
                    markersize=9,
                    markeredgecolor="black",
                    zorder=3,
                )
            title += f", {len(known)} classes\noutlined marker: median of the class"
            legend = figure.legend(loc="outside right upper", markerscale=1.0)
            for handle in legend.legend_handles:
                if isinstance(handle, PathCollection):
                    handle.set_sizes([36])
                    handle.set_alpha(1.0)
        axes.set_title(title)
        axes.set_aspect("equal", adjustable="datalim")
        share = ["", ""]
        if explained is not None:
            share = [f", {100 * part:.1f}% of variance" for part in explained]
        axes.set_xlabel(f"first principal component (feature units{share[0]})")
        axes.set_ylabel(f"second principal component (feature units{share[1]})")
    return figure


def confusion(matrix: np.ndarray, class_names: Sequence[str] | None = None) -> "Figure":
    """Draw the confusion matrix as percentages of each true class.

    Args:
        matrix: counts, ``[K, K]``; row = true class, column = prediction.
        class_names: K names, or None for numbers; one that no font of the system can
            draw is replaced by its number.

    Returns:
        A matplotlib figure without a window; the percentages are written in the cells
        for K <= 20. The row of a class without an example stays empty.

    Raises:
        ValueError: if ``matrix`` is not square, has a negative or non-finite count, or
            ``class_names`` has another length.

    >>> figure = confusion(np.array([[3, 1], [0, 2]]))
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['75', '25', '', '100']
    """
    matrix = np.asarray(matrix, dtype=float)
    k = len(matrix) if matrix.ndim else 0
    if matrix.shape != (k, k) or not k:
        raise ValueError(f"the confusion matrix must be [K, K], got {matrix.shape}")
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        raise ValueError("the confusion matrix must hold counts: finite and >= 0")
    if class_names is not None and len(class_names) != k:
        raise ValueError(f"class_names must have {k} names, got {len(class_names)}")
    totals = matrix.sum(axis=1, keepdims=True)
    percent = 100 * np.divide(
        matrix, totals, out=np.full((k, k), np.nan), where=totals > 0
    )
    with house_style(class_names if class_names is not None else ()):
        side = 2.6 + 0.36 * min(k, MAX_NAMED)
        figure = new_figure(side + 0.9, side)
        axes = figure.add_subplot()
        image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        if k <= MAX_NAMED:
            names = [_name(c, class_names) for c in range(k)]
            axes.set_xticks(range(k), names, rotation=45, ha="right")
            axes.set_yticks(range(k), names)
            for i, j in np.ndindex(k, k):
                axes.text(
                    j,
                    i,
                    _cell(float(matrix[i, j]), float(percent[i, j])),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if percent[i, j] > 55 else "0.15",
                )
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        right, count = np.trace(matrix), matrix.sum()
        title = f"{right:g} of {count:g} right"
        title += f" ({100 * right / count:.1f}%)" if count else ""
        empty = int((totals == 0).sum())
        title += f"; classes without an example: {empty}" if empty else ""
        axes.set_title(title)
        bar = figure.colorbar(image, ax=axes, shrink=0.8, pad=0.02)
        bar.set_label("share of the true class (%)")
        bar.outline.set_visible(False)
    return figure


def _cell(value: float, percent: float) -> str:
    # A zero stays blank so that the eye finds the mistakes.
    if value == 0 or np.isnan(percent):
        return ""
    return "<1" if percent < 0.5 else f"{percent:.0f}"


def _name(c: int, class_names: Sequence[str] | None) -> str:
    name = (
        str(class_names[c]) if class_names is not None and c < len(class_names) else ""
    )
    # Boxes would make all such classes look alike.
    name = name if name and drawable(name) else f"class {c}"
    return name if len(name) <= 24 else name[:23] + "…"


def _column_names(titles: Sequence[str] | None, views: int) -> list[str]:
    if titles is None:
        return ["original", *(f"view {i + 1}" for i in range(views))]
    if len(titles) == views + 1:
        return [str(t) for t in titles]
    if len(titles) == views:
        return ["original", *(str(t) for t in titles)]
    raise ValueError(
        f"titles must name {views + 1} columns or {views} views, got {len(titles)}"
    )
