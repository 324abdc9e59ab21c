"""A theory beside a simulation: one record that prints as a table and plots itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ssljax.analytic.ode import Simulation
from ssljax.analytic.pictures import draw_modes, draw_points


@dataclass(frozen=True)
class Comparison:
    """Distance of a simulation from a theory, and the verdict on it.

    Attributes:
        what: what is compared.
        times: ``[times]``, learning rate x step.
        theory: ``[times, modes]``.
        simulation: ``[times, modes]``.
        tolerance: largest distance that agrees.
        max_error: largest distance over times and modes.
        rms_error: root mean square of the distances.
        mode_errors: largest distance per mode, ``[modes]``.
        crossing_errors: relative difference of the times at which each mode crosses,
            up or down, the middle between the theory's first and last values,
            ``[modes]``, NaN where one never does.
        overlap: overlap of two subspaces in [0, 1], or None.
        chance: the overlap of random subspaces of these sizes.
        relative: share of a mode's largest value that is tolerated on top.
        excess: largest distance after that share is taken off.
    """

    what: str
    times: np.ndarray
    theory: np.ndarray
    simulation: np.ndarray
    tolerance: float
    max_error: float
    rms_error: float
    mode_errors: np.ndarray
    crossing_errors: np.ndarray
    overlap: float | None = None
    chance: float | None = None
    relative: float = 0.0
    excess: float = float("nan")

    @property
    def agrees(self) -> bool:
        """Return whether the largest distance is finite and within the tolerance."""
        largest = self.excess if self.relative else self.max_error
        return bool(np.isfinite(self.max_error) and largest <= self.tolerance)

    def __repr__(self) -> str:
        verdict = "agrees" if self.agrees else "DISAGREES"
        return f"Comparison({self.what}: {verdict}, error {self.max_error:.3g})"

    def __str__(self) -> str:
        rows = [
            ("maximum error", f"{self.max_error:.3g}"),
            ("rms error", f"{self.rms_error:.3g}"),
            ("error per mode", _numbers(self.mode_errors)),
            ("crossing-time error", _numbers(self.crossing_errors)),
            ("tolerance", f"{self.tolerance:.3g}{self._share}"),
        ]
        if self.overlap is not None:
            rows.insert(4, ("subspace overlap", f"{self.overlap:.6g}"))
            rows.insert(5, ("by chance", f"{self.chance:.3g}"))
        rows.append(("verdict", "agrees" if self.agrees else "DISAGREES"))
        width = max(len(name) for name, _ in rows)
        return "\n".join([self.what, *(f"  {n:<{width}}  {v}" for n, v in rows)])

    @property
    def _share(self) -> str:
        return f" + {self.relative:.3g} of each mode" if self.relative else ""

    def plot(self, axes: Any = None, *, points: int = 25) -> Any:
        """Draw theory as lines and simulation as points; return the axes.

        Args:
            axes: matplotlib axes; None makes them.
            points: number of the simulation's points drawn per mode.
        """
        modes = self.theory.shape[1]
        labels = [f"theory, mode {i + 1}" for i in range(modes)]
        if modes == 1:
            labels = ["theory"]
        axes = draw_modes(self.times, self.theory, labels, axes=axes)
        draw_points(axes, self.times, self.simulation, points=points)
        axes.set_title(self.what)
        axes.legend()
        return axes


def compare(
    theory: Callable[[Any], Any] | Any,
    simulation: Simulation | Any,
    *,
    tolerance: float,
    relative: float = 0.0,
    times: Any = None,
    what: str = "theory and simulation",
    subspaces: tuple[Any, Any] | None = None,
) -> Comparison:
    """Set a theory beside a simulation.

    Args:
        theory: ``solution(t)`` giving ``[times, modes]``, or its values. Further axes
            are flattened: each entry of a matrix counts as a mode.
        simulation: a `Simulation` with such values (or ``[times]``), or such an array.
        tolerance: largest distance that agrees, in units of the values.
        relative: added to the tolerance, as a share of the mode's largest absolute
            value in theory: modes of very different sizes are judged by their own.
        times: ``[times]``; needed where ``simulation`` is an array.
        what: heading of the table.
        subspaces: two matrices ``[N, d]`` whose column spans are compared as well; see
            `subspace_overlap`.

    Returns:
        The distances and the verdict. What is not finite is infinitely far.

    Raises:
        ValueError: without times, for shapes that do not fit, for values that are not
            one array of real numbers, such as a dict, or for a tolerance below zero.

    >>> t = np.linspace(0.0, 1.0, 5)
    >>> found = compare(lambda t: np.exp(t), np.exp(t) + 1e-3, times=t, tolerance=1e-2)
    >>> found.agrees, round(found.max_error, 6)
    (True, 0.001)
    """
    for name, allowed in (("tolerance", tolerance), ("relative", relative)):
        if allowed < 0:  # with NaN, of a run that diverged, nothing agrees
            raise ValueError(f"{name} must be >= 0, got {allowed:g}")
    if isinstance(simulation, Simulation):
        times = simulation.times if times is None else times
        simulation = simulation.values
    if times is None:
        raise ValueError("times are needed where the simulation is an array")
    times = np.asarray(times, float)
    if times.ndim != 1 or not times.size:
        raise ValueError(f"times must be [times], got shape {list(times.shape)}")
    expected = _array("theory", theory(times) if callable(theory) else theory)
    found = _array("simulation", simulation)
    if expected.shape != found.shape or len(times) != len(found):
        raise ValueError(
            f"theory {list(expected.shape)}, simulation {list(found.shape)} and "
            f"{len(times)} times do not fit"
        )
    expected, found = (x.reshape(len(times), -1) for x in (expected, found))
    # A NaN must not count as agreement.
    with np.errstate(invalid="ignore"):
        gaps = np.abs(expected - found)
    gaps = np.where(np.isfinite(gaps), gaps, np.inf)
    # Subtract each mode's allowance first, so that a single number is compared.
    excess = gaps - relative * np.abs(expected).max(axis=0, initial=0.0)
    overlap = chance = None
    if subspaces is not None:
        overlap, chance = subspace_overlap(*subspaces)
    level = 0.5 * (expected[0] + expected[-1])
    at_theory = crossing_times(times, expected, level)
    at_simulation = crossing_times(times, found, level)
    return Comparison(
        what=what,
        times=times,
        theory=expected,
        simulation=found,
        tolerance=float(tolerance),
        max_error=float(gaps.max()),
        rms_error=float(np.sqrt(np.mean(gaps**2))),
        mode_errors=gaps.max(axis=0),
        crossing_errors=np.abs(at_simulation - at_theory) / at_theory,
        overlap=overlap,
        chance=chance,
        relative=float(relative),
        excess=float(excess.max()),
    )


def crossing_times(times: Any, values: Any, level: Any) -> np.ndarray:
    """Return when each mode first goes through a level, NaN where none does.

    Args:
        times: ``[times]``.
        values: ``[times, modes]`` or ``[times]``.
        level: a number, or one per mode.

    Returns:
        ``[modes]``, up or down, linear between the two records around the crossing.

    Raises:
        ValueError: for shapes that do not fit.

    >>> crossing_times([0.0, 1.0, 2.0], [[0.0], [1.0], [3.0]], 2.0).tolist()
    [1.5]
    """
    times, values = np.asarray(times, float), _array("values", values)
    if values.ndim != 2 or times.shape != values.shape[:1]:
        raise ValueError(
            f"times {list(times.shape)} and values {list(values.shape)} do not fit"
        )
    level = np.broadcast_to(np.asarray(level, float), values.shape[1:])
    if len(times) < 2:
        return np.full(values.shape[1:], np.nan)
    before, after = values[:-1], values[1:]
    crossed = (before < level) & (after >= level) | (before > level) & (after <= level)
    first = crossed.argmax(axis=0)
    modes = np.arange(values.shape[1])
    start, end = before[first, modes], after[first, modes]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = (level - start) / (end - start)
    found = times[first] + part * (times[first + 1] - times[first])
    return np.where(crossed.any(axis=0), found, np.nan)


def subspace_overlap(a: Any, b: Any) -> tuple[float, float]:
    """Return the overlap of two column spans, and that of random ones.

    Args:
        a: ``[N, d]``.
        b: ``[N, d]``.

    Returns:
        ``||Q_a^T Q_b||_F^2 / min(d, N)``, where Q spans the columns to the numerical
        rank: 1 for one and the same span of full rank, less where either has collapsed;
        and ``min(d, N) / N``. NaN where an entry is not finite.

    Raises:
        ValueError: for other shapes.

    >>> subspace_overlap(np.eye(4)[:, :2], np.eye(4)[:, 1:3])
    (0.5, 0.5)
    >>> subspace_overlap(np.zeros((4, 2)), np.eye(4)[:, 1:3])[0]
    0.0
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.ndim != 2 or not a.size:
        raise ValueError(f"two [N, d] are needed, got {list(a.shape)}, {list(b.shape)}")
    most = min(a.shape)
    chance = most / a.shape[0]
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan"), chance
    overlap = np.sum((_span(a).T @ _span(b)) ** 2) / most
    return float(min(overlap, 1.0)), chance


def _span(matrix: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the columns, without rounding's share."""
    rounding = np.finfo(np.result_type(matrix.dtype, np.float32)).eps
    vectors, sizes, _ = np.linalg.svd(matrix.astype(float), full_matrices=False)
    return vectors[:, sizes > max(matrix.shape) * rounding * sizes[0]]


def convergence_slope(steps: Sequence[float], gaps: Sequence[float]) -> float:
    """Return the slope of log gap against log step: 1 if both halve together.

    >>> round(convergence_slope([0.1, 0.05], [0.02, 0.01]), 6)
    1.0
    """
    return float(np.polyfit(np.log(steps), np.log(gaps), 1)[0])


def _array(what: str, values: Any) -> np.ndarray:
    """Return one floating array ``[times, modes]`` or of more axes."""
    try:
        if np.iscomplexobj(values):
            raise TypeError
        array = np.asarray(values, float)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{what} must be one array [times, modes] of real numbers, "
            f"got {type(values).__name__}"
        ) from error
    if not array.ndim or not array.size:
        raise ValueError(
            f"{what} must be [times, modes], got shape {list(array.shape)}"
        )
    return array[:, None] if array.ndim == 1 else array


def _numbers(values: np.ndarray, most: int = 8) -> str:
    shown = " ".join(f"{v:.2g}" for v in values[:most])
    return shown + (f" ... ({len(values)})" if len(values) > most else "")
