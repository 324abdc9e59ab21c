"""A table as text, HTML, records and data frame."""

import pickle
import sys

import pytest

from ssljax.evaluation.records_table import Table

RECORDS = [
    {"protocol": "knn <5>", "accuracy": 81.25},
    {"protocol": "spectrum", "accuracy": None, "detail": "rank 7"},
]


def test_it_is_its_text_and_keeps_its_records():
    table = Table.of("a table\nof two lines", RECORDS)
    assert table == "a table\nof two lines" and "two" in table
    assert table.records == RECORDS
    table.records[0]["accuracy"] = 0.0
    assert RECORDS[0]["accuracy"] == 81.25
    again = pickle.loads(pickle.dumps(table))
    assert again == table and again.records == table.records


def test_a_notebook_shows_every_column_and_escapes_text():
    shown = Table.of("", RECORDS)._repr_html_()
    assert shown.count("<tr>") == 3 and shown.count("<th>") == 3
    assert "<td>knn &lt;5&gt;</td><td>81.25</td><td>–</td>" in shown
    assert "<td>spectrum</td><td>–</td><td>rank 7</td>" in shown


def test_a_data_frame_needs_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="needs pandas; run pip install pandas"):
        Table.of("", RECORDS).frame()
    made = []
    fake = type(sys)("pandas")
    fake.DataFrame = lambda records: made.append(records) or "frame"
    monkeypatch.setitem(sys.modules, "pandas", fake)
    assert Table.of("", RECORDS).frame() == "frame" and made == [RECORDS]
