"""Public functions of implicit variance and of the prediction head, as called there."""

import jax
import jax.numpy as jnp
import numpy as np
from contract_case import Case

from ssljax.analytic import implicit_variance as iv
from ssljax.analytic import prediction_head as ph

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

DATA = ph.PatchData()
SMALL = ph.PatchData(strengths=(1.5, 1.2), noise=0.8, patches=4, feature_patches=2)
NEURONS = np.array([[0.6, 0.3, 0.5, 0.1], [0.2, 0.5, -0.2, 0.6]])
HEAD = np.array([[1.0, 0.1], [0.2, 0.9]])
PATCHES = np.random.default_rng(0).normal(size=(5, 2, 4))
SHOWN = np.tile([1.0, 0.0], (5, 1))
COVARIANCE = np.array([[1.0, 0.3], [0.3, 0.6]])
LONE, LOST = NEURONS[:, :2], np.where(NEURONS > 0.55, np.nan, NEURONS)


def euclidean(start, alpha, online, target, decay, t):
    solution = iv.solve_euclidean(
        start,
        alpha=alpha,
        online_noise=online,
        target_noise=target,
        weight_decay=decay,
    )
    return solution(t)


def head_of(w, head):
    return ph.HeadParams(w, head)


def loss_from(w, head, target):
    return ph.population_loss(head_of(w, head), SMALL, target=target)


def patches_loss(w, head, patches, target):
    batch = ph.PatchBatch(patches, SHOWN)
    return ph.patch_loss(head_of(w, head), batch, target=target)


def descent(w, head, rate, ratio):
    found = ph.descend(
        lambda params, target: ph.population_loss(params, SMALL, target=target),
        head_of(w, head),
        learning_rate=rate,
        steps=2,
        rule=ph.HeadRule(ratio),
    )
    return found.values.w


def flow(w, head, ratio, times):
    found = ph.head_flow(head_of(w, head), times, data=SMALL, rate_ratio=ratio)
    return jnp.concatenate([x.ravel() for x in found.values])


def frozen(w, noise, t):
    data = ph.PatchData(strengths=(1.5, 1.2), noise=noise)
    return ph.solve_frozen_head(w, data)(t)


def accelerated(w, head):
    return jnp.concatenate([jnp.ravel(x) for x in ph.acceleration((w, head), SMALL)])


def explodes(params, target):
    return jnp.sum(params.w**4)


IMPLICIT_VARIANCE = [
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

PREDICTION_HEAD = [
    *(
        Case(f"prediction_head.{name}", reason=RECORD)
        for name in ("Acceleration", "HeadParams", "PatchBatch", "PopulationConstants")
    ),
    Case(
        "prediction_head.HeadRule",
        reason="settings of a descent; `descend` is differentiated in them",
        bad=(
            (lambda: ph.HeadRule(-0.1).check(), "rate_ratio must be finite and >= 0"),
            (
                lambda: ph.HeadRule(target_decay=1.0).check(),
                "target_decay must lie in [0, 1), got 1",
            ),
        ),
    ),
    Case(
        "prediction_head.PatchData",
        reason="describes a distribution; functions of it are differentiated",
        bad=(
            (lambda: ph.PatchData(strengths=(1.0, np.nan)), "strengths must be > 0"),
            (lambda: ph.PatchData(noise=np.inf), "noise must be finite, got inf"),
            (lambda: ph.PatchData(patches=7), "patches must be even"),
        ),
    ),
    Case(
        "prediction_head.acceleration",
        accelerated,
        (NEURONS, HEAD),
        bad=(
            (
                lambda: ph.acceleration((np.ones((3, 4)), np.eye(3)), DATA),
                "two neurons",
            ),
            (lambda: ph.acceleration((LOST, HEAD), DATA), "w must be finite, got nan"),
        ),
    ),
    Case(
        "prediction_head.conserved_quantities",
        lambda w, e, r: ph.conserved_quantities((w, e), rate_ratio=r),
        (NEURONS, HEAD, np.array(0.3)),
        bad=(
            (
                lambda: ph.conserved_quantities((NEURONS, HEAD), rate_ratio=0.0),
                "rate_ratio must be > 0, got 0",
            ),
            (
                lambda: ph.conserved_quantities(
                    (np.ones((3, 4)), np.eye(3)), rate_ratio=1
                ),
                "needs two neurons, got 3",
            ),
        ),
    ),
    Case(
        "prediction_head.descend",
        descent,
        (NEURONS, HEAD, np.array(0.05), np.array(0.3)),
        jit=False,
        bad=(
            (lambda: descent(LOST, HEAD, 0.1, 0.3), "w must be finite, got nan"),
            (lambda: descent(NEURONS, HEAD, -0.1, 0.3), "learning_rate must be > 0"),
            (lambda: descent(NEURONS, HEAD, 0.1, np.nan), "rate_ratio must be finite"),
            (
                lambda: descent(NEURONS, np.eye(3), 0.1, 0.3),
                "head must be [2, 2], got shape",
            ),
            (
                lambda: ph.descend(
                    explodes, head_of(NEURONS, HEAD), learning_rate=5.0, steps=9
                ),
                "the descent is not finite after time",
            ),
        ),
    ),
    Case(
        "prediction_head.effective_rank",
        lambda c: ph.effective_rank(0.5 * (c + jnp.swapaxes(c, -1, -2))),
        (COVARIANCE,),
        bad=(
            (lambda: ph.effective_rank(-np.eye(2)), "trace of covariance must be > 0"),
            (lambda: ph.effective_rank([[1.0, 0.5], [0.0, 1.0]]), "must be symmetric"),
            (lambda: ph.effective_rank([[np.nan]]), "covariance must be finite"),
        ),
    ),
    Case(
        "prediction_head.enumerated_batch",
        reason="makes a batch for a fixed distribution",
        bad=((lambda: ph.enumerated_batch(ph.PatchData((1.0,))), "two features"),),
    ),
    Case(
        "prediction_head.feature_velocity",
        lambda w, e: ph.feature_velocity((w, e), SMALL),
        (NEURONS, HEAD),
        bad=(
            (lambda: ph.feature_velocity((LONE, HEAD), DATA), "features, then noise"),
            (
                lambda: ph.feature_velocity((np.zeros((2, 4)), HEAD), DATA),
                "length of each neuron in w must be > 0, got 0",
            ),
        ),
    ),
    Case(
        "prediction_head.head_flow",
        flow,
        (NEURONS, HEAD, np.array(0.3), TIMES),
        jit=False,
        bad=(
            (lambda: flow(LOST, HEAD, 0.3, TIMES), "w must be finite, got nan"),
            (lambda: flow(NEURONS, HEAD, -0.3, TIMES), "rate_ratio must be finite"),
            (lambda: flow(NEURONS, HEAD, 0.3, TIMES[::-1]), "times must be ascending"),
            (lambda: flow(NEURONS, HEAD, 0.3, LATE), "times must be ascending"),
        ),
    ),
    Case(
        "prediction_head.neurons",
        lambda w, x: ph.neurons(w, x, SHOWN),
        (NEURONS, PATCHES),
        single=1e-3,
        bad=((lambda: ph.neurons(LONE, PATCHES, SHOWN), "got shapes"),),
    ),
    Case(
        "prediction_head.output_correlation",
        lambda w: ph.output_correlation(w, SMALL),
        (NEURONS,),
        bad=(
            (lambda: ph.output_correlation(0 * NEURONS, DATA), "length of each neur"),
        ),
    ),
    Case(
        "prediction_head.patch_loss",
        patches_loss,
        (NEURONS, HEAD, PATCHES, NEURONS[::-1].copy()),
        single=1e-3,
        bad=(
            (
                lambda: patches_loss(NEURONS, np.eye(3), PATCHES, NEURONS),
                "head must be",
            ),
            (lambda: patches_loss(LONE, HEAD, PATCHES, LONE), "got shapes"),
        ),
    ),
    Case(
        "prediction_head.population_batch",
        reason="makes a batch for a fixed distribution",
        bad=((lambda: ph.population_batch(ph.PatchData((1.0,))), "two features"),),
    ),
    Case(
        "prediction_head.population_constants",
        reason="takes counts alone",
        bad=(
            (lambda: ph.population_constants(7, 2), "patches must be even"),
            (lambda: ph.population_constants(4, 5), "feature_patches must be 1 to 4"),
            (
                lambda: ph.population_constants(4, 2, features=0),
                "features must be a wh",
            ),
            (lambda: ph.population_constants(4.0, 2), "patches must be a whole number"),
        ),
    ),
    Case(
        "prediction_head.population_loss",
        # The target is passed: without one the gradient is training's semi-gradient.
        loss_from,
        (NEURONS, HEAD, NEURONS[::-1].copy()),
        bad=(
            (lambda: loss_from(LONE, HEAD, None), "features, then noise"),
            (lambda: loss_from(LOST, HEAD, None), "w must be finite, got nan"),
            (lambda: loss_from(NEURONS, np.eye(3), None), "head must be [2, 2]"),
            (lambda: loss_from(NEURONS, HEAD, NEURONS[:1]), "target must be [2, 4]"),
        ),
    ),
    Case(
        "prediction_head.population_moments",
        lambda w: jnp.stack(ph.population_moments(w, SMALL)),
        (NEURONS,),
        bad=(
            (lambda: ph.population_moments(LONE, DATA), "features, then noise"),
            (lambda: ph.population_moments(LOST, DATA), "w must be finite, got nan"),
        ),
    ),
    Case(
        "prediction_head.sample_patches",
        reason="draws a batch, and needs a key",
        bad=(
            (
                lambda: ph.sample_patches(
                    jax.random.key(0), DATA, samples=0, dimension=4
                ),
                "samples must be a whole number >= 1, got 0",
            ),
            (
                lambda: ph.sample_patches(
                    jax.random.key(0), DATA, samples=2, dimension=2
                ),
                "dimension must be at least 3, got 2",
            ),
        ),
    ),
    Case(
        "prediction_head.solve_frozen_head",
        frozen,
        (NEURONS, np.array(0.8), TIMES),
        bad=(
            (lambda: ph.solve_frozen_head(LONE, DATA), "features, then noise"),
            (lambda: ph.solve_frozen_head(np.eye(2, 4), DATA), "no entry 0"),
            (lambda: ph.solve_frozen_head(LOST, DATA), "w must be finite, got nan"),
            (lambda: ph.solve_frozen_head(NEURONS, DATA)(LATE), "t must be >= 0"),
        ),
    ),
    Case(
        "prediction_head.substitution_bound",
        lambda r, n: ph.substitution_bound(r, n),
        (np.array(0.3), np.array(1.2)),
        bad=(
            (lambda: ph.substitution_bound(-0.3, 1.0), "rate_ratio must be finite and"),
            (
                lambda: ph.substitution_bound(0.3, np.nan),
                "norm must be finite and >= 0",
            ),
        ),
    ),
]

CASES = IMPLICIT_VARIANCE + PREDICTION_HEAD
