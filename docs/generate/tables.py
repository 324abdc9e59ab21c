"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


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


def _are_numbers(cells: Sequence[str]) -> bool:
    filled = [cell.replace(",", "") for cell in cells if cell not in ("", "-")]
    try:
        return bool([float(cell) for cell in filled])
    except ValueError:
        return False
