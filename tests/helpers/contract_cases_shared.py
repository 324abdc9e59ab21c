"""Tangent kernels, simulations and comparisons, as called by the contract."""

import jax
import jax.numpy as jnp
import numpy as np
from contract_case import Case
from contract_inputs import (
    GAMMA,
    ONE,
    RECORD,
    START,
    TIMES,
    WEIGHTS,
    X1,
    X2,
)

from ssljax.analytic import comparison, ntk, simulate

PLAIN = "a comparison in NumPy, of numbers that are there"


def tangent(params, x):
    return jnp.tanh(x @ params.T)


def bowl(width):
    """A quartic with the width as a hyper-parameter."""
    return lambda w: jnp.sum(w**2) / 2 + width * jnp.sum(w) ** 4


def bad_flow(flow, cap):
    """Times that are not ascending from 0 on, and a flow that blows up."""
    return (
        (lambda: flow(np.array([1.0, 0.5])), "times must be ascending and >= 0"),
        (lambda: flow(np.array([-1.0, 0.5])), "times must be ascending and >= 0"),
        (lambda: cap(np.array([0.0, 3.0])), "the flow cannot be followed to time 3"),
    )


CASES = [
    Case(
        "ntk.relu_network_init",
        reason="draws weights",
        bad=(
            (
                lambda: ntk.relu_network_init(jax.random.key(0), (2, 3)),
                "widths must be inputs, hidden, outputs",
            ),
        ),
    ),
    Case(
        "ntk.relu_network",
        lambda first, second, x: ntk.relu_network([first, second], x),
        (WEIGHTS[:, :2], np.array([[0.7, -0.4]]), X1),
    ),
    Case(
        "ntk.relu_ntk",
        lambda x, other, hidden, readout: ntk.relu_ntk(
            x, other, hidden_layers=2, hidden_scale=hidden, readout_scale=readout
        ),
        (X1, X2, np.array(1.1), np.array(0.9)),
        bad=(
            (lambda: ntk.relu_ntk(X1, np.eye(3)), r"x_other must be \[M, 2\]"),
            (
                lambda: ntk.relu_ntk(X1, hidden_layers=0),
                "hidden_layers must be at least 1, got 0",
            ),
        ),
    ),
    Case(
        "ntk.empirical_ntk",
        lambda params, x: ntk.empirical_ntk(tangent, params, x),
        (WEIGHTS[:, :2], X1),
        jit=False,
        bad=(
            (
                lambda: ntk.empirical_ntk(
                    tangent, WEIGHTS[:, :2], X1, directions=np.eye(3)
                ),
                r"directions must be \[K, 2\]",
            ),
        ),
    ),
    Case("simulate.Simulation", reason=RECORD),
    Case(
        "simulate.integrate",
        lambda start, rate, t: (
            simulate.integrate(
                lambda x: -rate * x**3, start, t, estimate_error=False
            ).values
        ),
        (START, GAMMA, TIMES),
        jit=False,
        bad=bad_flow(
            lambda t: simulate.integrate(lambda x: -x, jnp.ones(2), t),
            lambda t: simulate.integrate(lambda x: x**2, jnp.ones(2), t, max_steps=500),
        ),
    ),
    Case(
        "simulate.gradient_flow",
        lambda start, width, t: (
            simulate.gradient_flow(bowl(width), start, t, estimate_error=False).values
        ),
        (START, np.array(0.3), TIMES),
        jit=False,
        bad=bad_flow(
            lambda t: simulate.gradient_flow(bowl(0.3), jnp.ones(2), t),
            lambda t: simulate.gradient_flow(
                lambda w: -jnp.sum(w**3), jnp.ones(2), t, max_steps=500
            ),
        ),
    ),
    Case(
        "simulate.gradient_descent",
        lambda start, width, rate, momentum: (
            simulate.gradient_descent(bowl(width), start, 5, rate, momentum).values
        ),
        (START, np.array(0.3), np.array(0.1), np.array(0.5)),
        jit=False,
        bad=(
            (
                lambda: simulate.gradient_descent(bowl(0.3), ONE, 5, 0.1, 1.5),
                r"momentum must lie in \[0, 1\), got 1.5",
            ),
            (
                lambda: simulate.gradient_descent(bowl(0.3), ONE, 5, np.nan),
                "learning_rate must be > 0, got nan",
            ),
        ),
    ),
    Case("comparison.Comparison", reason=RECORD),
    Case(
        "comparison.compare",
        reason=PLAIN,
        bad=(
            (
                lambda: comparison.compare(
                    np.ones((2, 2)), np.ones((2, 3)), times=TIMES, tolerance=0.1
                ),
                "do not fit",
            ),
        ),
    ),
    Case(
        "comparison.crossing_times",
        reason=PLAIN,
        bad=(
            (lambda: comparison.crossing_times(TIMES, np.ones((3, 1)), 0.5), "not fit"),
        ),
    ),
    Case(
        "comparison.subspace_overlap",
        reason=PLAIN,
        bad=(
            (
                lambda: comparison.subspace_overlap(np.eye(2), np.eye(3)),
                r"two \[N, d\] are needed",
            ),
        ),
    ),
    Case("comparison.convergence_slope", reason=PLAIN),
]
