"""Public functions of the learned predictor, as called by the contract."""

import jax.numpy as jnp
import numpy as np
from contract_case import Case

from ssljax.analytic import learned_predictor as lp

TIMES = np.array([0.4, 1.1])

START, PREDICTOR, TARGET = (np.array(x) for x in ([0.3, 0.7], [0.5, 0.4], [0.2, 0.6]))
NAN, NEGATIVE = np.array([0.2, np.nan]), -START
NUMBER, DECAY, NOISE = np.array(1.2), np.array(0.05), np.array(0.4)
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


CASES = [
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
]
