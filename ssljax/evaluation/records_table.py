"""A table that is text in a terminal, HTML in a notebook, and records in a program."""

import html
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Self


class Table(str):
    """Text of a table, with the records that it was made of.

    >>> table = Table.of("knn  81.25", [{"protocol": "knn", "accuracy": 81.25}])
    >>> print(table)
    knn  81.25
    >>> table.records[0]["accuracy"]
    81.25
    """

    records: list[dict[str, Any]]
    """One dictionary per number."""

    @classmethod
    def of(cls, text: str, records: Sequence[Mapping[str, Any]]) -> Self:
        """Return the table of a text and its records."""
        table = cls(text)
        table.records = [dict(record) for record in records]
        return table

    def frame(self) -> Any:
        """Return the records as a pandas data frame.

        Raises:
            ImportError: if pandas is not installed.
        """
        return as_frame(self.records)

    def _repr_html_(self) -> str:
        columns = list(dict.fromkeys(key for record in self.records for key in record))
        rows = [
            ["–" if record.get(key) is None else str(record[key]) for key in columns]
            for record in self.records
        ]
        return as_html(columns, rows)


def as_frame(records: Sequence[Mapping[str, Any]]) -> Any:
    """Return records as a pandas data frame.

    Raises:
        ImportError: if pandas, which nothing else here needs, is not installed.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        raise ImportError(
            "a data frame needs pandas; run pip install pandas, or use .records"
        ) from None
    return pandas.DataFrame(list(records))


def as_html(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return an HTML table, all text escaped.

    >>> "<th>a &lt; b</th>" in as_html(["a < b"], [["1"]])
    True
    """

    def line(cells: Sequence[str], tag: str) -> str:
        inner = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
        return f"<tr>{inner}</tr>"

    body = "".join(line(row, "td") for row in rows)
    return f"<table><thead>{line(head, 'th')}</thead><tbody>{body}</tbody></table>"
