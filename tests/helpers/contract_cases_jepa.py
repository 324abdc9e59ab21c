"""Public functions of JEPA's theory, as called by the contract."""

import numpy as np
from contract_case import Case

from ssljax.analytic import jepa

TIMES = np.array([0.4, 1.1])

START, PREDICTOR, TARGET = (np.array(x) for x in ([0.3, 0.7], [0.5, 0.4], [0.2, 0.6]))
NAN, NEGATIVE = np.array([0.2, np.nan]), -START


def encoder(objective):
    def solve(start, predictor, joint, own, t):
        return jepa.solve_encoder(
            start,
            predictor=predictor,
            covariance=joint,
            variance=own,
            depth=2,
            objective=objective,
        )(t)

    return solve


def of_encoder(function, objective):
    def call(*inputs):
        *given, joint, own = inputs
        return function(
            *given, covariance=joint, variance=own, depth=3, objective=objective
        )

    return call


MOMENTS = (np.array([0.8, 1.1]), np.array([1.0, 0.7]))
DEEP = {"covariance": 1.0, "variance": 1.0, "depth": 2}

CASES = [
    Case(
        "jepa.encoder_velocity",
        of_encoder(jepa.encoder_velocity, "jepa"),
        (START, *MOMENTS),
        bad=(
            (
                lambda: jepa.encoder_velocity(NEGATIVE, **DEEP),
                "encoder must be > 0, got -0.3",
            ),
            (
                lambda: jepa.encoder_velocity(START, **DEEP | {"depth": 0}),
                "depth must be a whole number >= 1, got 0",
            ),
        ),
    ),
    Case(
        "jepa.encoder_limits",
        of_encoder(jepa.encoder_limits, "mae"),
        MOMENTS,
        bad=(
            (
                lambda: jepa.encoder_limits(**DEEP, objective="ae"),
                "objective must be one of jepa, mae, got 'ae'",
            ),
        ),
    ),
    Case(
        "jepa.solve_encoder",
        encoder("jepa"),
        (START, PREDICTOR, *MOMENTS, TIMES),
        jit=False,
        bad=(
            (lambda: jepa.solve_encoder(START, **DEEP)(-1.0), "t must be >= 0, got -1"),
            (lambda: jepa.solve_encoder(NAN, **DEEP), "start must be > 0, got nan"),
        ),
    ),
    Case(
        "jepa.encoder_time",
        of_encoder(jepa.encoder_time, "mae"),
        (0.3 * START, START, *MOMENTS),
        bad=((lambda: jepa.encoder_time(START, 0.0, **DEEP), "level must be > 0"),),
    ),
    Case(
        "jepa.critical_time",
        of_encoder(jepa.critical_time, "jepa"),
        (START, *MOMENTS),
        bad=(
            (
                lambda: jepa.critical_time(START, **DEEP | {"variance": -1.0}),
                "variance must be > 0, got -1",
            ),
        ),
    ),
]
