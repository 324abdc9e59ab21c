"""Stepwise learning under other losses, as called by the contract."""

import numpy as np
from contract_case import Case
from contract_inputs import (
    COUNTS,
    GAMMA,
    MOMENT,
    ONE,
    SIGMA,
    SPREAD,
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
    Case(
        "stepwise.solve_merged_vicreg",
        lambda start, gamma, sigma, a, b, t: stepwise.solve_merged_vicreg(
            start, gamma, sigma, invariance_weight=a, spread_weight=b
        )(t),
        (START, GAMMA, SIGMA, np.array(1.2), np.array(0.9), TIMES),
        bad=bad_start(stepwise.solve_merged_vicreg, GAMMA, SIGMA)
        + bad_rates(stepwise.solve_merged_vicreg, SIGMA)
        + (
            (
                lambda: stepwise.solve_merged_vicreg(START, GAMMA, -SIGMA),
                "sigma must be > 0",
            ),
            (
                lambda: stepwise.solve_merged_vicreg(
                    START, GAMMA, SIGMA, spread_weight=0.0
                ),
                "spread_weight must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "stepwise.merged_vicreg_singular_values",
        stepwise.merged_vicreg_singular_values,
        (START, GAMMA, SIGMA, TIMES),
        bad=(
            (
                lambda: stepwise.merged_vicreg_singular_values(
                    START, GAMMA, SIGMA, -TIMES
                ),
                "t must be >= 0",
            ),
            (
                lambda: stepwise.merged_vicreg_singular_values(
                    START, GAMMA, SIGMA, TIMES, invariance_weight=-1.0
                ),
                "invariance_weight must be >= 0, got -1",
            ),
        ),
    ),
    Case(
        "stepwise.solve_spectral_contrastive",
        solved(stepwise.solve_spectral_contrastive),
        (START, GAMMA, SIGMA, TIMES),
        bad=bad_start(stepwise.solve_spectral_contrastive, GAMMA, SIGMA)
        + bad_times(lambda: stepwise.solve_spectral_contrastive(START, GAMMA, SIGMA)),
    ),
    Case(
        "stepwise.spectral_contrastive_singular_values",
        stepwise.spectral_contrastive_singular_values,
        (START, GAMMA, SIGMA, TIMES),
        bad=bad_rates(stepwise.spectral_contrastive_singular_values, SIGMA, TIMES),
    ),
    Case(
        "stepwise.spectral_contrastive_minimum",
        lambda gamma, sigma: flat(
            stepwise.spectral_contrastive_minimum(symmetric(gamma), symmetric(sigma), 2)
        ),
        (np.array([[0.9, 0.1, 0.0], [0.1, 0.4, 0.05], [0.0, 0.05, 0.1]]), SPREAD),
        bad=(
            (
                lambda: stepwise.spectral_contrastive_minimum(MOMENT, MOMENT, 1),
                "sigma_matrix must be positive definite",
            ),
            (
                lambda: stepwise.spectral_contrastive_minimum(MOMENT, np.eye(2), 1),
                r"sigma_matrix must be \[3, 3\]",
            ),
        ),
    ),
    Case(
        "stepwise.solve_competition",
        solved(stepwise.solve_competition),
        (START, GAMMA, SIGMA, TIMES),
        jit=False,
        bad=bad_start(stepwise.solve_competition, GAMMA, SIGMA)
        + bad_rates(stepwise.solve_competition, SIGMA)
        + bad_times(lambda: stepwise.solve_competition(START, GAMMA, SIGMA)),
    ),
    Case(
        "stepwise.displacement_time",
        stepwise.displacement_time,
        (START, GAMMA, np.array([4.0, 1.0])),
        bad=(
            (
                lambda: stepwise.displacement_time(START, GAMMA, GAMMA),
                "the second with the larger gamma/sigma",
            ),
            (
                lambda: stepwise.displacement_time(ONE, ONE, ONE),
                "two modes are needed",
            ),
            (
                lambda: stepwise.displacement_time(0 * START, GAMMA, SIGMA),
                "start must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "stepwise.vicreg_early_velocity",
        lambda w, x1, x2, a, b, eps: stepwise.vicreg_early_velocity(
            w, x1, x2, invariance_weight=a, variance_weight=b, eps=eps
        ),
        (WEIGHTS[:, :2], X1, X2, np.array(2.0), np.array(3.0), np.array(0.1)),
        bad=(
            (
                lambda: stepwise.vicreg_early_velocity(np.eye(2), X1[:1], X2[:1]),
                "the number of pairs must be at least 2, got 1",
            ),
            (
                lambda: stepwise.vicreg_early_velocity(np.eye(3), X1, X2),
                r"w must be \[D, 2\]",
            ),
            (
                lambda: stepwise.vicreg_early_velocity(np.eye(2), X1, X2, eps=0.0),
                "eps must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "stepwise.info_nce_expansion",
        lambda w, x1, x2, temperature: stepwise.info_nce_expansion(
            w, x1, x2, temperature=temperature
        ),
        (WEIGHTS[:, :2], X1, X2, np.array(0.7)),
        bad=(
            (
                lambda: stepwise.info_nce_expansion(np.eye(2), X1, X2, temperature=-1),
                "temperature must be > 0, got -1",
            ),
        ),
    ),
    Case(
        "stepwise.nt_xent_collapsed_velocity",
        lambda w, bias, x1, x2, temperature: stepwise.nt_xent_collapsed_velocity(
            w, bias, x1, x2, temperature=temperature
        ),
        (WEIGHTS[:, :2], np.array([1.0, 0.5]), X1, X2, np.array(0.7)),
        bad=(
            (
                lambda: stepwise.nt_xent_collapsed_velocity(
                    np.eye(2), np.zeros(2), X1, X2
                ),
                "the squared norm of the bias must be > 0, got 0",
            ),
            (
                lambda: stepwise.nt_xent_collapsed_velocity(
                    np.eye(2), np.ones(3), X1, X2
                ),
                r"bias must be \[2\]",
            ),
        ),
    ),
    Case(
        "stepwise.weighted_plateau",
        lambda weight: stepwise.weighted_plateau(2, 4, off_diagonal_weight=weight),
        (np.array(0.3),),
        bad=(
            (
                lambda: stepwise.weighted_plateau(5, 4, off_diagonal_weight=0.3),
                "learned must be 1 to 4, got 5",
            ),
            (
                lambda: stepwise.weighted_plateau(2, 4, off_diagonal_weight=-1.0),
                "off_diagonal_weight must be >= 0, got -1",
            ),
        ),
    ),
    Case(
        "stepwise.batch_plateau",
        reason=COUNTS,
        bad=(
            (
                lambda: stepwise.batch_plateau(2, 0),
                "batch_size must be a whole number >= 1, got 0",
            ),
        ),
    ),
]
