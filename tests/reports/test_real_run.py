"""The report of a real run: what it was made with, and its evaluation."""

import html
import html.parser
import platform
import re
from dataclasses import replace

import jax
import numpy as np
import pytest
from faulty import TINY
from interrupted import images
from report_page import SECTIONS, Headings

from ssljax.config import MonitorConfig
from ssljax.protocols.evaluate import evaluate
from ssljax.reports import build_report
from ssljax.runs.folder import RunFolder
from ssljax.runs.pretrain import pretrain


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A run of the program, resumed once, evaluated and reported."""
    workdir = tmp_path_factory.mktemp("real") / "run"
    config = replace(TINY, epochs=1, monitor=MonitorConfig(every_epochs=0))
    words = ["ssljax", "pretrain", "a recipe.py"]
    for _ in range(2):
        pretrain(config, workdir, train=images(), command=words, quiet=True)
    evaluate(workdir, protocols=("knn",), train=images(), test=images())
    build_report(workdir)
    return workdir


def test_a_real_run_says_what_it_was_made_with(real):
    page = (real / "report.html").read_text("utf-8")
    text = " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split())
    first, second = RunFolder(real).load_environment().launches
    assert first.commit and re.fullmatch("[0-9a-f]{40}(-dirty)?", first.commit)
    for fact in (
        "Command ssljax pretrain 'a recipe.py'",
        f"Commit {first.commit}",
        f"Device {jax.device_count()} x {jax.local_devices()[0].device_kind}",
        f"jax {jax.__version__}",
        f"numpy {np.__version__}",
        f"Python {platform.python_version()}",
        f"Started {first.started[:10]}",
        "Resumed once, last",
        "All 2 launches",
        f"Launch 2, {second.started[:10]}",
        "Data arrays (train), 64 images, 12x12x3, 3 classes Encoder micro (width 1",
        "Method simclr (temperature 0.1)",
        "Epochs 1 planned; last logged step 4",
    ):
        assert fact in text, fact
    assert "not recorded" not in text
    assert Headings(page).found == SECTIONS


def test_a_real_run_has_its_evaluation_as_one_table(real):
    page = (real / "report.html").read_text("utf-8")
    (table,) = re.findall(r'<table class="scores">.*?</table>', page, re.DOTALL)
    heads = re.findall(r'<th scope="col">(.*?)</th>', table)
    assert heads == ["Representation", "knn k=1", "knn k=5", "knn k=20"]
    names = re.findall(r'<th scope="row">(.*?)</th>', table)
    assert names == ["encoder", "untrained network", "raw pixels", "majority class"]
    cells = re.findall(r"<td.*?>(?:<strong>)?([0-9.]+)<", table)
    rows = RunFolder(real).load_evaluation().rows
    expected = [f"{row.accuracy:.2f}" for row in rows]
    # The last row of the file is shown in every column.
    assert cells == expected[:-1] + 3 * expected[-1:]
    assert float(expected[-1]) == round(
        100 * np.bincount(images().labels).max() / 64, 2
    )
