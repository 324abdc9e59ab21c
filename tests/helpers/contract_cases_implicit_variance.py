"""Public functions of implicit variance, as called by the contract."""

import jax.numpy as jnp
import numpy as np
from contract_case import Case

from ssljax.analytic import implicit_variance as iv

RECORD = "a record of arrays, computed elsewhere"
TIMES = np.array([0.4, 1.1])
START = np.array([0.3, 0.7])
NUMBER = np.array(0.6)
WEIGHTS = np.array([[0.5, 0.1, -0.2], [0.2, -0.4, 0.3]])


# Orthogonal rows of one length, where W W^T repeats its eigenvalue.
DEGENERATE = 0.5 * np.eye(2, 3)
NAN, NEGATIVE, INFINITE = np.array([0.2, np.nan]), -START, np.array([0.2, np.inf])
LATE = np.array([-1.0])
VARIANCES = np.array([0.3, 0.8, 1.4])


def euclidean(start, alpha, online, target, decay, t):
    solution = iv.solve_euclidean(
        start,
        alpha=alpha,
        online_noise=online,
        target_noise=target,
        weight_decay=decay,
    )
    return solution(t)


CASES = [
    Case("implicit_variance.Growth", reason=RECORD),
    Case(
        "implicit_variance.cosine_velocity",
        lambda s, a, d: iv.cosine_velocity(s, alpha=a, weight_decay=d),
        (START, NUMBER, np.array(0.1)),
        bad=(
            (lambda: iv.cosine_velocity(START[:1]), "at least 2 modes, got 1"),
            (lambda: iv.cosine_velocity(NAN), "variances must be finite and >= 0"),
            (lambda: iv.cosine_velocity([0.0, 1.0]), "variances must be > 0, got 0"),
            (lambda: iv.cosine_velocity(START, alpha=-1.0), "alpha must be > 0"),
            (lambda: iv.cosine_velocity(START, weight_decay=-1.0), "weight_decay must"),
            (lambda: iv.cosine_velocity(START, target_noise=np.nan), "target_noise"),
            (lambda: iv.cosine_velocity(START, loss="cos"), "loss must be one of"),
        ),
    ),
    Case(
        "implicit_variance.euclidean_growth",
        lambda o, t, d: (
            jnp.stack(
                iv.euclidean_growth(
                    stop_gradient="none", online_noise=o, target_noise=t, weight_decay=d
                )
            )
            ** 2
        ),
        (np.array(0.2), np.array(0.3), np.array(0.1)),
        bad=(
            (lambda: iv.euclidean_growth(online_noise=-0.1), "online_noise must be"),
            (lambda: iv.euclidean_growth(target_noise=np.inf), "target_noise must be"),
            (lambda: iv.euclidean_growth(weight_decay=np.nan), "weight_decay must be"),
            (lambda: iv.euclidean_growth(stop_gradient="both"), "stop_gradient must"),
        ),
    ),
    Case(
        "implicit_variance.isotropic_rate",
        lambda v, a: iv.isotropic_rate(v, 3, loss="isoloss_cosine", alpha=a),
        (np.array(0.8), NUMBER),
        bad=(
            (lambda: iv.isotropic_rate(0.0, 3), "variance must be > 0, got 0"),
            (lambda: iv.isotropic_rate(np.nan, 3), "variance must be > 0, got nan"),
            (lambda: iv.isotropic_rate(0.5, 1), "modes must be a whole number >= 2"),
            (lambda: iv.isotropic_rate(0.5, 2, alpha=0.0), "alpha must be > 0, got 0"),
        ),
    ),
    Case(
        "implicit_variance.isotropic_variance",
        lambda s, a: iv.isotropic_variance(s, loss="isoloss_cosine", alpha=a),
        (START, NUMBER),
        bad=(
            (lambda: iv.isotropic_variance(NEGATIVE), "variances must be finite and"),
            (lambda: iv.isotropic_variance(0.5), "variances must be [modes] or"),
            (lambda: iv.isotropic_variance(START, alpha=-2.0), "alpha must be > 0"),
        ),
    ),
    Case(
        "implicit_variance.predictor_eigenvalues",
        lambda s, a, t: iv.predictor_eigenvalues(s, t, alpha=a),
        (np.array([0.0, 0.3, 1.4]), NUMBER, TIMES),
        edge=True,
        bad=(
            (lambda: iv.predictor_eigenvalues(START, LATE), "t must be >= 0, got -1"),
            (lambda: iv.predictor_eigenvalues(START, NAN), "t must be >= 0, got nan"),
            (lambda: iv.predictor_eigenvalues(INFINITE, TIMES), "start must be finite"),
            (lambda: iv.predictor_eigenvalues(WEIGHTS, TIMES), "start must be [mode"),
            (
                lambda: iv.predictor_eigenvalues(START, TIMES, alpha=-1.0),
                "alpha must be > 0, got -1",
            ),
        ),
    ),
    Case(
        "implicit_variance.recruitment_time",
        lambda s, level, a: iv.recruitment_time(s, level, alpha=a),
        (START, np.array(0.9), NUMBER),
        bad=(
            (lambda: iv.recruitment_time(NEGATIVE), "start must be finite and >= 0"),
            (lambda: iv.recruitment_time(START, np.nan), "level must be > 0, got nan"),
            (lambda: iv.recruitment_time(START, alpha=0.0), "alpha must be > 0"),
        ),
    ),
    Case(
        "implicit_variance.relu_velocity",
        lambda w, a, n: iv.relu_velocity(w, alpha=a, target_noise=n),
        (DEGENERATE, NUMBER, np.array(0.2)),
        bad=(
            (lambda: iv.relu_velocity(START), "weights must be [modes, inputs]"),
            (lambda: iv.relu_velocity([[np.nan, 1.0]]), "weights must be finite"),
            (lambda: iv.relu_velocity([[0.0, 0.0]]), "length of each row of weights"),
            (lambda: iv.relu_velocity(WEIGHTS, alpha=-1.0), "alpha must be > 0"),
            (lambda: iv.relu_velocity(WEIGHTS, target_noise=-1.0), "target_noise must"),
        ),
    ),
    Case(
        "implicit_variance.solve_cosine",
        lambda s, a, t: iv.solve_cosine(s, alpha=a)(t),
        (START, NUMBER, TIMES),
        jit=False,
        bad=(
            (lambda: iv.solve_cosine(START[:1]), "at least 2 modes, got 1"),
            (lambda: iv.solve_cosine(INFINITE), "start must be finite and >= 0"),
            (lambda: iv.solve_cosine([0.0, 1.0]), "start must be > 0, got 0"),
            (lambda: iv.solve_cosine(START, alpha=0.0), "alpha must be > 0"),
            (lambda: iv.solve_cosine(START, weight_decay=-0.1), "weight_decay must be"),
            (lambda: iv.solve_cosine(START)(LATE), "t must be >= 0, got -1"),
        ),
    ),
    Case(
        "implicit_variance.solve_euclidean",
        euclidean,
        (START, NUMBER, np.array(0.2), np.array(0.1), np.array(0.05), TIMES),
        jit=False,
        bad=(
            (lambda: iv.solve_euclidean(NEGATIVE), "start must be finite and >= 0"),
            (lambda: iv.solve_euclidean(START, alpha=0.0), "alpha must be > 0, got 0"),
            (lambda: iv.solve_euclidean(START, alpha=np.nan), "alpha must be > 0, got"),
            (lambda: iv.solve_euclidean(START, online_noise=-1.0), "online_noise must"),
            (lambda: iv.solve_euclidean(START)(NAN), "t must be >= 0, got nan"),
        ),
    ),
    Case(
        "implicit_variance.solve_moving_target",
        lambda s, r, a, t: iv.solve_moving_target(s, rate=r, alpha=a)(t),
        (START, np.array(0.8), NUMBER, TIMES),
        jit=False,
        bad=(
            (lambda: iv.solve_moving_target(START, rate=0.0), "rate must be > 0"),
            (lambda: iv.solve_moving_target(START, rate=np.nan), "rate must be > 0"),
            (lambda: iv.solve_moving_target(START, rate=np.inf), "rate must be finite"),
            (lambda: iv.solve_moving_target(NAN, rate=1.0), "start must be finite and"),
            (lambda: iv.solve_moving_target(START, rate=1.0)(-1.0), "t must be >= 0"),
        ),
    ),
    Case(
        "implicit_variance.solve_normalized_predictor",
        lambda s, e, a, t: iv.solve_normalized_predictor(s, epsilon=e, alpha=a)(t),
        (START, np.array(0.2), NUMBER, TIMES),
        jit=False,
        bad=(
            (
                lambda: iv.solve_normalized_predictor([0.0, 1.0], epsilon=0.1),
                "start must be > 0, got 0",
            ),
            (
                lambda: iv.solve_normalized_predictor(START, epsilon=-0.1),
                "epsilon must be finite and >= 0, got -0.1",
            ),
        ),
    ),
    Case(
        "implicit_variance.solve_predictor",
        lambda s, a, t: iv.solve_predictor(s, loss="isoloss_euclidean", alpha=a)(t),
        (np.array([0.0, 0.3, 1.4]), NUMBER, TIMES),
        edge=True,
        bad=(
            (lambda: iv.solve_predictor(NEGATIVE), "start must be finite and >= 0"),
            (lambda: iv.solve_predictor(START, alpha=np.inf), "alpha must be finite"),
            (lambda: iv.solve_predictor(START)(LATE), "t must be >= 0, got -1"),
        ),
    ),
    Case(
        "implicit_variance.solve_relu",
        lambda w, a, n, t: iv.solve_relu(w, alpha=a, target_noise=n)(t),
        (WEIGHTS, NUMBER, np.array(0.2), TIMES),
        jit=False,
        step=1e-3,
        bad=(
            (lambda: iv.solve_relu(START), "start must be [modes, inputs]"),
            (lambda: iv.solve_relu([[np.inf, 1.0]]), "start must be finite"),
            (lambda: iv.solve_relu(WEIGHTS)(NAN), "t must be >= 0, got nan"),
        ),
    ),
    Case(
        "implicit_variance.sphere_averages",
        lambda s, x: iv.sphere_averages(s, x),
        (START, np.array([0.5, 0.9])),
        bad=(
            (
                lambda: iv.sphere_averages(START, VARIANCES),
                "for each of 2 modes, got 3",
            ),
            (lambda: iv.sphere_averages([0.0, 1.0], START), "variances must be > 0"),
            (
                lambda: iv.sphere_averages(START, START, prediction_power=0.5),
                "prediction_power must be a whole number",
            ),
            (
                lambda: iv.sphere_averages(START, START, target_power=6),
                "average over 2 modes is infinite",
            ),
        ),
    ),
    Case(
        "implicit_variance.weight_decay_limits",
        lambda d: jnp.stack(iv.weight_decay_limits(d)),
        (np.array(0.1),),
        bad=(
            (lambda: iv.weight_decay_limits(-0.1), "weight_decay must be finite and"),
            (lambda: iv.weight_decay_limits(np.nan), "weight_decay must be finite and"),
        ),
    ),
]
