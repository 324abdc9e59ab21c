import io
import math
import subprocess
import sys

import numpy as np
import pytest

from ssljax.reports import fonts
from ssljax.reports.plots import (
    confusion,
    contact_sheet,
    curves,
    eigenvalues,
    feature_map,
    spectrum,
)
from ssljax.reports.style import NothingToDraw, house_style, series, to_png


def training(steps=60):
    rng = np.random.default_rng(0)
    records = []
    for step in range(0, 100 * steps, 100):
        t = step / (100 * steps)
        records.append(
            {
                "step": step,
                "epoch": step / 195,
                "loss": 2 + 4 * math.exp(-3 * t) + 0.1 * rng.normal(),
                "learning_rate": 0.2 * (1 + math.cos(math.pi * t)),
                "gradient_norm": math.exp(0.4 * rng.normal() - 2 * t),
                "note": "text is not a curve",
            }
        )
    return records


def panel(steps=8):
    return [
        {
            "step": 1000 * i,
            "spectrum/effective_rank": 3.0 + 10 * i,
            "spectrum/mean_cosine": 0.9 - 0.1 * i,
            "spectrum/eigenvalues": [math.exp(-r / (1 + i)) for r in range(16)],
            "spectrum/dimensions": 128.0,
        }
        for i in range(steps)
    ]


def pixels(figure):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(to_png(figure))).convert("L"), float)


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def blobs(classes, n=400):
    rng = np.random.default_rng(1)
    labels = np.arange(n) % classes
    return rng.normal(size=(n, 2)) + labels[:, None], labels


IMAGES = np.random.default_rng(2).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)

IMAGES[:, 0, 0] = 0
IMAGES[:, 0, 1] = 255  # the full range, so that a stretch restores the pixels

FIGURES = {
    "curves": lambda: curves(training()),
    "spectrum": lambda: spectrum(panel() + [{"step": 2000, "alarm": "rank"}]),
    "eigenvalues": lambda: eigenvalues(panel()),
    "contact_sheet": lambda: contact_sheet(IMAGES, [IMAGES / 255.0, IMAGES]),
    "feature_map": lambda: feature_map(*blobs(5)),
    "unlabelled": lambda: feature_map(blobs(5)[0]),
    "confusion": lambda: confusion(np.eye(4) * 30 + 2),
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_shows_something_and_is_the_same_bytes_each_time(name):
    image = pixels(FIGURES[name]())
    assert image.std() > 5
    assert image.min() < 128 < image.max()
    first = to_png(FIGURES[name]())
    assert first == to_png(FIGURES[name]())
    assert b"Software" not in first


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_that_carries_data_is_labelled(name):
    figure = FIGURES[name]()
    if name == "contact_sheet":
        assert [a.get_title() for a in figure.axes][:3] == [
            "original",
            "view 1",
            "view 2",
        ]
    else:
        assert all(axes.get_ylabel() for axes in figure.axes)
        assert any(axes.get_xlabel() for axes in figure.axes)


def test_a_figure_is_empty_after_it_was_written():
    figure = curves(training())
    to_png(figure)
    assert figure.axes == []


def test_pyplot_is_never_imported_and_settings_are_left_alone():
    code = """
import sys, numpy as np
import ssljax.reports.plots as plots
assert "matplotlib" not in sys.modules
import matplotlib
matplotlib.rcParams["lines.linewidth"] = 7.0
from ssljax.reports.style import to_png
to_png(plots.curves([{"step": 1, "loss": 1.0}]))
to_png(plots.confusion(np.eye(2)))
assert "matplotlib.pyplot" not in sys.modules
assert matplotlib.rcParams["lines.linewidth"] == 7.0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_users_settings_do_not_reach_the_figures():
    import matplotlib

    expected = to_png(curves(training()))
    with matplotlib.rc_context({"lines.linewidth": 9.0, "font.size": 20.0}):
        assert to_png(curves(training())) == expected


def test_curves_show_only_what_was_recorded():
    assert titles(curves(training())) == ["Loss", "Learning rate", "Gradient norm"]


def test_curves_draw_metrics_they_do_not_know_under_their_own_name():
    records = [{"step": i, "loss": 1.0, "loss/variance": i} for i in range(3)]
    assert titles(curves(records)) == ["Loss", "loss/variance"]


def test_values_that_are_not_finite_are_gaps_and_marks():
    records = training()
    records[10]["loss"] = float("nan")
    records[30]["loss"] = "Infinity"
    axes = curves(records).axes[0]
    line, _, marks = axes.get_lines()
    assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == [10, 30]
    assert np.asarray(marks.get_xdata()).tolist() == [1000, 3000]
    assert axes.texts[0].get_text() == "x: 2 not finite"


def test_a_point_between_two_gaps_has_a_marker():
    values = [1.0, math.nan, 2.0, math.nan, 3.0, 4.0]
    axes = curves([{"step": i, "loss": v} for i, v in enumerate(values)]).axes[0]
    assert np.asarray(axes.get_lines()[1].get_xdata()).tolist() == [0, 2]


def test_a_metric_that_is_never_finite_still_draws():
    assert pixels(curves([{"step": i, "loss": math.nan} for i in range(3)])).std() > 5


def test_the_later_record_of_a_step_counts():
    records = [{"step": 2, "loss": 9.0}, {"step": 1, "loss": 3}, {"step": 2, "loss": 4}]
    steps, values = series(records, "loss")
    assert steps.tolist() == [1, 2] and values.tolist() == [3, 4]


@pytest.mark.parametrize("figure", [curves, spectrum, eigenvalues])
@pytest.mark.parametrize("records", [[], [{"step": 1}], [{"loss": 1.0}], [{}]])
def test_records_without_content_are_refused(figure, records):
    with pytest.raises(NothingToDraw, match="to draw"):
        figure(records)


def test_alarms_are_lines_in_every_panel_and_named_once():
    records = panel() + [
        {"step": 2000, "alarm": "constant embedding"},
        {"step": 9000, "alarm": "constant embedding"},
        {"step": 4000, "alarm": "low rank"},
    ]
    figure = spectrum(records)
    assert titles(figure) == ["Effective rank (centred)", "Mean cosine"]
    for axes in figure.axes:
        marks = [line.get_xdata()[0] for line in axes.get_lines()[2:]]
        assert marks == [2000, 9000, 4000]
        assert axes.get_xlim()[1] > 9000
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "alarm: constant embedding (2 times, first at step 2000)",
        "alarm: low rank (step 4000)",
    ]


def test_eigenvalue_lines_carry_the_recorded_values():
    lines = eigenvalues(panel(), top=3).axes[0].get_lines()
    expected = [[math.exp(-r / (1 + i)) for i in range(8)] for r in (2, 1, 0)]
    np.testing.assert_allclose([np.asarray(x.get_ydata()) for x in lines], expected)


def test_zero_eigenvalues_are_drawn_at_a_floor_and_counted():
    records = [{"step": i, "spectrum/eigenvalues": [1.0, 1e-3, 0.0]} for i in range(4)]
    axes = eigenvalues(records).axes[0]
    assert "4 values at or near zero are drawn at 1.0e-04" in axes.get_title(loc="left")
    np.testing.assert_allclose(np.asarray(axes.get_lines()[0].get_ydata()), 1e-4)


def test_a_wholly_collapsed_spectrum_still_draws():
    records = [{"step": i, "spectrum/eigenvalues": [0.0, 0.0]} for i in range(4)]
    assert "8 values" in eigenvalues(records).axes[0].get_title(loc="left")


def test_eigenvalue_lists_may_differ_in_length():
    records = [
        {"step": 0, "spectrum/eigenvalues": [1.0, 0.5]},
        {"step": 1, "spectrum/eigenvalues": [1.0]},
    ]
    second = eigenvalues(records).axes[0].get_lines()[0].get_ydata()
    assert second[0] == 0.5 and np.isnan(second[1])


def test_top_must_be_positive():
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        eigenvalues(panel(), top=0)


@pytest.mark.parametrize(
    "channels, said",
    [(1, ""), (2, "mean of 2 channels"), (3, ""), (5, "channels 0, 1, 2 of 5")],
)
def test_any_number_of_channels_is_shown_and_said(channels, said):
    images = np.repeat(IMAGES[..., :1], channels, axis=-1)
    figure = contact_sheet(images, [images])
    assert figure.get_suptitle() == "Original and views" + ("; " + said if said else "")
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == ((8, 8, 3) if channels >= 3 else (8, 8))


def test_uint8_and_float_views_show_the_same_pixels():
    figure = contact_sheet(IMAGES, [(IMAGES / 255).astype(np.float32)])
    np.testing.assert_allclose(
        np.asarray(figure.axes[0].images[0].get_array()),
        np.asarray(figure.axes[1].images[0].get_array()),
        atol=1e-6,
    )


def test_standardised_views_are_stretched_and_it_is_said():
    figure = contact_sheet(IMAGES, [(IMAGES / 255.0 - 0.5) / 0.25])
    assert figure.axes[1].get_title() == "view 1\n(stretched)"
    shown = np.stack([np.asarray(image.get_array()) for image in figure.axes[1].images])
    np.testing.assert_allclose(shown, IMAGES / 255.0, atol=1e-6)


def test_long_sheets_are_cut_and_it_is_said():
    many = np.repeat(IMAGES, 5, axis=0)
    figure = contact_sheet(many, [many])
    assert [len(axes.images) for axes in figure.axes] == [16, 16]
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == [f"image {i}" for i in range(16)]
    assert "first 16 of 20 images" in figure.get_suptitle()


@pytest.mark.parametrize("names", [["a", "b"], ["original", "a", "b"]])
def test_titles_name_the_columns_or_the_views(names):
    figure = contact_sheet(IMAGES, [IMAGES, IMAGES], titles=names)
    assert [a.get_title() for a in figure.axes[:3]] == ["original", "a", "b"]


def test_a_sheet_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"got shape \(8, 8, 3\)"):
        contact_sheet(IMAGES[0], [])
    with pytest.raises(ValueError, match="needs 4 images like the originals, got 2"):
        contact_sheet(IMAGES, [IMAGES[:2]])
    with pytest.raises(ValueError, match="2 columns or 1 views, got 3"):
        contact_sheet(IMAGES, [IMAGES], titles=["a", "b", "c"])


@pytest.mark.parametrize("classes, entries", [(2, 2), (20, 20), (21, 0)])
def test_the_map_has_a_legend_up_to_twenty_classes(classes, entries):
    figure = feature_map(*blobs(classes))
    found = sum(len(legend.get_texts()) for legend in figure.legends)
    assert found == entries


@pytest.mark.parametrize("classes", [3, 30])
def test_unlabelled_points_are_drawn_apart(classes):
    points, labels = blobs(classes)
    labels[:50] = -1
    figure = feature_map(points, labels)
    assert "50 unlabelled: pale" in figure.axes[0].get_title(loc="left")
    drawn = sum(len(c.get_offsets()) for c in figure.axes[0].collections)
    assert drawn == len(points)


def test_names_are_data_and_never_formulas():
    points, labels = blobs(2)
    figure = feature_map(points, labels, ["$\\alpha", "é_$x$"])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["$\\alpha", "é_$x$"]
    assert pixels(figure).std() > 5
    assert pixels(confusion(np.eye(2), ["$\\frac", "é"])).std() > 5


@pytest.fixture
def no_more_fonts(monkeypatch):
    """A system that has only the font that matplotlib brings."""
    monkeypatch.setattr(fonts, "_system_families", lambda: [])
    fonts._fallbacks.cache_clear()
    yield
    fonts._fallbacks.cache_clear()


def test_a_name_without_a_font_is_a_number_and_never_boxes(no_more_fonts):
    # A missing glyph is a warning of matplotlib, which fails a test.
    points, labels = blobs(3)
    names = ["disc", "猫", "bad\udcff"]
    figure = feature_map(points, labels, names)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["disc", "class 1", "class 2"]
    to_png(figure)
    figure = confusion(np.eye(3), names)
    shown = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert shown == ["disc", "class 1", "class 2"]
    to_png(figure)
    records = [{"step": i, "損失": 1.0, "alarm": "崩壊"} for i in range(3)]
    assert titles(curves(records)) == ["\\u640d\\u5931"]
    to_png(curves(records))
    to_png(spectrum([record | {"spectrum/rankme": 2.0} for record in records]))
    to_png(contact_sheet(IMAGES, [IMAGES], titles=["元", "図"]))


def test_a_name_is_drawn_with_a_font_of_the_system_that_has_it(
    no_more_fonts, monkeypatch
):
    # Matplotlib brings this one, too; its main font lacks the letter.
    monkeypatch.setattr(fonts, "_system_families", lambda: ["STIXGeneral"])
    assert fonts.families(["disc", "ℊ"]) == ["DejaVu Sans", "STIXGeneral"]
    points, labels = blobs(2)
    figure = feature_map(points, labels, ["disc", "ℊ"])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["disc", "ℊ"]
    assert pixels(figure).std() > 5
    assert pixels(confusion(np.eye(2), ["disc", "ℊ"])).std() > 5


def test_a_map_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"points must be \[N, 2\]"):
        feature_map(np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"labels must be \[4\]"):
        feature_map(np.zeros((4, 2)), np.zeros(3, int))


def test_confusion_percentages_are_by_row():
    matrix = np.array([[997, 2, 1], [30, 60, 10], [0, 0, 0]])
    figure = confusion(matrix, ["a", "b", "c"])
    axes = figure.axes[0]
    shown = [text.get_text() for text in axes.texts]
    assert shown == ["100", "<1", "<1", "30", "60", "10", "", "", ""]
    title = axes.get_title(loc="left")
    assert title == "1057 of 1100 right (96.1%); classes without an example: 1"
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b", "c"]


@pytest.mark.parametrize("classes, written", [(20, 400), (21, 0)])
def test_numbers_are_written_up_to_twenty_classes(classes, written):
    assert len(confusion(np.ones((classes, classes))).axes[0].texts) == written


@pytest.mark.parametrize(
    "matrix, names, message",
    [
        (np.ones((2, 3)), None, r"must be \[K, K\], got \(2, 3\)"),
        (-np.eye(2), None, "counts: finite and >= 0"),
        (np.full((2, 2), np.nan), None, "counts: finite and >= 0"),
        (np.eye(2), ["a"], "must have 2 names, got 1"),
    ],
)
def test_a_confusion_matrix_is_checked(matrix, names, message):
    with pytest.raises(ValueError, match=message):
        confusion(matrix, names)


def test_the_look_is_undone_after_use():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with house_style():
        assert matplotlib.rcParams["axes.spines.top"] is False
    assert dict(matplotlib.rcParams) == before
