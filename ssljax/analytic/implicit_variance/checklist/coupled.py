"""Items 5 to 7: the cosine losses with predictor and stop-gradient."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.checklist import Finding, Given, agreement, at_most, near
from ssljax.analytic.comparison import compare, convergence_slope
from ssljax.analytic.implicit_variance import (
    cosine_velocity,
    isotropic_rate,
    isotropic_variance,
    predictor_eigenvalues,
)
from ssljax.analytic.implicit_variance.checklist import toy
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent, integrate


@in_float64
def conservation(given: Given) -> Sequence[Finding]:
    """Check that ``sum s`` (cosine) and ``sum s^(1 + alpha)`` (IsoLoss) stay.

    Item C9 of earlier versions.
    """
    w0 = toy.start()
    rates, total = (0.1, 0.05, 0.025), 40.0

    def loss(params, key):
        views = toy.fresh_views(key, 256, 15, 0.1)
        return toy.loss_of_all(params, views)

    found = toy.descents_at(
        loss,
        {k: w0 for k in toy.COSINE},
        rates,
        total,
        record=toy.spectra,
        every=20,
        key=jax.random.key(given.seed),
    )
    findings = []
    bounds = {"cosine": (0.002, 0.005, 1.0), "isoloss_cosine": (0.005, 0.01, 2.0)}
    for name, (drift_bound, limit_bound, power) in bounds.items():
        values = found.values[name]
        sums = np.asarray(jnp.sum(values**power, axis=-1))
        at = [int(np.argmin(np.abs(t - total))) for t in np.asarray(found.times)]
        drifts = [abs(s[i] / s[0] - 1.0) for s, i in zip(sums, at, strict=True)]
        limit = isotropic_variance(toy.variances(w0), loss=name)
        away = jnp.max(jnp.abs(values[1, -1] / limit - 1.0))  # at time 80
        slope = convergence_slope(rates, drifts)
        findings += [
            at_most(f"{name}: drift of the conserved sum", drifts[0], drift_bound),
            near(f"{name}: order of the drift in the step", slope, 1.0, 0.1),
            at_most(f"{name}: largest distance from the limit", away, limit_bound),
        ]
    return findings


@in_float64
def coupled_modes(given: Given) -> Sequence[Finding]:
    """Compare ``ds_m/dt = 2 lambda_m sum_k lambda_k (lambda_k - lambda_m) K_mk``.

    Item C10 of earlier versions.
    """
    w10, two = toy.start(), (0.3, 1.5)
    w2 = toy.with_variances(two, 2, given.seed)
    # One solution for both losses and both widths, at all times that are asked for.
    grid = np.union1d(np.arange(101) / 20.0, np.arange(41.0))
    starts = {10: toy.variances(w10), 2: jnp.array(two)}
    theory = integrate(
        lambda state: {
            k: {m: cosine_velocity(s, loss=k) for m, s in modes.items()}
            for k, modes in state.items()
        },
        {k: starts for k in toy.COSINE},
        jnp.asarray(grid),
        rtol=1e-8,
        atol=1e-10,
        estimate_error=False,
    ).values

    def loss(params, key):
        views = toy.fresh_views(key, 2000, 15, 0.1)
        return toy.loss_of_all(params, views)

    wide, errors = toy.mean_of_two(
        lambda key: (
            gradient_descent(
                loss,
                {k: w10 for k in toy.COSINE},
                200,
                0.1,
                record=toy.spectra,
                every=10,
                key=key,
            ).values
        ),
        given.seed,
    )
    # On two inputs a ring of directions is the whole population.
    rates = (0.1, 0.05, 0.025, 0.01)
    narrow = toy.descents_at(
        lambda params: toy.loss_of_all(params, toy.ring()),
        {k: w2 for k in toy.COSINE},
        rates,
        30.0,
        record=toy.spectra,
        every=10,
    )
    # After 500 and after 3000 steps of .01, where both have reached their limit.
    known = {
        "cosine": ((0.8393, 0.9612), (0.9002, 0.9002)),
        "isoloss_cosine": ((1.013, 1.1475), (1.0823, 1.0823)),
    }
    findings = []
    for name, expected in known.items():
        gap = compare(
            toy.looked_up(grid, theory[name][10]),
            wide[name],
            times=np.arange(21.0),
            # Steps of .1 and the views' noise cost .006; of 200 normal numbers the
            # largest is beyond 4 standard errors once in 80 draws.
            tolerance=0.006 + 4.0 * errors[name],
            what=f"{name}, mean of two draws",
        )
        solution = toy.looked_up(grid, theory[name][2])
        slope = toy.slope_of(solution, narrow.times, narrow.values[name], rates, 5.0)
        away = [
            jnp.max(jnp.abs(values - jnp.array(expected)))
            for values in (
                solution(np.array([5.0, 30.0])),
                narrow.values[name][-1, np.array([50, 300])],
            )
        ]
        findings += [
            agreement(gap),
            near(f"{name}: order of convergence, two modes", slope, 1.0, 0.1),
            at_most(f"{name}: theory from known values, two modes", away[0], 0.001),
            at_most(f"{name}: simulation from known values", away[1], 0.001),
            *_linear_rates(name, given),
        ]
    return findings


def _linear_rates(name: str, given: Given) -> Sequence[Finding]:
    """Return decay rates near isotropy: of the mode equation and of the loss itself."""
    modes, variance = 10, 0.8
    rng = np.random.default_rng(given.seed)
    deviation = rng.normal(size=modes)
    deviation = jnp.asarray(deviation - deviation.mean())
    along = jnp.sum(deviation**2)
    flat = jnp.full(modes, variance)
    _, push = jax.jvp(lambda s: cosine_velocity(s, loss=name), (flat,), (deviation,))
    expected = isotropic_rate(variance, modes, loss=name)
    theory = -jnp.sum(push * deviation) / along

    small = 1e-4
    s = flat + small * deviation
    turn = jnp.asarray(np.linalg.qr(rng.normal(size=(2, modes, modes)))[0])
    w = (turn[0] * jnp.sqrt(s)[None, :]) @ turn[1].T
    velocity = -jax.grad(lambda w: _over_design(w, name))(w)
    # How the eigenvalues of W W^T change, to first order.
    rate = 2.0 * jnp.diagonal(turn[0].T @ velocity @ w.T @ turn[0])
    simulated = -jnp.sum(rate * deviation) / (small * along)
    return [
        near(f"{name}: linear rate over formula, theory", theory / expected, 1.0, 0.01),
        near(f"{name}: the same of the loss", simulated / expected, 1.0, 0.01),
    ]


def _over_design(w: jax.Array, name: str) -> jax.Array:
    """Average a loss over a spherical design, exact for degree 5.

    The corners of a cube and the axes, the latter with weight 2 / (modes + 2).
    """
    modes = w.shape[1]
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * modes)).reshape(modes, -1).T
    axes = np.concatenate([np.eye(modes), -np.eye(modes)]) * np.sqrt(modes)
    share = 2.0 / (modes + 2)
    on_corners, on_axes = (
        toy.loss_of(w, (x, x), name) for x in (jnp.asarray(corners), jnp.asarray(axes))
    )
    return (1.0 - share) * on_corners + share * on_axes


@in_float64
def two_neurons(given: Given) -> Sequence[Finding]:
    """Check the limits ``lambda = 1`` (Euclidean) and ``s = mean(s(0))`` (cosine).

    Item C11 of earlier versions.
    """
    found = two_neuron_descents(given)
    findings = []
    for i, pair in enumerate(toy.FIGURE_5):
        euclidean = found.values["euclidean"][i]
        exact = predictor_eigenvalues(jnp.sort(jnp.array(pair)), found.times[i])
        mean = sum(pair) / 2.0
        cosine = found.values["cosine"][i, -1] / mean
        gap = compare(exact, euclidean, times=found.times[i], tolerance=0.015)
        name = f"from {pair[0]:g}, {pair[1]:g}"
        findings += [
            at_most(
                f"euclidean {name}: distance from the closed form", gap.max_error, 0.015
            ),
            at_most(f"euclidean {name}: last from 1", _largest(euclidean[-1]), 0.01),
            at_most(f"cosine {name}: last from the mean", _largest(cosine), 0.01),
        ]
    return [*findings, *_two_neuron_orders(given)]


def _two_neuron_orders(given: Given) -> Sequence[Finding]:
    """Repeat the starts on the plane, where a ring of directions is all inputs."""
    rates, total = (0.01, 0.005, 0.0025), 3.0
    w0 = jnp.stack([toy.with_variances(s, 2, given.seed) for s in toy.FIGURE_5])
    found = jax.vmap(
        lambda w: toy.descents_at(
            lambda params: toy.loss_of_all(params, toy.ring()),
            {"euclidean": w, "cosine": w},
            rates,
            total,
            record=toy.spectra,
            every=5,  # a start at 1.9 moves fast
        )
    )(w0)
    grid = jnp.arange(241) / 80.0
    pairs = jnp.sort(jnp.array(toy.FIGURE_5), axis=1)
    coupled = integrate(
        jax.vmap(cosine_velocity),
        pairs,
        grid,
        rtol=1e-8,
        atol=1e-10,
        estimate_error=False,
    ).values
    findings = []
    for i, pair in enumerate(toy.FIGURE_5):
        theories = {
            "euclidean": predictor_eigenvalues(pairs[i], grid),
            "cosine": coupled[:, i],
        }
        for k, theory in theories.items():
            slope = toy.slope_of(
                toy.looked_up(grid, theory),
                found.times[i],
                found.values[k][i],
                rates,
                total,
            )
            name = f"{k} from {pair[0]:g}, {pair[1]:g}"
            findings.append(near(f"{name}: order of convergence", slope, 1.0, 0.1))
    return findings


def two_neuron_descents(given: Given) -> Any:
    """Simulate figure 5: 1500 steps of .01 on six inputs, every tenth recorded."""
    x, _, noise = toy.exact_views(6, given.seed)

    def loss(params, key):
        fresh = toy.fresh_views(key, 600, 6, 0.1)
        exact = toy.loss_of(params["euclidean"], (x, x + 0.1 * noise), "euclidean")
        return exact + toy.loss_of(params["cosine"], fresh, "cosine")

    w0 = jnp.stack([toy.with_variances(s, 6, given.seed) for s in toy.FIGURE_5])
    return jax.vmap(
        lambda w: gradient_descent(
            loss,
            {"euclidean": w, "cosine": w},
            1500,
            0.01,
            record=toy.spectra,
            every=10,
            key=jax.random.key(given.seed),
        )
    )(w0)


def _largest(values: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(values - 1.0))
