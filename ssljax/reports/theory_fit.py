"""A run's logged eigenvalues beside the law of its method's theory."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ssljax.analytic.mode_fit import FEWEST, fit_modes
from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.methods.mode_laws import LOGGED, MethodLaw, law_of
from ssljax.reports.style import number
from ssljax.reports.theory_fit_record import RunFit
from ssljax.runs.flow_time import clock_note, flow_times
from ssljax.runs.folder import RunFolder

MODES = 16
"""Largest modes that are fitted unless told otherwise."""
_STILL = "does not change"


def fit_run(folder: RunFolder, *, modes: int = MODES) -> RunFit:
    """Fit the law of a run's method to the eigenvalues that it logged.

    Args:
        folder: of the run; its metrics, config and data records are read.
        modes: how many of the largest modes to fit.

    Raises:
        ConfigError: the line that says what is missing: a theory of that method,
            panels, or a spectrum that changes.
    """
    config = folder.load_config()
    law, curve, factor = law_of(config)
    records = folder.load_metrics()
    metric = next(
        (name for name in LOGGED[law.quantity] if any(name in r for r in records)),
        LOGGED[law.quantity][-1],
    )
    steps, values = eigenvalue_table(records, metric)
    if len(steps) < FEWEST:
        panels = f"{len(steps)} spectrum panel{'s' * (len(steps) != 1)}"
        raise ConfigError(
            f"{folder.path} has {panels}, and a fit needs at least {FEWEST}; train "
            "with a smaller --monitor.every-epochs, such as 0.1"
        )
    times = flow_times(config, folder.load_data().examples, steps)
    clock = flow_times(
        config, folder.load_data().examples, np.arange(int(steps[-1]) + 1)
    )
    # Of the largest, the share is 1 throughout.
    first = 0
    notes = [law.assumes, *_notes(config, law, metric)]
    if law.quantity == "share":
        with np.errstate(invalid="ignore", divide="ignore"):
            values, first = values / values[:, :1], 1
    values = values[:, first : first + modes]
    ranks = range(first + 1, first + 1 + values.shape[1])
    fits = fit_modes(times, values, curve, ranks=ranks) if values.size else []
    if all(
        f.refused == _STILL or not np.nanmax(v) > 0
        for f, v in zip(fits, values.T, strict=True)
    ):
        raise ConfigError(
            f"the spectrum of {folder.path} does not change, so there is no rise to "
            "fit; look for a collapse or a learning rate of 0"
        )
    return RunFit(
        config.method.name,
        law,
        factor,
        metric,
        steps,
        times,
        clock,
        values,
        fits,
        tuple(notes),
    )


def _notes(config: Config, law: MethodLaw, metric: str) -> list[str]:
    notes = [clock_note(config)]
    if law.quantity == "share":
        notes.append("mode 1 is the unit of the others and has no curve of its own")
    if metric != LOGGED[law.quantity][0]:
        missing = LOGGED[law.quantity][0].removeprefix("spectrum/").replace("_", " ")
        notes.append(
            f"this run logged no {missing}, of which the theory speaks; those of the "
            "centred covariance are used, whose plateaus differ"
        )
    if config.method.target_momentum:
        notes.append(
            "the theory's target does not lag; this run's is averaged with momentum "
            f"{config.method.target_momentum:g}"
        )
    if config.optimizer.weight_decay:
        notes.append("the theory has no weight decay")
    notes.append("modes are sorted by size, so two that cross exchange their names")
    return [note for note in notes if note]


def eigenvalue_table(
    records: Sequence[Mapping[str, Any]], metric: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return steps ``[panels]`` and eigenvalues ``[panels, modes]``, NaN where missing.

    A resumed run writes some steps twice; the later record counts.

    >>> eigenvalue_table([{"step": 3, "a": [2.0, 1.0]}, {"step": 4}], "a")
    (array([3]), array([[2., 1.]]))
    """
    found: dict[int, list[float]] = {}
    for record in records:
        step, row = number(record.get("step")), record.get(metric)
        if step is not None and isinstance(row, list):
            numbers = [number(value) for value in row]
            found[int(step)] = [math.nan if x is None else x for x in numbers]
    steps = sorted(found)
    width = max(map(len, found.values()), default=0)
    values = np.full((len(steps), width), np.nan)
    for i, step in enumerate(steps):
        values[i, : len(found[step])] = found[step]
    return np.array(steps, int), values
