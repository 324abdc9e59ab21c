"""Items 7 to 10: phases, substitution, acceleration, conservation."""

from typing import Any

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
from ssljax.analytic.comparison import compare, convergence_slope, crossing_times
from ssljax.analytic.precision import in_float64
from ssljax.analytic.prediction_head import (
    HeadParams,
    acceleration,
    conserved_quantities,
    feature_velocity,
    head_flow,
    substitution_bound,
)
from ssljax.analytic.prediction_head.checklist.setup import (
    DATA,
    RATE,
    RATIO,
    aligned,
    simulate,
    start,
    trained_loss,
)


def _first(condition: Any) -> int:
    """Return the first step at which something holds, -1 where it never does."""
    condition = np.asarray(condition)
    return int(condition.argmax()) if condition.any() else -1


@in_float64
def phases(given: Given) -> list[Finding]:
    """Check the order: a_11 > 1/2, peak of E_21, a_22 > 1/2, ``E_21 -> 0``."""
    path = simulate(5000).values
    a, borrowed = np.asarray(aligned(path)), np.abs(path.head[:, 1, 0])
    strong, peak = _first(a[:, 0] > 0.5), int(borrowed.argmax())
    weak = _first(a[:, 3] > 0.5)
    returned = peak + _first(borrowed[peak:] < 1e-3)
    steps = np.array([strong, peak, weak, returned])
    return [
        near("I: a_11 passes 1/2 at step", strong, 75, 3),
        near("II: E_21 peaks at step", peak, 2540, 30),
        near("III: a_22 passes 1/2 at step", weak, 2689, 30),
        near("IV: |E_21| falls below 0.001 at step", returned, 2889, 40),
        at_least("steps between the phases", np.diff(steps).min(), 1),
        near("peak of E_21", borrowed.max(), 0.202, 0.003),
        at_most("largest |E_12|", np.abs(path.head[:, 0, 1]).max(), 1e-3),
        at_most("other alignments after phase I", a[strong, 1:].max(), 0.1),
        at_most("|E - I| after phase I", borrowed[strong], 0.02),
    ]


@in_float64
def substitution(given: Given) -> list[Finding]:
    """Check ``max |E_21| < sqrt(r/3) |w_2(0)|``, r the ratio of learning rates."""
    ratios = jnp.array([0.2, 0.3, 1.0, 3.0])
    path = simulate(8000, every=5, ratio=ratios).values
    borrowed = np.abs(path.head[:, :, 1, 0])
    peaks, when = borrowed.max(axis=1), borrowed.argmax(axis=1)
    lengths = np.linalg.norm(path.w[:, :, 1], axis=2)[np.arange(4), when]
    bound = substitution_bound(ratios, 1.0)
    # The head gains the length that neuron 2 loses.
    attained = bound * np.sqrt(np.maximum(1 - lengths**2, 0.0))
    found = [at_most("peak of |E_21| over its bound", (peaks / bound).max(), 1.0)]
    found += [
        near(f"peak at a ratio of {ratio:g}", peak, expected, 0.005)
        for ratio, peak, expected in zip(
            ratios, peaks, (0.185, 0.202, 0.280, 0.393), strict=True
        )
    ]
    return [
        *found,
        at_least("smallest growth from ratio to ratio", np.diff(peaks).min(), 0.01),
        at_most(
            "peak against the length that neuron 2 has lost",
            np.abs(attained - peaks).max(),
            0.01,
        ),
    ]


@in_float64
def accelerated(given: Given) -> list[Finding]:
    """Check ``1 + c (E_21^2 S_11 + E_21 S_12)/N_2`` against its threshold."""

    @jax.jit
    def measure() -> Any:
        params = simulate(2500, every=2500).params
        identity = HeadParams(params.w, jnp.eye(2))

        def found(params: HeadParams) -> jax.Array:
            return -jax.grad(trained_loss)(params, params.w).w[:, :2]

        return (
            params,
            found(params),
            found(identity),
            acceleration(params, DATA),
            acceleration(identity, DATA).velocity,
            feature_velocity(params, DATA),
        )

    params, moving, alone, theory, theory_alone, exact = measure()
    rates, rates_alone = moving[1] / params.w[1, :2], alone[1] / params.w[1, :2]
    error = jnp.abs(theory.velocity / moving[1] - 1)
    return [
        near("weak over strong rate, with E", rates[1] / rates[0], 260, 60),
        near("the same with E = I", rates_alone[1] / rates_alone[0], 0.225, 0.075),
        near("acceleration factor", theory.factor, 390, 40),
        near("factor needed for the weak feature to win", theory.threshold, 4.54, 0.05),
        at_most("relative error of the weak velocity", error[1], 0.01),
        at_most("of the strong one, small terms dropped", error[0], 0.1),
        at_most(
            "of both with E = I", jnp.abs(theory_alone / alone[1] - 1).max(), 1e-10
        ),
        at_most("of all, no term dropped", jnp.abs(exact / moving - 1).max(), 1e-10),
    ]


@in_float64
def conserved(given: Given) -> list[Finding]:
    """Check ``|w_1|^2 + |w_2|^2`` and ``|w_2|^2 + 3 (E_21^2 - E_12^2)/r`` for drift."""
    rates = [RATE, 0.01, 0.003]
    ratios = jnp.array([RATIO, 1.0])

    def drift(path: HeadParams, ratio: Any) -> jax.Array:
        values = jax.vmap(lambda p: conserved_quantities(p, rate_ratio=ratio))(path)
        return jnp.abs(values - values[:1])

    # All rates run as many steps as the smallest needs; later records are not read.
    total, every, steps = 150.0, 100, 50_000
    # Every ratio at every rate, in one program.
    both = simulate(
        steps,
        every=every,
        ratio=jnp.repeat(ratios, len(rates)),
        rate=jnp.tile(jnp.array(rates), len(ratios)),
    ).values
    paths = [
        jax.tree.map(lambda x, i=i: x[len(rates) * i : len(rates) * (i + 1)], both)
        for i in range(len(ratios))
    ]
    counts = [round(total / rate / every) + 1 for rate in rates]
    drifts = np.array(
        [
            [
                drift(jax.tree.map(lambda x, i=i, n=n: x[i, :n], path), r).max(0)
                for i, n in enumerate(counts)
            ]
            for path, r in zip(paths, ratios, strict=True)
        ]
    )
    found = [
        at_most("drift at a rate of 0.03", drifts[:, 0].max(), 0.035),
        at_most("drift at a rate of 0.003", drifts[:, 2].max(), 0.004),
    ]
    found += [
        near(
            f"order of the drift of Q{q + 1}, ratio {ratios[r]:g}",
            convergence_slope(rates, drifts[r, :, q].tolist()),
            1.0,
            0.1,
        )
        for r in range(2)
        for q in range(2)
    ]
    return found + _flow(paths[0], rates, every)


def _flow(values: HeadParams, rates: list[float], every: int) -> list[Finding]:
    """Compare descent with the gradient flow of the moments; check its phases."""
    times = jnp.concatenate([jnp.linspace(0, 60, 21), jnp.linspace(60, 90, 301)[1:]])
    times = jnp.concatenate([times, jnp.array([100.0, 150.0, 300.0])])
    flow = head_flow(start(), times, data=DATA, rate_ratio=RATIO)
    a, borrowed = aligned(flow.values), np.asarray(flow.values.head[:, 1, 0])
    # Every rate has a record at multiples of 3; at 60 substitution is under way.
    read = [round(60 / rate / every) for rate in rates]
    found = jnp.stack([aligned(values)[i, k] for i, k in enumerate(read)])
    gaps = np.abs(found - a[20][None, :]).max(axis=1)
    smallest = 3.0 / 0.003 / every
    ours = aligned(values)[2, :: round(smallest)][:21]
    charge = jax.vmap(lambda p: conserved_quantities(p, rate_ratio=RATIO))(flow.values)
    return [
        near(
            "order at which descent meets flow",
            convergence_slope(rates, gaps.tolist()),
            1,
            0.1,
        ),
        agreement(
            compare(
                a[:21],
                ours,
                times=times[:21],
                tolerance=0.003,
                what="flow against descent at a rate of 0.003",
            )
        ),
        at_most("drift along the flow", jnp.abs(charge - charge[:1]).max(), 1e-6),
        near("flow: peak of E_21", borrowed.max(), 0.2029, 1e-3),
        near("flow: time of the peak", times[borrowed.argmax()], 75.6, 0.2),
        near(
            "flow: time at which a_22 passes 1/2",
            crossing_times(times, a[:, 3:], 0.5)[0],
            # Also where descent's 80.14, 80.02, 79.95 at rates 0.01, .005, .0025 lead.
            79.89,
            0.03,
        ),
        at_most(
            "flow: a_11 and a_22 at time 300",
            jnp.abs(a[-1, jnp.array([0, 3])] - jnp.array([0.7778, 0.8575])).max(),
            1e-3,
        ),
    ]
