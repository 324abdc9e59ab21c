"""The law of single modes, fitted to eigenvalues that were measured during training.

A theory says how each mode grows, not how fast: its rate has the data's covariances in
it, which no run logs. The fit takes the rate from the shape of the rise alone. Together
with the mode's first measured value it then predicts when the mode is half learned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.comparison import crossing_times
from ssljax.analytic.curves import lambert_curve, logistic_curve
from ssljax.analytic.fitting import fit
from ssljax.analytic.mode_law import ModeLaw
from ssljax.analytic.solution import Solution

RESIDUAL = 0.05
"""A mode follows its law if it is this close, root mean square over its plateau."""
LATENESS = 0.1
"""A mode follows if its predicted wait differs by this share of the measured one."""
FEWEST = 8
"""Measurements below which no mode is fitted."""
FEWEST_IN_RISE = 4
"""Measurements between 5 % and 95 % of the plateau, which determine a rate."""
_STILL = 0.05  # of its largest value: a mode that changes less does not move
_UNKNOWN = 0.25  # relative error of a plateau that the measurements do not determine
_NAN = math.nan


@dataclass(frozen=True)
class ModeFit:
    """One mode's fitted law, or why there is none.

    Attributes:
        mode: its rank, 1 for the largest.
        law: the curve.
        rate: per unit of time, NaN where nothing was fitted, as all that follow.
        rate_error: standard error, from the scatter about the law.
        plateau: the value that the law ends at.
        plateau_error: standard error.
        crossing: when the fitted curve is half learned.
        measured: when the measurements are, linear between two of them.
        predicted: when a mode with this rate and plateau is, from its first measured
            value on.
        predicted_error: standard error of that, from rate and plateau.
        residual: root mean square distance from the law over the plateau.
        refused: why no law was fitted, or "".
    """

    mode: int
    law: ModeLaw
    rate: float = _NAN
    rate_error: float = _NAN
    plateau: float = _NAN
    plateau_error: float = _NAN
    crossing: float = _NAN
    measured: float = _NAN
    predicted: float = _NAN
    predicted_error: float = _NAN
    residual: float = _NAN
    lateness: float = _NAN
    """``predicted - measured`` over the measured wait."""
    refused: str = ""

    @property
    def follows(self) -> bool:
        """Whether residual and predicted crossing are within their bounds."""
        return self.residual <= RESIDUAL and abs(self.lateness) <= LATENESS

    @property
    def verdict(self) -> str:
        """The verdict in words.

        >>> ModeFit(1, ModeLaw(), residual=0.2, lateness=0.0).verdict
        'does not follow: 20 % off the curve'
        """
        if self.refused:
            return f"not fitted: {self.refused}"
        if self.follows:
            return "follows"
        if self.residual <= RESIDUAL:
            side = "late" if self.lateness < 0 else "early"
            return (
                f"does not follow: {100 * abs(self.lateness):.3g} % {side} for its "
                "start"
            )
        return f"does not follow: {100 * self.residual:.3g} % off the curve"

    def curve(self, times: Any) -> np.ndarray:
        """Return the fitted law at times ``[times]``; NaN where none was fitted."""
        if self.refused:
            return np.full(np.shape(times), _NAN)
        params = {
            "log_rate": math.log(self.rate),
            "crossing": self.crossing,
            "log_plateau": math.log(self.plateau),
        }
        return np.asarray(_solution(params, self.law)(times))


def fit_modes(
    times: Any, values: Any, law: ModeLaw, *, ranks: Sequence[int] | None = None
) -> list[ModeFit]:
    """Fit each mode's rate, crossing and plateau, each mode by itself.

    Args:
        times: ``[times]``, ascending, >= 0, learning rate x step.
        values: eigenvalues ``[times, modes]``, NaN where one is missing; zeros are
            below the rounding of what was measured and left out.
        law: the curve that the theory gives.
        ranks: the modes' ranks; None counts from 1.

    Returns:
        One fit per mode. A mode is refused that stays at zero, does not change, starts
        above its half, has not got a plateau by the end, or rises between too few
        measurements.

    Raises:
        ValueError: for shapes that do not fit, and fewer times than a fit needs.

    Source: least squares; the laws are those of `ssljax.analytic.stepwise` and
    `ssljax.analytic.implicit_variance`.

    >>> t = np.linspace(0.0, 3.0, 40)
    >>> (found,) = fit_modes(t, 2 / (1 + np.exp(8 - 6 * t))[:, None], ModeLaw())
    >>> found.verdict, round(found.rate, 3), round(found.predicted, 3)
    ('follows', 6.0, 1.333)
    """
    times, values = np.asarray(times, float), np.asarray(values, float)
    if values.ndim != 2 or times.shape != values.shape[:1]:
        raise ValueError(
            f"times {list(times.shape)} and values {list(values.shape)} do not fit; "
            "they must be [times] and [times, modes]"
        )
    if len(times) < FEWEST:
        raise ValueError(
            f"{len(times)} measurements do not determine a law; give at least {FEWEST}"
        )
    numbers = range(1, values.shape[1] + 1) if ranks is None else ranks
    return [
        _fit_mode(number, times, column, law)
        for number, column in zip(numbers, values.T, strict=True)
    ]


def _fit_mode(number: int, times: np.ndarray, y: np.ndarray, law: ModeLaw) -> ModeFit:
    y = np.where(np.isfinite(y) & (y > 0), y, _NAN)
    seen = np.isfinite(y)

    def refuse(why: str) -> ModeFit:
        return ModeFit(number, law, refused=why)

    if seen.sum() < FEWEST:
        return refuse("at zero, or measured too rarely")
    t, y = times[seen], y[seen]
    if np.ptp(y) < _STILL * y.max():
        return refuse("does not change")
    late = float(np.median(y[-max(3, len(y) // 5) :]))
    if late <= y[0]:
        return refuse("does not grow")
    if y[0] >= law.half * late:
        return refuse("starts above half of its plateau")
    try:
        found = fit(_guess(t, y, late, law), t, y)
    except ValueError:
        return refuse("the measurements do not determine its curve")
    flat = {name: float(x) for name, x in found.solution.params.items()}
    errors = {name: float(x) for name, x in found.errors.items()}
    rate, plateau = math.exp(flat["log_rate"]), math.exp(flat["log_plateau"])
    gaps = np.asarray(found.solution(t)) - y
    residual = float(np.sqrt(np.mean(gaps**2))) / max(late, law.half * plateau)
    ended = flat["crossing"] <= t[-1] and errors["log_plateau"] <= _UNKNOWN
    if not ended and residual <= RESIDUAL:
        return refuse("still far from a plateau at the end")
    if y[0] >= law.half * plateau:
        return refuse("starts above half of its plateau")
    in_rise = ((y / plateau) ** law.power > 0.05) & ((y / plateau) ** law.power < 0.95)
    if in_rise.sum() < FEWEST_IN_RISE:
        return refuse(f"{in_rise.sum()} measurements in its rise")
    measured = float(crossing_times(t, y, law.half * plateau)[0])
    wait = law.time_to_half(y[0] / plateau) / rate
    # Sorted by name: crossing, log_plateau, log_rate.
    slopes = np.array([0.0, law.sensitivity(y[0] / plateau) / rate, -wait])
    return ModeFit(
        number,
        law,
        rate=rate,
        rate_error=rate * errors["log_rate"],
        plateau=plateau,
        plateau_error=plateau * errors["log_plateau"],
        crossing=flat["crossing"],
        measured=measured,
        predicted=float(t[0]) + wait,
        predicted_error=float(np.sqrt(slopes @ found.covariance @ slopes)),
        residual=residual,
        lateness=(float(t[0]) + wait - measured) / (measured - float(t[0])),
    )


def _guess(t: np.ndarray, y: np.ndarray, late: float, law: ModeLaw) -> Solution:
    """Return a law whose plateau, crossing and slope are read off the measurements."""
    shares = [0.25, 0.5, 0.75]
    levels = late * np.array(shares) ** (1.0 / law.power)
    first, middle, last = (float(crossing_times(t, y, level)[0]) for level in levels)
    quarter, three = (law.time_to_half(s ** (1.0 / law.power)) for s in (0.25, 0.75))
    rise = last - first
    if not rise > 0:
        rise = 0.25 * float(t[-1] - t[0])
    params = {
        "log_rate": math.log((quarter - three) / rise),
        "crossing": middle if math.isfinite(middle) else float(np.median(t)),
        "log_plateau": math.log(late),
    }
    return _solution(params, law)


def _solution(params: dict[str, float], law: ModeLaw) -> Solution:
    return Solution(
        params={name: np.asarray(x, float) for name, x in params.items()},
        law=_mode_law,
        settings=(("curve", law.curve), ("power", law.power)),
        title="one mode",
    )


def _mode_law(params: dict, t: jax.Array, *, curve: str, power: float) -> jax.Array:
    tau = jnp.exp(params["log_rate"]) * (t - params["crossing"])
    half = jnp.full_like(tau, 0.5)
    if curve == "lambert":
        x = lambert_curve(half, tau)
    else:
        x = logistic_curve(half, tau, 1.0, -1.0)
    # The floor keeps the slope of a power below one finite.
    x = jnp.maximum(x, 1e-300)
    return jnp.exp(params["log_plateau"]) * x ** (1.0 / power)
