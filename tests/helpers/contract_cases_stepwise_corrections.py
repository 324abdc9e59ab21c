"""Stepwise learning at finite step, batch and width, as called by the contract."""

import jax.numpy as jnp
import numpy as np
from contract_case import Case

from ssljax import losses
from ssljax.analytic import stepwise

TIMES = np.array([0.4, 1.1])


# Of differences of integrated values, whose last digits depend on the steps taken.
STEP = 1e-4
START, PREDICTOR, TARGET = (np.array(x) for x in ([0.3, 0.7], [0.5, 0.4], [0.2, 0.6]))
NAN, NEGATIVE = np.array([0.2, np.nan]), -START
NUMBER, DECAY, NOISE = np.array(1.2), np.array(0.05), np.array(0.4)
RECORD = "a record of arrays"


def pair(found):
    return jnp.stack(found)


def batches(of):
    def solve(s, gamma, sigma, size, rate, t):
        return stepwise.solve_batches(
            s, gamma=gamma, sigma=sigma, batch_size=size, learning_rate=rate, of=of
        )(t)

    return solve


GAMMA, SIGMA, SIZE = np.array([1.0, 0.6]), np.array([1.3, 0.7]), np.array(9.0)
BATCHES = {"gamma": GAMMA, "sigma": SIGMA, "batch_size": 9}
HIDDEN = np.array([[0.5, -0.3], [0.2, 0.8], [-0.7, 0.1]])
READOUT = np.array([[0.6, -0.4, 0.9], [0.3, 0.8, -0.2]])
FIRST = np.array([[1.0, 0.3], [-0.5, 0.8]])
SECOND = np.array([[0.9, 0.1], [-0.4, 1.0]])


def drifted(hidden, readout, x1, x2, rate):
    drift, run = stepwise.kernel_drift(
        losses.linearized_barlow_twins,
        stepwise.tanh_network,
        [hidden, readout],
        x1,
        x2,
        steps=2,
        learning_rate=rate,
    )
    last = jnp.stack([drift.frobenius, drift.operator, drift.distance, drift.loss])
    return last[:, 1:], run.values


def linear(hidden, readout, x):
    start = [jnp.asarray(HIDDEN), jnp.asarray(READOUT)]
    twin = stepwise.linearized_network(stepwise.tanh_network, start)
    return twin([hidden, readout], x)


CASES = [
    Case(
        "stepwise.descent_velocity",
        lambda s, gamma, rate, momentum: stepwise.descent_velocity(
            s, gamma=gamma, learning_rate=rate, momentum=momentum
        ),
        (START, np.array([1.0, 0.6]), DECAY, NOISE),
        bad=(
            (
                lambda: stepwise.descent_velocity(
                    START, gamma=START, learning_rate=0.1, momentum=1.5
                ),
                "momentum must lie in [0, 1), got 1.5",
            ),
        ),
    ),
    Case(
        "stepwise.solve_descent",
        lambda s, gamma, rate, momentum, t: stepwise.solve_descent(
            s, gamma=gamma, learning_rate=rate, momentum=momentum
        )(t),
        (START, np.array([1.0, 0.6]), DECAY, NOISE, TIMES),
        jit=False,
        step=1e-2,
        bad=(
            (
                lambda: stepwise.solve_descent(START, gamma=START, learning_rate=0.0),
                "learning_rate must be > 0, got 0",
            ),
            (
                lambda: stepwise.solve_descent(
                    NEGATIVE, gamma=START, learning_rate=0.1
                ),
                "start must be >= 0, got -0.3",
            ),
        ),
    ),
    Case("stepwise.BatchTimes", reason=RECORD),
    Case(
        "stepwise.batch_velocity",
        lambda s, gamma, sigma, size: stepwise.batch_velocity(
            s, gamma=gamma, sigma=sigma, batch_size=size
        ),
        (START, GAMMA, SIGMA, SIZE),
        bad=(
            (
                lambda: stepwise.batch_velocity(START[:1], **BATCHES),
                "singular_values must have one entry for each of 2 modes, got 1",
            ),
            (
                lambda: stepwise.batch_velocity(START, **BATCHES | {"batch_size": 0}),
                "batch_size must be > 0, got 0",
            ),
        ),
    ),
    *(
        Case(
            f"stepwise.solve_batches{name}",
            batches(of),
            (START, GAMMA, SIGMA, SIZE, DECAY, TIMES),
            jit=False,
            step=STEP,
            bad=(
                (
                    lambda: stepwise.solve_batches(
                        START, **BATCHES, learning_rate=0.1, of="all"
                    ),
                    "of must be one of mean, variance, got 'all'",
                ),
                (
                    lambda: stepwise.solve_batches(
                        NEGATIVE, **BATCHES, learning_rate=0.1
                    ),
                    "start must be finite and >= 0, got -0.3",
                ),
                (
                    lambda: stepwise.solve_batches(START, **BATCHES, learning_rate=0.0),
                    "learning_rate must be > 0, got 0",
                ),
            ),
        )
        for of, name in (("mean", ""), ("variance", " (variance)"))
    ),
    Case(
        "stepwise.batch_half_times",
        lambda s, gamma, sigma, size, rate: pair(
            stepwise.batch_half_times(
                s, gamma, sigma=sigma, batch_size=size, learning_rate=rate
            )
        ),
        (0.5 * START, GAMMA, SIGMA, SIZE, DECAY),
        bad=(
            (
                lambda: stepwise.batch_half_times([0.9, 0.1], **BATCHES),
                r"gamma start^2 must lie in (0, 0.5), got 0.81",
            ),
            (
                lambda: stepwise.batch_half_times(
                    START, -GAMMA, sigma=SIGMA, batch_size=9
                ),
                "gamma must be > 0, got -1",
            ),
        ),
    ),
    Case("stepwise.KernelDrift", reason=RECORD),
    Case(
        "stepwise.tanh_network",
        lambda hidden, readout, x: stepwise.tanh_network([hidden, readout], x),
        (HIDDEN, READOUT, FIRST),
    ),
    Case("stepwise.linearized_network", linear, (1.1 * HIDDEN, READOUT, FIRST)),
    Case(
        "stepwise.kernel_drift",
        drifted,
        (HIDDEN, READOUT, FIRST, SECOND, NOISE),
        jit=False,
        bad=(
            (
                lambda: drifted(HIDDEN, READOUT, FIRST, SECOND[:1], 0.1),
                "x2 must be [2, 2], got shape [1, 2]",
            ),
            (
                lambda: drifted(HIDDEN, READOUT, FIRST, SECOND, 0.0),
                "learning_rate must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "stepwise.kernel_change_bound",
        lambda hidden, readout, x, distance: stepwise.kernel_change_bound(
            [hidden, readout], x, distance=distance
        ),
        (HIDDEN, READOUT, FIRST, NOISE),
        bad=(
            (
                lambda: stepwise.kernel_change_bound(
                    [HIDDEN, READOUT], FIRST, distance=-1.0
                ),
                "distance must be >= 0, got -1",
            ),
            (
                lambda: stepwise.kernel_change_bound([HIDDEN], FIRST, distance=1.0),
                "params must be the two layers B and A, got 1",
            ),
            (
                lambda: stepwise.kernel_change_bound(
                    [HIDDEN, READOUT[:, :2]], FIRST, distance=1.0
                ),
                "A must be [D, 3], got shape [2, 2]",
            ),
        ),
    ),
]
