"""Item 25: descent on batches of a few pairs."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import stepwise as theory
from ssljax.analytic.checklist import Finding, Given, at_least, at_most, near
from ssljax.analytic.comparison import convergence_slope, crossing_times
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent
from ssljax.analytic.stepwise.checklist.network import Values, rotation

GAMMA, SIGMA = np.array([1.0, 0.7, 0.4]), np.array([1.2, 0.8, 0.7])
START = np.array([0.1, 0.2, 0.15])
TIMES = np.linspace(0.0, 2.0, 1001)
# Of these, where the mean and variance of runs are recorded.
RECORDED = np.arange(100, 601, 100)
# At 0.04 one run in some 40,000 meets batches that make it diverge.
RATES = (0.025, 0.0125, 0.00625)


def descend(
    seed: int, *, rate: float, batch_size: int, runs: int, end: float, records: int
) -> Values:
    """Train on fresh normal pairs; singular values, ``[runs, records + 1, modes]``."""
    steps = round(end / rate)
    keys = jax.random.split(jax.random.key(seed), runs)
    axes = rotation(seed, 3), rotation(seed + 1, 3)
    return np.asarray(
        _paths(keys, *axes, rate, batch_size, steps=steps, every=steps // records)
    )


@partial(jax.jit, static_argnums=4, static_argnames=("steps", "every"))
def _paths(
    keys: jax.Array,
    left: jax.Array,
    right: jax.Array,
    rate: jax.Array,
    batch_size: int,
    *,
    steps: int,
    every: int,
) -> jax.Array:
    # Sum and difference of the views are independent.
    sums, gaps = np.sqrt((SIGMA + GAMMA) / 2), np.sqrt((SIGMA - GAMMA) / 2)

    def loss(w: jax.Array, key: jax.Array) -> jax.Array:
        # In single precision, because drawing takes most of the time.
        drawn = jax.random.normal(key, (2, batch_size, 3), jnp.float32).astype(float)
        a, b = drawn[0] * sums[None, :], drawn[1] * gaps[None, :]
        return losses.linearized_barlow_twins(
            (a + b) @ right.T @ w.T, (a - b) @ right.T @ w.T
        )

    def run(key: jax.Array) -> jax.Array:
        return gradient_descent(
            loss,
            (left * START[None, :]) @ right.T,
            steps,
            rate,
            record=lambda w: jnp.einsum("ij,ik,kj->j", left, w, right),
            every=every,
            key=key,
        ).values

    return jax.vmap(run)(keys)


def predicted(rate: float, batch_size: float, of: str = "mean") -> Values:
    """Return `solve_batches` at `TIMES`."""
    solution = theory.solve_batches(
        START,
        gamma=GAMMA,
        sigma=SIGMA,
        batch_size=batch_size,
        learning_rate=rate,
        of=of,
    )
    return np.asarray(solution(TIMES))


def trajectories(seed: int) -> list[Finding]:
    """Compare the mean and variance of 2,048 runs with the theory, rate by rate."""
    runs, batch_size = 2048, 8
    end, records = float(TIMES[RECORDED[-1]]), len(RECORDED)
    flow, alone = (predicted(1e-12, size)[RECORDED] for size in (batch_size, 1e12))
    sizes, doubts, spreads, within = [], [], [], {}
    for rate in RATES:
        found = descend(
            seed, rate=rate, batch_size=batch_size, runs=runs, end=end, records=records
        )[:, 1:]
        mean, error = found.mean(axis=0), found.std(axis=0) / np.sqrt(runs)
        expected = predicted(rate, batch_size)[RECORDED]
        # Along the first correction, which the noise hides less than single numbers.
        along = (expected - flow) / np.linalg.norm(expected - flow)
        sizes.append(np.sum(along * (mean - flow)))
        doubts.append(np.sum(np.abs(along) * error) / sizes[-1])
        variance = predicted(rate, batch_size, "variance")[RECORDED]
        ratio = found.var(axis=0) / variance
        spreads.append(np.abs(np.log(ratio)).mean())
        for name, values in (("all", expected), ("flow", flow), ("alone", alone)):
            within[name] = np.max(np.abs(mean - values) / error)
    error = np.hypot(doubts[0], doubts[-1]) / np.log(RATES[0] / RATES[-1])
    what = "batches of 8: standard errors between the mean of 2,048 runs and the"
    return [
        at_most(f"{what} theory", within["all"], 5.0),
        at_least(f"{what} flow of the mean loss", within["flow"], 5.0),
        at_least(f"{what} flow of the loss of the mean", within["alone"], 50.0),
        near(
            "order in the rate of the gap to the flow of the mean loss",
            convergence_slope(RATES, sizes),
            1.0,
            0.15 + 4.0 * error,
        ),
        # Both are of first order; a quarter is expected.
        at_most(
            "variance: mean |log ratio| at a quarter of the rate, over that before",
            spreads[-1] / spreads[0],
            0.5,
        ),
    ]


def half_times(seed: int) -> list[Finding]:
    """Compare crossing times of 512 runs, and the closed form with its flow."""
    runs, rate, batch_size, end = 512, 0.01, 32, float(TIMES[-1])
    numbers = {"gamma": GAMMA, "sigma": SIGMA}
    sizes, gaps = (32, 64, 128), []
    for size in sizes:
        exact = crossing_times(TIMES, GAMMA * predicted(1e-12, size) ** 2, 0.5)
        closed = theory.batch_half_times(START, batch_size=size, **numbers).mean
        gaps.append(np.abs(exact - np.asarray(closed)))
    paths = descend(
        seed, rate=rate, batch_size=batch_size, runs=runs, end=end, records=100
    )
    times = np.linspace(0.0, end, paths.shape[1])
    crossed = np.stack([crossing_times(times, GAMMA * p**2, 0.5) for p in paths])
    theirs = theory.batch_half_times(
        START, batch_size=batch_size, learning_rate=rate, **numbers
    )
    mean, deviation = map(np.asarray, theirs)
    error = crossed.std(axis=0) / np.sqrt(runs)
    # What the closed form leaves out: 1 / B^2, and h / B of the modes together.
    left_out = gaps[0] + rate / batch_size * (1.0 + (SIGMA / GAMMA) ** 2)
    off = np.abs(crossed.mean(axis=0) - mean) / (4.0 * error + left_out)
    plain = np.asarray(theory.half_times(START, GAMMA))
    late = (crossed.mean(axis=0) - plain) / error
    ratio = crossed.std(axis=0) / deviation
    return [
        near(
            "half times in closed form: order in 1 / B of the gap to the flow",
            convergence_slope(sizes, [gap.max() for gap in gaps]),
            -2.0,
            0.1,
        ),
        at_most(
            "batches of 32: mean half time, gap over what is allowed", off.max(), 1
        ),
        at_least("standard errors by which the last mode is late", late[-1], 10.0),
        near(
            "standard deviation of half times over the closed form, mean",
            ratio.mean(),
            1.0,
            4.0 / np.sqrt(2.0 * runs) + 2.0 / batch_size,
        ),
    ]


@in_float64
def fresh_batches(given: Given) -> Sequence[Finding]:
    """Check ``ds/dt = 4 g s (1 - c) - 2 s / B (sigma (v + sum v) + g (c + sum c))``."""
    return [*trajectories(given.seed), *half_times(given.seed)]
