"""Checklists of the theories: numbered items, their findings and verdicts."""

import importlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ssljax.analytic.comparison import Comparison


class NotHere(Exception):
    """Something that an item needs, such as real images, is not on this machine."""


class Finding(NamedTuple):
    """One measured figure and the interval that it must lie in."""

    what: str
    measured: float
    low: float
    high: float

    @property
    def passed(self) -> bool:
        """Return whether the figure is in the interval; NaN never is."""
        return bool(self.low <= self.measured <= self.high)

    @property
    def allowed(self) -> str:
        """Return the interval in words.

        >>> near("slope", 1.02, 1.0, 0.1).allowed, at_most("gap", 0.1, 0.2).allowed
        ('1 +- 0.1', '<= 0.2')
        """
        if self.low == self.high:
            return f"= {self.low:g}"
        if self.low == -np.inf:
            return f"<= {self.high:.4g}"
        if self.high == np.inf:
            return f">= {self.low:.4g}"
        return f"{self._middle:.8g} +- {(self.high - self.low) / 2.0:.3g}"

    @property
    def shown(self) -> str:
        """Return the figure with as many digits as its interval resolves."""
        if not np.isfinite([self.measured, self.low, self.high]).all():
            return f"{self.measured:.4g}"
        width, size = self.high - self.low, abs(self._middle)
        digits = 4 if 0 in (width, size) else np.ceil(np.log10(size / width)) + 2
        return f"{self.measured:.{int(np.clip(digits, 4, 10))}g}"

    @property
    def _middle(self) -> float:
        # Rounded, so that 1 +- 0.1 does not read 1.0000000000000002 +- 0.1.
        return float(f"{(self.low + self.high) / 2.0:.12g}")


def at_most(what: str, measured: Any, bound: float) -> Finding:
    """Return a figure, often an error, that must not exceed a bound.

    >>> at_most("gap", 0.1, 0.2).passed, at_most("gap", float("nan"), 0.2).passed
    (True, False)
    """
    return Finding(what, float(measured), -np.inf, float(bound))


def at_least(what: str, measured: Any, bound: float) -> Finding:
    """Return a figure that must reach a bound."""
    return Finding(what, float(measured), float(bound), np.inf)


def near(what: str, measured: Any, expected: float, tolerance: float) -> Finding:
    """Return a figure that must lie within a tolerance of the expected one."""
    return Finding(what, float(measured), expected - tolerance, expected + tolerance)


def agreement(comparison: Comparison) -> Finding:
    """Return the verdict of a comparison as a finding."""
    return at_most(comparison.what, comparison.max_error, comparison.tolerance)


class Given(NamedTuple):
    """What an item may use besides its own definition."""

    seed: int = 0
    images: np.ndarray | None = None
    """Real images, uint8 ``[N, 32, 32, 3]``, where there are any."""


@dataclass(frozen=True)
class Item:
    """One numbered line of a checklist."""

    number: str
    statement: str
    run: Callable[[Given], Sequence[Finding]]
    images: bool = False
    """Looks at real images."""
    seeded: bool = True
    """Reads the seed; where it does not, one seed is as good as many."""


class Panel(NamedTuple):
    """One set of axes: theory as lines, simulation as points, modes in columns."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[tuple[Any, Any]] = ()
    """Pairs x ``[T]``, y ``[T, modes]`` (or ``[T]``) of the theory."""
    points: Sequence[tuple[Any, Any]] = ()
    """The same of the simulation."""
    line_labels: Sequence[str] = ()
    point_labels: Sequence[str] = ()
    log_x: bool = False
    log_y: bool = False
    equal: bool = False
    """A unit is as long on either axis."""
    linear_within: float | None = None
    """The y axis is linear up to this size, and logarithmic beyond on either side."""


class Picture(NamedTuple):
    """A figure in words and numbers; `ssljax.reports` draws it."""

    name: str
    panels: Sequence[Panel]
    caption: str = ""
    """Drawn under the figure: what it shows, in sentences."""


@dataclass(frozen=True)
class Theory:
    """A paper's theory: its checklist and its figures."""

    name: str
    paper: str
    items: Sequence[Item]
    pictures: Callable[[Given], Sequence[Picture]] = field(default=lambda given: ())


class Verdict(NamedTuple):
    """The outcome of an item."""

    item: Item
    findings: Sequence[Finding]
    seconds: float
    missing: str | None = None
    """Why the item was not run."""

    @property
    def passed(self) -> bool:
        """Return whether it was run, found something and every finding is right."""
        return bool(self.findings) and all(f.passed for f in self.findings)


def run_item(item: Item, given: Given) -> Verdict:
    """Run an item's measurement.

    >>> item = Item("1", "one is one", lambda given: [near("one", 1.0, 1.0, 0.0)])
    >>> run_item(item, Given()).passed
    True
    """
    start = time.perf_counter()
    try:
        findings = list(item.run(given))
    except NotHere as reason:
        return Verdict(item, [], time.perf_counter() - start, str(reason))
    return Verdict(item, findings, time.perf_counter() - start)


NAMES = (
    "implicit-variance",
    "stepwise",
    "prediction-head",
    "spectral-transformation",
    "duality",
    "learned-predictor",
    "jepa",
)
"""The theories by the names that `ssljax theory` takes."""


def load(name: str) -> Theory:
    """Return the theory of that name, with its checklist and pictures.

    >>> load("duality").name
    'duality'
    """
    package = f"ssljax.analytic.{name.replace('-', '_')}"
    return importlib.import_module(f"{package}.checklist").THEORY
