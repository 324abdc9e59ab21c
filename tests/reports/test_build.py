"""The report's page."""

import html
import html.parser
import json
import math
import re

import numpy as np
import pytest
from report_page import SECTIONS, Headings

from ssljax.reports import build_report, fonts
from ssljax.reports.arrays import gather
from ssljax.runs.folder import RunFolder

CLASSES = ["disc", "square", "ring", "cross"]


def metrics(steps=40):
    rng = np.random.default_rng(0)
    lines = []
    for i in range(steps):
        t = i / steps
        record = {"step": 50 * i, "epoch": i / 4, "loss": 2 + 4 * math.exp(-3 * t)}
        record["loss"] += 0.1 * rng.normal()
        record["learning_rate"] = 0.03 * (1 + math.cos(math.pi * t))
        record["gradient_norm"] = math.exp(0.4 * rng.normal() - 2 * t)
        record["images_per_second"] = 900 + 20 * rng.normal()
        lines.append(json.dumps(record))
        if i % 4 == 0:
            eigenvalues = np.exp(-np.arange(16) / (1 + 9 * t))
            eigenvalues[12:] *= i > 8
            panel = {
                "step": 50 * i,
                "knn_accuracy": 30 + 50 * t,
                "spectrum/effective_rank": 3 + 40 * t,
                "spectrum/rankme": 5 + 44 * t,
                "spectrum/alpha_req": float("nan") if i == 0 else 2 - t,
                "spectrum/mean_cosine": 0.9 - 0.8 * t,
                "spectrum/eigenvalues": eigenvalues.tolist(),
            }
            lines.append(json.dumps(panel))
    return lines


CONFIG = {
    "method": {"name": "vicreg", "options": {"variance_weight": 25.0}},
    "data": {"name": "shapes"},
    "model": {"arch": "resnet18", "width": 1.0, "stem": "small"},
    "epochs": 10.0,
    "batch_size": 256,
    "seed": 7,
    # Of another version, which must not cost the settings that are known.
    "remark": "<script>alert(1)</script>",
}


LAUNCH = {
    "command": ["ssljax", "pretrain", "--remark", "two words"],
    "commit": "0123abc",
    "device": "TPU v4",
    "device_count": 2,
    "versions": {"ssljax": "0.1.0", "jax": "0.10.2", "flax": "0.12.8"},
    "started": "2030-01-02T03:04:05+00:00",
}


LATER = LAUNCH | {"commit": "456def", "started": "2030-02-03T04:05:06+00:00"}


ENVIRONMENT = {"launches": [LAUNCH, LAUNCH, LATER]}


EVALUATION = {
    "step": 1950,
    "rows": [
        {
            "representation": name,
            "protocol": protocol,
            "split": "test",
            "train_examples": 50000,
            "test_examples": 10000,
            "accuracy": accuracy,
            "detail": detail,
        }
        for protocol, detail, scores in (
            ("weighted kNN", "k = 200, temperature 0.1", (81.2, 44.7, 35.4)),
            ("linear probe", "logistic, weight decay chosen on 10 %", (87.9, 52.1, 39)),
        )
        for name, accuracy in zip(
            ("encoder", "random encoder", "raw pixels"), scores, strict=True
        )
    ],
}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "vicreg-0"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("\n".join(metrics()) + "\n")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT))
    (folder / "evaluation.json").write_text(json.dumps(EVALUATION))
    data = {"name": "shapes", "examples": 50000, "class_names": CLASSES, "note": ""}
    (folder / "data.json").write_text(json.dumps(data))
    alarm = {
        "step": 400,
        "kind": "low rank",
        "message": "effective rank 9 of 128.",
        "advice": "raise variance_weight",
    }
    (folder / "alarms.jsonl").write_text(json.dumps(alarm) + "\n")
    (folder / "skipped_files.txt").write_text("broken/a.png\nbroken/b.jpg\n")
    return folder


@pytest.fixture
def brief(run):
    """The same run with one curve and no spectrum, where the figures do not matter."""
    lines = [json.dumps({"step": i, "loss": 1 / (1 + i)}) for i in range(8)]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return run


def inputs():
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    labels = np.arange(200) % 4
    features = rng.normal(size=(200, 12)) + 4 * np.eye(12)[labels]
    return {
        "contact": (images, [images / 255.0, images[:, 2:14, 2:14]], None),
        "features": features.astype(np.float32),
        "labels": labels,
        "confusion": 40 * np.eye(4, dtype=int) + rng.integers(0, 5, (4, 4)),
    }


def test_a_whole_run_becomes_one_page_and_six_pictures(run):
    from PIL import Image

    path = build_report(run, **inputs())
    page = path.read_text("utf-8")
    parsed = Headings(page)
    assert path == run / "report.html"
    assert parsed.found == SECTIONS
    assert parsed.images == 6
    assert "http" not in page and "<script" not in page
    assert "No font" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert (
        "Step 400, low rank: effective rank 9 of 128. Advice: raise variance_weight."
        in page
    )
    assert "2 file(s) could not be used as images: broken/a.png" in page
    assert "<strong>81.20</strong>" in page and "<strong>87.90</strong>" in page
    text = " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split())
    assert "ssljax pretrain --remark 'two words'" in text
    assert "3 launches" in text and "Launch 3, 2030-02-03 04:05:06 UTC" in text
    # What is empty, such as the note here, is not named.
    assert " Data shapes, 50 000 images Encoder " in text
    for fact in (
        "<title>vicreg on shapes (vicreg-0)</title>",
        "vicreg (variance_weight 25)",
        "resnet18 (width 1, stem small)",
        "10 planned; last logged step 1950 (epoch 9.75)",
        "50\N{NO-BREAK SPACE}000 images",
        "0123abc",
        "2 x TPU v4",
        "2030-01-02 03:04:05 UTC",
        "2 times, last 2030-02-03 04:05:06 UTC; changed: commit",
        "ssljax 0.1.0, jax 0.10.2, flax 0.12.8",
    ):
        assert fact in page
    names = sorted(p.name for p in (run / "report").iterdir())
    pictures = ["confusion", "contact_sheet", "curves", "eigenvalues", "feature_map"]
    assert names == ["arrays.npz", *(f"{n}.png" for n in [*pictures, "spectrum"])]
    for picture in (run / "report").glob("*.png"):
        with Image.open(picture) as image:
            assert np.asarray(image.convert("L"), float).std() > 5


def test_a_report_is_rebuilt_from_what_it_kept(brief):
    first = build_report(brief, **inputs()).read_bytes()
    arrays = (brief / "report" / "arrays.npz").read_bytes()
    assert build_report(brief).read_bytes() == first
    assert (brief / "report" / "arrays.npz").read_bytes() == arrays


def test_new_arrays_replace_the_old_of_their_section_only(brief):
    build_report(brief, **inputs())
    images = np.zeros((1, 4, 4, 1), np.uint8)
    build_report(brief, contact=(images, [images], ["only"]))
    with np.load(brief / "report" / "arrays.npz") as kept:
        names = set(kept.files)
        assert kept["titles"].tolist() == ["only"]
    views = {"originals", "view_0", "titles"}
    assert names == views | {"points", "explained", "labels", "confusion"}


def test_metrics_alone_are_enough(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 2.5}\n')
    page = build_report(tmp_path).read_text("utf-8")
    parsed = Headings(page)
    assert parsed.found == SECTIONS and parsed.images == 1
    assert "<code>ssljax evaluate " in page
    assert "<code>ssljax report " in page
    assert "--monitor.every-epochs 1" in page
    assert "config.json is missing" in page


def test_a_run_that_logged_nothing_yet_still_has_a_page(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    page = build_report(tmp_path).read_text("utf-8")
    assert Headings(page).images == 0 and "no step was logged" in page


def test_without_metrics_the_command_that_makes_them_is_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match="ssljax pretrain RECIPE --workdir .* writes"
    ):
        build_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_half_written_last_line_is_no_news(brief):
    clean = build_report(brief).read_bytes()
    with (brief / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2000, "lo')
    assert build_report(brief).read_bytes() == clean


def test_a_damaged_line_inside_is_counted(tmp_path):
    lines = [
        '{"step": 1, "loss": 2.0}',
        '{"step": 2, "lo{"step": 3}',
        "5",
        '{"step": 4}',
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    notes = []
    assert [r["step"] for r in RunFolder(tmp_path).load_metrics(notes)] == [1, 4]
    assert notes == ["metrics.jsonl: 2 damaged lines were left out."]
    assert notes[0] in build_report(tmp_path).read_text("utf-8")


def test_not_a_number_tokens_are_read(tmp_path):
    lines = ['{"step": 1, "loss": NaN}', '{"step": 2, "loss": -Infinity}']
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert Headings(build_report(tmp_path).read_text("utf-8")).images == 1


@pytest.mark.parametrize(
    "name, content",
    [
        ("config.json", "\x00"),
        ("evaluation.json", '{"rows": ['),
        ("data.json", "[1]"),
        ("environment.json", '{"launches": [{'),
    ],
)
def test_a_damaged_file_costs_no_more_than_itself(brief, name, content):
    (brief / name).write_text(content)
    page = build_report(brief).read_text("utf-8")
    assert Headings(page).found == SECTIONS
    assert f"{name} " in page and "was ignored" in page


def test_damaged_arrays_are_told_and_ignored(brief):
    (brief / "report").mkdir()
    (brief / "report" / "arrays.npz").write_bytes(b"PK\x03\x04 half")
    page = build_report(brief).read_text("utf-8")
    assert "arrays.npz could not be read" in page and Headings(page).images == 1


def test_a_section_without_input_leaves_no_old_picture(brief):
    build_report(brief, confusion=np.eye(2))
    assert (brief / "report" / "confusion.png").exists()
    (brief / "report" / "arrays.npz").unlink()
    build_report(brief)
    names = sorted(p.name for p in (brief / "report").glob("*.png"))
    assert names == ["curves.png"]


def test_arrays_that_cannot_be_drawn_are_not_kept(brief):
    build_report(brief, confusion=np.eye(2))
    kept = (brief / "report" / "arrays.npz").read_bytes()
    with pytest.raises(ValueError, match="must be .K, K."):
        build_report(brief, confusion=np.ones((2, 3)))
    assert (brief / "report" / "arrays.npz").read_bytes() == kept


def test_an_alarm_in_the_metrics_keeps_the_numbers_of_its_record(tmp_path):
    record = {"step": 3, "spectrum/rankme": 1.5, "alarm": "low rank"}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    page = build_report(tmp_path).read_text("utf-8")
    assert "<li>Step 3: low rank.</li>" in page
    assert (tmp_path / "report" / "spectrum.png").exists()


def test_features_that_are_not_finite_are_left_out_and_reported(tmp_path):
    given = inputs()
    given["features"][:3] = np.nan
    arrays, notes = gather(
        tmp_path / "none.npz", features=given["features"], labels=given["labels"]
    )
    assert len(arrays["points"]) == len(arrays["labels"]) == 197
    assert "3 of 200 feature vectors are not finite" in notes[0]


@pytest.mark.parametrize(
    "given, message",
    [
        ({"labels": np.zeros(3, int)}, "labels were passed without features"),
        (
            {"features": np.ones((4, 2)), "labels": np.zeros(3, int)},
            r"labels must be \[4\]",
        ),
        ({"features": np.ones(4)}, r"features must be \[N, F\]"),
        (
            {"confusion": np.eye(2), "class_names": ["a"]},
            "1 names for a confusion matrix of 2",
        ),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        gather(tmp_path / "none.npz", **given)


def test_bfloat16_views_are_kept_as_float32(brief):
    import ml_dtypes

    images = np.zeros((1, 4, 4, 3), np.uint8)
    views = [np.full((1, 4, 4, 3), 0.5, ml_dtypes.bfloat16)]
    build_report(brief, contact=(images, views, None))
    with np.load(brief / "report" / "arrays.npz") as kept:
        assert kept["view_0"].dtype == np.float32
    assert Headings(build_report(brief).read_text("utf-8")).images == 2


def test_names_that_no_font_can_draw_are_in_the_caption(brief, monkeypatch):
    monkeypatch.setattr(fonts, "_system_families", lambda: [])
    fonts._fallbacks.cache_clear()
    names = ["disc", "猫", "ring", "犬"]
    page = build_report(brief, **inputs(), class_names=names).read_text("utf-8")
    fonts._fallbacks.cache_clear()
    caption = (
        "No font on this system can draw some of the names: class 1 is 猫, class 3 is"
    )
    # Below the map and the confusion matrix.
    assert page.count(caption) == 2


def test_results_that_cannot_be_read_are_not_called_missing(brief):
    (brief / "evaluation.json").write_text('{"rows": [')
    page = build_report(brief).read_text("utf-8")
    assert "The results cannot be read, because evaluation.json is damaged" in page
    assert "There are no results yet" not in page


def test_a_run_on_arrays_is_told_what_python_can_do(brief):
    (brief / "config.json").write_text(json.dumps({"data": {"name": "arrays"}}))
    (brief / "evaluation.json").unlink()
    page = build_report(brief).read_text("utf-8")
    assert "<code>ssljax.report(workdir, train=..., test=...)</code> in Python" in page
    assert (
        "<code>ssljax.evaluate(workdir, train=..., test=...)</code> in Python" in page
    )
    assert "ssljax report " not in page and "ssljax evaluate " not in page
