"""Plots and tables of solutions and simulations, for notebooks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

# Distinguishable in grey: dashes for modes, open markers for the simulation.
DASHES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P")
TIME = "time (learning rate x step)"
# With more modes a legend would hide the curves.
_MOST_LABELS = 8


def draw_modes(
    times: np.ndarray, values: np.ndarray, labels: Sequence[str], *, axes: Any = None
) -> Any:
    """Draw each mode as a line with its label; make the axes where there are none."""
    if axes is None:
        from matplotlib import pyplot

        axes = pyplot.subplots(layout="constrained")[1]
    values = values.reshape(len(times), -1)
    # With many modes, label only the first and the last.
    named = set(range(len(labels)))
    if len(labels) > _MOST_LABELS:
        named = {0, len(labels) - 1}
    for mode in range(values.shape[1]):
        axes.plot(
            times,
            values[:, mode],
            DASHES[mode % len(DASHES)],
            color="0.15",
            label=labels[mode] if mode in named else None,
        )
    axes.set_xlabel(TIME)
    return axes


def draw_points(axes: Any, times: Any, values: Any, *, points: int = 25) -> None:
    """Draw a simulation's modes as open markers on existing axes."""
    values = np.asarray(values, float).reshape(len(times), -1)
    shown = np.unique(np.linspace(0, len(times) - 1, points).astype(int))
    for mode in range(values.shape[1]):
        axes.plot(
            np.asarray(times)[shown],
            values[shown, mode],
            MARKERS[mode % len(MARKERS)],
            color="0.45",
            markerfacecolor="none",
            label="simulation" if mode == 0 else None,
        )


def data_frame(labels: Sequence[str], times: Any, values: Any) -> Any:
    """Return a pandas data frame with times as its index and modes as columns.

    Args:
        labels: one per mode.
        times: ``[times]``.
        values: ``[times, ...]``; further axes are flattened.

    Raises:
        ModuleNotFoundError: if pandas is not installed.
    """
    try:
        import pandas  # type: ignore[import-not-found]
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "data frames need pandas: pip install pandas"
        ) from error
    times = np.atleast_1d(np.asarray(times, float))
    table = np.asarray(values, float).reshape(len(times), -1)
    return pandas.DataFrame(
        table, index=pandas.Index(times, name=TIME), columns=list(labels)
    )
