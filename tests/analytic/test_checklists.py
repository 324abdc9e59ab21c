"""Every item of the checklists, as `ssljax theory` runs it."""

import os
from pathlib import Path

import pytest
from optimising import optimising

from ssljax.analytic.checklist import NAMES, Given, load, run_item
from ssljax.analytic.fingerprint.checklist import THEORY as FINGERPRINT

# Run every time; the others with the slow tests.
QUICK = {
    "implicit-variance": ("3",),
    "stepwise": ("1",),
    "prediction-head": ("1",),
    "spectral-transformation": ("1",),
    "duality": ("1",),
    "learned-predictor": ("6",),
    "jepa": ("4",),
    "fingerprint": ("2", "3", "6", "7", "9", "13"),
}
# Loops of 8,000 and of 40,000 steps, twice and more as fast where XLA optimises them.
OPTIMISED = ("prediction-head-13", "prediction-head-14")


def cases():
    for theory in (*map(load, NAMES), FINGERPRINT):
        for item in theory.items:
            marks = () if item.number in QUICK[theory.name] else pytest.mark.slow
            yield pytest.param(item, id=f"{theory.name}-{item.number}", marks=marks)


@pytest.fixture(scope="session")
def images():
    """Real images; items that need them skip without."""
    if not Path(os.environ.get("TFDS_DATA_DIR", "absent"), "cifar10").is_dir():
        return None
    from ssljax.data import load as load_data

    return load_data("cifar10", split="train[:1000]").images


@pytest.fixture
def optimised(request):
    """Optimise the programs of an item that runs longer than optimising takes."""
    if request.node.callspec.id not in OPTIMISED:
        yield
        return
    with optimising():
        yield


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("item", list(cases()))
def test_the_item_of_the_checklist_holds(item, request):
    images = request.getfixturevalue("images") if item.images else None
    verdict = run_item(item, Given(seed=0, images=images))
    if verdict.missing:
        pytest.skip(verdict.missing)
    assert verdict.findings, "nothing was measured"
    wrong = [
        f"{finding.what}: {finding.measured:.6g}, allowed {finding.allowed}"
        for finding in verdict.findings
        if not finding.passed
    ]
    assert not wrong, "; ".join(wrong)
