"""Figures and tables of theory against simulation."""

import io
import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from ssljax.analytic.checklist import (
    Finding,
    Given,
    Item,
    Panel,
    Picture,
    Theory,
    Verdict,
    at_most,
    near,
    run_item,
)
from ssljax.analytic.fingerprint.measure import LEVELS, Fingerprint
from ssljax.reports.theory import draw, save, to_bytes
from ssljax.reports.theory_tables import (
    Outcome,
    as_json,
    checklist_page,
    fingerprint_table,
    markdown_table,
    summary,
)
from ssljax.runs.environment import Launch

X = np.linspace(0.0, 4.0, 400)
MODES = np.exp(-X[:, None] * np.array([0.5, 1.0, 2.0])[None, :])


def panel(**changes):
    content = {
        "title": "decay",
        "x_label": "time (learning rate x step)",
        "y_label": "eigenvalue",
        "lines": [(X, MODES)],
        "points": [(X, MODES)],
    }
    return Panel(**(content | changes))


def markers(axes):
    return [line for line in axes.lines if line.get_linestyle() == "None"]


def curves(axes):
    return [
        line
        for line in axes.lines
        if line.get_linestyle() != "None" and len(line.get_xdata()) > 2
    ]


def test_theory_is_lines_and_simulation_open_markers():
    (axes,) = draw(Picture("decay", [panel()])).axes
    assert len(curves(axes)) == len(markers(axes)) == 3
    for line in markers(axes):
        assert line.get_markerfacecolor() == "none"
        assert 12 <= len(line.get_xdata()) <= 22
    for line, rate in zip(markers(axes), (0.5, 1.0, 2.0), strict=True):
        expected = np.exp(-rate * np.asarray(line.get_xdata()))
        np.testing.assert_allclose(np.asarray(line.get_ydata()), expected, rtol=1e-12)
    assert axes.get_xlabel() == "time (learning rate x step)"
    assert axes.get_ylabel() == "eigenvalue"
    assert axes.get_title(loc="left") == "decay"


def test_modes_are_told_apart_in_grey():
    (axes,) = draw(Picture("decay", [panel()])).axes
    looks = {(line.get_linestyle(), line.get_color()) for line in curves(axes)}
    assert len(looks) == 3
    shades = [line.get_color() for line in curves(axes)]
    shades += [line.get_markeredgecolor() for line in markers(axes)]
    assert all(0.0 <= float(shade) <= 0.65 for shade in shades)
    assert len({str(line.get_marker()) for line in markers(axes)}) == 3


@pytest.mark.parametrize(
    "labels, expected",
    [
        ((), ["theory", "simulation"]),
        (("closed form",), ["closed form", "simulation"]),
        (("a", "b", "c"), ["a", "b", "c", "simulation"]),
    ],
)
def test_labels_are_per_pair_or_per_curve(labels, expected):
    (axes,) = draw(Picture("decay", [panel(line_labels=labels)])).axes
    assert [t.get_text() for t in axes.get_legend().get_texts()] == expected


def test_labels_of_several_pairs():
    content = panel(
        lines=[(X, MODES[:, 0]), (X, MODES[:, 1])],
        points=[],
        line_labels=["slow", "fast"],
    )
    (axes,) = draw(Picture("decay", [content])).axes
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["slow", "fast"]


def test_log_axes_spread_the_points_evenly_as_they_are_seen():
    x = np.geomspace(1e-3, 1e3, 2000)
    content = panel(lines=[(x, x)], points=[(x, x)], log_x=True, log_y=True)
    (axes,) = draw(Picture("log", [content])).axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    steps = np.diff(np.log(markers(axes)[0].get_xdata()))
    assert steps.max() < 1.2 * steps.min()


def test_a_log_axis_that_starts_at_zero_is_drawn():
    x = np.concatenate([[0.0], np.geomspace(1e-2, 1.0, 500)])
    figure = draw(Picture("log", [panel(lines=[(x, x)], points=[], log_x=True)]))
    assert to_bytes(figure, "png")


def test_a_line_at_one_place_is_a_mark_and_not_a_mode():
    content = panel(
        lines=[(X, MODES[:, 0]), ([2.0, 2.0], [0.0, 1.0])],
        line_labels=["prediction", "critical time"],
    )
    (axes,) = draw(Picture("decay", [content])).axes
    mark = [line for line in axes.lines if line.get_label() == "critical time"][0]
    assert mark.get_linestyle() == ":" and mark.get_linewidth() < 1.0


def test_a_line_keeps_the_points_where_it_bends():
    steep = 1.0 / (1.0 + np.exp(-20.0 * (X - 2.0)))
    content = panel(lines=[(X, steep), (X, 0.3 * X)], points=[])
    (axes,) = draw(Picture("step", [content])).axes
    curved, straight = (np.asarray(line.get_xydata()) for line in axes.lines[:2])
    assert len(straight) == 2 and 8 < len(curved) < 60
    seen = np.interp(X, curved[:, 0], curved[:, 1])
    np.testing.assert_allclose(seen, steep, atol=5e-3)


def test_equal_axes_have_one_unit():
    content = panel(lines=[(X, 3 * X)], points=[], equal=True)
    (axes,) = draw(Picture("plane", [content])).axes
    assert axes.get_aspect() == 1.0
    assert draw(Picture("decay", [panel()])).axes[0].get_aspect() == "auto"


def test_long_titles_and_labels_are_broken():
    words = "the overlap of the learned features with those of a kernel"
    (axes,) = draw(Picture("long", [panel(title=words, x_label=words)])).axes
    for text in (axes.get_title(loc="left"), axes.get_xlabel()):
        assert text.split() == words.split()
        assert max(map(len, text.splitlines())) <= 42


def test_panels_with_the_same_labels_share_one_legend():
    figure = draw(Picture("two", [panel(), panel()]))
    assert len(figure.legends) == 1
    assert all(axes.get_legend() is None for axes in figure.axes)
    figure = draw(Picture("two", [panel(), panel(line_labels=["another"])]))
    assert not figure.legends
    assert all(axes.get_legend() for axes in figure.axes)


@pytest.mark.parametrize("panels", [1, 2, 3, 4, 5, 7, 9])
def test_every_panel_has_axes(panels):
    figure = draw(Picture("many", [panel(title=f"p{i}") for i in range(panels)]))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"p{i}" for i in range(panels)]
    if panels >= 7:  # small multiples share labels and one legend
        assert len(figure.legends) == 1
        assert figure.get_supxlabel() == "time (learning rate x step)"


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_picture_gives_the_same_bytes(kind):
    picture = Picture("decay", [panel(), panel(log_y=True)])
    first, second = (to_bytes(draw(picture), kind) for _ in range(2))
    assert first == second


def test_svg_is_small_dateless_and_well_formed(tmp_path):
    path = save(Picture("decay", [panel()] * 6), tmp_path / "new")
    assert path == tmp_path / "new" / "decay.svg"
    text = path.read_text()
    assert len(text) < 150_000
    assert not re.search(r"dc:date|\b20\d\d-\d\d", text)
    root = ElementTree.fromstring(text)
    words = [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("decay") == 6 and "eigenvalue" in words


def test_png_is_an_image_of_greys(tmp_path):
    path = save(Picture("decay", [panel()]), tmp_path, "png")
    image = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGB"), int)
    assert np.ptp(image, axis=2).max() <= 8


@pytest.mark.parametrize(
    "picture, message",
    [
        (Picture("none", []), "has no panels"),
        (Picture("odd", [panel(lines=[(X, MODES[:-1])])]), "do not fit"),
    ],
)
def test_pictures_that_cannot_be_drawn(picture, message):
    with pytest.raises(ValueError, match=message):
        draw(picture)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="svg, png"):
        to_bytes(draw(Picture("decay", [panel()])), "gif")


def test_a_table_can_hold_bars():
    table = markdown_table([("norm", "b"), ("|x|", "")])
    assert table.splitlines() == ["| norm  | b |", "|-------|---|", "| \\|x\\| |   |"]


def record(**changes):
    content = {
        "correlation": 0.8,
        "scale": float("nan"),
        "drift": 0.0,
        "reference": 1.0,
        "growth": 0.5,
        "exponent": -1e-4,
        "threshold": -np.inf,
        "plateau": 0.0,
        "equalisation": -0.25,
        "levels": LEVELS,
        "rates": np.full((len(LEVELS), 2), 0.5),
    }
    return Fingerprint(**(content | changes))


def test_fingerprints_read_as_a_table():
    found = {
        "dcl": record(),
        "my_loss": record(scale=1.25, threshold=0.3, plateau=2.0, exponent=0.5),
        "none": record(rates=np.zeros((len(LEVELS), 2)), growth=0.0),
        "lost": record(threshold=np.inf, growth=-1.0, plateau=np.nan),
    }
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in fingerprint_table(found).splitlines()
    ]
    assert len({len(row) for row in rows}) == 1
    assert rows[2] == [
        "dcl", "temperature 0.5", "free", "0.5", "0.00", "any", "dies out", "-0.25",
        "recruits all",
    ]  # fmt: skip
    assert rows[3][2:6] == ["1.25", "0.5", "0.50", "0.30"]
    assert rows[3][6] == "2.00 x the others"
    assert rows[3][8] == "recruits correlation > 0.30, late (rate ~ lambda^0.5)"
    assert rows[4][3:] == ["0", "-", "-", "-", "0", "no force"]
    assert rows[5][5:7] == ["none", "-"]
    assert rows[5][8] == "collapse: small modes shrink"


MADE = Launch(
    command=("ssljax", "theory", "toy"),
    commit="abc",
    device="a chip",
    python="3.11.7",
    versions={"jax": "1.2", "optax": "3.4", "numpy": None},
)


def outcome(*findings, number="1", missing=None):
    item = Item(number, "one |x| is one", lambda given: findings)
    theory = Theory("toy", "a paper", [item])
    verdict = Verdict(item, [], 0.0, missing) if missing else run_item(item, Given())
    return Outcome(theory, [verdict], seconds=1.5)


def test_outcomes_as_a_page():
    found = outcome(at_most("gap", 1e-13, 1e-12), near("slope", 3.0, 1.0, 0.1))
    found.figures.append("toy.svg")
    page = checklist_page([found], seed=4, made=MADE)
    assert "## toy" in page and "a paper" in page and "![toy.svg](toy.svg)" in page
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in page.splitlines()
        if line.startswith("|")
    ]
    assert rows[2:] == [
        ["1", "**one \\|x\\| is one**", "", ""],
        ["", "gap", "<= 1e-12", "1e-13"],
        ["", "slope", "1 +- 0.1", "3 **DISAGREES**"],
    ]
    for text in ("`ssljax theory toy`", "seed 4", "commit abc", "jax 1.2", "a chip"):
        assert text in page
    assert "optax" not in page  # nothing here trains with it


def test_a_page_names_what_was_not_run_and_what_raised():
    missing, broken = outcome(missing="no images"), outcome()
    broken.errors["1"] = "ValueError: why"
    page = checklist_page([missing, broken], seed=0, made=MADE)
    assert "not run: no images" in page and "ValueError: why" in page


@pytest.mark.parametrize(
    "finding, allowed, shown",
    [
        (near("rest", 1.25004321, 1.25, 1e-4), "1.25 +- 0.0001", "1.25004"),
        (near("rate", -1.6, -1.6, 1e-12), "-1.6 +- 1e-12", "-1.6"),
        (near("zero", 1e-9, 0.0, 0.1), "0 +- 0.1", "1e-09"),
        (near("modes", 10, 10, 0), "= 10", "10"),
        (at_most("gap", 0.123456, 0.2), "<= 0.2", "0.1235"),
        (near("slope", float("nan"), 1.0, 0.1), "1 +- 0.1", "nan"),
    ],
)
def test_intervals_and_figures_are_told_apart(finding, allowed, shown):
    assert (finding.allowed, finding.shown) == (allowed, shown)


def test_outcomes_as_json():
    found = [
        outcome(Finding("gap", float("nan"), -np.inf, 1.0)),
        outcome(missing="no images here"),
    ]
    read = json.loads(as_json(found, seed=2, made=MADE))
    assert read["agrees"] is False and read["seed"] == 2
    assert Launch.from_object(read["made"]) == MADE
    first, second = (theory["items"][0] for theory in read["theories"])
    assert first["agrees"] is False
    assert first["findings"] == [
        {"what": "gap", "measured": None, "low": None, "high": 1.0, "agrees": False}
    ]
    assert second["agrees"] is None and second["not_run"] == "no images here"


def test_the_summary_names_what_disagrees():
    good, bad = outcome(at_most("gap", 0, 1)), outcome(at_most("gap", 2, 1))
    assert summary([good], 3.0).endswith("theory and simulation agree")
    assert "DISAGREE: toy-1" in summary([good, bad], 3.0)
    assert bad.wrong == 1 and good.wrong == 0
    # An item that was not run is not a failure; one without findings is.
    assert outcome(missing="no images").wrong == 0
    assert outcome().wrong == 1
