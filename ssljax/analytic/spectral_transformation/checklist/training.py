"""Items 7 to 10: the spectrum after training, and the floors of a log."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import spectral_transformation as theory
from ssljax.analytic.checklist import Finding, Given, at_least, at_most, near
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent
from ssljax.analytic.spectral_transformation.checklist import models


@in_float64
def channel_toy(given: Given) -> list[Finding]:
    """Check INTL's rank at three weights; N = 32, D = 64, T = 4, over the channels.

    Item 19 of earlier versions.
    """
    n, d, hidden = 32, 64, 128
    first, second, shown, drawn = jax.random.split(jax.random.key(given.seed), 4)
    start = {
        "in": jax.random.normal(first, (d, hidden)) * np.sqrt(2.0 / d),
        "bias": jnp.zeros(hidden),
        "out": jax.random.normal(second, (hidden, d)) * np.sqrt(2.0 / hidden),
        "shift": jnp.zeros(d),
    }
    size = jnp.sqrt(jnp.geomspace(0.02, 1.0, d))[None, :]

    def embed(params, x):
        h = jax.nn.relu(x @ params["in"] + params["bias"][None, :])
        return h @ params["out"] + params["shift"][None, :]

    def views(params, key):
        x, *noise = (jax.random.normal(k, (n, d)) for k in jax.random.split(key, 3))
        return [embed(params, x + size * e) for e in noise]

    def record(params):
        z = views(params, shown)
        t = [losses.iterative_normalization(v) for v in z]
        return {
            "rank": models.effective_rank(models.spectrum(z[0], "channel")),
            "alignment": losses.normalized_mse(*t),
            "trace": jnp.stack([losses.trace_loss(v) for v in t]),
        }

    def run(weight):
        def loss(params, key):
            return losses.intl(views(params, key), trace_weight=weight)

        return models.adam(loss, start, 1000, 3e-3, key=drawn, record=record, every=50)

    weights = (0.0, theory.default_trace_weight(n), 0.1)
    path = jax.tree.map(np.asarray, jax.jit(jax.vmap(run))(np.array(weights)))
    none, usual, strong = ({k: v[i] for k, v in path.items()} for i in range(3))
    floor = float(theory.trace_loss_floor(n, 4))
    # One direction, of the same size in all samples.
    collapsed = float(theory.trace_loss_floor(n, 4, rank=1))
    return [
        at_least("effective rank at the start", none["rank"][0], 8.0),
        at_most("effective rank, weight 0", none["rank"][-1], 1.5),
        at_most("alignment, weight 0", none["alignment"][-1], 0.01),
        near("trace losses, weight 0", none["trace"][-1].sum(), 2 * collapsed, 0.1),
        at_least("effective rank, the paper's weight", usual["rank"][-1], 15.0),
        at_least("effective rank, weight 0.1", strong["rank"][-1], 20.0),
        at_most("trace losses, weight 0.1", strong["trace"][-1].sum(), 3.0 * floor),
        at_least("a trace loss over its floor", path["trace"].min() / floor, 0.999),
    ]


@in_float64
def linear_toy(given: Given) -> list[Finding]:
    """Check ``min lambda / max lambda`` after ``g = lambda^-p`` and after IterNorm.

    Item 20 of earlier versions.
    """
    start, views, spectrum = _linear_toy(given.seed)

    def loss(encoders, key):
        # Drawn once for all encoders.
        inputs = views(key)
        total = jnp.zeros(())
        for name, power in (("identity", 0.0), ("whitening", 0.5)):
            z1, z2 = (x @ encoders[name] for x in inputs)
            t = models.transformed(z1, z2, lambda v, p=power: v**-p)
            total += losses.normalized_mse(t[0], t[1])
        for name, weight in (("iterated", 0.0), ("with trace loss", 0.5)):
            z = [x @ encoders[name] for x in inputs]
            total += losses.intl(z, axis="batch", trace_weight=weight)
        return total

    # Four independent encoders in one program, on the same samples.
    names = ("identity", "whitening", "iterated", "with trace loss")
    path = jax.jit(
        lambda start: (
            gradient_descent(
                loss,
                start,
                1000,
                1e-2,
                0.9,
                record=lambda w: jax.tree.map(spectrum, w),
                every=1000,
                key=jax.random.key(given.seed),
            ).values
        )
    )({name: start for name in names})
    last = {name: np.asarray(values)[-1] for name, values in path.items()}
    ratio = {name: values[0] / values[-1] for name, values in last.items()}
    rank = float(models.effective_rank(last["whitening"]))
    return [
        at_most("smallest over largest, no transformation", ratio["identity"], 1e-10),
        at_least("whitening", ratio["whitening"], 1e-3),
        at_least("effective rank, whitening", rank, 4.0),
        at_most("T = 4 without trace loss", ratio["iterated"], 1e-10),
        at_least("T = 4, trace weight 0.5", ratio["with trace loss"], 0.3),
    ]


@in_float64
def plain_alignment(given: Given) -> list[Finding]:
    """Compare ``d lambda/dt = -8 v (1 - 2 p) lambda^(1 - 2 p)``.

    Item 21 of earlier versions.
    """
    d = 8
    noise = np.geomspace(0.02, 1.0, d)
    turn = models.rotation(given.seed, d)
    # One batch with the statistics of the population, so that the solution holds for
    # it: the noise of fresh ones would feed the small eigenvalues.
    x1, x2 = (x @ turn for x in models.noisy_views(given.seed, 64, noise))

    def spectrum(w):
        mixed = turn @ w
        return jnp.linalg.eigvalsh(mixed.T @ ((1.0 + noise)[:, None] * mixed))

    def loss(encoders):
        return models.aligned_alone(x1, x2, encoders)

    def descend(encoders, rate):
        return gradient_descent(
            loss,
            encoders,
            1000,
            rate,
            0.9,
            record=lambda w: jax.tree.map(spectrum, w),
            every=500,
        )

    # An orthogonal encoder: from an eigenvalue near zero the first steps at p = 0.75
    # overshoot the flow by far, which would look like faster growth.
    start = jnp.asarray(models.rotation(given.seed + 1, d))
    first = descend({0.0: start, 0.75: start}, 1e-2)
    # Larger eigenvalues move more slowly, so that the rate may grow with them.
    second = descend({0.75: first.params[0.75]}, 20.0)
    found = np.concatenate([first.values[0.75], second.values[0.75][1:]])
    # Momentum 0.9 multiplies the step by ten.
    times = 10.0 * np.concatenate([first.times, first.times[-1] + second.times[1:]])
    solution = theory.solve_alignment_flow(1.0 + noise, noise, power=0.75)
    gaps = np.abs(found / np.asarray(solution(times)) - 1.0).max(axis=1)
    vanishing = first.values[0.0][:, -1]
    return [
        at_most("largest over its start, p = 0", vanishing[-1] / vanishing[0], 1e-6),
        at_least("the same, p = 0.75", found[-1, -1] / found[0, -1], 1e3),
        at_most("p = 0.75, relative distance from the solution", gaps.max(), 0.1),
        *_plane(given.seed),
    ]


def _plane(seed: int) -> list[Finding]:
    """Check a plane where the encoder turns first, then grows as one mode."""
    noise, turn = np.array([0.02, 1.0]), np.deg2rad(30.0)
    turn = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    x1, x2 = (x @ turn for x in models.noisy_views(seed, 32, noise))
    cov = turn.T @ np.diag(1.0 + noise) @ turn
    powers = (0.0, 0.25, 0.5, 0.55, 0.75)

    def loss(encoders):
        return models.aligned_alone(x1, x2, encoders)

    start = jnp.array([[1.0, 0.3], [-0.2, 0.8]])
    last = jax.jit(
        lambda start: gradient_descent(loss, start, 5000, 5e-3, 0.9, every=5000).params
    )(dict.fromkeys(powers, start))
    last = {None: start, **last}
    largest = {p: jnp.linalg.eigvalsh(w.T @ cov @ w)[-1] for p, w in last.items()}
    moved = float(jnp.log2(largest[0.5] / largest[None]))
    findings = [
        at_most("plane, p = 0", largest[0.0], 1e-15),
        at_most("plane, p = 0.25", largest[0.25], 1e-2),
        # Where both views have the covariance S, and C with each other, whitening makes
        # the loss 2 (d - tr(C S^-1)), which no encoder changes.
        near("plane, p = 0.5, logarithm of the change", moved, 0.0, 1e-9),
    ]
    time = jnp.array([10.0 * 5000 * 5e-3])
    for power in (0.55, 0.75):
        solution = theory.solve_alignment_flow(jnp.ones(1), jnp.ones(1), power=power)
        ratio = largest[power] / solution(time)[0, 0]
        findings.append(
            near(f"plane, over the solution, p = {power}", ratio, 1.0, 0.05)
        )
    return findings


@in_float64
def floors(given: Given) -> list[Finding]:
    """Check ``TL >= n (1 - h_T(1/n))^2`` along descent; INTL >= 20.96 at 256.

    Item 22 of earlier versions.
    """
    rng = np.random.default_rng(given.seed)
    findings = []
    n, d = 64, 128
    anchor = rng.normal(size=(n, d)) * np.geomspace(1.0, 0.05, d)[None, :]
    views = jnp.asarray(np.stack([anchor, anchor + 0.3 * rng.normal(size=(n, d))]))

    def log(views):
        t = [losses.iterative_normalization(v) for v in views]
        traces = jnp.stack([losses.trace_loss(v) for v in t])
        return losses.intl(list(views)), traces

    def run(views):
        return gradient_descent(
            lambda v: losses.intl(list(v)), views, 250, 3.0, 0.9, record=log, every=5
        ).values

    total, traces = (np.asarray(v) for v in jax.jit(run)(views))
    lowest, floor = theory.intl_floor(n, 4), theory.trace_loss_floor(n, 4)
    findings += [
        at_least("trace loss over its floor, n = 64", traces.min() / floor, 0.999),
        at_least("INTL loss over its floor, n = 64", total.min() / lowest, 0.999),
        at_most("the same at the end", total[-1] / lowest, 1.01),
    ]
    # The covariance over the samples cannot reach full rank here.
    z = jnp.asarray(rng.normal(size=(17, 32)) * np.geomspace(1.0, 0.1, 32)[None, :])
    path = jax.jit(
        lambda z: (
            gradient_descent(
                lambda z: models.trace_loss_of(z, 4, "batch"),
                z,
                300,
                0.05,
                0.9,
                record=lambda z: models.trace_loss_of(z, 4, "batch"),
                every=5,
            ).values
        )
    )(z)
    floor = float(theory.trace_loss_floor(32, 4, rank=16))
    lowest, last = np.min(path) / floor, float(path[-1]) / floor
    findings += [
        at_least("trace loss over its floor, rank 16 of 32", lowest, 0.999),
        at_most("the same at the end", last, 1.01),
    ]
    # The batch of the paper's runs, on noise and on noise drawn to equal eigenvalues.
    both = jax.jit(lambda a, b: (losses.intl([a, b]), losses.intl_ema(a, [b])))
    for white in (False, True):
        z = rng.normal(size=(2, 256, 512))
        if white:
            z = [models.white_batch(given.seed + k, 512, 256).T for k in (0, 1)]
        intl, ema = both(*z)
        what = "equal eigenvalues" if white else "noise"
        findings += [
            at_least(f"INTL loss of 256 {what}", intl, 20.96),
            at_least(f"with a teacher, 256 {what}", ema, 10.48),
        ]
        if white:
            # Unrelated views, so that both are two above the floor.
            findings.append(near("INTL minus alignment", intl - 2.0, 20.96, 0.1))
    return findings


def _linear_toy(seed: int):
    """Return the encoder at the start, two views under a key, the spectrum of one."""
    d, batch = 8, 512
    noise = jnp.geomspace(0.02, 1.0, d)
    turn = jnp.asarray(models.rotation(seed, d))
    start = jax.random.normal(jax.random.key(seed), (d, d)) / np.sqrt(d)

    def views(key):
        x, *e = (jax.random.normal(k, (batch, d)) for k in jax.random.split(key, 3))
        return [(x + jnp.sqrt(noise)[None, :] * part) @ turn for part in e]

    def spectrum(w):
        mixed = turn @ w
        return jnp.linalg.eigvalsh(mixed.T @ ((1.0 + noise)[:, None] * mixed))

    return start, views, spectrum
