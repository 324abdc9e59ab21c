"""Items 11 to 13: what collapses without a part, and what does not."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic.checklist import Finding, Given, at_least, at_most
from ssljax.analytic.precision import in_float64
from ssljax.analytic.prediction_head import (
    HeadParams,
    HeadRule,
    neurons,
    population_batch,
)
from ssljax.analytic.prediction_head.checklist.setup import (
    DATA,
    RATE,
    RATIO,
    aligned,
    diverse,
    simulate,
    simulate_rules,
    unit_neurons,
)
from ssljax.analytic.simulate import gradient_descent

OFF = ((0.0, 1.0), (1.0, 0.0))


@in_float64
def negative(given: Given) -> list[Finding]:
    """Check ``a_22 -> 0`` where the head, stop-gradient or normalisation is missing."""
    rules = {
        "frozen identity": HeadRule(0.0),
        "diagonal only": HeadRule(RATIO, trainable=((1.0, 0.0), (0.0, 1.0))),
        "only E_12": HeadRule(RATIO, trainable=((0.0, 1.0), (0.0, 0.0))),
        "slow head": HeadRule(0.1),
        "no stop-gradient": HeadRule(RATIO, stop_gradient=0.0),
    }
    ends = simulate_rules(list(rules.values()), 20_000, every=20_000).params
    found = []
    for name, a in zip(rules, aligned(ends), strict=True):
        found.append(at_least(f"{name}: a_21, the strong feature", a[2], 0.35))
        found.append(at_most(f"{name}: a_22, the weak one", a[3], 0.1))
    # Both start as the run that succeeds does; only normalisation is taken away.
    detached = simulate(
        60_000, every=60_000, rate=0.003, loss=_variance_detached
    ).params
    raw = simulate(200_000, every=200_000, rate=1e-5, loss=_not_normalized).params
    return [
        *found,
        at_most("variance detached: a_22", abs(aligned(detached)[3]), 0.06),
        at_least("variance detached: a_11 diverges", aligned(detached)[0], 10.0),
        at_most("no normalisation: |w_j|", jnp.linalg.norm(raw.w, axis=1).max(), 0.3),
    ]


def _outputs(params: HeadParams, target: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return both outputs of the exact batch, whose means are 0, ``[N, 2]`` each."""
    patches, first = population_batch(DATA)
    online = neurons(params.w, patches, first) @ params.head.T
    return online, neurons(target, patches, 1 - first)


def _variance_detached(params: HeadParams, target: jax.Array) -> jax.Array:
    online, targets = _outputs(params, target)
    sizes = jax.lax.stop_gradient(jnp.linalg.norm(online, axis=0))
    sizes = sizes * jnp.linalg.norm(targets, axis=0)
    return 2.0 - jnp.sum(jnp.sum(online * targets, axis=0) / sizes)


def _not_normalized(params: HeadParams, target: jax.Array) -> jax.Array:
    return losses.asymmetric_euclidean(*_outputs(params, target), jnp.eye(2))


@in_float64
def positive(given: Given) -> list[Finding]:
    """Check ``a_22 > 0.85``, ``E -> I`` with other heads and with a moving target."""
    rules = {
        "off-diagonal": HeadRule(RATIO),
        "only E_21": HeadRule(RATIO, trainable=((0.0, 0.0), (1.0, 0.0))),
        "full head": HeadRule(RATIO, trainable=((1.0, 1.0), (1.0, 1.0))),
        "symmetric head": HeadRule(RATIO, tied=1.0),
        "moving target": HeadRule(RATIO, target_decay=0.99),
    }
    ends = simulate_rules(list(rules.values()), 20_000, every=20_000).params
    found = []
    for name, a, head in zip(rules, aligned(ends), ends.head, strict=True):
        off = jnp.maximum(abs(head[0, 1]), abs(head[1, 0]))
        found.append(at_least(f"{name}: a_22, the weak feature", a[3], 0.85))
        found.append(at_most(f"{name}: off-diagonal of E", off, 1e-3))
    return [
        *found,
        at_most("full head: change of the diagonal", _diagonal(ends.head[2]), 2e-3),
        at_most("only E_21: distance to off-diagonal", _gap(ends, 0, 1), 1e-3),
    ]


def _diagonal(head: jax.Array) -> jax.Array:
    return jnp.abs(jnp.diag(head) - 1.0).max()


def _gap(ends: HeadParams, i: int, j: int) -> jax.Array:
    return jnp.abs(ends.w[i] - ends.w[j]).max()


def _sum_of_losses(runs: HeadParams) -> jax.Array:
    """Sum the trained loss of many runs, a row per output: one large product."""
    # The batch holds every sample with both signs, in turns of six. Outputs are odd,
    # so that means vanish and one sign of each gives the same products and norms.
    patches, first = (x.reshape(4, 6, *x.shape[1:]) for x in population_batch(DATA))
    patches, first = (x[::2].reshape(12, *x.shape[2:]) for x in (patches, first))
    views = (
        jnp.sum(patches * first[:, :, None], axis=1),
        jnp.sum(patches * (1 - first)[:, :, None], axis=1),
    )
    rows = runs.w.reshape(-1, runs.w.shape[-1])
    cubes = (rows @ views[0].T) ** 3
    online = jnp.einsum("kjr,krn->kjn", runs.head, cubes.reshape(-1, 2, len(patches)))
    targets = (jax.lax.stop_gradient(rows) @ views[1].T) ** 3
    online = online.reshape(targets.shape)
    return len(rows) * (1.0 + losses.negative_cosine(online, targets))


STARTS = 64


def _least_share(probability: float) -> float:
    """Return a share of the starts that is three binomial standard errors below."""
    return probability - 3.0 * np.sqrt(probability * (1.0 - probability) / STARTS)


@in_float64
def sweep(given: Given) -> list[Finding]:
    """Count starts with ``a -> diag``: none at r = 0, 95 % at 0.3, 99 % at 1."""
    rng = np.random.default_rng(given.seed)
    sizes = rng.uniform(0.04, 0.06, size=(STARTS, 4))
    sizes[:, 0] = rng.uniform(0.07, 0.10, size=STARTS)
    signs = rng.choice([-1.0, 1.0], size=(STARTS, 4))
    starts = jnp.asarray((signs * sizes).reshape(STARTS, 2, 2))
    ratios = jnp.repeat(jnp.array([0.0, RATIO, 1.0]), STARTS)
    w = jnp.tile(jax.vmap(unit_neurons)(starts), (3, 1, 1))
    runs = HeadParams(w, jnp.tile(jnp.eye(2), (len(w), 1, 1)))
    rule = HeadRule(ratios[:, None, None], trainable=(OFF,))

    @jax.jit
    def descended(runs: HeadParams) -> HeadParams:
        return gradient_descent(
            _sum_of_losses,
            runs,
            40_000,
            RATE,
            every=40_000,
            transform=lambda p, gradient: rule.scale(gradient),
        ).params

    ends = descended(runs)
    ends = jax.tree.map(lambda x: x.reshape(3, STARTS, *x.shape[1:]), ends)
    share = jnp.mean(diverse(aligned(ends)), axis=1)
    strong = jnp.abs(aligned(ends)[0][:, jnp.array([0, 2])])
    return [
        at_most("diverse, frozen head", share[0], 0.0),
        at_least("smallest strong alignment there", strong.min(), 0.5),
        at_least("diverse at a ratio of 0.3", share[1], _least_share(0.95)),
        at_least("diverse at a ratio of 1", share[2], _least_share(0.99)),
        at_most(
            "|E - I| at a ratio of 1", abs(ends.head[2] - jnp.eye(2)[None]).max(), 1e-4
        ),
    ]
