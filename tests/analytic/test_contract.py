"""Every public function of the theory module, under every transformation of JAX."""

import importlib
import inspect
import os
import re

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


# What is integrated takes a minute each to compile, so here only a few, of each kind of
# solver; SSLJAX_ALL_DERIVATIVES=1 runs them all, as docs/figures/derivatives.md shows.
INTEGRATED = {"stepwise.solve_competition", "simulate.gradient_descent"}
ROWS = [
    name
    for name, case in CASES.items()
    if not case.reason
    and (
        not case.integrated
        or name in INTEGRATED
        or os.environ.get("SSLJAX_ALL_DERIVATIVES")
    )
]


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
    import jax
    import jax.numpy as jnp

    @jax.custom_jvp
    def wrong(x):
        return jnp.sum(x**3)

    wrong.defjvp(lambda p, t: (wrong(*p), 3.01 * jnp.sum(p[0] ** 2 * t[0])))
    cells = measure(Case("wrong", wrong, ([1.0, 2.0],)))
    assert 1e-3 < cells["grad"] < 1e-1 and 1e-3 < cells["jvp"] < 1e-1
    assert cells["value"] == cells["vmap"] == 0.0
