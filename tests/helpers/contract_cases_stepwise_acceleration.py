"""Preconditioned and power-law stepwise learning, as called by the contract."""

import numpy as np
from contract_case import Case
from contract_inputs import (
    EPS,
    GAMMA,
    NAN,
    SPREAD,
    START,
    TIMES,
    WEIGHTS,
    bad_times,
    symmetric,
)

from ssljax.analytic import stepwise


def with_eps(function):
    """Return a function whose last input is the keyword eps."""
    return lambda *inputs: function(*inputs[:-1], eps=inputs[-1])


CASES = [
    Case(
        "stepwise.solve_left_preconditioned",
        lambda start, gamma, eps, t: stepwise.solve_left_preconditioned(
            start, gamma, eps=eps
        )(t),
        (START, GAMMA, EPS, TIMES),
        bad=(
            (
                lambda: stepwise.solve_left_preconditioned(NAN, GAMMA, eps=0.1),
                "start must be finite, got nan",
            ),
            (
                lambda: stepwise.solve_left_preconditioned(10 * START, GAMMA, eps=0.1),
                r"gamma start.2 must lie in \(0, 1\), got 4",
            ),
            (
                lambda: stepwise.solve_left_preconditioned(START, GAMMA, eps=0.0),
                "eps must be > 0, got 0",
            ),
            *bad_times(
                lambda: stepwise.solve_left_preconditioned(START, GAMMA, eps=0.1)
            ),
        ),
    ),
    Case(
        "stepwise.left_preconditioned_eigenvalues",
        with_eps(stepwise.left_preconditioned_eigenvalues),
        (START, GAMMA, TIMES, EPS),
        bad=(
            (
                lambda: stepwise.left_preconditioned_eigenvalues(
                    START, GAMMA, -TIMES, eps=0.1
                ),
                "t must be >= 0",
            ),
        ),
    ),
    Case(
        "stepwise.left_preconditioned_times",
        lambda start, gamma, eps, level: stepwise.left_preconditioned_times(
            start, gamma, eps=eps, level=level
        ),
        (START, GAMMA, EPS, np.array(0.6)),
        bad=(
            (
                lambda: stepwise.left_preconditioned_times(
                    START, GAMMA, eps=0.1, level=1.5
                ),
                r"level must lie in \(0, 1\), got 1.5",
            ),
            (
                lambda: stepwise.left_preconditioned_times(START, NAN, eps=0.1),
                "gamma must be finite, got nan",
            ),
        ),
    ),
    Case(
        "stepwise.solve_right_preconditioned",
        lambda start, moment, t: stepwise.solve_right_preconditioned(
            start, symmetric(moment)
        )(t),
        (WEIGHTS, SPREAD, TIMES),
        bad=(
            (
                lambda: stepwise.solve_right_preconditioned(WEIGHTS, -SPREAD),
                "must be positive definite",
            ),
            (
                lambda: stepwise.solve_right_preconditioned(np.eye(2), SPREAD),
                r"start must be \[D, 3\]",
            ),
            *bad_times(lambda: stepwise.solve_right_preconditioned(WEIGHTS, SPREAD)),
        ),
    ),
    Case(
        "stepwise.power_law_modes",
        lambda t, exponent, scale: stepwise.power_law_modes(
            t, exponent=exponent, scale=scale
        ),
        (np.array([10.0, 50.0]), np.array(1.5), np.array(1e-3)),
        bad=(
            (
                lambda: stepwise.power_law_modes(-TIMES, exponent=1.5, scale=0.1),
                "t must be >= 0",
            ),
            (
                lambda: stepwise.power_law_modes(TIMES, exponent=0.0, scale=0.1),
                "exponent must be > 0, got 0",
            ),
            (
                lambda: stepwise.power_law_modes(TIMES, exponent=1.5, scale=2.0),
                r"scale must lie in \(0, 1\), got 2",
            ),
        ),
    ),
]
