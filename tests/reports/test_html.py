import html.parser
import re

import pytest

from ssljax.reports.html import Figure, write_html
from ssljax.reports.scores import Score, scores, tables
from ssljax.runs.environment import Environment, Launch
from ssljax.runs.files import write_atomically
from ssljax.runs.records import DataRecord, Evaluation, EvaluationRow

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
        "figures": [Figure("Training curves", "as logged", b"\x89PNG")],
        "evaluation": Evaluation(),
        "settings": {"method.name": "vicreg", "seed": 0},
        "environment": Environment((Launch(python="3.11"),)),
        "data": DataRecord(),
        "notes": [],
    }
    write_html(path, **(arguments | changes))
    return path.read_text("utf-8")


def row(representation, accuracy, protocol="kNN", **others):
    others = {"split": "test"} | others
    return EvaluationRow(representation, protocol, accuracy=accuracy, **others)


def table(*rows, **others):
    made = scores(Evaluation(rows=rows, **others))
    assert made is not None
    return made


def shown(made):
    """Text of every cell, by representation."""
    return {name: [cell.text for cell in cells] for name, cells in made.rows}


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
        {"summary": [("Command", HOSTILE)]},
        {"figures": [Figure("Curves", HOSTILE, b"png")]},
        {"figures": [Figure(HOSTILE, "caption", None)]},
        {"figures": [Figure("Curves", f"`{HOSTILE}`", None)]},
        {"evaluation": Evaluation(rows=(row(HOSTILE, 1.0, HOSTILE, split=HOSTILE),))},
        {"evaluation": Evaluation(rows=(row("a", 1.0, detail=HOSTILE),))},
        {"evaluation": Evaluation(rows=(row(HOSTILE, None, detail=HOSTILE),))},
        {"evaluation_note": HOSTILE},
        {"settings": {HOSTILE: HOSTILE, "list": [HOSTILE]}},
        {"environment": Environment((Launch(commit=HOSTILE, extra={"a": HOSTILE}),))},
        {"environment": Environment((Launch(command=(HOSTILE,)),))},
        {"data": DataRecord(name=HOSTILE, class_names=(HOSTILE,))},
        {"notes": [HOSTILE]},
    ],
)
def test_nothing_that_was_recorded_becomes_markup(tmp_path, changes):
    page = write(tmp_path / "report.html", **changes)
    parsed = Balance(page)
    assert "script" not in parsed.tags
    assert "<script" not in page
    # A shell's quoting of the command puts more quotes around the inner ones.
    assert "<script>alert(" in parsed.text and "'x'" in parsed.text


def test_nested_settings_have_dotted_names(tmp_path):
    text = Balance(write(tmp_path / "report.html")).text
    assert "method.name vicreg" in text
    assert "Launch 1, time not recorded" in text and "Python 3.11" in text


def test_empty_values_of_the_data_are_left_out(tmp_path):
    data = DataRecord(name="shapes", note="", examples=3)
    text = Balance(write(tmp_path / "report.html", data=data)).text
    assert text.endswith("Training images name shapes examples 3")


def test_figures_are_inside_the_page_and_missing_ones_explained(tmp_path):
    figures = [
        Figure("Curves", "as logged", b"abc"),
        Figure("Map", "no features; `ssljax report` makes them", None),
    ]
    page = write(tmp_path / "report.html", figures=figures)
    assert page.count("<img") == 1 and "data:image/png;base64,YWJj" in page
    assert "no features" in page and "<code>ssljax report</code>" in page


def test_representations_are_rows_and_protocols_columns(tmp_path):
    made = table(
        row("encoder", 81.254),
        row("encoder", 90.0, "linear (L-BFGS)", detail="l2=0.1"),
        row("raw pixels", 35.0),
        row("majority class", 10.0, "majority (constant answer)"),
    )
    assert made.columns == ["kNN", "linear"]
    assert shown(made) == {
        "encoder": ["81.25", "90.00"],
        "raw pixels": ["35.00", "–"],
        # It holds for every protocol.
        "majority class": ["10.00", "10.00"],
    }
    assert ("linear (L-BFGS)", ["encoder: l2=0.1"]) in made.details
    rows = (row("encoder", 81.254), row("raw pixels", 35.0))
    page = write(tmp_path / "report.html", evaluation=Evaluation(rows=rows))
    assert page.count('scope="row">encoder') == 1
    assert re.findall(r"<strong>(.*?)</strong>", page) == ["81.25"]


def test_the_best_accuracy_of_a_protocol_and_split_is_bold():
    made = table(
        row("encoder", 81.254),
        row("raw pixels", 35.0),
        row("encoder", 99.0, split="train"),
        row("encoder", 85.0, "linear probe"),
        row("supervised", 85.0, "linear probe"),
        row("random encoder", float("nan"), "linear probe"),
    )
    assert made.columns == ["kNN, test", "kNN, train", "linear probe, test"]
    bold = [cell.text for _, cells in made.rows for cell in cells if cell.best]
    assert bold == ["81.25", "99.00", "85.00", "85.00"]
    assert shown(made)["random encoder"] == ["–", "–", "not finite"]


def test_equal_details_are_listed_once():
    left_out = "k=200 left out"
    made = table(
        *(
            row(name, 50.0, f"knn k={k} (cosine)", detail=left_out)
            for name in ("encoder", "raw pixels")
            for k in (1, 5)
        )
    )
    assert made.columns == ["knn k=1", "knn k=5"]
    assert made.details == [
        ("knn k=1, knn k=5 (cosine)", [f"encoder, raw pixels: {left_out}"])
    ]


def test_details_of_several_splits_name_the_split():
    made = table(
        row("encoder", 50.0, "linear (L-BFGS)", detail="l2=0.1"),
        row("encoder", 60.0, "linear (L-BFGS)", split="train", detail="l2=0.1"),
        row("encoder", 70.0, "knn", split="train"),
    )
    assert made.details == [
        ("linear (L-BFGS), test", ["encoder: l2=0.1"]),
        ("linear (L-BFGS), train", ["encoder: l2=0.1"]),
        ("knn, train", []),
    ]


def test_ranks_are_listed_and_have_no_column():
    ranks = [row(n, None, "spectrum", detail=f"rank of {n}") for n in ("a", "b")]
    made = table(row("a", 50.0), *ranks)
    assert made.columns == ["kNN"]
    assert made.measures == [("a", "rank of a"), ("b", "rank of b")]
    without = table(*ranks)
    assert without.rows == [] and len(without.measures) == 2
    others = [row("a", None, "spectrum projections", detail="no collapse")]
    others += [row("a", None, "linear", detail="left out: too few")]
    assert [name for name, _ in table(*others).measures] == [
        "a, projections",
        "a, linear",
    ]


def test_protocols_with_other_rows_have_tables_of_their_own(tmp_path):
    few = "transfer 5-shot (C=1)"
    flowers = {"split": "flowers (test)", "seed": 3}
    rows = (
        row("encoder", 50.0, "linear (L-BFGS)"),
        row("encoder", 50.0, "layers linear (L-BFGS)"),
        row("projector layer 1", 40.0, "layers linear (L-BFGS)"),
        row("encoder", 80.0, few, interval=1.234, **flowers),
        row("encoder", 70.0, few, split="<b>cars</b> (test)"),
        row("step 5", None, "scores without labels", detail="RankMe 3"),
        row("majority class", 10.0, "majority (constant answer)"),
        row("majority class", 12.0, "majority (constant answer)", **flowers),
    )
    made = dict(tables(Evaluation(rows=rows)))
    assert list(made) == [
        "",
        "Every layer of the projector",
        "Transfer to flowers (test)",
        "Transfer to <b>cars</b> (test)",
        "Checkpoints, and scores without labels",
    ]
    assert shown(made[""]) == {"encoder": ["50.00"], "majority class": ["10.00"]}
    of_flowers = made["Transfer to flowers (test)"]
    assert of_flowers.columns == ["transfer 5-shot"]
    assert shown(of_flowers) == {
        "encoder": ["80.00 ± 1.23"],
        "majority class": ["12.00"],
    }
    assert "±: 95 % interval" in of_flowers.caption and "Seed 3." in of_flowers.caption
    last = made["Checkpoints, and scores without labels"]
    assert last.measures == [("step 5, without labels", "RankMe 3")]
    page = write(tmp_path / "report.html", evaluation=Evaluation(rows=rows))
    assert page.count("<h3>Transfer to ") == 2 and "&lt;b&gt;cars" in page


def test_the_majority_class_alone_is_a_table():
    alone = row("majority class", 10.0, "majority (constant answer)")
    ((title, made),) = tables(Evaluation(rows=(alone,)))
    assert title == "" and made.rows


def test_absent_fields_of_an_evaluation_are_dashes():
    made = table(EvaluationRow("encoder", "kNN"), EvaluationRow("pixels"))
    assert shown(made) == {"encoder": ["–", "–"], "pixels": ["–", "–"]}
    assert not any(cell.best for _, cells in made.rows for cell in cells)
    assert scores(Evaluation(rows=(EvaluationRow(),))) is None
    assert Score("–") in made.rows[0][1]


def test_counts_are_grouped_by_thousands():
    examples = {"train_examples": 50000, "test_examples": 10000}
    caption = table(row("encoder", 50.0, **examples), step=7).caption
    assert "on 10\N{NO-BREAK SPACE}000 images (test)" in caption
    assert "fitted on 50\N{NO-BREAK SPACE}000 images" in caption
    assert "step 7" in caption
    # Rows of different numbers of images have no common one.
    assert "images" not in table(row("a", 1.0, **examples), row("b", 1.0)).caption


def test_an_odd_file_name_does_not_stop_the_report(tmp_path):
    page = write(tmp_path / "report.html", notes=["skipped bad\udcff.png"])
    assert "bad\\udcff.png" in page


def test_a_failed_write_leaves_the_old_page(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write(path, title="first")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("ssljax.runs.files.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"second")
    assert "<h1>first</h1>" in path.read_text()
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
