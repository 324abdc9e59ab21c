"""Item 24: how constant the tangent kernel of a network of finite width is."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import stepwise as theory
from ssljax.analytic.checklist import Finding, Given, at_most, near
from ssljax.analytic.comparison import convergence_slope
from ssljax.analytic.ntk import relu_network, relu_network_init
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent
from ssljax.analytic.stepwise.checklist.network import Values, noisy_pairs
from ssljax.analytic.stepwise.finite_width import Apply, Loss

PAIRS, INPUTS, OUTPUTS, DRAWS = 6, 8, 3, 24
WIDTHS, STEPS, RATE = (32, 128, 512), 40, 0.04


class Runs(NamedTuple):
    """Figures of training runs, ``[widths, draws]``."""

    change: Any
    """Of the kernel, relative, in the Frobenius norm."""
    operator: Any
    """The same in the operator norm."""
    bound: Any
    """The largest relative change that the loss at the start allows."""
    distance: Any
    """That the weights moved."""
    radius: Any
    """Of the ball that the loss at the start allows."""
    gap: Any
    """Largest gap to the linearised network in the eigenvalues of C."""
    crossed: Any
    """Number of units and inputs whose preactivation has changed its sign."""


def trained(seed: int, loss: Loss, apply: Apply, *, linear: bool) -> Runs:
    """Train networks of all widths in one program.

    Those of fewer units than the widest have weights of zero for the rest, which stay
    zero and add nothing to the kernel.
    """
    x = np.concatenate(noisy_pairs(seed, PAIRS, INPUTS))
    shape = (INPUTS, WIDTHS[-1], OUTPUTS)
    keys = jax.random.split(jax.random.key(seed), (len(WIDTHS), DRAWS))
    draw = jax.vmap(jax.vmap(lambda key: relu_network_init(key, shape)))
    hidden, readout = map(np.asarray, draw(keys))
    inside = np.arange(WIDTHS[-1])[None, :] < np.array(WIDTHS)[:, None]
    starts = [hidden * inside[:, None, :, None], readout * inside[:, None, None, :]]
    found = map(np.asarray, _train(starts, x, loss, apply, linear))
    change, operator, size, distance, radius, gap, crossed = found
    bounds = [
        _bounds([hidden[i, :, :width], readout[i, :, :, :width]], radius[i], x)
        for i, width in enumerate(WIDTHS)
    ]
    bounds = np.stack(bounds) / size
    return Runs(change, operator, bounds, distance, radius, gap, crossed)


@jax.jit
@partial(jax.vmap, in_axes=(0, 0, None))
def _bounds(start: list[jax.Array], radius: jax.Array, x: jax.Array) -> jax.Array:
    return theory.kernel_change_bound(start, x, distance=radius)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _train(
    starts: list[jax.Array], x: jax.Array, loss: Loss, apply: Apply, linear: bool
) -> Any:
    """Return the figures of runs from starts ``[widths, draws, ...]``."""
    every = STEPS // 4

    def spectrum(embedded: jax.Array) -> jax.Array:
        moment = embedded[:PAIRS].T @ embedded[PAIRS:] / PAIRS
        return jnp.linalg.eigvalsh(0.5 * (moment + moment.T))

    def one(start: list[jax.Array], width: jax.Array) -> tuple[jax.Array, ...]:
        def narrow(params: Any, x: jax.Array) -> jax.Array:
            return jnp.sqrt(WIDTHS[-1] / width) * apply(params, x)

        drift, run = theory.kernel_drift(
            loss,
            narrow,
            start,
            x[:PAIRS],
            x[PAIRS:],
            steps=STEPS,
            learning_rate=RATE,
            every=every,
        )
        gap = jnp.zeros(())
        if linear:
            twin = theory.linearized_network(narrow, start)
            expected = gradient_descent(
                lambda params: loss(*jnp.split(twin(params, x), 2)),
                start,
                STEPS,
                RATE,
                record=lambda params: spectrum(twin(params, x)),
                every=every,
            ).values
            gap = jnp.max(jnp.abs(jax.vmap(spectrum)(run.values) - expected))
        radius = jnp.sqrt(STEPS * RATE * drift.loss[0])
        before, after = (jnp.sign(x @ p[0].T) for p in (start, run.params))
        found = drift.frobenius[-1], drift.operator[-1], drift.size
        return *found, drift.distance[-1], radius, gap, jnp.sum(before != after)

    of_draws = jax.vmap(one, in_axes=(0, None))
    return jax.vmap(of_draws)(starts, jnp.array(WIDTHS, float))


def order(sizes: Values) -> tuple[float, float]:
    """Return the power of the width that a size follows, and four standard errors."""
    logs, steps = np.log(sizes), np.log(WIDTHS) - np.mean(np.log(WIDTHS))
    errors = logs.std(axis=1) / np.sqrt(DRAWS - 1)
    spread = np.sqrt(np.sum((steps * errors) ** 2)) / np.sum(steps**2)
    means = np.exp(logs.mean(axis=1))
    return convergence_slope(WIDTHS, means.tolist()), 4.0 * float(spread)


@in_float64
def constancy(given: Given) -> Sequence[Finding]:
    """Check ``|dK| <= (2 |H| + dH) dH + max P (2 |T| + dT) dT``, dH, dT ~ 1/sqrt(M)."""
    smooth, seed = theory.tanh_network, given.seed
    findings = []

    def follows(what: str, sizes: Values, expected: float, next_order: float) -> None:
        found, error = order(sizes)
        findings.append(near(what, found, expected, next_order + error))

    for name, loss in (
        ("linearised", losses.linearized_barlow_twins),
        ("standardised", losses.barlow_twins),
    ):
        linear = name == "linearised"
        runs = trained(seed, loss, smooth, linear=linear)
        share, what = np.max(runs.change / runs.bound), f"tanh, {name}:"
        path = np.max(runs.distance / runs.radius)
        # Draws differ less per squared distance, which does not depend on the width.
        # The next order is smaller by 1 / sqrt(M), a sixth at the least width.
        square = runs.distance**2
        change = "kernel's change per squared distance"
        follows(f"{what} order of the {change}", runs.change / square, -1.0, 0.1)
        follows(f"{what} the same, operator norm", runs.operator / square, -1.0, 0.1)
        findings += [
            at_most(f"{what} largest change over its bound", share, 1.0),
            at_most(f"{what} weights' distance over sqrt(t L(0))", path, 1.0),
        ]
        if linear:
            follows(f"{what} order of the bound", runs.bound, -0.5, 0.1)
            law = "the stepwise law of the first kernel"
            gap = runs.gap / square
            follows(f"{what} order of C's gap to {law}, as much", gap, -1.0, 0.1)
    runs = trained(seed, losses.linearized_barlow_twins, relu_network, linear=False)
    what = "ReLU, linearised: order of"
    # Between that of the units' sum and that of their kinks.
    follows(f"{what} the kernel's change", runs.change, -0.75, 0.25)
    follows(f"{what} the number of crossed kinks", runs.crossed, 0.5, 0.1)
    return findings
