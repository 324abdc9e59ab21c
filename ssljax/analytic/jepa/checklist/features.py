"""Items 1 to 5: times, limits, critical times and the order of learning."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic import jepa as theory
from ssljax.analytic.checklist import Finding, Given, at_least, at_most, near
from ssljax.analytic.comparison import convergence_slope
from ssljax.analytic.jepa.checklist import network
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent

# Feature 0 covaries more, feature 1 has the larger regression coefficient: the first
# is a noisy one of high variance. Then two of equal covariance.
COVARIANCE = np.array([1.0, 0.8, 0.9, 0.9])
VARIANCE = np.array([1.6, 0.6, 0.75, 1.5])
START = 0.02
# As many as item 1 needs, up to the next power of two: items share their programs.
RECORDS = 11
OBJECTIVES = ("jepa", "mae")


def _levels(depth: int, objective: str, share: float = 0.5) -> dict[str, Any]:
    """Return the moments, and half the limits as levels."""
    given = {
        "covariance": COVARIANCE,
        "variance": VARIANCE,
        "depth": depth,
        "objective": objective,
    }
    return given | {"level": share * theory.encoder_limits(**given)}


@functools.cache
def _simulated(depth: int, seed: int) -> tuple[dict, dict]:
    """Return predicted times to half the limits, and the values simulated there."""
    start = np.full(4, START)
    expected = {
        name: np.asarray(theory.encoder_time(start, **_levels(depth, name)))
        for name in OBJECTIVES
    }
    predicted = np.concatenate([*expected.values()])
    times = np.sort(np.concatenate([[0.0], predicted, [1.5 * predicted.max()]]))
    views = network.exact_pairs(COVARIANCE, VARIANCE, seed)
    found = network.flow_of(views, network.aligned(start, depth, seed), times)
    values = network.encoders(found)
    at = {
        name: values[name][np.searchsorted(times, t), np.arange(4)]
        for name, t in expected.items()
    }
    last = {f"last {name}": values[name][-1] for name in OBJECTIVES}
    return expected, at | last


@in_float64
def times_to_learn(given: Given) -> Sequence[Finding]:
    """Check ``dW/dt = L (c W^(3 - 1/L) - s W^3)``; MAE: ``W^(2 - 1/L)``.

    Here c is the covariance, s the variance, and the check is of the integral.
    """
    findings = []
    for depth in (1, 3):
        _, found = _simulated(depth, given.seed)
        for name in OBJECTIVES:
            numbers = _levels(depth, name)
            level = np.asarray(numbers.pop("level"))
            limit = np.asarray(theory.encoder_limits(**numbers))
            what = f"{name.upper()}, depth {depth}"
            findings += [
                # The flow is integrated to about 1e-9.
                at_most(
                    f"{what}: level missed at its time",
                    np.abs(found[name] / level - 1.0).max(),
                    1e-6,
                ),
                # Within half as long again as the slowest feature takes.
                at_most(
                    f"{what}: last from the limit",
                    np.abs(found[f"last {name}"] / limit - 1.0).max(),
                    1e-3,
                ),
            ]
    return findings


@in_float64
def order(given: Given) -> Sequence[Finding]:
    """Check which of two features is first: by covariance, or by its coefficient."""
    findings = []
    for depth, first in ((1, 0), (3, 1)):
        expected, found = _simulated(depth, given.seed)
        for name in OBJECTIVES:
            head_start = float(np.log(expected[name][1] / expected[name][0]))
            what = f"{name.upper()}, depth {depth}: log of time 1 over time 0"
            wins = first if name == "jepa" else 0
            bound = at_least if wins == 0 else at_most
            findings.append(bound(what, head_start, 0.1 if wins == 0 else -0.1))
    # Of two features that covary alike JEPA learns the one of larger coefficient, the
    # earlier the deeper the encoder.
    shares = []
    for depth in (1, 2, 3, 4):
        t = theory.encoder_time(np.full(4, START), **_levels(depth, "jepa"))
        shares.append(float(t[3] / t[2]))
    expected, found = _simulated(3, given.seed)
    level = np.asarray(_levels(3, "jepa")["level"])
    gap = np.abs(found["jepa"][2:] / level[2:] - 1.0).max()
    return [
        *findings,
        at_least("least growth with depth of the ratio", np.diff(shares).min(), 0.15),
        at_most("both levels at their times, depth 3, simulated", gap, 1e-6),
    ]


@in_float64
def kept(given: Given) -> Sequence[Finding]:
    """Check ``v^2 - w^2 = const`` from a predictor of another size, and its modes."""
    depth, start = 3, np.array([0.2, 0.4, 0.3, 0.25])
    predictor = np.array([0.9, 0.3, 1.2, 0.6])
    params = network.aligned(start, depth, given.seed, predictor=predictor)
    views = network.exact_pairs(COVARIANCE, VARIANCE, given.seed)
    times = np.linspace(0.0, 10.0, RECORDS)
    found = network.flow_of(views, params, times)
    findings = []
    for name in OBJECTIVES:
        numbers = _levels(depth, name)
        del numbers["level"]
        exact = theory.solve_encoder(start, predictor=predictor, **numbers)(times)
        values = network.values_of(found[name])
        gram = [np.asarray(w) for w in found[name]]
        moved = 0.0
        # All layers: the imbalance of neighbours is a matrix, as Theorem 1 of Tian's.
        for below, above in zip(gram[:-1], gram[1:], strict=True):
            gap = np.swapaxes(above, 1, 2) @ above - below @ np.swapaxes(below, 1, 2)
            moved = max(moved, float(np.abs(gap - gap[0]).max()))
        findings += [
            at_most(
                f"{name.upper()}: flow of the loss from theory",
                np.abs(values - exact).max(),
                1e-6,
            ),
            at_most(f"{name.upper()}: change of what is kept", moved, 1e-7),
        ]
    return findings


@in_float64
def critical(given: Given) -> Sequence[Finding]:
    """Check ``t = sum_n 1 / (n c rho^(2L-1-n) W0^(n/L))``; MAE: one term, then O(1).

    Against the closed form, which item 1 holds against the losses: their flow from so
    small a start would take a million steps.
    """
    starts, findings = np.array([1e-4, 1e-6]), []
    depth, joint, own = 3, 0.9, 0.6
    rho = joint / own
    for name in OBJECTIVES:
        numbers: dict[str, Any] = {
            "covariance": joint,
            "variance": own,
            "depth": depth,
            "objective": name,
        }
        level = 0.5 * theory.encoder_limits(**numbers)
        exact = np.asarray(theory.encoder_time(starts, level, **numbers))
        rest = exact - np.asarray(theory.critical_time(starts, **numbers))
        slope = np.diff(rest) / np.diff(-np.log(starts))
        # The next term is log(1 / W0) / (L c rho^(2L - 1)), for MAE a constant.
        expected = 1.0 / (depth * joint * rho ** (2 * depth - 1))
        wanted = expected if name == "jepa" else 0.0
        findings.append(
            # A layer that starts at .05 of its limit has terms smaller by that.
            near(
                f"{name.upper()}: slope of the rest against log(1 / W0)",
                slope[0],
                wanted,
                0.03 * expected,
            )
        )
    return findings


@in_float64
def descent(given: Given) -> Sequence[Finding]:
    """Check that descent meets ``W(t)`` at first order in the step."""
    depth, start = 3, np.array([0.1, 0.2, 0.3, 0.15])
    params = network.aligned(start, depth, given.seed)
    loss = network.loss_of(network.exact_pairs(COVARIANCE, VARIANCE, given.seed))
    rates, total = (0.04, 0.02, 0.01), 8.0

    @jax.jit
    def descend(rate: jax.Array) -> Any:
        return gradient_descent(loss, params, 800, rate, every=20).values

    times, findings = np.linspace(0.0, total, RECORDS), []
    found = [network.encoders(descend(jnp.asarray(rate))) for rate in rates]
    for name in OBJECTIVES:
        numbers = _levels(depth, name)
        del numbers["level"]
        exact = np.asarray(theory.solve_encoder(start, **numbers)(times))
        gaps = [
            np.abs(values[name][:: 2**i][:RECORDS] - exact).max()
            for i, values in enumerate(found)
        ]
        slope = convergence_slope(rates, gaps)
        what = f"{name.upper()}: order of convergence of descent"
        findings.append(near(what, slope, 1.0, 0.1))
    return findings
