"""Items 10 to 12: weight decay, noise, moving targets, rectifiers."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

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
    relu_velocity,
    solve_euclidean,
    solve_moving_target,
    solve_normalized_predictor,
    solve_relu,
    weight_decay_limits,
)
from ssljax.analytic.implicit_variance.checklist import toy
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent, integrate


@in_float64
def weight_decay(given: Given) -> Sequence[Finding]:
    """Check the roots of ``lambda (1 - lambda) = decay``; IsoLoss: ``1 - lambda``.

    Item D14 of earlier versions.
    """
    s0 = jnp.array(toy.MODERATE)
    w0 = toy.with_variances(toy.MODERATE, 15, given.seed)
    x, _, noise = toy.exact_views(15, given.seed)
    views = (x, x + 0.1 * noise)
    decays, rates, total = (0.1, 0.2, 0.3, 1.1), (0.02, 0.01, 0.005), 10.0
    names = (*toy.EUCLIDEAN, "cosine")

    def descend(decay, rate):
        return gradient_descent(
            lambda params: toy.loss_of_all(params, views),
            {k: w0 for k in names},
            round(total / min(rates)),
            rate,
            record=toy.spectra,
            every=4,
            transform=lambda params, gradient: jax.tree.map(
                lambda w, g: g + decay * w, params, gradient
            ),
        )

    both = jax.vmap(jax.vmap(descend, (None, 0)), (0, None))
    found = both(jnp.array(decays), jnp.array(rates))
    grid = jnp.arange(501) / 50.0
    findings = []
    for loss in toy.EUCLIDEAN:
        theory = jax.vmap(
            lambda decay, loss=loss: solve_euclidean(s0, loss=loss, weight_decay=decay)(
                grid
            )
        )(jnp.array(decays))
        for i, decay in enumerate(decays):
            name = f"{loss}, weight decay {decay:g}"
            threshold, limit = weight_decay_limits(decay, loss=loss)
            # Time 40, of the largest step.
            last = np.asarray(found.values[loss][i, 0, -1])
            expected = np.where(np.asarray(s0) > threshold, limit, 0.0)
            away = np.abs(last - expected).max()
            findings.append(at_most(f"{name}: last from the limits", away, 0.01))
            slope = toy.slope_of(
                toy.looked_up(grid, theory[i]),
                found.times[i],
                found.values[loss][i],
                rates,
                total,
            )
            findings.append(near(f"{name}: order of convergence", slope, 1.0, 0.1))
    known = {0.1: (0.113, 0.887), 0.2: (0.276, 0.724)}
    for decay, pair in known.items():
        away = np.abs(np.subtract(weight_decay_limits(decay), pair)).max()
        findings.append(at_most(f"threshold and limit at {decay:g}", away, 0.0006))
    # Nothing in the cosine loss restores a scale.
    trace = jnp.sum(found.values["cosine"][0, -1], axis=1)
    at = int(np.argmin(np.abs(np.asarray(found.times[0, -1]) - 5.0)))
    left = trace[at] / trace[0] / np.exp(-2.0 * 0.1 * 5.0)
    traces = jnp.sum(found.values["cosine"][0], axis=-1, keepdims=True)

    def decayed(t):
        return float(jnp.sum(s0)) * np.exp(-2.0 * 0.1 * np.asarray(t))[:, None]

    slope = toy.slope_of(decayed, found.times[0], traces, rates, total)
    return [
        *findings,
        near("cosine: trace over its decay at time 5", left, 1.0, 0.01),
        near("cosine: order of convergence of the trace", slope, 1.0, 0.1),
    ]


@in_float64
def other_variants(given: Given) -> Sequence[Finding]:
    """Check ``1/(1 + noise^2)``, ``du/dt = lambda (target - lambda u)``, ...

    Item D15 of earlier versions.
    """
    w0 = toy.with_variances(toy.MODERATE, 15, given.seed)
    s0 = jnp.array(toy.MODERATE)
    x, first, second = toy.exact_views(15, given.seed)
    clean, both = (x, x + 0.1 * second), (x + 0.5 * first, x + 0.5 * second)
    follow = 1.0  # of the moving target per unit of time: a decay of .99 at step .01

    def loss(params):
        fixed = jax.lax.stop_gradient(params["target"])
        online = params["online"]
        moving = toy.loss_of(online, clean, "euclidean", target_weights=fixed)
        noisy = [toy.loss_of(params[k], both, k) for k in toy.EUCLIDEAN]
        normalized = [
            toy.loss_of(params[k], clean, "euclidean", epsilon=epsilon)
            for k, epsilon in (("epsilon 0", 0.0), ("epsilon .25", 0.25))
        ]
        return sum((*noisy, *normalized), moving)

    def average(params, gradient):
        step = follow * (params["target"] - params["online"])
        return gradient | {"target": step}

    rates, total = (0.02, 0.01, 0.005), 10.0
    starts = {k: w0 for k in ("online", "target", *toy.EUCLIDEAN)}
    known = toy.start()  # to which the figure for epsilon .25 is tied
    found = toy.descents_at(
        loss,
        starts | {"epsilon 0": known, "epsilon .25": known},
        rates,
        total,
        record=toy.spectra,
        every=10,
        transform=average,
    )
    times, values = found.times, found.values
    grid = jnp.arange(801) / 20.0
    moving = solve_moving_target(s0, rate=follow)(grid)
    s1 = toy.variances(known)
    normalized = jax.vmap(
        lambda epsilon: solve_normalized_predictor(s1, epsilon=epsilon)(grid)
    )(jnp.array([0.0, 0.25]))
    findings = []
    for loss_name in toy.EUCLIDEAN:
        away = jnp.max(jnp.abs(values[loss_name][0, -1] - 0.8))
        name = f"{loss_name}, both views noisy"
        solution = solve_euclidean(s0, loss=loss_name, online_noise=0.5)
        slope = toy.slope_of(solution, times, values[loss_name], rates, total)
        findings += [
            at_most(f"{name}: last from .8", away, 0.01),
            near(f"{name}: order of convergence", slope, 1.0, 0.1),
        ]
    theories = {
        "online": ("moving target", moving),
        "epsilon 0": ("normalised, epsilon 0", normalized[0]),
        "epsilon .25": ("normalised, epsilon .25", normalized[1]),
    }
    for key, (name, theory) in theories.items():
        solution = toy.looked_up(grid, theory)
        gap = compare(
            solution, values[key][1], times=times[1], tolerance=0.02, what=name
        )
        slope = toy.slope_of(solution, times, values[key], rates, total)
        findings += [
            agreement(gap),
            near(f"{name}: order of convergence", slope, 1.0, 0.1),
        ]
    from_one = jnp.max(jnp.abs(values["online"][0, -1] - 1.0))
    from_top = jnp.max(jnp.abs(values["epsilon 0"][0, -1] / s1[-1] - 1.0))
    scale = jnp.mean(values["epsilon .25"], axis=-1)
    return [
        *findings,
        at_most("moving target: last from 1", from_one, 0.01),
        at_most("epsilon 0: last from the largest variance", from_top, 0.01),
        near("epsilon .25: mean variance after 500 steps", scale[1, 50], 0.11, 0.01),
        at_most("epsilon .25: mean variance at time 40", scale[0, -1], 1e-6),
    ]


@in_float64
def rectifiers(given: Given) -> Sequence[Finding]:
    """Compare ``dW/dt = -E[grad L]`` of ``z = relu(W x)``, the mean in closed form.

    Item F of earlier versions.
    """
    w0 = toy.start()

    def loss(params, key):
        views = toy.fresh_views(key, 1000, 15, 0.1)
        return toy.loss_of_all(params, views, activation=jax.nn.relu)

    found = gradient_descent(
        loss,
        {k: w0 for k in toy.EUCLIDEAN},
        1500,
        0.01,
        record=toy.spectra,
        every=25,
        key=jax.random.key(given.seed),
    )
    theory = integrate(
        lambda params: {
            k: relu_velocity(w, loss=k, target_noise=0.1) for k, w in params.items()
        },
        {k: w0 for k in toy.EUCLIDEAN},
        found.times,
        record=toy.spectra,
        rtol=1e-7,
        atol=1e-9,
        estimate_error=False,
    )
    euclidean, isoloss = (found.values[k][-1, 0] for k in toy.EUCLIDEAN)
    slopes = _rectified_orders(given)
    return [
        at_least("IsoLoss: smallest variance at 1500 steps", isoloss, 0.99),
        at_most("euclidean: smallest variance at 1500 steps", euclidean, 0.7),
        *(
            agreement(
                compare(
                    theory.values[k],
                    found.values[k],
                    times=found.times,
                    tolerance=0.05,
                    what=f"{k} and its population flow",
                )
            )
            for k in toy.EUCLIDEAN
        ),
        *(
            near(f"{k}: order of convergence, two modes", slopes[k], 1.0, 0.1)
            for k in toy.EUCLIDEAN
        ),
    ]


def _rectified_orders(given: Given) -> dict[str, float]:
    """Return the order at which descent meets the flow on two inputs.

    A rectifier's kink makes the average over a ring exact to one part in its length.
    """
    w0 = toy.with_variances((0.3, 1.2), 2, given.seed)
    views, rates, total = toy.ring(20_000, turn=2.0 * np.pi), (0.04, 0.02, 0.01), 2.0
    found = toy.descents_at(
        lambda params: toy.loss_of_all(params, views, activation=jax.nn.relu),
        {k: w0 for k in toy.EUCLIDEAN},
        rates,
        total,
        record=toy.spectra,
        every=5,
    )
    grid = jnp.arange(41) / 20.0
    orders = {}
    for k in toy.EUCLIDEAN:
        solution = toy.looked_up(grid, solve_relu(w0, loss=k)(grid))
        orders[k] = toy.slope_of(solution, found.times, found.values[k], rates, total)
    return orders
