"""Public functions of the prediction head, as called by the contract."""

import jax
import jax.numpy as jnp
import numpy as np
from contract_case import Case

from ssljax.analytic import prediction_head as ph

RECORD = "a record of arrays, computed elsewhere"
TIMES = np.array([0.4, 1.1])
LATE = np.array([-1.0])
DATA = ph.PatchData()
SMALL = ph.PatchData(strengths=(1.5, 1.2), noise=0.8, patches=4, feature_patches=2)
NEURONS = np.array([[0.6, 0.3, 0.5, 0.1], [0.2, 0.5, -0.2, 0.6]])
HEAD = np.array([[1.0, 0.1], [0.2, 0.9]])
PATCHES = np.random.default_rng(0).normal(size=(5, 2, 4))
SHOWN = np.tile([1.0, 0.0], (5, 1))
COVARIANCE = np.array([[1.0, 0.3], [0.3, 0.6]])
LONE, LOST = NEURONS[:, :2], np.where(NEURONS > 0.55, np.nan, NEURONS)


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


CASES = [
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
