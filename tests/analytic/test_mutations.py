"""A wrong sign must make `ssljax theory` fail, and so must errors of a few percent."""

import importlib

import jax
import pytest

from ssljax import losses
from ssljax.analytic.checklist import Given, load, run_item
from ssljax.commands.main import main

MUTANTS = [
    ("implicit-variance", "asymmetric_euclidean", "3"),
    ("stepwise", "linearized_barlow_twins", "1"),
    ("prediction-head", "negative_cosine", "1"),
    ("spectral-transformation", "trace_loss", "1"),
    ("duality", "sample_contrastive", "1"),
    ("learned-predictor", "asymmetric_euclidean", "6"),
]


@pytest.fixture(autouse=True)
def fresh_programs():
    """A program traced with the right loss must not stand in for the wrong one."""
    jax.clear_caches()
    yield
    jax.clear_caches()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("theory", "loss", "item"), MUTANTS, ids=[m[0] for m in MUTANTS]
)
def test_a_wrong_sign_is_found(theory, loss, item, monkeypatch, capfd):
    right = getattr(losses, loss)
    monkeypatch.setattr(losses, loss, lambda *a, **k: -right(*a, **k))
    assert main(["theory", theory, "--items", item]) == 1
    printed = capfd.readouterr().out
    # Measured and found wrong, rather than stopped by an error; a flow of the wrong
    # sign may blow up, which is found as well. That the item holds with the right loss
    # is what test_checklists shows.
    assert "DISAGREES" in printed
    assert "Error" not in printed or "cannot be followed" in printed


# What each item whose bounds follow from the draw must still find: the module and name
# that the item looks up, and a small error in it.
SMALL_BUGS = {
    "duality-3": (
        "ssljax.analytic.duality",
        "solve_soft_norm_flow",
        lambda right: lambda *a, square: right(*a, square=1.02 * square),
    ),
    "duality-7": (
        "ssljax.losses",
        "sample_contrastive",
        lambda right: lambda z: right(z) * (1.0 - 1e-3),
    ),
    "implicit-variance-6": (
        "ssljax.analytic.implicit_variance.checklist.coupled",
        "cosine_velocity",
        lambda right: lambda *a, **k: 1.02 * right(*a, **k),
    ),
    "prediction-head-2": (
        "ssljax.analytic.prediction_head.checklist.population",
        "expected_loss",
        lambda right: lambda *a: right(*a) * (1.0 + 1e-6),
    ),
    "stepwise-5": (
        "ssljax.analytic.stepwise.checklist.linear",
        "aligned_start",
        lambda right: lambda w0, moment, scale: right(w0, moment, 1.01 * scale),
    ),
    "stepwise-6": (
        "ssljax.analytic.stepwise",
        "error_exponents",
        lambda right: lambda gamma, d: [power + 0.05 for power in right(gamma, d)],
    ),
    "stepwise-7": (
        "ssljax.analytic.stepwise.checklist.optimum",
        "expected_leaks",
        lambda right: lambda *a: right(*a) / 1.5,
    ),
    "stepwise-8": (
        "ssljax.losses",
        "linearized_barlow_twins",
        lambda right: lambda *a, **k: 1.001 * right(*a, **k),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", SMALL_BUGS)
def test_a_small_error_is_found(case, monkeypatch):
    module, name, bug = SMALL_BUGS[case]
    theory, _, number = case.rpartition("-")
    (item,) = [item for item in load(theory).items if item.number == number]
    found = importlib.import_module(module)
    monkeypatch.setattr(found, name, bug(getattr(found, name)))
    verdict = run_item(item, Given())
    assert verdict.findings and not verdict.passed
