"""Items 15 to 17: ReLU networks beside their tangent kernels."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic.checklist import (
    Finding,
    Given,
    at_least,
    at_most,
    near,
)
from ssljax.analytic.comparison import (
    convergence_slope,
    crossing_times,
    subspace_overlap,
)
from ssljax.analytic.ntk import empirical_ntk, relu_network, relu_network_init, relu_ntk
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import Simulation, gradient_descent
from ssljax.analytic.stepwise.checklist.crops import (
    PIXELS,
    Crops,
    blocks,
    crops,
    embed,
    tangent,
    whole,
)
from ssljax.analytic.stepwise.kernel import (
    KernelStart,
    kernel_embedding,
    kernel_modes,
    kernel_start,
    kernel_steps,
)


@jax.jit
def start_of(params: Sequence[jax.Array], train: jax.Array) -> KernelStart:
    n, embedded = len(train) // 2, embed(params, train)
    kernel = tangent(params, train, train)
    return kernel_start(*blocks(kernel), embedded[:n], embedded[n:])


def trained(
    views: jax.Array,
    start: list[jax.Array],
    steps: int,
    rate: float,
    every: int,
    record: Callable[[Any], Any] | None = None,
) -> Simulation:
    """Descend on the full batch; record the cross moment's eigenvalues, descending.

    Only the first-layer columns that the training crops reach are trained.
    """
    n, used = len(views) // 2, len(views)

    def loss(params):
        embedded = embed(params, views)
        return losses.linearized_barlow_twins(embedded[:n], embedded[n:])

    def spectrum(params):
        embedded = embed(params, views)
        moment = embedded[:n].T @ embedded[n:] / n
        return jnp.linalg.eigvalsh(0.5 * (moment + moment.T))[::-1]

    seen = [start[0][:, :used], start[1]]
    record = spectrum if record is None else record
    return gradient_descent(loss, seen, steps, rate, record=record, every=every)


@partial(jax.jit, static_argnums=2)
def predicted(points: Crops, params: list[jax.Array], dim: int) -> jax.Array:
    """Predict the held-out crops' embedding by the kernel of these weights."""
    n = len(points.train) // 2
    learn = kernel_embedding(*blocks(tangent(params, points.train, points.train)), dim)
    test = tangent(params, points.held, points.train)
    return learn(test[:, :n], test[:, n:])


def overlap_with(
    points: Crops, params: list[jax.Array], kernel_of: list[jax.Array]
) -> tuple[float, float]:
    """Return the overlap of a held-out embedding with the prediction, and chance."""
    expected = predicted(points, kernel_of, len(params[1]))
    return subspace_overlap(embed(params, points.held), expected)


@in_float64
def infinite_width(given: Given) -> Sequence[Finding]:
    """Compare ``<grad f(x), grad f(x')>`` at random weights with its limit."""
    points = crops(given, 12, 0).train
    scaled = points * np.sqrt(points.shape[1] / PIXELS)
    scales = jnp.array([1.0, 1e-4])
    names = "all layers", "tiny readout"
    limits = jnp.stack([relu_ntk(scaled, readout_scale=scale) for scale in scales])
    keys = jax.random.split(jax.random.key(given.seed), 4)
    widths, gaps = (1024, 4096, 16384), []
    for width in widths:

        def kernel(drawn, width=width):
            key, scale = drawn
            params = relu_network_init(
                key, (points.shape[1], width, 1), readout_scale=scale
            )
            return empirical_ntk(relu_network, params, scaled)

        def distances(scale, limit, kernel=kernel):
            drawn = jax.lax.map(lambda key: kernel((key, scale)), keys)
            gap = jnp.linalg.norm(drawn - limit[None], axis=(1, 2))
            return jnp.sqrt(jnp.mean(gap**2)) / jnp.linalg.norm(limit)

        gaps.append(jax.jit(jax.vmap(distances))(scales, limits))
    found = []
    for name, of_widths in zip(names, jnp.stack(gaps, axis=1), strict=True):
        what = f"relative gap at width {widths[-1]}, {name}"
        found.append(at_most(what, of_widths[-1], 0.04))
        # Halves when the width grows fourfold, within 40 %.
        gain = 4.0 ** -convergence_slope(widths, of_widths.tolist())
        found.append(near(f"gain per fourfold width, {name}", gain, 2.0, 0.8))
    return found


@in_float64
def wide_network(given: Given) -> Sequence[Finding]:
    """Check ``tau_j`` and ``f`` of the first tangent kernel on a network 2048 wide."""
    points = crops(given, 50, 100)
    key = jax.random.key(given.seed)
    found, drifts, dim = [], [], 0
    for width in (2048, 256):
        shape = (points.held.shape[1], width, 10)
        start = relu_network_init(key, shape, readout_scale=1e-5)
        kernel = tangent(start, points.train, points.train)
        if width == 2048:
            # The leak into the next mode is the start to the power 1 - (ratio of the
            # eigenvalues): the dimension with the widest gap follows the theory best.
            spectrum = kernel_modes(*blocks(kernel), 9).gamma
            ratios = spectrum[4:] / spectrum[3:-1]
            dim = 4 + int(jnp.argmin(ratios))
            found.append(at_most(f"gamma_{dim + 1} / gamma_{dim}", ratios.min(), 0.95))
        start[1] = start[1][:dim]
        theory = start_of(start, points.train)
        rate, every = 0.1, 10
        steps = every * int(1.25 * float(theory.critical_times.max()) / rate / every)
        path = trained(points.train, start, steps, rate, every)
        end = whole(start, path.params)
        after = tangent(end, points.train, points.train)
        drifts.append(float(jnp.linalg.norm(after - kernel) / jnp.linalg.norm(kernel)))
        if width != 2048:
            continue
        expected = -jnp.sort(-kernel_steps(theory)(path.times), axis=1)
        crossed = crossing_times(path.times, path.values, 0.5)
        ratio = crossed / np.sort(theory.critical_times) - 1.0
        late = np.max(np.abs(ratio[1:]))
        found.append(at_most("step times from the second on, relative", late, 0.05))
        error = jnp.mean(jnp.abs(path.values - expected))
        found.append(at_most("mean error of the eigenvalues", error, 0.01))
        overlap, chance = overlap_with(points, end, start)
        what = f"overlap on held-out crops (chance {chance:.2f})"
        found.append(at_least(what, overlap, 0.97))
    found.append(at_most("change of the kernel, relative", drifts[0], 0.1))
    found.append(at_most("the same over that at width 256", drifts[0] / drifts[1], 0.6))
    return found


@in_float64
def rich_regime(given: Given) -> Sequence[Finding]:
    """Check ``f`` of the last tangent kernel on a network whose features move."""
    points = crops(given, 50, 100)
    shape = (points.held.shape[1], 256, 10)
    start = relu_network_init(
        jax.random.key(given.seed), shape, hidden_scale=0.1, readout_scale=1e-3
    )
    path = trained(points.train, start, 5500, 2.0, 100)
    end = whole(start, path.params)
    final, chance = overlap_with(points, end, end)
    initial, _ = overlap_with(points, end, start)
    before, after = (tangent(p, points.train, points.train) for p in (start, end))
    growth = jnp.linalg.norm(after) / jnp.linalg.norm(before)
    crossed = crossing_times(path.times, path.values, 0.5)
    earlier = crossed[-1] / start_of(start, points.train).critical_times.max()
    return [
        at_least(f"overlap with the final kernel's (chance {chance:.2f})", final, 0.95),
        at_least(
            f"above that of the first kernel, {initial:.3f}", final - initial, 0.15
        ),
        at_least("growth of the kernel", growth, 10.0),
        at_most("last step over its time by the first kernel", earlier, 0.6),
        at_most("loss at the end", jnp.sum((path.values[-1] - 1.0) ** 2), 1e-2),
    ]
