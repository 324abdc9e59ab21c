"""`ssljax theory`, with small theories in the place of the real ones; and its page."""

import contextlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import DOCS

import ssljax
from ssljax import data
from ssljax.analytic import checklist as theories
from ssljax.analytic.checklist import (
    Item,
    NotHere,
    Panel,
    Picture,
    Theory,
    at_most,
    near,
)
from ssljax.analytic.fingerprint import checklist, measure
from ssljax.commands import theory as command
from ssljax.commands import theory_tasks as tasks

PAGE = DOCS / "theory.md"
SEEDS = []


def seen(given):
    SEEDS.append(given.seed)
    return [at_most("gap", 1e-13, 1e-12), near("slope", 1.02, 1.0, 0.1)]


def off(given):
    return [at_most("gap", 0.5, 0.1)]


def broken(given):
    raise ZeroDivisionError("by\nzero")


def of_images(given):
    if given.images is None:
        raise NotHere("no photographs here")
    return [near("images", len(given.images), 7, 0)]


def nowhere(given):
    raise NotHere("no accelerator here")


def pictures(given):
    x = np.linspace(0, 1, 9)
    return [Picture("growth", [Panel("a", "t", "y", lines=[(x, x)], points=[(x, x)])])]


SOUND = Theory(
    "sound", "a paper", [Item("1", "it holds", seen), Item("C6", "so does this", seen)],
    pictures,
)  # fmt: skip
UNSOUND = Theory(
    "unsound",
    "another paper",
    [
        Item("1", "it is off", off),
        Item("2", "it breaks", broken),
        Item("3", "it holds", seen),
        Item("4", "it measures nothing", lambda given: []),
    ],
)
PICTORIAL = Theory(
    "pictorial",
    "a third paper",
    [
        Item("1", "it counts images", of_images, images=True),
        Item("2", "it is not here", nowhere),
        Item("3", "it holds", seen),
    ],
    lambda given: nowhere(given),
)


@pytest.fixture(autouse=True, name="known")
def known_theories(monkeypatch, tmp_path):
    """Three small theories, an empty current directory and no CIFAR-10."""
    known = {theory.name: theory for theory in (SOUND, UNSOUND, PICTORIAL)}
    monkeypatch.setattr(theories, "NAMES", tuple(known))
    monkeypatch.setattr(command, "SEPARATE", False)
    monkeypatch.setattr(theories, "load", known.__getitem__)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no_data"))
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    SEEDS.clear()
    return known


def test_the_list_has_every_theory_and_the_fingerprint(asked):
    code, out = asked("list")
    assert code == 0
    names = [line.split()[0] for line in out.splitlines()]
    assert names == ["sound", "unsound", "pictorial", "fingerprint"]
    assert "2 items  a paper" in out


def test_a_theory_that_holds(asked):
    code, out = asked("sound", "--seed", 3)
    assert code == 0 and SEEDS == [3, 3]
    assert re.search(r"C6 +agrees +\d+\.\d s  so does this", out)
    assert re.search(r"gap +1e-13 +<= 1e-12", out)
    assert re.search(r"sound: 2 of 2 items agree, \d+\.\d s", out)
    assert out.rstrip().endswith("theory and simulation agree")
    assert not list(Path().iterdir())


def test_disagreement_is_exit_code_1_and_stops_nothing(asked):
    code, out = asked("unsound")
    assert code == 1
    assert re.search(r"! gap +0.5 +<= 0.1", out)
    assert "ZeroDivisionError: by zero" in out
    assert "nothing was measured" in out
    assert re.search(r"3 +agrees", out)
    assert "1 of 4 items agree, 3 DISAGREE" in out
    assert "DISAGREE: unsound-1, unsound-2, unsound-4" in out


def test_items_can_be_chosen(asked):
    code, out = asked("unsound", "--items", 3)
    assert code == 0 and "1 of 1 items agree" in out
    code, out = asked("sound", "--items", "C6", "1")
    assert code == 0 and out.index("C6") < out.index("it holds")


def test_what_is_not_here_is_no_failure(asked):
    code, out = asked("pictorial", "--out", "out")
    assert code == 0
    assert re.search(r"1 +not run", out) and "not run: no photographs here" in out
    # Others would take random images, so it is said once for all, with what to do.
    (said,) = [line for line in out.splitlines() if "without CIFAR-10" in line]
    assert "ssljax data prepare cifar10" in said
    assert "not run: no accelerator here" in out
    assert "figures not drawn: no accelerator here" in out
    assert "1 of 3 items agree, 2 not run" in out


def test_images_are_loaded_where_an_item_looks_at_them(asked, monkeypatch):
    def load(name, *, split):
        assert (name, split) == ("cifar10", "train[:1000]")
        return data.from_arrays(np.zeros((7, 32, 32, 3), np.uint8))

    monkeypatch.setattr(data, "load", load)
    code, out = asked("pictorial", "--items", 1)
    assert code == 0 and re.search(r"images +7 +=", out)


def test_figures_page_and_json_are_written(asked):
    code, out = asked("sound", "--out", "a/b", "--json", "c/d.json")
    assert code == 0
    assert {p.name for p in Path("a/b").iterdir()} == {"growth.svg", "checklist.md"}
    page = Path("a/b/checklist.md").read_text()
    assert "| C6   | **so does this**" in page and "![growth.svg](growth.svg)" in page
    read = json.loads(Path("c/d.json").read_text())
    assert read["agrees"] is True and read["theories"][0]["figures"] == ["growth.svg"]
    assert [i["number"] for i in read["theories"][0]["items"]] == ["1", "C6"]
    assert "a/b/growth.svg" in out and "c/d.json" in out
    code, _ = asked("sound", "--out", "a/b", "--format", "png")
    assert code == 0 and Path("a/b/growth.png").exists()


def test_a_figure_that_cannot_be_drawn_is_a_failure(asked, known, monkeypatch):
    bad = Theory("sound", "a paper", SOUND.items, lambda given: [Picture("none", [])])
    monkeypatch.setitem(known, "sound", bad)
    code, out = asked("sound", "--out", "out")
    assert code == 1 and "figures FAILED: ValueError" in out


def test_all_runs_every_theory(asked, monkeypatch):

    short = Theory("fingerprint", "rates", [Item("1", "it holds", seen)])
    monkeypatch.setattr(checklist, "THEORY", short)
    code, out = asked("all")
    assert code == 1
    totals = out[out.rindex("fingerprint: 1 of 1") :].splitlines()[2:]
    assert [line.split()[0] for line in totals] == [
        "sound", "unsound", "pictorial", "fingerprint", "total"
    ]  # fmt: skip
    assert "| loss " not in out  # the table of all losses takes a minute


@pytest.mark.slow
def test_items_and_figures_in_other_processes(monkeypatch, tmp_path):
    monkeypatch.undo()  # the real theories
    with tasks.workers(separate=True) as pool:
        item = pool.submit(tasks.measure, "duality", "1", 0, None)
        drawn = pool.submit(tasks.draw, "duality", 0, None, tmp_path / "out", "svg")
        found, drawn = item.result(), drawn.result()
    assert found.error is None and found.findings and found.seconds > 0
    assert all(finding.passed for finding in found.findings)
    assert drawn.error is None and (tmp_path / "out" / drawn.figures[0]).exists()


@pytest.mark.slow
def test_the_fingerprint_prints_its_table_and_draws(asked, monkeypatch):

    found = measure.fingerprints(["linearized_barlow_twins", "dcl"])
    monkeypatch.setattr(measure, "fingerprints", lambda seed: found)
    short = Theory("fingerprint", "rates", [Item("1", "it holds", seen)])
    monkeypatch.setattr(checklist, "THEORY", short)
    code, out = asked("fingerprint", "--out", "out")
    assert code == 0 and "| linearized_barlow_twins |" in out
    assert {p.name for p in Path("out").iterdir()} == {
        "fingerprint.svg", "fingerprint.md", "checklist.md"
    }  # fmt: skip
    assert Path("out/fingerprint.md").read_text().startswith("| loss ")


@pytest.mark.parametrize(
    "words, message",
    [
        ((), "name a theory: ssljax theory list | all | sound | "),
        (("soudn",), "unknown theory 'soudn'; .*; did you mean 'sound'?"),
        (("sound", "--items", "c6"), "sound has no item 'c6'; it has 1, C6"),
        (("all", "--items", "1"), "--items needs one theory"),
        (("sound", "--sed", "1"), "unknown option '--sed'; did you mean '--seed'?"),
        (("sound", "--seed", "one"), "a whole number, got 'one'"),
        (("sound", "--format", "gif"), "'gif'"),
        (("sound", "--json", "."), "--json is '.', which already exists as a folder"),
        (("sound", "--out", "file"), "--out is 'file', which already exists as a file"),
    ],
)
def test_bad_words_are_one_line_and_exit_code_2(asked, words, message):
    Path("file").touch()
    code, out = asked(*words)
    assert code == 2 and out.count("\n") == 1 and out.startswith("ssljax: ")
    assert re.search(message.replace("?", r"\?").replace(" | ", r" \| "), out), out
    assert not SEEDS and [p.name for p in Path().iterdir()] == ["file"]


def test_the_module_is_reached_lazily():
    """Importing the package loads no theory, and every name leads somewhere."""
    program = """
import sys
import ssljax
loaded = [m for m in sys.modules if m.startswith("ssljax.analytic")]
assert not loaded, loaded
assert callable(ssljax.analytic.gradient_flow)
assert "diffrax" in sys.modules
assert "ssljax.analytic.fingerprint.measure" not in sys.modules
assert callable(ssljax.analytic.spectral_fingerprint)
assert "matplotlib" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PAGE.parents[1])


def test_an_unknown_name_of_the_module_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'gradient_flo'"):
        _ = ssljax.analytic.gradient_flo
    assert {"compare", "spectral_fingerprint", "stepwise"} <= set(dir(ssljax.analytic))


@pytest.mark.slow
def test_the_example_of_the_page_prints_what_the_page_says():
    code, printed = re.search(
        r"^```python\n(.*?)^```\n+^```text\n(.*?)^```", PAGE.read_text(), re.S | re.M
    ).groups()
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "theory.md", "exec"), {})

    def words(text):  # errors are rounding, of a size and not of digits
        return re.sub(r"\d\S*e-\d+", "tiny", text).split()

    assert words(said.getvalue()) == words(printed)


def test_the_page_has_the_table_of_every_loss_and_its_figure():
    text = PAGE.read_text()
    for name in measure.FINGERPRINTED:
        assert f"| {name} " in text, name
    for figure in re.findall(r"\]\((figures/[^)]+)\)", text):
        assert (PAGE.parent / figure).stat().st_size < 150_000
    assert "figures/fingerprint.svg" in text
