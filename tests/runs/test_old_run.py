"""A run folder of an earlier version can be resumed, evaluated and reported.

``old_run/`` was written by commit 88b40fc, when the package had another layout: BYOL on
64 images of ``shapes``, stopped by SIGTERM at step 4, resumed, stopped again at step 6
of 12, then evaluated with kNN. ``old_run_losses.json`` has the losses of the same run
without a stop, and the instruction sets of the processor that computed both.
"""

import json
import re
import shutil
from pathlib import Path

import jaxlib.version
import micro  # noqa: F401
import numpy as np
import pytest
from interrupted import losses

from ssljax.protocols.evaluate import evaluate
from ssljax.reports import build_report
from ssljax.runs.encoder import restore
from ssljax.runs.folder import RunFolder
from ssljax.runs.pretrain import pretrain

HERE = Path(__file__).parent
REFERENCE = json.loads((HERE / "old_run_losses.json").read_text())
WHOLE = {int(step): loss for step, loss in REFERENCE["losses"].items()}


def instruction_sets():
    """Return the vector instruction sets of this CPU, on which rounding depends."""
    try:
        flags = re.search(r"flags\s*:(.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        return []
    words = flags[1].split() if flags else []
    return sorted(w for w in words if w.startswith(("avx", "fma", "amx")))


@pytest.fixture
def old(tmp_path):
    return Path(shutil.copytree(HERE / "old_run", tmp_path / "old_run"))


def test_it_resumes_to_the_losses_of_a_run_that_was_not_stopped(old):
    folder = RunFolder(old)
    before = folder.load_environment().launches
    assert max(losses(old)) == 6 and losses(old) == {i: WHOLE[i] for i in range(1, 7)}
    pretrain(folder.load_config(), old, command=["ssljax", "pretrain"], quiet=True)
    resumed = losses(old)
    assert list(resumed) == list(WHOLE) == list(range(1, 13))
    np.testing.assert_allclose(list(resumed.values()), list(WHOLE.values()), rtol=1e-4)
    made_by = before[0].versions["jaxlib"], REFERENCE["cpu"]
    if made_by == (jaxlib.version.__version__, instruction_sets()):
        # Bit for bit, because the same compiler makes the same program.
        assert resumed == WHOLE
    # The earlier launches are unchanged, and the new one is appended.
    after = folder.load_environment().launches
    assert after[:-1] == before and after[-1].command == ("ssljax", "pretrain")


def test_it_is_evaluated_and_reported(old):
    kept = RunFolder(old).load_evaluation()
    assert restore(old).step == kept.step == 6
    table = evaluate(old, protocols=("knn",))
    then = {(r.representation, r.protocol): r.accuracy for r in kept.rows}
    rows = RunFolder(old).load_evaluation().rows
    now = {(r.representation, r.protocol): r.accuracy for r in rows}
    assert len(then) == 9
    for row, accuracy in then.items():
        # One image of 48 is 2.1 %.
        assert abs(now[row] - accuracy) < 2.2, row
    assert now["majority class", "majority (constant answer)"] is not None
    assert "majority (constant answer)" in table
    page = build_report(old).read_text("utf-8")
    first = RunFolder(old).load_environment().launches[0]
    assert first.commit == "88b40fca139841d8a795b324d00b550037bfb226"
    for fact in (
        first.commit,
        f"jax {first.versions['jax']}",
        f"{first.device_count} x {first.device}",
        "once, last 2026-11-28",
        "old_recipe.py",
        "byol on shapes",
        "majority class",
    ):
        assert fact in page, fact
    assert "not recorded" not in page


def test_its_own_evaluation_is_reported_without_rows_added_since(old):
    page = build_report(old).read_text("utf-8")
    assert "untrained network" in page and "majority class" not in page
    assert "knn k=20" in page and "k=200 left out" in page
