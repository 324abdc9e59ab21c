"""Gradient descent at a rate and its halves against the flow that it tends to."""

import jax
import numpy as np

from ssljax.analytic.checklist import Finding, agreement, near
from ssljax.analytic.comparison import compare, convergence_slope
from ssljax.analytic.simulate import gradient_descent

HALVINGS = 3


def halved(loss, params, steps: int, rate: float, record):
    """Descend at ``rate``, ``rate/2``, ..., and record at the times of the first.

    Returns ``[rates]``, ``[times]`` and ``[rates, times, modes]``.
    """
    rates = rate * 0.5 ** np.arange(HALVINGS)
    most = steps * 2 ** (HALVINGS - 1)

    def run(rate):
        return gradient_descent(loss, params, most, rate, record=record).values

    values = np.asarray(jax.jit(jax.vmap(run))(rates))
    common = [v[:: 2**k][: steps + 1] for k, v in enumerate(values)]
    return rates, rate * np.arange(steps + 1), np.stack(common)


def against_flow(solution, rates, times, values, what, tolerance) -> list[Finding]:
    """Check agreement at the smallest rate, and first order in the rate."""
    expected = np.asarray(solution(times))
    gaps = [np.abs(v - expected).max() for v in values]
    compared = compare(
        expected, values[-1], times=times, tolerance=tolerance, what=what
    )
    slope = convergence_slope(rates, gaps)
    return [agreement(compared), near(f"order in the rate, {what}", slope, 1.0, 0.1)]
