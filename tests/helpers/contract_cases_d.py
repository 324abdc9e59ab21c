"""Public functions of the theories beyond the five papers, as called there."""

import jax.numpy as jnp
import numpy as np
from contract_case import Case

from ssljax import losses
from ssljax.analytic import jepa, stepwise
from ssljax.analytic import learned_predictor as lp

TIMES = np.array([0.4, 1.1])
# Of differences of integrated values, whose last digits depend on the steps taken.
STEP = 1e-4
START, PREDICTOR, TARGET = (np.array(x) for x in ([0.3, 0.7], [0.5, 0.4], [0.2, 0.6]))
NAN, NEGATIVE = np.array([0.2, np.nan]), -START
NUMBER, DECAY, NOISE = np.array(1.2), np.array(0.05), np.array(0.4)
RECORD = "a record of arrays"
NORMS = (np.array(1.0), np.array(0.9), np.array(0.8))


def pair(found):
    return jnp.stack(found)


def learned(start, predictor, target, signal, noise, decay, rate, target_rate, t):
    return lp.solve_learned_predictor(
        start,
        predictor=predictor,
        target=target,
        signal=signal,
        noise=noise,
        weight_decay=decay,
        predictor_rate=rate,
        target_rate=target_rate,
    )(t)


def balanced(start, decay, signal, noise, ratio, t):
    return lp.solve_balanced_predictor(
        start, weight_decay=decay, signal=signal, noise=noise, target_ratio=ratio
    )(t)


def cosine(start, predictor, decay, rate, t):
    return lp.solve_cosine_predictor(
        start, predictor=predictor, weight_decay=decay, predictor_rate=rate
    )(t)


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
        step=STEP,
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
    Case(
        "learned_predictor.learned_predictor_velocity",
        lambda p, w, a, x, noise, decay, rate, target_rate: pair(
            lp.learned_predictor_velocity(
                p,
                w,
                a,
                signal=x,
                noise=noise,
                weight_decay=decay,
                predictor_rate=rate,
                target_rate=target_rate,
            )
        ),
        (PREDICTOR, START, TARGET, NUMBER, NOISE, DECAY, NUMBER, NUMBER),
        bad=(
            (
                lambda: lp.learned_predictor_velocity(START, START, START),
                "target and target_rate are given together",
            ),
            (
                lambda: lp.learned_predictor_velocity(START, START[:1]),
                "online must have one entry for each of 2 modes, got 1",
            ),
        ),
    ),
    Case(
        "learned_predictor.solve_learned_predictor",
        learned,
        (START, PREDICTOR, TARGET, NUMBER, NOISE, DECAY, NUMBER, NUMBER, TIMES),
        jit=False,
        step=STEP,
        bad=(
            (
                lambda: lp.solve_learned_predictor(START, predictor=PREDICTOR)(-1.0),
                "t must be >= 0, got -1",
            ),
            (
                lambda: lp.solve_learned_predictor(
                    START, predictor=PREDICTOR, target=TARGET
                ),
                "a target needs target_rate",
            ),
            (
                lambda: lp.solve_learned_predictor(
                    START, predictor=PREDICTOR, weight_decay=-1.0
                ),
                "weight_decay must be >= 0, got -1",
            ),
            (
                lambda: lp.solve_learned_predictor(
                    START, predictor=PREDICTOR, of="both"
                ),
                "of must be one of predictor, online, target",
            ),
        ),
    ),
    Case(
        "learned_predictor.imbalance",
        lambda w, p, rate: lp.imbalance(w, p, predictor_rate=rate),
        (np.array([[0.5, 0.1, -0.2], [0.2, -0.4, 0.3]]), np.eye(2) + 0.1, NUMBER),
        bad=((lambda: lp.imbalance(START, np.eye(2)), "w must be [D, M]"),),
    ),
    Case(
        "learned_predictor.undecayed_limits",
        lambda w, p, x, noise, rate: pair(
            lp.undecayed_limits(
                w, predictor=p, signal=x, noise=noise, predictor_rate=rate
            )
        ),
        (START, PREDICTOR, NUMBER, NOISE, NUMBER),
        bad=(
            (
                lambda: lp.undecayed_limits(START, predictor=PREDICTOR, signal=0.0),
                "signal must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "learned_predictor.largest_weight_decay",
        lambda x, noise, ratio: lp.largest_weight_decay(
            signal=x, noise=noise, target_ratio=ratio
        ),
        (NUMBER, NOISE, NUMBER),
        bad=(
            (
                lambda: lp.largest_weight_decay(target_ratio=0.0),
                "target_ratio must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "learned_predictor.predictor_limits",
        lambda decay, x, noise, ratio: pair(
            lp.predictor_limits(decay, signal=x, noise=noise, target_ratio=ratio)
        ),
        (DECAY, NUMBER, NOISE, NUMBER),
        bad=((lambda: lp.predictor_limits(-0.1), "weight_decay must be >= 0"),),
    ),
    Case(
        "learned_predictor.solve_balanced_predictor",
        balanced,
        (START, DECAY, NUMBER, NOISE, NUMBER, TIMES),
        jit=False,
        step=STEP,
        bad=(
            (
                lambda: lp.solve_balanced_predictor(NEGATIVE),
                "start must be > 0, got -0.3",
            ),
            (lambda: lp.solve_balanced_predictor(NAN), "start must be > 0, got nan"),
        ),
    ),
    Case(
        "learned_predictor.balanced_time",
        lambda start, level, decay, x, noise, ratio: lp.balanced_time(
            start, level, weight_decay=decay, signal=x, noise=noise, target_ratio=ratio
        ),
        (START, START + 0.1, DECAY, NUMBER, NOISE, NUMBER),
        bad=(
            (lambda: lp.balanced_time(START, 0.0), "level must be > 0, got 0"),
            (lambda: lp.balanced_time(NEGATIVE, 0.5), "start must be > 0"),
        ),
    ),
    Case(
        "learned_predictor.cosine_predictor_velocity",
        lambda p, s, decay, rate: pair(
            lp.cosine_predictor_velocity(p, s, weight_decay=decay, predictor_rate=rate)
        ),
        (PREDICTOR, START, DECAY, NUMBER),
        bad=(
            (
                lambda: lp.cosine_predictor_velocity(START[:1], START[:1]),
                "variances must have at least 2 modes",
            ),
        ),
    ),
    Case(
        "learned_predictor.solve_cosine_predictor",
        cosine,
        (START, PREDICTOR, DECAY, NUMBER, TIMES),
        jit=False,
        step=STEP,
        bad=(
            (
                lambda: lp.solve_cosine_predictor(START, predictor=NEGATIVE),
                "predictor must be > 0, got -0.3",
            ),
        ),
    ),
    Case(
        "learned_predictor.decay_clock",
        lp.decay_clock,
        (TIMES, DECAY),
        bad=((lambda: lp.decay_clock(-1.0, 0.1), "t must be >= 0, got -1"),),
    ),
    Case(
        "learned_predictor.concentrated_norms",
        lambda p, s, noise: pair(lp.concentrated_norms(p, s, noise=noise)),
        (PREDICTOR, START, NOISE),
        bad=(
            (
                lambda: lp.concentrated_norms(START, START[:1]),
                "predictor must have one entry for each of 1 modes, got 2",
            ),
        ),
    ),
    Case(
        "learned_predictor.sixth_order_rate",
        lambda p, s, noise, decay: lp.sixth_order_rate(
            p, s, noise=noise, weight_decay=decay
        ),
        (PREDICTOR, START, NOISE, DECAY),
        bad=(
            (
                lambda: lp.sixth_order_rate(START, START[:1]),
                "variances must have one entry for each of 2 modes, got 1",
            ),
        ),
    ),
    Case(
        "learned_predictor.sixth_order_limits",
        lambda decay, noise, *norms: pair(
            lp.sixth_order_limits(decay, norms=norms, noise=noise)
        ),
        (DECAY, NOISE, *NORMS),
        bad=(
            (
                lambda: lp.sixth_order_limits(0.0, norms=NORMS),
                "weight_decay must be > 0, got 0",
            ),
        ),
    ),
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
        step=STEP,
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
