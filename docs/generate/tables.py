"""Tables in Markdown, and their cells."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; columns of numbers are aligned to the right.

    Args:
        heads: of the columns.
        rows: their cells. A pipe inside one would end it, so it is escaped.

    >>> print(table(["name", "n"], [["a|b", "1,024"]]))
    | name | n |
    | --- | ---: |
    | a\\|b | 1,024 |
    """
    rows = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    rules = [
        "---:" if _are_numbers(column) else "---"
        for column in (zip(*rows, strict=True) if rows else [()] * len(heads))
    ]
    lines = [heads, rules, *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mean_with_sd(row: Mapping[str, Any], key: str) -> str:
    """Return a mean with its standard deviation, if there are several seeds.

    >>> mean_with_sd({"x": 2.0, "x_sd": 0.5}, "x"), mean_with_sd({}, "x")
    ('2 ± 0.5', '-')
    """
    if row.get(key) is None:
        return "-"
    sd = row.get(f"{key}_sd")
    return f"{row[key]:.3g}" + ("" if sd is None else f" ± {sd:.2g}")


def _are_numbers(cells: Sequence[str]) -> bool:
    filled = [cell.replace(",", "") for cell in cells if cell not in ("", "-")]
    try:
        return bool([float(cell) for cell in filled])
    except ValueError:
        return False
