"""The prediction head's public functions against brute force and finite differences."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic.prediction_head import (
    HeadParams,
    HeadRule,
    PatchData,
    acceleration,
    conserved_quantities,
    descend,
    effective_rank,
    enumerated_batch,
    feature_velocity,
    neurons,
    output_correlation,
    patch_loss,
    population_batch,
    population_constants,
    population_loss,
    population_moments,
    sample_patches,
    solve_frozen_head,
    substitution_bound,
)

DATA = PatchData()
# Compiles in a tenth of the time of the default generator.
KEY = jax.random.key(0, impl="rbg")
SMALL = PatchData(strengths=(3.0, 2.0), noise=0.7, patches=4, feature_patches=2)


def params_of(seed=0, dimension=4):
    rng = np.random.default_rng(seed)
    off = 0.3 * rng.normal(size=(2, 2)) * (1 - np.eye(2))
    return HeadParams(
        jnp.asarray(0.5 * rng.normal(size=(2, dimension))),
        jnp.asarray(np.eye(2) + off),
    )


@functools.partial(jax.jit, static_argnums=(1, 2))
def draw(key, samples, dimension):
    return sample_patches(key, DATA, samples=samples, dimension=dimension)


def masks(patches):
    for half in itertools.combinations(range(patches), patches // 2):
        yield np.isin(np.arange(patches), half)


@pytest.mark.parametrize("patches, features", [(8, 4), (6, 2), (4, 1), (4, 4)])
def test_constants_are_the_moments_of_all_masks(patches, features):
    first = np.array([mask[:features].sum() for mask in masks(patches)])
    noise = np.array([mask[features:].sum() for mask in masks(patches)])
    np.testing.assert_allclose(
        population_constants(patches, features),
        (
            np.mean(first * (features - first)) / 2,
            np.mean(first**2) / 2,
            np.mean(noise),
        ),
        rtol=1e-13,
        atol=1e-13,
    )


def by_loops(params, batch):
    """The loss, one patch at a time, with batch normalisation as it is defined."""
    (w, head), (patches, first) = jax.tree.map(
        np.asarray, (tuple(params), tuple(batch))
    )
    views = []
    for keep in (first, 1 - first):
        outputs = np.zeros((len(keep), 2))
        for i, j in np.ndindex(*outputs.shape):
            for p in range(keep.shape[1]):
                outputs[i, j] += (w[j] @ (keep[i, p] * patches[i, p])) ** 3
        views.append(outputs)
    online, target = views[0] @ head.T, views[1]
    normal = [(x - x.mean(0)) / x.std(0) for x in (online, target)]
    return 2.0 - np.mean(np.sum(normal[0] * normal[1], axis=1))


def test_the_loss_is_two_minus_the_correlations_of_normalised_outputs(float64):
    batch = draw(KEY, 20, 5)
    params = params_of(dimension=5)
    assert patch_loss(params, batch) == pytest.approx(by_loops(params, batch), 1e-12)


def test_views_are_complementary_halves_of_one_feature_and_noise(float64):
    patches, first = draw(KEY, 500, 6)
    assert patches.shape == (500, 8, 6) and first.shape == (500, 8)
    np.testing.assert_array_equal(first.sum(1), 4)
    shown = np.asarray(patches[:, :4])
    np.testing.assert_array_equal(shown, np.repeat(shown[:, :1], 4, axis=1))
    # One feature per sample, at its strength, both signs; noise beside both features.
    present = np.abs(shown[:, 0, :2])
    np.testing.assert_array_equal(np.sort(np.unique(present)), [0, 4.5, 6])
    np.testing.assert_array_equal((present > 0).sum(1), 1)
    assert abs(np.sign(shown[:, 0, :2].sum(1)).mean()) < 0.2
    np.testing.assert_array_equal(patches[:, 4:, :2], 0)
    assert np.std(patches[:, 4:, 2:]) == pytest.approx(1, abs=0.03)
    assert abs(np.asarray(first).mean(0) - 0.5).max() < 0.1


@pytest.mark.parametrize("make", [population_batch, enumerated_batch])
@pytest.mark.parametrize("data", [DATA, SMALL])
def test_exact_batches_have_the_moments_of_the_population(float64, make, data):
    w = params_of(3).w
    patches, first = make(data)
    views = neurons(w, patches, first), neurons(w, patches, 1 - first)
    cross, own = population_moments(w, data)
    for view in views:
        np.testing.assert_allclose(view.mean(0), 0, atol=1e-11)
        np.testing.assert_allclose(view.T @ view / len(view), own, rtol=1e-11)
    np.testing.assert_allclose(views[0].T @ views[1] / len(views[0]), cross, rtol=1e-9)


def test_moments_are_those_of_gaussian_noise_by_quadrature(float64):
    w, noise = params_of(4, dimension=4).w, 0.7
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    plane = noise * np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    weights = np.outer(weights, weights).reshape(-1) / (2 * np.pi)
    cubes = (plane @ np.asarray(w[:, 2:]).T) ** 3
    parts = (np.asarray(w[:, :2]) * np.array([3.0, 2.0])) ** 3
    constants = population_constants(4, 2)
    own = constants.feature * parts @ parts.T
    own += constants.noise * (cubes * weights[:, None]).T @ cubes
    np.testing.assert_allclose(population_moments(w, SMALL)[1], own, rtol=1e-12)


def test_only_the_plane_of_the_noise_parts_matters(float64):
    params = params_of(5, dimension=9)
    rest = params.w[:, 2:]
    turned = jnp.concatenate(
        [params.w[:, :2], jnp.linalg.cholesky(rest @ rest.T)], axis=1
    )
    exact = patch_loss(params._replace(w=turned), population_batch(DATA))
    np.testing.assert_allclose(population_loss(params, DATA), exact, rtol=1e-12)


def test_gradients_with_every_kind_of_target_match_differences(float64):
    params, other = params_of(6), params_of(7).w
    batch = enumerated_batch(SMALL)

    def values(flat, fixed):
        """Both losses without a target, with their own weights and with others'."""
        p = HeadParams(flat[:8].reshape(2, 4), flat[8:].reshape(2, 2))
        # A stopped target is a constant to the differences, a passed one moves along.
        targets = (fixed, p.w, other)
        closed = [population_loss(p, SMALL, target=t) for t in targets]
        trained = [patch_loss(p, batch, target=t) for t in targets]
        return jnp.stack([jnp.stack(closed), jnp.stack(trained)])

    flat = jnp.concatenate([x.reshape(-1) for x in params])
    steps = 1e-5 * jnp.concatenate([jnp.eye(12), -jnp.eye(12)])
    around = jax.jit(jax.vmap(lambda step: values(flat + step, params.w)))(steps)
    numeric = jnp.moveaxis(around[:12] - around[12:], 0, -1) / 2e-5
    found = jax.jit(jax.jacrev(lambda flat: values(flat, None)))(flat)
    np.testing.assert_allclose(found, numeric, atol=1e-8)


def test_losses_and_rates_can_be_differentiated_in_the_weights(float64):
    params = params_of(9)

    @jax.jit
    def total(w):
        return jnp.sum(feature_velocity(params._replace(w=w), DATA) ** 2)

    step = 1e-6 * jnp.ones((2, 4)) / 3
    numeric = (total(params.w + step) - total(params.w - step)) / 2
    found = jnp.sum(jax.grad(total)(params.w) * step)
    np.testing.assert_allclose(found, numeric, rtol=1e-5)


def test_scale_of_a_neuron_is_bought_with_the_head(float64):
    params = params_of(10)
    scaled = HeadParams(
        params.w * jnp.array([[2.0], [1.0]]),
        params.head * jnp.array([[1.0, 8.0], [1 / 8, 1.0]]),
    )
    np.testing.assert_allclose(
        population_loss(scaled, DATA), population_loss(params, DATA), rtol=1e-12
    )


def test_collapse_attains_the_minimum(float64):
    lowest = 2 - 2 * DATA.constants.cross / DATA.constants.feature
    for rows in ([0, 0], [0, 1], [1, 0]):
        best = HeadParams(jnp.eye(4)[jnp.array(rows)], jnp.eye(2))
        np.testing.assert_allclose(population_loss(best, DATA), lowest, rtol=1e-12)
    assert population_loss(params_of(11), DATA) > lowest


def test_conserved_quantities_do_not_move_along_the_gradient(float64):
    params, ratio = params_of(12), 0.4
    gradient = jax.jit(jax.grad(lambda p: population_loss(p, DATA)))(params)
    velocity = HeadRule(ratio).scale(gradient)
    change = jax.jvp(
        lambda p: conserved_quantities(p, rate_ratio=ratio), (params,), (velocity,)
    )[1]
    np.testing.assert_allclose(change, 0, atol=1e-12)


def test_substitution_bound_follows_from_what_is_conserved():
    assert substitution_bound(0.3, 1.0) == pytest.approx(np.sqrt(0.1))
    all_given = HeadParams(
        np.zeros((2, 4)), np.array([[1.0, 0.0], [substitution_bound(0.3, 2.0), 1.0]])
    )
    assert conserved_quantities(all_given, rate_ratio=0.3)[1] == pytest.approx(4.0)


def test_acceleration_is_exact_where_nothing_is_dropped(float64):
    w = jnp.array([[0.8, 0.0, 0.5, 0.1], [0.1, 0.09, 0.2, 0.6]])
    params = HeadParams(w, jnp.array([[1.0, 0.0], [0.2, 1.0]]))
    found = acceleration(params, DATA)
    np.testing.assert_allclose(
        found.velocity, feature_velocity(params, DATA)[1], rtol=1e-10
    )
    without = acceleration(HeadParams(w, jnp.eye(2)), DATA)
    assert found.factor > found.threshold > without.factor == 1


def test_effective_rank_and_correlation_count_the_outputs(float64):
    assert effective_rank(jnp.eye(5)) == pytest.approx(5)
    assert effective_rank(jnp.ones((3, 3))) == pytest.approx(1, abs=1e-6)
    apart = output_correlation(jnp.eye(2, 4), DATA)
    np.testing.assert_allclose(apart, np.eye(2), atol=1e-12)
    batch = population_batch(DATA)
    seen = neurons(params_of(13).w, *batch)
    np.testing.assert_allclose(
        output_correlation(params_of(13).w, DATA), np.corrcoef(seen.T), rtol=1e-10
    )


def test_descent_follows_its_rule_step_by_step(float64):
    start, rate = params_of(14), 0.05
    batch = population_batch(DATA)
    mask = jnp.array([[0.0, 0.0], [1.0, 0.0]])
    rule = HeadRule(0.7, trainable=mask, target_decay=0.9)
    found = jax.jit(
        lambda start: descend(
            lambda p, target: patch_loss(p, batch, target=target),
            start,
            learning_rate=rate,
            steps=3,
            rule=rule,
        )
    )(start)
    (w, head), target, step = start, start.w, jax.jit(jax.grad(patch_loss))
    for _ in range(3):
        gradient = step(HeadParams(w, head), batch, target=target)
        w = w - rate * gradient.w
        head = head - rate * 0.7 * mask * gradient.head
        target = 0.9 * target + 0.1 * w
    assert found.values.w.shape == (4, 2, 4)
    np.testing.assert_allclose(found.params.w, w, rtol=1e-12)
    np.testing.assert_allclose(found.params.head, head, rtol=1e-12)
    np.testing.assert_allclose(found.times, rate * np.arange(4))


def test_tied_and_ungated_rules(float64):
    gradient = HeadParams(jnp.ones((2, 4)), jnp.array([[1.0, 2.0], [4.0, 8.0]]))
    np.testing.assert_array_equal(
        HeadRule(1.0, tied=1.0).scale(gradient).head, [[0, 3], [3, 0]]
    )
    start, batch = params_of(15), population_batch(DATA)

    @jax.jit
    def both(start):
        path = descend(
            lambda p, target: patch_loss(p, batch, target=target),
            start,
            learning_rate=0.1,
            steps=1,
            rule=HeadRule(stop_gradient=0.0),
        )
        return path.params, jax.grad(lambda p: patch_loss(p, batch, target=p.w))(start)

    through, gradient = both(start)
    np.testing.assert_allclose(through.w, start.w - 0.1 * gradient.w, rtol=1e-12)


@pytest.mark.slow
def test_frozen_solution_moves_at_the_velocity_of_its_features(float64):
    # Neuron 2 prefers the weak feature, neuron 1 has negative signs.
    w = jnp.array([[-0.1, 0.05, 0.9, 0.2], [0.03, -0.09, 0.1, 0.7]])
    solution, times, step = (
        solve_frozen_head(w, DATA),
        np.array([0, 0.5, 2, 10, 60]),
        1e-4,
    )
    found, later, earlier = (solution(times + h) for h in (step, 2 * step, 0.0))
    assert found.shape == (5, 4)
    np.testing.assert_allclose(earlier[0], w[:, :2].reshape(-1), rtol=1e-10)

    @jax.vmap
    def velocity(alignments):
        aligned = alignments.reshape(2, 2)
        rest = jnp.sum(w**2, axis=1) - jnp.sum(aligned**2, axis=1)
        noise = jnp.diag(jnp.sqrt(rest))
        here = HeadParams(jnp.concatenate([aligned, noise], axis=1), jnp.eye(2))
        return feature_velocity(here, DATA).reshape(-1)

    np.testing.assert_allclose(
        (later - earlier) / (2 * step), jax.jit(velocity)(found), rtol=1e-5, atol=1e-9
    )
    assert found[-1, 0] < -0.5 and found[-1, 3] < -0.3


def test_frozen_solution_can_be_differentiated(float64):
    w = params_of(16).w * 0.3

    @jax.jit
    def end(scale, t):
        scaled = w.at[0, 0].multiply(scale)
        return solve_frozen_head(scaled, DATA)(jnp.array([t]))[0, 0]

    found = jax.jit(jax.grad(end, argnums=(0, 1)))(1.0, 1.5)
    step = 1e-5
    numeric = (
        (end(1 + step, 1.5) - end(1 - step, 1.5)) / (2 * step),
        (end(1.0, 1.5 + step) - end(1.0, 1.5 - step)) / (2 * step),
    )
    np.testing.assert_allclose(found, numeric, rtol=1e-5)


@pytest.mark.slow
def test_callers_in_float32_get_float64_without_a_warning():
    params = HeadParams(np.eye(2, 4, dtype=np.float32), np.eye(2, dtype=np.float32))
    assert population_loss(params, DATA).dtype == np.float64
    assert feature_velocity(params, DATA).dtype == np.float64
    path = solve_frozen_head(0.5 * params.w + 0.1, DATA)(jnp.array([0.0, 1.0]))
    assert path.dtype == np.float64 and path.shape == (2, 4)
    # A loss that trains keeps the precision of what it is given.
    noisy = HeadParams(params.w + 0.1, params.head)
    loss = jax.jit(lambda: patch_loss(noisy, draw(KEY, 8, 4)))()
    assert loss.dtype == jnp.float32 and np.isfinite(loss)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: population_constants(7, 2), "patches must be even"),
        (lambda: population_constants(4, 5), "feature_patches must be 1 to 4"),
        (lambda: PatchData(strengths=(1.0, -1.0)), "strengths must be > 0, got -1"),
        (lambda: PatchData(noise=0.0), "noise must be > 0"),
        (lambda: PatchData(patches=5), "patches must be even"),
        (lambda: population_batch(PatchData(strengths=(1.0,))), "two features"),
        (lambda: solve_frozen_head(np.ones((2, 2)), DATA), "features, then noise"),
        (lambda: solve_frozen_head(np.eye(2, 4), DATA), "no entry 0"),
        (lambda: population_moments(np.ones((2, 2)), DATA), "features, then noise"),
        (
            lambda: sample_patches(KEY, DATA, samples=2, dimension=2),
            "dimension must be at least 3, got 2",
        ),
        (
            lambda: acceleration(HeadParams(np.ones((3, 4)), np.eye(3)), DATA),
            "two neurons",
        ),
    ],
)
def test_what_cannot_be_used_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
