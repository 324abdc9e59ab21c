"""A run's logged eigenvalues beside the law of its method's theory."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssljax.analytic.mode_fit import FEWEST, LATENESS, RESIDUAL, ModeFit, fit_modes
from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.methods.mode_laws import LOGGED, MethodLaw, law_of
from ssljax.reports.style import number
from ssljax.runs.flow_time import clock_note, flow_times
from ssljax.runs.folder import RunFolder

MODES = 16
"""Largest modes that are fitted unless told otherwise."""
COLUMNS = ("mode", "rate", "predicted", "measured", "off", "verdict")
_STILL = "does not change"


@dataclass(frozen=True)
class RunFit:
    """The modes of a run, fitted.

    Attributes:
        method: name of the run's method.
        law: the theory's row.
        factor: a fitted rate over the theory's number in ``law.rate``.
        metric: which logged eigenvalues were used.
        steps: ``[panels]``, steps done.
        times: ``[panels]``, the theories' time at these.
        clock: ``[steps + 1]``, the time after every step of the run so far.
        values: ``[panels, modes]``, what was fitted.
        fits: one per mode.
        notes: what to keep in mind, a sentence each.
    """

    method: str
    law: MethodLaw
    factor: float
    metric: str
    steps: np.ndarray
    times: np.ndarray
    clock: np.ndarray
    values: np.ndarray
    fits: list[ModeFit]
    notes: tuple[str, ...]

    def step_at(self, time: float) -> float:
        """Return the step at a time, infinite after the last panel."""
        if not time <= self.times[-1]:
            return math.inf if time > self.times[-1] else math.nan
        return float(np.interp(time, self.clock, np.arange(len(self.clock))))

    @property
    def conclusion(self) -> str:
        """How many modes follow, and which do not, in one line."""
        fitted = [f for f in self.fits if not f.refused]
        wrong = [str(f.mode) for f in fitted if not f.follows]
        left = [str(f.mode) for f in self.fits if f.refused]
        text = f"{len(fitted) - len(wrong)} of {len(self.fits)} modes follow"
        if wrong:
            text += f"; do not follow: {', '.join(wrong)}"
        if left:
            text += f"; not fitted: {', '.join(left)}"
        return text

    def rows(self) -> list[tuple[str, ...]]:
        """Return one row of text per mode, as `COLUMNS` names them."""
        return [self._row(found) for found in self.fits]

    def _row(self, found: ModeFit) -> tuple[str, ...]:
        if found.refused:
            return (str(found.mode), "-", "-", "-", "-", found.verdict)
        rate, error = found.rate / self.factor, found.rate_error / self.factor
        ahead = self.step_at(found.predicted)
        predicted = f"{ahead:.0f}"
        if math.isinf(ahead):
            predicted = f"> {self.steps[-1]}"
        else:
            later = self.step_at(found.predicted + found.predicted_error)
            if math.isfinite(later):
                predicted += f" ± {later - ahead:.1f}"
        return (
            str(found.mode),
            f"{rate:.3g} ± {error:.1g}",
            predicted,
            f"{self.step_at(found.measured):.0f}",
            f"{100 * found.residual:.1f} %",
            found.verdict,
        )

    def as_object(self) -> dict[str, Any]:
        """Return every number as an object for JSON; a missing one is None."""
        modes = [
            {
                "mode": f.mode,
                "rate": f.rate,
                "rate_error": f.rate_error,
                "theory_rate": f.rate / self.factor,
                "theory_rate_error": f.rate_error / self.factor,
                "plateau": f.plateau,
                "plateau_error": f.plateau_error,
                "crossing_time_fitted": f.crossing,
                "crossing_time_predicted": f.predicted,
                "crossing_time_predicted_error": f.predicted_error,
                "crossing_time_measured": f.measured,
                "crossing_step_predicted": self.step_at(f.predicted),
                "crossing_step_measured": self.step_at(f.measured),
                "residual": f.residual,
                "lateness": f.lateness,
                "follows": None if f.refused else f.follows,
                "verdict": f.verdict,
            }
            for f in self.fits
        ]
        return {
            "method": self.method,
            "theory": self.law.theory,
            "equation": self.law.equation,
            "rate": self.law.rate,
            "source": self.law.source,
            "metric": self.metric,
            "bounds": {"residual": RESIDUAL, "lateness": LATENESS},
            "conclusion": self.conclusion,
            "notes": list(self.notes),
            "modes": [_finite(mode) for mode in modes],
        }

    def text(self) -> str:
        """Return the table with its explanation."""
        table = [COLUMNS, *self.rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            f"{self.method}: {self.law.equation}",
            *("  " + line for line in self.explanation()),
            "",
            *(
                "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
                for row in table
            ),
            "",
            self.conclusion,
        ]
        return "\n".join(lines)

    def explanation(self) -> list[str]:
        """Return what the columns mean and what the fit assumes, a line each."""
        return [
            f"{self.law.source}; checks: ssljax theory {self.law.theory}",
            f"eigenvalues: {_QUANTITIES[self.metric]}",
            f"rate: {self.law.rate}, per learning rate x step",
            "predicted: step at which the mode is half learned (x = 1/2), from its "
            "first measured value and the rate of its rise; measured: the same in the "
            "panels",
            f"follows: at most {100 * RESIDUAL:.0f} % of its plateau off the curve "
            f"(root mean square), and predicted within {100 * LATENESS:.0f} % of the "
            "measured wait",
            *self.notes,
        ]


_QUANTITIES = {
    "spectrum/eigenvalues": "of the centred covariance of the projections",
    "spectrum/moment_eigenvalues": (
        "of the projections' second moment, over the largest one"
    ),
    "spectrum/cross_eigenvalues": (
        "of the views' cross-correlation, standardised and symmetrised"
    ),
}


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


def _finite(mode: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(x, float) and not math.isfinite(x) else x
        for name, x in mode.items()
    }


def as_json(found: RunFit) -> str:
    """Return the record as the text of ``theory_fit.json``."""
    return json.dumps(found.as_object(), indent=1, ensure_ascii=False) + "\n"
