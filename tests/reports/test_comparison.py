"""Runs beside each other: grouped by all but the seed, averaged, drawn, written."""

import csv
import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from written_run import write_run

import ssljax
from ssljax.commands.main import main
from ssljax.config import Config, DataConfig, LogConfig, MethodConfig, OptimizerConfig
from ssljax.reports.compared_runs import group_runs, read_runs
from ssljax.reports.comparison import compare_runs
from ssljax.reports.comparison_figures import curves, spectra
from ssljax.reports.style import to_png

ACCURACIES = {"simclr": (61.5, 63.25, 62.0), "byol": (58.0, 59.75, 64.5)}


def config_of(method, seed, **options):
    config = Config(method=MethodConfig(method), data=DataConfig("shapes"), seed=seed)
    return replace(config, **options)


@pytest.fixture(scope="module")
def six(tmp_path_factory):
    """Two methods by three seeds; workers and log settings do not count."""
    root = tmp_path_factory.mktemp("six")
    for method, accuracies in ACCURACIES.items():
        for seed, accuracy in enumerate(accuracies):
            config = config_of(method, seed, log=LogConfig(every_steps=1 + seed))
            write_run(
                root / f"{method}-{seed}",
                config,
                accuracy=accuracy,
                logged=(20.0, 30.0 + seed),
            )
    return sorted(root.iterdir())


def test_mean_and_deviation_are_those_of_numpy(six):
    found = {
        (record["group"], record["protocol"]): record
        for record in compare_runs(six).records
    }
    for method, accuracies in ACCURACIES.items():
        record = found[method, "knn k=5 (cosine, T=0.1)"]
        assert record["mean"] == pytest.approx(np.mean(accuracies))
        assert record["deviation"] == pytest.approx(np.std(accuracies, ddof=1))
        assert (record["runs"], record["seeds"]) == (3, [0, 1, 2])
        assert (record["train_examples"], record["test_examples"]) == (900, 100)
        online = found[method, "online probe"]
        assert (online["mean"], online["deviation"]) == (31.0, 1.0)


def test_the_table_is_text_markdown_csv_and_html(six):
    comparison = compare_runs(six)
    assert comparison.table == [
        ["", "runs", "knn k=5", "online probe"],
        ["byol", "3", "60.75 ± 3.36", "31.00 ± 1.00"],
        ["simclr", "3", "62.25 ± 0.90", "31.00 ± 1.00"],
    ]
    text = str(comparison)
    assert "60.75 ± 3.36" in text and "method.name" in text and "seed" not in text
    page = comparison.markdown()
    assert "| byol | 3 | 60.75 ± 3.36 | 31.00 ± 1.00 |" in page
    assert "split test, fitted on 900 images, tested on 100" in page
    rows = list(csv.DictReader(io.StringIO(comparison.csv())))
    assert len(rows) == 12
    values = [float(r["accuracy"]) for r in rows if r["protocol"].startswith("knn")]
    assert values == [*ACCURACIES["byol"], *ACCURACIES["simclr"]]
    assert {row["step"] for row in rows} == {"10"}
    shown = comparison._repr_html_()
    assert shown.count("<tr>") == 3 and "<td>60.75 ± 3.36</td>" in shown


def test_settings_that_differ_name_the_groups_of_one_method(tmp_path):
    for rate in (0.1, 0.3):
        for seed in (0, 1):
            config = config_of(
                "vicreg", seed, optimizer=OptimizerConfig(learning_rate=rate)
            )
            write_run(tmp_path / f"{rate}-{seed}", config, accuracy=50 + rate)
    write_run(tmp_path / "other", config_of("simsiam", 0), accuracy=40.0)
    groups = group_runs(read_runs(sorted(tmp_path.iterdir())))
    assert [(g.label, len(g.runs)) for g in groups] == [
        ("vicreg, learning_rate=0.1", 2),
        ("vicreg, learning_rate=0.3", 2),
        ("simsiam", 1),
    ]
    assert groups[0].differing["optimizer.learning_rate"] == 0.1
    assert "seed" not in groups[0].differing
    one = compare_runs([tmp_path / "other"])
    assert one.table[1][2] == "40.00" and one.records[0]["deviation"] is None


def test_what_a_reader_has_to_know_is_said(tmp_path):
    a = write_run(tmp_path / "a", config_of("simclr", 0), accuracy=50.0)
    b = write_run(tmp_path / "b", config_of("simclr", 1), steps=(5, 7))
    c = write_run(tmp_path / "c", config_of("simclr", 1), accuracy=52.0)
    (c / "alarms.jsonl").write_text('{"step": 3, "kind": "collapse"}\n')
    comparison = compare_runs([a, b, c, a])
    assert len(comparison.groups[0].runs) == 3
    # A mean over two of three runs says so.
    assert comparison.table[1][2] == "51.00 ± 1.41 (of 2)"
    notes = "; ".join(comparison.notes)
    assert f"not evaluated: {b}; run ssljax evaluate on it" in notes
    assert f"{c}: 1 alarm of collapse" in notes
    assert "not all at one step" in notes and f"{b} at 7" in notes
    assert "runs of the same seed" in notes


def test_protocols_that_differ_in_their_numbers_have_columns_of_their_own(tmp_path):
    a = write_run(tmp_path / "a", config_of("simclr", 0), accuracy=50.0)
    b = write_run(tmp_path / "b", config_of("byol", 0), accuracy=60.0)
    text = (b / "evaluation.json").read_text().replace("900", "1900")
    (b / "evaluation.json").write_text(text)
    head, *rows = compare_runs([a, b]).table
    assert head[2:4] == ["knn k=5, 900 train", "knn k=5, 1,900 train"]
    assert [row[2:4] for row in rows] == [["50.00", "–"], ["–", "60.00"]]


def test_the_command_writes_a_page_with_all_runs(six, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["compare", *map(str, six), "--out", str(out)]) == 0
    assert "62.25 ± 0.90" in capsys.readouterr().out
    names = ["comparison.csv", "comparison.html", "comparison.md"]
    assert sorted(path.name for path in out.iterdir()) == names
    page = (out / "comparison.html").read_text("utf-8")
    assert page.count("data:image/png") == 2 and "<h1>6 runs of 2 settings" in page
    for run in six:
        assert str(run) in page
    assert "<script" not in page and "http" not in page.split("</style>")[1]


def test_the_figures_have_a_line_for_every_run(six):
    groups = group_runs(read_runs(six))
    figure = curves(groups)
    drawn = {axes.get_title(loc="left"): len(axes.lines) for axes in figure.axes}
    assert drawn == {
        "Loss": 6,
        "Online linear probe": 6,
        "RankMe (not centred)": 6,
    }
    colours = [line.get_color() for line in figure.axes[0].lines]
    assert len(set(colours[:3])) == len(set(colours[3:])) == 1 != len(set(colours))
    spectrum = spectra(groups)
    assert len(spectrum.axes[0].lines) == 6
    assert spectrum.axes[0].lines[0].get_ydata()[0] == 1
    with Image.open(io.BytesIO(to_png(spectrum))) as image:
        assert image.width > 400


def test_a_damaged_run_costs_a_note_and_no_other_run(six, tmp_path):
    bad = write_run(tmp_path / "bad", config_of("simclr", 5), accuracy=1.0)
    (bad / "evaluation.json").write_text("{")
    with (bad / "metrics.jsonl").open("a") as file:
        file.write("{half a line\n")
    notes = []
    assert len(read_runs([*six, bad], notes)) == 7
    assert any("evaluation.json" in note for note in notes)
    assert any("metrics.jsonl" in note for note in notes)
    comparison = ssljax.compare([*six, bad])
    assert comparison.table[2][2] == "62.25 ± 0.90 (of 3)"
    assert any("evaluation.json" in note for note in comparison.notes)


def test_a_setting_of_a_newer_version_is_compared_too(tmp_path):
    a = write_run(tmp_path / "a", config_of("simclr", 0), accuracy=50.0)
    text = json.loads((a / "config.json").read_text())
    text["augment"]["invented"] = 3
    (a / "config.json").write_text(json.dumps(text))
    b = write_run(tmp_path / "b", config_of("simclr", 0), accuracy=60.0)
    labels = [group.label for group in compare_runs([a, b]).groups]
    assert labels == ["simclr, invented=3", "simclr, invented=None"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no run to compare; name one or more run folders"),
        (["{tmp}/missing"], "holds no run (no config.json)"),
        (["{run}", "--out", "{run}/config.json"], "cannot be written"),
        (["{run}", "--output", "x"], "unknown option '--output'"),
    ],
)
def test_what_cannot_be_compared_is_one_line(words, message, six, tmp_path, capsys):
    words = [word.format(tmp=tmp_path, run=six[0]) for word in words]
    assert main(["compare", *words]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and "\n" not in said


def test_a_data_frame_needs_pandas(six, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="needs pandas; run pip install pandas"):
        compare_runs(six).frame()
    made = []
    fake = type(sys)("pandas")
    fake.DataFrame = lambda records: made.append(records) or "frame"
    monkeypatch.setitem(sys.modules, "pandas", fake)
    assert compare_runs(six).frame() == "frame" and len(made[0]) == 4
