"""Items 8 and 9: collapse without predictor or stop-gradient."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic.checklist import (
    Finding,
    Given,
    agreement,
    at_least,
    at_most,
    near,
)
from ssljax.analytic.comparison import compare
from ssljax.analytic.implicit_variance import (
    cosine_velocity,
    solve_euclidean,
)
from ssljax.analytic.implicit_variance.checklist import toy
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent, integrate


@in_float64
def euclidean_collapse(given: Given) -> Sequence[Finding]:
    """Compare ``ds/dt = -2 ((1 - lambda)^2 + sigma^2) s``: no stop-gradient.

    Item D12 of earlier versions.
    """
    w0, noise = toy.with_variances(toy.MODERATE, 15, given.seed), 0.1
    x, first, second = toy.exact_views(15, given.seed)
    clean, both = (x, x + noise * second), (x + noise * first, x + noise * second)
    rates = (0.01, 0.005, 0.0025)
    settings = {
        "no stop-gradient": (clean, {"stop_gradient": "none"}),
        "no predictor": (clean, {"predictor": False}),
        "no predictor, both noisy": (both, {"predictor": False}),
        "neither": (clean, {"predictor": False, "stop_gradient": "none"}),
    }

    def loss(params):
        return sum(
            (
                toy.loss_of(params[k], views, "euclidean", **kwargs)
                for k, (views, kwargs) in settings.items()
            ),
            jnp.zeros(()),
        )

    found = toy.descents_at(
        loss, {k: w0 for k in settings}, rates, 3.75, record=toy.spectra, every=10
    )
    s0 = jnp.array(toy.MODERATE)
    # The records of all three rates lie on this grid.
    grid = jnp.arange(601) / 40.0
    solution = toy.looked_up(
        grid, solve_euclidean(s0, stop_gradient="none", target_noise=noise)(grid)
    )
    collapsing = found.values["no stop-gradient"]
    gap = compare(
        solution,
        collapsing[0],
        times=found.times[0],
        tolerance=0.01,
        what="no stop-gradient",
    )
    slope = toy.slope_of(solution, found.times, collapsing, rates, 3.75)
    growth = jnp.max(jnp.diff(collapsing[0], axis=0))
    still = jnp.max(jnp.abs(found.values["no predictor"][0] / s0[None, :] - 1.0))
    decay = (1.0 - rates[0] * noise**2) ** (2.0 * 10 * np.arange(151))
    findings = [
        agreement(gap),
        near("no stop-gradient: order of convergence", slope, 1.0, 0.1),
        at_most("no stop-gradient: largest rise of a variance", growth, 1e-12),
        # A clean online view leaves nothing to learn: frozen, to rounding.
        at_most("no predictor: largest relative change", still, 1e-9),
    ]
    for name in ("no predictor, both noisy", "neither"):
        exact = decay[:, None] * np.asarray(s0)[None, :]
        away = np.max(np.abs(found.values[name][0] / exact - 1.0))
        findings.append(at_most(f"{name}: relative distance from decay", away, 1e-9))
    return [*findings, *_wrong_side(given)]


def _wrong_side(given: Given) -> Sequence[Finding]:
    """Check collapse below 1 + noise^2 = 1.01 and growth without bound above."""
    s0 = np.array([0.2, 0.5, 0.9, 1.0, 1.005, 1.015, 1.03, 1.2, 1.5])
    x, _, noise = toy.exact_views(15, given.seed)
    rates = (0.01, 0.005, 0.0025)
    found = toy.descents_at(
        lambda w: toy.loss_of(
            w, (x, x + 0.1 * noise), "euclidean", stop_gradient="prediction"
        ),
        toy.with_variances(s0, 15, given.seed),
        rates,
        0.25,
        record=toy.variances,
    )
    solution = solve_euclidean(
        jnp.asarray(s0), stop_gradient="prediction", target_noise=0.1
    )
    early = 25
    exact = solution(found.times[0, : early + 1])
    relative = jnp.max(jnp.abs(found.values[0, : early + 1] / exact - 1.0))
    grown = np.asarray(found.values[0, early]) - s0
    slope = toy.slope_of(solution, found.times, found.values, rates, 0.25)
    return [
        at_most("wrong side: relative error over 25 steps", relative, 0.02),
        near("wrong side: order of convergence", slope, 1.0, 0.1),
        at_most("wrong side: largest change below 1.01", grown[s0 < 1.01].max(), 0.0),
        at_least("wrong side: smallest change above", grown[s0 > 1.01].min(), 0.0),
    ]


@in_float64
def cosine_collapse(given: Given) -> Sequence[Finding]:
    """Compare ``ds_m/dt = 2 sigma^2 sum_k (s_k - s_m) E[z_k^2 z_m^2/|z|^6]``, ...

    Item D13 of earlier versions.
    """
    found = gradient_descent(
        lambda params, key: _loss_of_sides(
            params, toy.fresh_views(key, 400, 15, NOISE)
        ),
        {side: toy.start() for side in SIDES},
        1500,
        0.1,
        record=toy.spectra,
        every=50,
        key=jax.random.key(given.seed),
    )
    theory = _mode_equations()
    ranks = {k: _ranks(v) for k, v in found.values.items()}
    trace = np.asarray(jnp.sum(found.values["none"], axis=1))
    drift = np.abs(trace / trace[0] - 1.0).max()
    return [
        at_most("no stop-gradient: drift of the trace", drift, 0.01),
        near("no stop-gradient: modes at the start", ranks["none"][0], 10, 0),
        near("no stop-gradient: modes at 1500 steps", ranks["none"][-1], 2.5, 1.5),
        near("wrong side: modes at 1500 steps", ranks["prediction"][-1], 1, 0),
        *_two_modes(given, theory),
        *_no_predictor(given, theory),
        *_gradients(given),
    ]


def _loss_of_sides(params: dict[str, jax.Array], views: Any) -> jax.Array:
    """Sum the cosine losses of networks named for where their stop-gradient is."""
    total = jnp.zeros(())
    for side, w in params.items():
        total += toy.loss_of(w, views, "cosine", stop_gradient=side)
    return total


def _ranks(values: jax.Array) -> np.ndarray:
    """Return the number of variances above a hundredth of the largest, per record."""
    return np.asarray(jnp.sum(values > 0.01 * values[:, -1:], axis=1))


PAIR, SIDES = (0.3, 1.5), ("none", "prediction")
FAINT, NOISE = (0.3, 0.8, 1.5), 0.1
LONG = 30.0  # rate 5, 600 steps, noise^2: time in units in which the noise is 1
GRID = np.arange(21) / 20.0


def _mode_equations() -> dict[str, Any]:
    """Solve this item's mode equations in one program, ``[21, modes]`` each.

    Two modes for either side of the stop-gradient; without a predictor three, in units
    in which the noise is 1, and ten, in units `LONG` times as long.
    """
    starts = {side: jnp.array(PAIR) for side in SIDES}
    starts |= {"faint": jnp.array(FAINT), "long": toy.variances(toy.start())}

    def rates(name: str, log_s: jax.Array) -> jax.Array:
        s = jnp.exp(log_s)
        if name in SIDES:
            return cosine_velocity(s, stop_gradient=name) / s
        pace = LONG if name == "long" else 1.0
        return pace * cosine_velocity(s, predictor=False, target_noise=1.0) / s

    # In logarithms: a variance that dies must not become negative.
    return integrate(
        lambda state: {name: rates(name, log_s) for name, log_s in state.items()},
        jax.tree.map(jnp.log, starts),
        jnp.asarray(GRID),
        record=lambda state: jax.tree.map(jnp.exp, state),
        rtol=1e-8,
        atol=1e-8,
        estimate_error=False,
    ).values


def _two_modes(given: Given, theory: dict[str, Any]) -> Sequence[Finding]:
    """Compare the mode equations without stop-gradient and with it misplaced."""
    rates, w0 = (0.04, 0.02, 0.01), toy.with_variances(PAIR, 2, given.seed)
    found = toy.descents_at(
        lambda params: _loss_of_sides(params, toy.ring()),
        {side: w0 for side in SIDES},
        rates,
        1.0,
        record=toy.spectra,
        every=5,
    )
    findings = []
    for side in SIDES:
        solution, values = toy.looked_up(GRID, theory[side]), found.values[side]
        gap = compare(solution, values[2], times=found.times[2], tolerance=0.003)
        slope = toy.slope_of(solution, found.times, values, rates, 1.0)
        name = f"two modes, stop-gradient on {side}"
        findings += [
            at_most(f"{name}: largest error", gap.max_error, gap.tolerance),
            near(f"{name}: order of convergence", slope, 1.0, 0.1),
        ]
    return findings


def _no_predictor(given: Given, theory: dict[str, Any]) -> Sequence[Finding]:
    """Check that noise makes the modes equal, at a rate of its square."""
    w0, noise, rate = toy.start(), NOISE, 5.0
    found, error = toy.mean_of_two(
        lambda key: (
            gradient_descent(
                lambda w, key: toy.loss_of(
                    w, toy.fresh_views(key, 400, 15, noise), "cosine", predictor=False
                ),
                w0,
                round(LONG / (rate * noise**2)),
                rate,
                record=toy.variances,
                every=30,
                key=key,
            ).values
        ),
        given.seed,
    )
    bound = 0.012 + 4.0 * error  # .012 for the long steps
    gap = compare(theory["long"], found, times=GRID, tolerance=bound)
    rise = found[-1, 0] / found[0, 0]
    return [
        at_most("no predictor: largest error", gap.max_error, bound),
        at_least("no predictor: growth of the smallest mode", rise, 2.0),
        near("no predictor: order of convergence", _faint(given, theory), 1.0, 0.1),
    ]


def _faint(given: Given, theory: dict[str, Any]) -> float:
    """Return the order of the same where the noise is too small for more terms."""
    noise, total = 1e-3, 1.0
    w0 = toy.with_variances(FAINT, 3, given.seed)

    def loss(w: jax.Array) -> jax.Array:
        return toy.over_sphere(
            lambda views: toy.loss_of(w, views, "cosine", predictor=False), noise
        )

    rates = (0.2, 0.1, 0.05)
    found = toy.descents_at(
        loss, w0, [r / noise**2 for r in rates], total / noise**2, record=toy.variances
    )
    solution = toy.looked_up(GRID, theory["faint"])
    times = noise**2 * found.times
    return toy.slope_of(solution, times, found.values, rates, total)


def _gradients(given: Given) -> Sequence[Finding]:
    """Check the gradient without stop-gradient, and an update that is not one."""
    rng = np.random.default_rng(given.seed)
    w = jnp.asarray(rng.normal(size=(4, 6)) / 2.0)
    x1 = jnp.asarray(rng.normal(size=(50, 6)))
    x2 = x1 + 0.3 * jnp.asarray(rng.normal(size=(50, 6)))
    fixed = toy.predictor_of(w)
    true = jax.grad(lambda w: losses.negative_cosine(x1 @ w.T @ fixed, x2 @ w.T))(w)
    swapped = jax.grad(
        lambda w: toy.loss_of(w, (x1, x2), "cosine", stop_gradient="none")
    )(w)
    z2, p = x2 @ w.T, x1 @ w.T @ fixed
    length_p, length_z = (jnp.linalg.norm(a, axis=1, keepdims=True) for a in (p, z2))
    inner = jnp.sum(p * z2, axis=1, keepdims=True)
    online = (z2 / length_p - inner * p / length_p**3) / length_z
    target = (p / length_z - inner * z2 / length_z**3) / length_p
    written = -((online @ fixed).T @ x1 + target.T @ x2) / len(x1)
    # The published toy code uses the wrong norms and the wrong view for the target.
    wrong = (p - inner * z2 / length_p**2) / (length_p * length_z)
    published = -((online @ fixed).T @ x1 + wrong.T @ x1) / len(x1)
    scale = jnp.max(jnp.abs(true))
    return [
        at_most("gradient less its formula", jnp.max(jnp.abs(true - written)), 1e-12),
        at_most("gradient less both sides", jnp.max(jnp.abs(true - swapped)), 1e-12),
        at_least(
            "published update off the gradient, relative",
            jnp.max(jnp.abs(true - published)) / scale,
            0.1,
        ),
    ]
