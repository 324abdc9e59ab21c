"""The rows of a benchmark: numbers in SI units, and how people read them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ssljax.benchmark.timing import Spread

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True)
class Row:
    """One measured number."""

    key: str
    """Its name in the JSON file."""
    title: str
    """Its name in the table."""
    value: float | None
    """In the unit; None where it could not be measured, and ``note`` says why."""
    unit: str
    """s, images/s, B, B/s, FLOP, FLOP/s, share, ratio or count."""
    note: str = ""
    low: float | None = None
    """Tenth percentile, for a median of several measurements."""
    high: float | None = None
    """Ninetieth percentile."""


def row(
    key: str, title: str, value: float | Spread | None, unit: str, note: str = ""
) -> Row:
    """Return a row; a spread fills in median and percentiles.

    >>> row("x", "step", Spread(2.0, 1.0, 3.0, 5), "s").low
    1.0
    """
    if isinstance(value, Spread):
        return Row(key, title, value.median, unit, note, value.low, value.high)
    return Row(key, title, value, unit, note)


def shown(value: float, unit: str) -> str:
    """Return a number with its unit, in three or four digits.

    >>> [shown(0.0123, "s"), shown(3.2e12, "FLOP/s"), shown(0.25, "share")]
    ['12.3 ms', '3.2 TFLOP/s', '25 %']
    >>> [shown(3 * 2**30, "B"), shown(15900.4, "images/s"), shown(0, "count")]
    ['3.00 GiB', '15,900 images/s', '0']
    """
    if unit == "s":
        if value >= 1 or value == 0:
            return f"{value:.3g} s"
        return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.3g} us"
    if unit == "B":
        big = value >= 2**30
        return f"{value / 2**30:.2f} GiB" if big else f"{value / 2**20:.1f} MiB"
    if unit in ("B/s", "FLOP", "FLOP/s"):
        for size, prefix in _PREFIXES:
            if value >= size:
                return f"{value / size:.3g} {prefix}{unit}"
        return f"{value:.3g} {unit}"
    if unit == "share":
        return f"{100 * value:.3g} %"
    if unit == "images/s":
        return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"
    return f"{value:.3g}" if unit == "ratio" else f"{value:,.0f}"


def cells(rows: Sequence[Row]) -> list[tuple[str, str, str, str]]:
    """Return the table's cells: name, value, 10 to 90 % range, note.

    >>> cells([Row("x", "step", 0.5, "s", low=0.4, high=0.7)])
    [('step', '500 ms', '400 to 700 ms', '')]
    """
    table = []
    for one in rows:
        if one.value is None:
            table.append((one.title, "-", "", one.note))
            continue
        between = ""
        if one.low is not None and one.high is not None:
            low, high = shown(one.low, one.unit), shown(one.high, one.unit)
            if low.split()[1:] == high.split()[1:]:
                low = low.split()[0]
            between = f"{low} to {high}"
        table.append((one.title, shown(one.value, one.unit), between, one.note))
    return table


def as_objects(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return the rows for a JSON file."""
    return [asdict(one) for one in rows]
