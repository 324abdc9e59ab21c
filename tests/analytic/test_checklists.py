"""Every item of the checklists, as `ssljax theory` runs it."""

import os
from pathlib import Path

import pytest
from optimising import optimising

from ssljax.analytic.checklist import NAMES, Given, Item, load, run_item
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
# Long loops, and many or wide networks at once: faster where XLA optimises them.
OPTIMISED = (
    *("prediction-head-13", "prediction-head-14"),
    *("stepwise-16", "stepwise-24", "stepwise-25"),
)
# Long simulations, that other seeds repeat at full cost.
DEAR = (
    *OPTIMISED,
    *(f"implicit-variance-{n}" for n in (6, 7, 8, 9, 10, 11, 12)),
    *(f"stepwise-{n}" for n in (6, 10, 15, 16, 17, 18, 21)),
    *(f"spectral-transformation-{n}" for n in (7, 8, 9)),
)


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


def others():
    """Return the items that depend on a seed and are cheap once they are compiled."""
    for case in cases():
        (item,) = case.values
        assert isinstance(item, Item)
        if item.seeded and case.id not in DEAR:
            yield case


def complaints(item, given):
    """Run an item; return what is wrong, skipping what cannot run here."""
    verdict = run_item(item, given)
    if verdict.missing:
        pytest.skip(verdict.missing)
    assert verdict.findings, "nothing was measured"
    return [
        f"{finding.what}: {finding.measured:.6g}, allowed {finding.allowed}"
        for finding in verdict.findings
        if not finding.passed
    ]


@pytest.mark.usefixtures("optimised")
@pytest.mark.parametrize("item", list(cases()))
def test_the_item_of_the_checklist_holds(item, request):
    images = request.getfixturevalue("images") if item.images else None
    reads = []

    class Watched(Given):
        """Notes that the seed is read."""

        @property
        def seed(self):
            reads.append(True)
            return self[0]

    wrong = complaints(item, Watched(seed=0, images=images))
    assert not wrong, "; ".join(wrong)
    assert item.seeded == bool(reads), "`seeded` of the item is not what it does"


@pytest.mark.slow
@pytest.mark.parametrize("item", list(others()))
def test_the_item_holds_at_other_seeds(item, request):
    """Another seed with the programs of seed 0.

    All of 0 to 19: ``ssljax theory all --seeds 20``; they agree.
    """
    images = request.getfixturevalue("images") if item.images else None
    wrong = complaints(item, Given(seed=1, images=images))
    assert not wrong, "; ".join(wrong)
