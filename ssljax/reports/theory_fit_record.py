"""What the fit of a run found: one record that prints as a table and as JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssljax.analytic.mode_fit import LATENESS, RESIDUAL, ModeFit
from ssljax.methods.mode_laws import MethodLaw

COLUMNS = ("mode", "rate", "predicted", "measured", "off", "verdict")


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
        wrong = [f.mode for f in fitted if not f.follows]
        left = [f.mode for f in self.fits if f.refused]
        text = f"{len(fitted) - len(wrong)} of {len(fitted)} fitted modes follow"
        if wrong:
            text += f"; do not follow: {_ranges(wrong)}"
        if left:
            text += f"; not fitted: {_ranges(left)}"
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


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as text.

    >>> _ranges([1, 3, 4, 5])
    '1, 3-5'
    """
    parts: list[list[int]] = []
    for n in numbers:
        if parts and n == parts[-1][-1] + 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)


def _finite(mode: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(x, float) and not math.isfinite(x) else x
        for name, x in mode.items()
    }


def as_json(found: RunFit) -> str:
    """Return the record as the text of ``theory_fit.json``."""
    return json.dumps(found.as_object(), indent=1, ensure_ascii=False) + "\n"
