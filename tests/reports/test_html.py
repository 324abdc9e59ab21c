import html.parser
import re

import pytest

from ssljax.reports.html import evaluation_table, write_atomically, write_html

VOID = {"meta", "img", "link", "br", "hr", "input"}


class Balance(html.parser.HTMLParser):
    """Fails on a tag that is not closed, and keeps what the page consists of."""

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.words, self.attributes = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def write(path, **changes):
    arguments = {
        "title": "vicreg on shapes",
        "summary": [("Method", "vicreg"), ("Seed", 0)],
        "figures": [("Training curves", "as logged", b"\x89PNG")],
        "evaluation_rows": [],
        "config": {"method": {"name": "vicreg"}, "seed": 0},
        "environment": {"python": "3.11"},
        "notes": [],
    }
    write_html(path, **(arguments | changes))
    return path.read_text("utf-8")


def row(representation, accuracy, protocol="kNN", **others):
    return {
        "representation": representation,
        "protocol": protocol,
        "accuracy": accuracy,
        **others,
    }


def test_the_page_is_well_formed_and_stands_alone(tmp_path):
    page = write(tmp_path / "report.html")
    parsed = Balance(page)
    assert page.startswith("<!DOCTYPE html>")
    assert "script" not in parsed.tags and "link" not in parsed.tags
    assert "http" not in page and "url(" not in page and "@import" not in page
    for name, value in parsed.attributes:
        if name in ("src", "href"):
            assert value.startswith(("data:image/png;base64,", "#"))
    assert ("name", "viewport") in parsed.attributes
    assert "prefers-color-scheme: dark" in page


def test_every_link_of_the_page_has_its_target(tmp_path):
    parsed = Balance(write(tmp_path / "report.html"))
    links = [v[1:] for k, v in parsed.attributes if k == "href"]
    targets = [v for k, v in parsed.attributes if k == "id"]
    assert links == targets and len(set(targets)) == len(targets) == 6


HOSTILE = "<script>alert('x')</script> & \"quoted\""


@pytest.mark.parametrize(
    "changes",
    [
        {"title": HOSTILE},
        {"summary": [(HOSTILE, HOSTILE)]},
        {"figures": [("Curves", HOSTILE, b"png")]},
        {"figures": [(HOSTILE, "caption", None)]},
        {"evaluation_rows": [row(HOSTILE, HOSTILE, HOSTILE, split=HOSTILE)]},
        {"evaluation_rows": [row("a", 1.0, detail=HOSTILE, train_examples=HOSTILE)]},
        {"evaluation_note": HOSTILE},
        {"config": {HOSTILE: {"a": HOSTILE}, "list": [HOSTILE]}},
        {"environment": {"a": {"b": HOSTILE}}},
        {"notes": [HOSTILE]},
    ],
)
def test_nothing_that_was_recorded_becomes_markup(tmp_path, changes):
    page = write(tmp_path / "report.html", **changes)
    parsed = Balance(page)
    assert "script" not in parsed.tags
    assert "<script" not in page
    assert "<script>alert('x')" in parsed.text


def test_nested_settings_are_told_by_dotted_name(tmp_path):
    text = Balance(write(tmp_path / "report.html")).text
    assert "method.name vicreg" in text


def test_figures_are_inside_the_page_and_missing_ones_explained(tmp_path):
    figures = [("Curves", "as logged", b"abc"), ("Map", "no features", None)]
    page = write(tmp_path / "report.html", figures=figures)
    assert page.count("<img") == 1 and "data:image/png;base64,YWJj" in page
    assert "no features" in page


def test_the_best_accuracy_of_a_protocol_and_split_is_bold():
    table = evaluation_table(
        [
            row("encoder", 81.254, split="test"),
            row("raw pixels", 35.0, split="test"),
            row("encoder", 99.0, split="train"),
            row("encoder", 85.0, "linear probe", split="test"),
            row("supervised", 85.0, "linear probe", split="test"),
            row("random encoder", float("nan"), "linear probe", split="test"),
        ]
    )
    bold = re.findall(r"<strong>(.*?)</strong>", table)
    assert bold == ["81.25", "99.00", "85.00", "85.00"]
    assert "not finite" in table
    assert table.count('class="group"') == 2


def test_absent_fields_of_an_evaluation_are_dashes():
    table = evaluation_table([{"representation": "encoder", "protocol": "kNN"}])
    assert table.count("–") == 4 and "<strong>" not in table


def test_counts_are_grouped_by_thousands():
    table = evaluation_table([row("encoder", 50.0, train_examples=50000)])
    assert "50\N{NO-BREAK SPACE}000" in table


def test_an_odd_file_name_does_not_stop_the_report(tmp_path):
    page = write(tmp_path / "report.html", notes=["skipped bad\udcff.png"])
    assert "bad\\udcff.png" in page


def test_a_failed_write_leaves_the_old_page(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write(path, title="first")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("ssljax.reports.html.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"second")
    assert "<h1>first</h1>" in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
