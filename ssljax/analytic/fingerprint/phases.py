"""Phase diagrams: the fate of a mode, over two settings of a loss."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ssljax.analytic.fingerprint.boundaries import BOUNDARIES, growth_boundary
from ssljax.analytic.fingerprint.losses import FINGERPRINTED
from ssljax.analytic.fingerprint.model import gaussian_views
from ssljax.analytic.fingerprint.regimes import (
    REGIMES,
    Rates,
    classify,
    measure,
    rest,
)
from ssljax.analytic.inputs import (
    check_at_least,
    check_between,
    check_choice,
    check_modes,
    check_positive,
    check_whole,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.text import short

__all__ = ["REGIMES", "PhaseMap", "axes_of", "axis_range", "phase_map"]

CORRELATION = "correlation"
# Axes on which ratios matter, drawn with a logarithmic scale.
# Below the least temperature the softmax has one term; an exponent of 2 is C^2.
_RANGES = {
    CORRELATION: (0.02, 0.98),
    "temperature": (0.05, 2.0),
    "exponent": (0.02, 2.0),
}
MOST_POINTS = 1000
"""Values on an axis; their products are simulated one by one."""
_AROUND = 30.0  # other axes: from the table's value divided to multiplied by this


class PhaseMap(NamedTuple):
    """A loss's rates over a grid of two settings, ``[Y, X]`` each."""

    loss: str
    x_name: str
    y_name: str
    x: np.ndarray
    """``[X]``"""
    y: np.ndarray
    """``[Y]``"""
    reference: np.ndarray
    """Eigenvalue of the other modes: where an isotropic spectrum rests, or 1."""
    drift: np.ndarray
    """``d log lambda / dt`` of the isotropic spectrum, 0 where it rests."""
    growth: np.ndarray
    """``d log lambda / dt`` of the small mode."""
    equalisation: np.ndarray
    """Rate at which a small difference of the mode from the others decays."""
    regime: np.ndarray
    """Index into `REGIMES`."""
    boundary: np.ndarray | None
    """``[X]``: the y at which the growth is 0, by its formula; None where there is
    none."""

    def __repr__(self) -> str:
        return short(self)


@in_float64
def phase_map(
    loss: str | Callable[..., jax.Array],
    *,
    x: str,
    y: str = CORRELATION,
    x_values: Any = None,
    y_values: Any = None,
    points: int = 24,
    others: float | None = 0.8,
    level: float = 1e-4,
    modes: int = 16,
    samples: int | None = None,
    seed: int = 0,
) -> PhaseMap:
    """Measure where a loss recruits small modes, equalises, or collapses.

    Args:
        loss: a name in `FINGERPRINTED`, or a pure scalar function of two embeddings
            ``[N, M]`` and, by keyword, the settings on the axes.
        x: a real hyper-parameter of the loss, or "correlation": that of the two views
            in the mode which is watched.
        y: another of them.
        x_values: ``[X]``; None takes ``points`` over the range of `axis_range`.
        y_values: ``[Y]``, the same.
        points: number of values of an axis.
        others: correlation of the other modes, in (0, 1]; None takes that of the mode.
        level: size of the small mode as a multiple of the others'.
        modes: number M of modes and channels.
        samples: number of pairs; None takes the fewest, ``8 modes``.
        seed: of the inputs.

    Returns:
        The `PhaseMap`, all rates per unit of learning rate x step.

    Raises:
        ValueError: for an unknown loss or axis, numbers out of range, a loss that
            computes below float64, or a gradient that is not finite.

    >>> found = phase_map(
    ...     "linearized_barlow_twins", x="off_diagonal_weight", modes=4,
    ...     x_values=[1.0], y_values=[-0.5, 0.5],
    ... )
    >>> [REGIMES[i] for i in found.regime[:, 0]]
    ['small modes die', 'recruits and equalises']
    """
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", "loss")
    if isinstance(loss, str):
        check_choice("loss", loss, tuple(FINGERPRINTED))
    function = FINGERPRINTED[loss].loss if isinstance(loss, str) else loss
    for axis, chosen in (("x", x), ("y", y)):
        check_choice(axis, chosen, axes_of(loss))
    if x == y:
        raise ValueError(f"x and y must be two different settings, got {x!r} twice")
    x_values, y_values = (
        _values(loss, axis, values, points)
        for axis, values in ((x, x_values), (y, y_values))
    )
    check_positive("level", level)
    views = gaussian_views(
        check_whole("modes", modes, 2),
        samples=8 * modes if samples is None else samples,
        seed=seed,
    )
    columns = np.meshgrid(y_values, x_values, indexing="ij")
    grid = dict(zip((y, x), columns, strict=True))
    shape = (len(y_values), len(x_values))
    usual = np.full(shape, 0.8 if others is None else others)
    correlation = grid.pop(CORRELATION, usual)
    around = correlation if others is None else np.full(shape, float(others))
    check_between("correlation", correlation, -1, 1)
    check_between("others", around, 0, 1, "(]")
    rates = Rates(function, views, tuple(grid))
    flat = {key: values.ravel() for key, values in grid.items()}
    reference, drift = rest(rates, flat, around.ravel())
    found = measure(
        rates, flat, correlation.ravel(), around.ravel(), reference, level=level
    )
    growth, equalisation = found[:2]
    return PhaseMap(
        loss=name,
        x_name=x,
        y_name=y,
        x=x_values,
        y=y_values,
        reference=reference.reshape(shape),
        drift=drift.reshape(shape),
        growth=growth.reshape(shape),
        equalisation=equalisation.reshape(shape),
        regime=classify(drift, *found).reshape(shape),
        boundary=_boundary(loss, x, y, x_values, level, others, views.source.shape),
    )


def axes_of(loss: str | Callable[..., Any]) -> tuple[str, ...]:
    """Return the names that an axis of a loss's diagram can have.

    >>> axes_of("nt_xent")
    ('temperature', 'correlation')
    """
    if isinstance(loss, str):
        return (*FINGERPRINTED[loss].hyper, CORRELATION)
    embeddings, more = 2, list(inspect.signature(loss).parameters)
    return (*more[embeddings:], CORRELATION)


def axis_range(loss: str | Callable[..., Any], axis: str) -> tuple[float, float]:
    """Return the range over which an axis is drawn by default.

    Raises:
        ValueError: for a hyper-parameter without one, of a function of one's own.

    >>> axis_range("nt_xent", "temperature")
    (0.05, 2.0)
    """
    if axis in _RANGES:
        return _RANGES[axis]
    known: Mapping[str, float] = {}
    if isinstance(loss, str):
        known = FINGERPRINTED[loss].hyper
    if axis not in known:
        raise ValueError(f"{axis} has no default range; pass its values")
    return known[axis] / _AROUND, known[axis] * _AROUND


def is_logarithmic(axis: str) -> bool:
    """Return whether values of an axis are spaced evenly in their logarithms."""
    return axis != CORRELATION


def axis_values(axis: str, low: float, high: float, points: int) -> np.ndarray:
    """Return values of an axis from ``low`` to ``high``.

    Raises:
        ValueError: unless ``low < high``, both finite, and positive but for
            correlations, and for more than `MOST_POINTS`.
    """
    check_at_least("points", check_whole("points", points, 1), 1, MOST_POINTS)
    if not low < high < np.inf:
        raise ValueError(
            f"the range of {axis} must ascend to a finite number, got {low:g} to "
            f"{high:g}"
        )
    if not is_logarithmic(axis):
        check_between(CORRELATION, [low, high], -1, 1)
        return np.linspace(low, high, points)
    check_positive(axis, [low, high])
    return np.geomspace(low, high, points)


def _values(loss: Any, axis: str, values: Any, points: int) -> np.ndarray:
    if values is None:
        return axis_values(axis, *axis_range(loss, axis), points)
    return np.asarray(check_modes(f"values of {axis}", values))


def _boundary(
    loss: Any,
    x: str,
    y: str,
    values: np.ndarray,
    level: float,
    others: float | None,
    shape: tuple[int, ...],
) -> np.ndarray | None:
    """Return the formula's correlation per x; None without a formula."""
    samples, modes = shape
    spread = modes == 1 << (modes.bit_length() - 1)
    known = isinstance(loss, str) and loss in BOUNDARIES and others not in (None, 1.0)
    if not known or y != CORRELATION or not spread:
        return None
    found = growth_boundary(
        loss, {x: values}, level=level, others=others, modes=modes, samples=samples
    )
    return np.asarray(found)
