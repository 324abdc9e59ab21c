"""Items 1 to 6: the objective, its gradients, where it leads."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from ssljax.analytic.checklist import (
    Finding,
    Given,
    agreement,
    at_least,
    at_most,
    near,
)
from ssljax.analytic.comparison import compare, convergence_slope
from ssljax.analytic.precision import in_float64
from ssljax.analytic.prediction_head import (
    HeadParams,
    HeadRule,
    PatchBatch,
    effective_rank,
    enumerated_batch,
    feature_velocity,
    output_correlation,
    patch_loss,
    population_batch,
    population_constants,
    population_loss,
    sample_patches,
    solve_frozen_head,
)
from ssljax.analytic.prediction_head.checklist.setup import (
    DATA,
    FLOOR,
    RATIO,
    aligned,
    expected_loss,
    random_params,
    simulate,
    start,
    trained_loss,
)

DIVERSE = jnp.array([0.7228, 0.0606, 0.0639, 0.8169])
DRAWS = 9
COLLAPSED = jnp.array([0.7577, 0.0504, 0.7561, 0.0526])


@in_float64
def constants(given: Given) -> list[Finding]:
    """Check ``E[n1 n2]/2 = 12/7``, ``E[n1^2]/2 = 16/7``, ``L >= 2 (1 - 12/16)``."""
    cross, feature, noise = population_constants(8, 4)

    # One program, since compiling takes most of the time.
    @jax.jit
    def measure(elsewhere: HeadParams, enumerated: PatchBatch) -> Any:
        losses_seen = patch_loss(start(), enumerated), patch_loss(elsewhere, enumerated)
        path = simulate(5000, every=10).values
        along = jax.vmap(lambda p: patch_loss(p, population_batch(DATA)))(path)
        expected = jax.vmap(lambda p: population_loss(p, DATA))(path)
        gap = losses_seen[1] - population_loss(elsewhere, DATA)
        return losses_seen[0], abs(gap), abs(along - expected).max(), along.min()

    at_start, gap, gap_along, least = measure(
        random_params(given.seed), enumerated_batch(DATA)
    )
    return [
        near("moment across views", cross, 12 / 7, 1e-12),
        near("moment within a view", feature, 16 / 7, 1e-12),
        near("noise patches per view", noise, 2.0, 1e-12),
        near("loss at the start, every mask and sign", at_start, 1.9992, 1e-4),
        at_most("every mask and sign against closed form", gap, 1e-12),
        at_most("24 samples against closed form", gap_along, 1e-12),
        at_least("smallest loss of the run", least, FLOOR - 1e-9),
    ]


@in_float64
def gradients(given: Given) -> list[Finding]:
    """Check ``grad L`` by differences, with ``dL/d(target) = dL/dE_jj = 0``."""
    # Two widths h and 2 h: their errors of order h^2 cancel. They are large where a
    # draw has a short neuron, since the loss does not see a neuron's scale. What is
    # left is rounding, about eps / h = 2e-11, and h^4 / |neuron|^5.
    widths = jnp.array([1e-5, 2e-5])

    @jax.jit
    def measure(params: HeadParams, enumerated: PatchBatch, others: HeadParams) -> Any:
        few = jax.grad(lambda p: patch_loss(p, population_batch(DATA)))(params)
        many = jax.grad(patch_loss)(params, enumerated)
        fixed = jax.grad(trained_loss)(params, jax.lax.stop_gradient(params.w))
        # The target is a constant for the differences, as it is for the gradient.
        flat, shape = ravel_pytree(params)
        axes = jnp.concatenate([jnp.eye(12), -jnp.eye(12)])
        moved = flat[None, None] + widths[:, None, None] * axes[None]
        loss_at = jax.vmap(jax.vmap(lambda x: expected_loss(shape(x), params.w)))
        forward, backward = jnp.split(loss_at(moved), 2, axis=1)
        narrow, wide = (forward - backward) / (2 * widths[:, None])
        numeric = shape((4 * narrow - wide) / 3)

        def through(params: HeadParams) -> jax.Array:
            found = jax.grad(
                lambda w: patch_loss(params, population_batch(DATA), target=w)
            )(params.w)
            return jnp.abs(found).max()

        velocity = feature_velocity(params, DATA) + few.w[:, :2]
        step = HeadRule(RATIO).scale(few).head
        after = simulate(200, every=200, params=params).params.head
        return (
            _distance(few, numeric),
            _distance(few, many),
            abs(velocity).max(),
            _distance(few, fixed),
            jnp.median(jax.vmap(through)(others)),
            abs(jnp.diag(step)).max(),
            abs(jnp.diag(after) - 1.0).max(),
        )

    # Where a draw happens to be near a minimum, the target's share is small.
    others = jax.tree.map(
        lambda *draws: jnp.stack(draws),
        *[random_params(given.seed + 1000 * k) for k in range(DRAWS)],
    )
    found = measure(random_params(given.seed), enumerated_batch(DATA), others)
    return [
        at_most("against central differences", found[0], 1e-8),
        at_most("every mask and sign against 24 samples", found[1], 1e-12),
        at_most("features' velocity in closed form", found[2], 1e-12),
        near("the target's share of the gradient", found[3], 0.0, 0.0),
        at_least(
            f"what it would be without stop-gradient, median of {DRAWS} draws",
            found[4],
            0.01,
        ),
        near("update of E's diagonal", found[5], 0.0, 0.0),
        near("change of E's diagonal in 200 steps", found[6], 0.0, 0.0),
    ]


def _distance(a: HeadParams, b: HeadParams) -> jax.Array:
    gaps = jax.tree.map(lambda x, y: jnp.abs(x - y).max(), a, b)
    return jnp.maximum(gaps.w, gaps.head)


def _euler(params: HeadParams, gradient: HeadParams) -> jax.Array:
    """Return what must vanish because neurons and outputs have no scale."""
    work = jnp.sum(params.w * gradient.w, axis=1)
    head = 3 * params.head * gradient.head
    return jnp.abs(jnp.stack([work.sum(), work[1] + head[1, 0] - head[0, 1]])).max()


@in_float64
def euler(given: Given) -> list[Finding]:
    """Check ``sum_j w_j . g_j = 0`` and ``w_2 . g_2 = 3 (E_12 G_12 - E_21 G_21)``."""
    sizes = (1024, 2048, 4096)

    def single(tree: Any) -> Any:
        return jax.tree.map(lambda x: x.astype(jnp.float32), tree)

    @jax.jit
    def measure(params: HeadParams, keys: jax.Array) -> Any:
        wide = HeadParams(jnp.pad(params.w, ((0, 0), (0, 2))), params.head)

        def drawn(key: jax.Array) -> tuple[jax.Array, ...]:
            batch = sample_patches(key, DATA, samples=sizes[-1], dimension=6)
            narrow = jax.grad(patch_loss)(single(wide), single(batch))

            def of_first(size: jax.Array) -> jax.Array:
                # Repeated samples change nothing: one program serves all sizes.
                rows = jnp.arange(sizes[-1]) % size
                return jax.grad(patch_loss)(
                    wide, jax.tree.map(lambda x: x[rows], batch)
                ).w

            return _euler(single(wide), narrow), jax.lax.map(of_first, jnp.array(sizes))

        exact = jax.grad(lambda p: patch_loss(p, population_batch(DATA)))(params)
        expected = jax.grad(lambda p: population_loss(p, DATA))(wide).w
        broken, found = jax.lax.map(drawn, keys)
        gaps = found - expected[None, None]
        rms = jnp.sqrt(jnp.mean(gaps**2, axis=(0, 2, 3)))
        bias = jnp.sqrt(jnp.mean(jnp.mean(gaps[:, -1], axis=0) ** 2))
        return _euler(params, exact), broken.max(), rms, bias

    # This generator compiles ten times faster than the default one.
    keys = jax.random.split(jax.random.key(given.seed, impl="rbg"), 60)
    exact, broken, rms, bias = measure(random_params(given.seed), keys)
    return [
        at_most("population", exact, 1e-12),
        at_most("60 batches in float32", broken, 1e-5),
        near("batches against population", convergence_slope(sizes, rms), -0.5, 0.1),
        at_most("their mean, in errors of one", bias / rms[-1], 0.4),
    ]


@in_float64
def with_head(given: Given) -> list[Finding]:
    """Check ``E -> I`` and ``a -> diagonal`` where the head is trained."""
    path = simulate(5000, every=10)
    theory = simulate(5000, every=10, loss=expected_loss)
    found = aligned(path.values)
    off = abs(path.params.head - jnp.eye(2)).max()
    return [
        agreement(
            compare(
                aligned(theory.values),
                found,
                times=path.times,
                tolerance=1e-8,
                what="moments in closed form against the trained loss",
            )
        ),
        at_most("alignments at step 5000", abs(found[-1] - DIVERSE).max(), 2e-3),
        at_most("|E - I|", off, 1e-4),
        at_most("loss", population_loss(path.params, DATA), 0.501),
    ]


@in_float64
def without_head(given: Given) -> list[Finding]:
    """Compare ``da_jl/dt = 3 c alpha_l^6 a_jl^5 N_j/V_jj^2``, the flow at ``E = I``."""
    runs = simulate(5000, every=5000, ratio=jnp.array([RATIO, 0.0])).params
    apart, collapsed = (output_correlation(w, DATA) for w in runs.w)
    # The same total time of 12 at three rates, in one program.
    rates = [0.006, 0.003, 0.0015]
    paths = simulate(8000, every=50, ratio=0.0, rate=jnp.array(rates))
    solution = solve_frozen_head(start().w, DATA)
    times = paths.times[0][:41]
    expected = solution(times)
    found = [
        aligned(paths.values)[i, : 40 * k + 1 : k] for i, k in enumerate((1, 2, 4))
    ]
    gaps = [float(abs(values - expected).max()) for values in found]
    return [
        at_most(
            "alignments at step 5000", abs(aligned(runs)[1] - COLLAPSED).max(), 2e-3
        ),
        at_least("correlation of the outputs", collapsed[0, 1], 0.999),
        at_most("the same with a head", apart[0, 1], 0.01),
        at_most("effective rank", effective_rank(collapsed), 1.01),
        at_least("the same with a head", effective_rank(apart), 1.99),
        near(
            "order at which descent meets it", convergence_slope(rates, gaps), 1.0, 0.1
        ),
        agreement(
            compare(
                expected,
                found[-1],
                times=times,
                tolerance=0.005,
                what="closed form of the frozen head against descent",
            )
        ),
    ]


@in_float64
def equally_good(given: Given) -> list[Finding]:
    """Check that ``L = 2 (1 - cross/feature)`` at both ends."""

    @jax.jit
    def measure(same: HeadParams) -> Any:
        ends = simulate(5000, every=5000, ratio=jnp.array([RATIO, 0.0])).params
        found = jax.vmap(lambda p: patch_loss(p, population_batch(DATA)))(ends)
        return found, trained_loss(same, same.w)

    both_strong = HeadParams(jnp.eye(4)[jnp.array([0, 0])], jnp.eye(2))
    (apart, collapsed), least = measure(both_strong)
    return [
        at_most("diverse", apart, 0.501),
        at_most("collapsed", collapsed, 0.501),
        near("both neurons one feature, no noise", least, FLOOR, 1e-12),
        at_least("neither is below", min(apart, collapsed), FLOOR - 1e-9),
    ]
