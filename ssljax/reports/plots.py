"""Figures of a run's history: metrics, collapse panel and eigenvalues over steps."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ssljax.reports.fonts import legible
from ssljax.reports.pictures import confusion, contact_sheet, feature_map
from ssljax.reports.style import (
    MARK,
    NothingToDraw,
    draw_series,
    house_style,
    new_figure,
    number,
    plain_numbers,
    rank_bar,
    rank_colours,
    series,
    step_axis,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "confusion",
    "contact_sheet",
    "curves",
    "eigenvalues",
    "feature_map",
    "spectrum",
]

Records = Sequence[Mapping[str, Any]]

# key: (title of the panel, label of its y axis with the unit)
_CURVES = {
    "loss": ("Loss", "loss"),
    "probe_accuracy": ("Online linear probe", "accuracy (%)"),
    "knn_accuracy": ("Nearest neighbours", "accuracy (%)"),
    "learning_rate": ("Learning rate", "learning rate"),
    "gradient_norm": ("Gradient norm", "L2 norm (log scale)"),
    "images_per_second": ("Throughput", "images / s"),
    "probe_loss": ("Online linear probe", "cross-entropy (nats)"),
    "embedding_std": ("Embedding std", "std (1 = isotropic)"),
    "target_momentum": ("Target momentum", "momentum"),
    "input_wait": ("Waiting for input", "share of time"),
    "monitor_seconds": ("Monitor", "seconds per panel"),
    "step_seconds_p50": ("Step time, median", "seconds"),
    "step_seconds_p90": ("Step time, 90th percentile", "seconds"),
    "step_seconds_p99": ("Step time, 99th percentile", "seconds"),
    "device_memory_gib": ("Device memory", "GiB in use"),
    "device_memory_peak_gib": ("Device memory, peak", "GiB"),
}
_SPECTRUM = {
    "spectrum/effective_rank": ("Effective rank (centred)", "dimensions"),
    "spectrum/rankme": ("RankMe (not centred)", "dimensions"),
    "spectrum/participation_ratio": ("Participation ratio (centred)", "dimensions"),
    "spectrum/participation_ratio_uncentred": (
        "Participation ratio (not centred)",
        "dimensions",
    ),
    "spectrum/alpha_req": ("alpha-ReQ", "decay exponent"),
    "spectrum/std_per_dimension": ("Std per dimension, mean", "std (1 = isotropic)"),
    "spectrum/std_minimum": ("Std per dimension, least", "std (1 = isotropic)"),
    "spectrum/alignment": ("Alignment", "squared distance"),
    "spectrum/uniformity": ("Uniformity", "log potential (nats)"),
    "spectrum/mean_cosine": ("Mean cosine", "cosine"),
}
# Bookkeeping, not curves.
_NOT_CURVES = ("step", "epoch", "alarm", "time", "timestamp", "startup_seconds")
_NOT_SPECTRUM = ("spectrum/examples", "spectrum/dimensions")
_LOG_SCALE = ("gradient_norm",)
_ALARM_LINES = ("--", ":", "-.", (0, (1, 3)))
_RANGE = 1e-12


def curves(records: Records) -> "Figure":
    """Draw training curves as small multiples, one panel for each metric present.

    Known metrics come first; every other number in the records follows by name. A
    value that is not finite leaves a gap and a cross at the foot of its panel.

    Args:
        records: metrics, each with ``"step"`` and any of ``"loss"``,
            ``"learning_rate"``, ``"gradient_norm"``, ``"images_per_second"``,
            ``"probe_accuracy"`` and ``"knn_accuracy"`` (percent), and others. Keys
            that start with ``"spectrum/"`` belong to :func:`spectrum`.

    Returns:
        A matplotlib figure without a window.

    Raises:
        NothingToDraw: (a ValueError) if no record has a step and a number.

    >>> curves([{"step": 1, "loss": 2.0}]).axes[0].get_title(loc="left")
    'Loss'
    """
    present = {k for record in records for k in record if number(record[k]) is not None}
    present = {k for k in present if not k.startswith("spectrum/")}
    present -= set(_NOT_CURVES)
    return _small_multiples(records, _ordered(present, _CURVES), _CURVES, {})


def spectrum(records: Records) -> "Figure":
    """Draw the collapse panel over training, with alarms as vertical marks.

    Args:
        records: metrics with ``"step"`` and any of ``"spectrum/effective_rank"``,
            ``"spectrum/rankme"``, ``"spectrum/participation_ratio"``,
            ``"spectrum/alpha_req"``, ``"spectrum/std_per_dimension"``,
            ``"spectrum/alignment"``, ``"spectrum/uniformity"``,
            ``"spectrum/mean_cosine"`` and other ``"spectrum/..."`` numbers. A record
            with ``"alarm"`` (its kind) marks its step.

    Returns:
        A matplotlib figure without a window.

    Raises:
        NothingToDraw: (a ValueError) if no record has a step and such a number.

    >>> records = [{"step": 5, "spectrum/rankme": 9.0}, {"step": 5, "alarm": "rank"}]
    >>> spectrum(records).legends[0].get_texts()[0].get_text()
    'alarm: rank (step 5)'
    """
    present = {k for record in records for k in record if number(record[k]) is not None}
    present = {k for k in present if k.startswith("spectrum/")} - set(_NOT_SPECTRUM)
    alarms: dict[str, list[float]] = {}
    for record in records:
        step = number(record.get("step"))
        if record.get("alarm") and step is not None and math.isfinite(step):
            alarms.setdefault(str(record["alarm"]), []).append(step)
    return _small_multiples(records, _ordered(present, _SPECTRUM), _SPECTRUM, alarms)


def eigenvalues(records: Records, *, top: int = 64) -> "Figure":
    """Draw the top covariance eigenvalues over training, on a log scale.

    Args:
        records: metrics with ``"step"`` and ``"spectrum/eigenvalues"``, a list of
            floats in descending order; the lists may differ in length.
        top: how many of the largest to draw, >= 1.

    Returns:
        A matplotlib figure without a window. Eigenvalues at or under 1e-12 of the
        largest (zeros, negatives) are drawn at a floor, and the title says so.

    Raises:
        ValueError: if ``top`` is below 1.
        NothingToDraw: (a ValueError) if no record has a finite eigenvalue.

    >>> figure = eigenvalues([{"step": 0, "spectrum/eigenvalues": [1.0, 0.0]}])
    >>> figure.axes[0].get_yscale()
    'log'
    """
    if top < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    steps, values = _eigenvalue_table(records, top)
    largest = np.nanmax(values, initial=0.0)
    floor = (largest or 1.0) * _RANGE
    above = values[values > floor]
    # One decade under the smallest drawn value keeps zeros apart without wasting room.
    floor = max(floor, above.min() / 10) if above.size else floor
    clipped = int((values <= floor).sum())
    with house_style():
        ranks = values.shape[1]
        colours, scale = rank_colours(ranks)
        figure = new_figure(7.4, 4.2)
        axes = figure.add_subplot()
        for rank in range(ranks, 0, -1):
            axes.plot(
                steps,
                np.maximum(values[:, rank - 1], floor),
                color=colours(scale(rank)),
                linewidth=1.6 if rank <= 3 else 0.9,
                marker="o" if len(steps) < 3 else None,
                markersize=3,
            )
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
        axes.set_ylabel("eigenvalue (embedding units squared)")
        step_axis(axes)
        title = f"Top {ranks} eigenvalues of the embedding covariance"
        if clipped:
            axes.axhline(floor, color="0.4", linewidth=0.8, linestyle=":")
            title += f"\n{clipped} values at or near zero are drawn at {floor:.1e}"
        axes.set_title(title)
        if ranks > 1:
            rank_bar(figure, axes, ranks)
    return figure


def _eigenvalue_table(records: Records, top: int) -> tuple[np.ndarray, np.ndarray]:
    found: dict[float, list[float]] = {}
    for record in records:
        step, row = number(record.get("step")), record.get("spectrum/eigenvalues")
        if step is not None and isinstance(row, (list, tuple, np.ndarray)):
            numbers = [number(v) for v in row][:top]
            found[step] = [math.nan if v is None else v for v in numbers]
    width = max(map(len, found.values()), default=0)
    steps = sorted(found)
    values = np.full((len(steps), width), np.nan)  # [steps, ranks]
    for i, step in enumerate(steps):
        values[i, : len(found[step])] = found[step]
    values[~np.isfinite(values)] = np.nan
    if not np.isfinite(values).any():
        raise NothingToDraw(
            "no finite eigenvalue to draw: records need 'step' and "
            "'spectrum/eigenvalues', a list of floats"
        )
    return np.array(steps), values


def _ordered(present: set[str], known: Mapping[str, Any]) -> list[str]:
    return [k for k in known if k in present] + sorted(present - set(known))


def _small_multiples(
    records: Records,
    keys: list[str],
    labels: Mapping[str, tuple[str, str]],
    alarms: Mapping[str, list[float]],
) -> "Figure":
    drawn = [(key, *series(records, key)) for key in keys]
    drawn = [panel for panel in drawn if len(panel[1])]
    if not drawn:
        raise NothingToDraw("nothing to draw: no record has a 'step' and a metric")
    columns = min(3, len(drawn)) if len(drawn) != 4 else 2
    rows = math.ceil(len(drawn) / columns)
    # A user's metric and alarm may be named in any script.
    with house_style([*keys, *alarms]):
        figure = new_figure(3.1 * max(columns, 2), 2.3 * rows + 0.25)
        grid = figure.subplots(rows, columns, squeeze=False)
        panels = list(grid.flat)
        for axes in panels[len(drawn) :]:
            axes.remove()
        places = [*(steps for _, steps, _ in drawn), *alarms.values()]
        low, high = min(map(min, places)), max(map(max, places))
        margin = 0.03 * (high - low) or 1.0
        for i, (key, steps, values) in enumerate(drawn):
            axes = panels[i]
            title, unit = labels.get(key, (key.removeprefix("spectrum/"), "value"))
            draw_series(axes, steps, values, log=key in _LOG_SCALE)
            axes.set_title(legible(title))
            axes.set_ylabel(unit)
            axes.set_xlim(low - margin, high + margin)
            # Only the lowest panel of a column carries the label of the shared axis.
            step_axis(axes, label=i + columns >= len(drawn))
            for kind, style in zip(alarms, _cycle(len(alarms)), strict=True):
                for step in alarms[kind]:
                    axes.axvline(step, color=MARK, linewidth=1.0, linestyle=style)
        if alarms:
            _alarm_legend(figure, alarms)
    return figure


def _cycle(n: int) -> list[Any]:
    return [_ALARM_LINES[i % len(_ALARM_LINES)] for i in range(n)]


def _alarm_legend(figure: "Figure", alarms: Mapping[str, list[float]]) -> None:
    from matplotlib.lines import Line2D

    handles = []
    for kind, style in zip(alarms, _cycle(len(alarms)), strict=True):
        steps = sorted(alarms[kind])
        where = f"step {steps[0]:.0f}"
        if len(steps) > 1:
            where = f"{len(steps)} times, first at {where}"
        line = Line2D([], [], color=MARK, linewidth=1.2, linestyle=style)
        line.set_label(f"alarm: {legible(kind)} ({where})")
        handles.append(line)
    columns = 2 if len(handles) > 1 else 1
    figure.legend(handles=handles, loc="outside lower left", ncols=columns)
