"""Every public function of the theory module, under every transformation of JAX."""

import importlib
import inspect
import os
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from contract_case import Case
from theory_contract import CELLS, all_cases, measure

from ssljax import analytic

CASES = {case.name: case for case in all_cases()}
PACKAGES = [*analytic._PACKAGES, "ntk", "simulate", "comparison"]


def public_functions():
    """Return ``package.function`` for everything that the packages export."""
    for package in PACKAGES:
        module = importlib.import_module(f"ssljax.analytic.{package}")
        for name in getattr(module, "__all__", ()):
            if inspect.isfunction(getattr(module, name)):
                yield f"{package}.{name}"


def test_every_public_function_has_a_row():
    missing = sorted(set(public_functions()) - set(CASES))
    assert not missing, missing


# Compiling is what a row costs: a minute where a solution is integrated, 5 to 45 s in
# the rows below. SSLJAX_ALL_DERIVATIVES=1 runs them all, as did the command that wrote
# docs/figures/derivatives.md.
DEAR = {
    "fingerprint.eigenvalue_rates",
    "fingerprint.equalisation_rate",
    "implicit_variance.cosine_velocity",
    "implicit_variance.relu_velocity",
    "learned_predictor.balanced_time",
    "ntk.relu_ntk",
    "prediction_head.acceleration",
    "prediction_head.patch_loss",
    "prediction_head.solve_frozen_head",
    "spectral_transformation.rounding_growth",
    "stepwise.aligned_start",
    "stepwise.contrastive_kernel",
    "stepwise.expected_overlap",
    "stepwise.kernel_change_bound",
    "stepwise.kernel_embedding",
    "stepwise.kernel_start",
    "stepwise.kernel_steps",
    "stepwise.solve_right_preconditioned",
    "stepwise.spectral_contrastive_minimum",
}
INTEGRATED = {"simulate.gradient_descent"}


def runs(name: str) -> bool:
    """Return whether a row's derivatives are measured here."""
    case = CASES[name]
    if case.reason or os.environ.get("SSLJAX_ALL_DERIVATIVES"):
        return not case.reason
    if case.integrated:
        return name in INTEGRATED
    return name.split(" ")[0] not in DEAR


def is_times(x):
    """Return whether an input of a case holds times."""
    known = ([0.1, 0.4], [0.4, 1.1])  # TIMES in the modules of the cases
    return any(np.shape(x) == (2,) and np.array_equal(x, times) for times in known)


ROWS = [name for name in CASES if runs(name)]


def test_rows_that_are_left_out_are_written():
    page = (Path(__file__).parents[2] / "docs/figures/derivatives.md").read_text()
    for name in CASES:
        assert f"| {name} " in page, name


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_derivatives_are_those_of_differences(name):
    case, cells = CASES[name], measure(CASES[name])
    for cell in CELLS:
        found = cells[cell]
        if isinstance(found, str):
            assert cell == "second" and not case.twice, (cell, found)
            continue
        bound = case.single if cell == "x64 off" else case.double
        assert found <= bound, (cell, found)


EXTREMES = np.array([0.0, 1e-300, 1e-12, 1e10, 1e300])
GROWING = {"learned_predictor.decay_clock"}  # exp(t), which overflows
OF_TIMES = {
    name: [i for i, x in enumerate(case.inputs) if is_times(x)]
    for name, case in CASES.items()
    if runs(name) and not case.integrated and name not in GROWING
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, where in OF_TIMES.items() if where])
def test_laws_and_their_slopes_are_finite_at_any_time(name):
    """Integrated laws refuse times that they cannot reach, see test_ode."""
    case, call = CASES[name], CASES[name].call
    assert call is not None
    with jax.enable_x64(True):
        inputs = [jnp.asarray(x, jnp.float64) for x in case.inputs]
        for i in OF_TIMES[name]:
            inputs[i] = jnp.asarray(EXTREMES)
        slopes = jax.grad(lambda *x: call(*x).sum(), range(len(inputs)))
        for found in (call(*inputs), *slopes(*inputs)):
            assert np.isfinite(found).all(), found


BAD = [(case.name, i) for case in CASES.values() for i in range(len(case.bad))]


@pytest.mark.parametrize("name, number", BAD)
def test_bad_input_is_one_line(name, number):
    call, message = CASES[name].bad[number]
    with pytest.raises(ValueError) as caught:
        call()
    text = str(caught.value)
    assert message in text or re.search(message, text), text
    assert "\n" not in text


def test_a_wrong_derivative_would_be_noticed():
    @jax.custom_jvp
    def wrong(x):
        return jnp.sum(x**3)

    wrong.defjvp(lambda p, t: (wrong(*p), 3.01 * jnp.sum(p[0] ** 2 * t[0])))
    cells = measure(Case("wrong", wrong, ([1.0, 2.0],)))
    assert 1e-3 < cells["grad"] < 1e-1 and 1e-3 < cells["jvp"] < 1e-1
    assert cells["value"] == cells["vmap"] == 0.0
