"""Public functions of stepwise learning on moments, as called by the contract."""

import numpy as np
from contract_case import Case
from contract_inputs import (
    GAMMA,
    MOMENT,
    NAN,
    ONE,
    RECORD,
    SCALE,
    SIGMA,
    START,
    TIMES,
    WEIGHTS,
    X1,
    X2,
    bad_rates,
    bad_start,
    bad_times,
    flat,
    solved,
    symmetric,
)

from ssljax.analytic import stepwise

CASES = [
    Case("stepwise.AlignedStart", reason=RECORD),
    Case("stepwise.ErrorExponents", reason=RECORD),
    Case(
        "stepwise.solve_aligned",
        solved(stepwise.solve_aligned),
        (START, GAMMA, TIMES),
        bad=bad_start(stepwise.solve_aligned, GAMMA)
        + bad_rates(stepwise.solve_aligned)
        + bad_times(lambda: stepwise.solve_aligned(START, GAMMA)),
    ),
    Case(
        "stepwise.aligned_singular_values",
        stepwise.aligned_singular_values,
        (START, GAMMA, TIMES),
        bad=(
            *bad_start(stepwise.aligned_singular_values, GAMMA, TIMES),
            *bad_rates(stepwise.aligned_singular_values, TIMES),
            (
                lambda: stepwise.aligned_singular_values(START, GAMMA, -TIMES),
                "t must be >= 0",
            ),
        ),
    ),
    Case(
        "stepwise.aligned_eigenvalues",
        stepwise.aligned_eigenvalues,
        (START, GAMMA, TIMES),
        bad=(
            *bad_start(stepwise.aligned_eigenvalues, GAMMA, TIMES),
            (
                lambda: stepwise.aligned_eigenvalues(START, GAMMA, NAN),
                "t must be >= 0, got nan",
            ),
        ),
    ),
    Case(
        "stepwise.critical_times",
        stepwise.critical_times,
        (START, GAMMA),
        bad=bad_start(stepwise.critical_times, GAMMA)
        + bad_rates(stepwise.critical_times),
    ),
    Case(
        "stepwise.half_times",
        stepwise.half_times,
        (START, GAMMA),
        bad=(
            *bad_start(stepwise.half_times, GAMMA),
            (
                lambda: stepwise.half_times(2 * ONE, ONE),
                "gamma start.2 must be below 1",
            ),
        ),
    ),
    Case(
        "stepwise.critical_steps",
        lambda start, gamma, rate, momentum: stepwise.critical_steps(
            start, gamma, learning_rate=rate, momentum=momentum
        ),
        (START, GAMMA, np.array(0.02), np.array(0.5)),
        bad=(
            (
                lambda: stepwise.critical_steps(
                    START, GAMMA, learning_rate=0.1, momentum=1.5
                ),
                r"momentum must lie in \[0, 1\), got 1.5",
            ),
            (
                lambda: stepwise.critical_steps(START, GAMMA, learning_rate=0.3),
                "learning_rate must be below .* = 0.25, where descent is stable",
            ),
            (
                lambda: stepwise.critical_steps(START, GAMMA, learning_rate=-0.1),
                "learning_rate must be > 0, got -0.1",
            ),
            (
                lambda: stepwise.critical_steps(NAN, GAMMA, learning_rate=0.1),
                "start must be finite and >= 0, got nan",
            ),
        ),
    ),
    Case(
        "stepwise.expected_critical_times",
        stepwise.expected_critical_times,
        (GAMMA, SCALE),
        bad=(
            (
                lambda: stepwise.expected_critical_times(NAN, 0.1),
                "gamma must be finite, got nan",
            ),
            (
                lambda: stepwise.expected_critical_times(GAMMA, -0.1),
                "scale must be > 0, got -0.1",
            ),
        ),
    ),
    Case(
        "stepwise.aligned_start",
        lambda start, moment, scale: flat(
            stepwise.aligned_start(start, symmetric(moment), scale)
        ),
        (WEIGHTS, MOMENT, SCALE),
        bad=(
            (
                lambda: stepwise.aligned_start(WEIGHTS, MOMENT[:2], 0.1),
                r"gamma_matrix must be \[M, M\]",
            ),
            (
                lambda: stepwise.aligned_start(WEIGHTS, np.nan * MOMENT, 0.1),
                "gamma_matrix must be finite, got nan",
            ),
            (
                lambda: stepwise.aligned_start(WEIGHTS, MOMENT, 0.0),
                "scale must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "stepwise.small_init_prediction",
        lambda start, moment, scale, t: stepwise.small_init_prediction(
            start, symmetric(moment), scale
        )(t),
        (WEIGHTS, MOMENT, SCALE, TIMES),
        bad=(
            (
                lambda: stepwise.small_init_prediction(np.eye(2), MOMENT, 0.1),
                r"start must be \[D, 3\]",
            ),
            (
                lambda: stepwise.small_init_prediction(WEIGHTS, MOMENT, -1.0),
                "scale must be > 0, got -1",
            ),
            *bad_times(lambda: stepwise.small_init_prediction(WEIGHTS, MOMENT, 0.1)),
        ),
    ),
    Case(
        "stepwise.expected_overlap",
        lambda start, moment, scale: stepwise.expected_overlap(
            start, symmetric(moment), scale
        ),
        (WEIGHTS, MOMENT, np.array(0.3)),
        bad=(
            (
                lambda: stepwise.expected_overlap(WEIGHTS, -MOMENT, 0.01),
                "at least 2 positive eigenvalues, got 1",
            ),
        ),
    ),
    Case(
        "stepwise.error_exponents",
        lambda gamma, power: flat(stepwise.error_exponents(gamma, 1, power=power)),
        (GAMMA, np.array(0.25)),
        bad=(
            (
                lambda: stepwise.error_exponents(GAMMA, 2),
                "embedding must be 1 to 1, got 2",
            ),
            (
                lambda: stepwise.error_exponents(GAMMA, 1, power=2.0),
                r"power must lie in \[0, 1\], got 2",
            ),
            (
                lambda: stepwise.error_exponents(NAN, 1),
                "gamma must be finite, got nan",
            ),
        ),
    ),
    Case(
        "stepwise.minimum_norm_solution",
        lambda moment: stepwise.minimum_norm_solution(symmetric(moment), 2),
        (MOMENT,),
        bad=(
            (
                lambda: stepwise.minimum_norm_solution(MOMENT, 3),
                "at least 3 positive eigenvalues, got 2",
            ),
            (
                lambda: stepwise.minimum_norm_solution(MOMENT, 1.5),
                "d must be a whole number >= 1, got 1.5",
            ),
        ),
    ),
    Case(
        "stepwise.curvatures",
        lambda gamma: stepwise.curvatures(gamma, 2),
        (GAMMA,),
        bad=(
            (
                lambda: stepwise.curvatures(-GAMMA, 1),
                "at least 1 positive eigenvalues, got 0",
            ),
            (lambda: stepwise.curvatures(NAN, 1), "gamma must be finite, got nan"),
        ),
    ),
    Case(
        "stepwise.cross_moment",
        stepwise.cross_moment,
        (X1, X2),
        bad=(
            (lambda: stepwise.cross_moment(X1, X2[:2]), r"x2 must be \[3, 2\]"),
            (lambda: stepwise.cross_moment(np.nan * X1, X2), "x1 must be finite"),
        ),
    ),
    Case(
        "stepwise.second_moment",
        stepwise.second_moment,
        (X1, X2),
        bad=((lambda: stepwise.second_moment(X1[0], X2), r"x1 must be \[N, M\]"),),
    ),
    Case(
        "stepwise.pairs_with_moments",
        lambda gamma, sigma, basis: flat(
            stepwise.pairs_with_moments(gamma, sigma, basis=basis)
        ),
        (GAMMA, SIGMA, np.eye(2)),
        bad=(
            (
                lambda: stepwise.pairs_with_moments(GAMMA, 0.5 * GAMMA),
                r"sigma must be at least \|gamma\|",
            ),
            (
                lambda: stepwise.pairs_with_moments(NAN),
                "gamma must be finite, got nan",
            ),
            (
                lambda: stepwise.pairs_with_moments(GAMMA, basis=np.eye(3)),
                r"basis must be \[2, 2\]",
            ),
        ),
    ),
]
