"""The two criteria of the duality, and what the losses make of them.

The identities and bounds themselves are items of the checklist of
`ssljax.analytic.duality`.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_inputs import normal, rotation

from ssljax import losses
from ssljax.losses import criteria


@jax.jit
@jax.vmap
def both(z):
    """The criteria of samples and of dimensions, for a batch of embeddings."""
    return jnp.stack([losses.sample_contrastive(z), losses.dimension_contrastive(z)])


def evaluate(*embeddings):
    return np.asarray(both(np.stack(embeddings)))


def by_loops(vectors):
    """Squared products of every vector with every other one."""
    total = 0.0
    for i, a in enumerate(vectors):
        for j, b in enumerate(vectors):
            if i != j:
                total += sum(x * y for x, y in zip(a, b, strict=True)) ** 2
    return total


@pytest.mark.parametrize("n, d", [(4, 7), (6, 6), (9, 3), (2, 5), (1, 3), (3, 1)])
def test_values_equal_the_definitions(n, d, float64):
    rows = normal(n, d).tolist()
    columns = [list(column) for column in zip(*rows, strict=True)]
    ((of_samples, of_dimensions),) = evaluate(rows)
    np.testing.assert_allclose(of_samples, by_loops(rows), rtol=1e-12)
    np.testing.assert_allclose(of_dimensions, by_loops(columns), rtol=1e-12)


def test_rows_are_samples(float64):
    # Two equal samples along one axis: the samples coincide, the dimensions do not.
    (values,) = evaluate([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    assert values.tolist() == [2 * 4.0**2, 0.0]


def test_rotations_keep_one_criterion_each(float64):
    z, q, p = normal(7, 5), rotation(5, seed=1), rotation(7, seed=2)
    plain, dimensions, samples = evaluate(z, z @ q, p @ z)
    np.testing.assert_allclose(dimensions[0], plain[0], rtol=1e-12)
    np.testing.assert_allclose(samples[1], plain[1], rtol=1e-12)
    assert abs(samples[0] - plain[0]) > 1.0
    assert abs(dimensions[1] - plain[1]) > 1.0


def test_orders_change_nothing_and_a_scale_its_fourth_power(float64):
    z = normal(7, 5)
    rng = np.random.default_rng(1)
    moved = z[rng.permutation(7)][:, rng.permutation(5)]
    plain, moved, longer = evaluate(z, moved, 3 * z)
    np.testing.assert_allclose(moved, plain, rtol=1e-12)
    np.testing.assert_allclose(longer, 81 * plain, rtol=1e-12)


def test_small_products_are_not_lost_beside_large_norms():
    # The total less its diagonal would be 0 or 2^-24 of 2e8 here.
    (values,) = evaluate(np.array([[100.0, 0.0], [1e-4, 100.0]], np.float32))
    np.testing.assert_allclose(values, 2 * 1e-2**2, rtol=1e-5)


def test_most_embeddings_lie_between_the_bounds(float64):
    """The ends themselves, and what attains them: item 5 of the checklist."""
    for n, d in ((9, 6), (6, 9)):
        z = normal(n, d)
        ((of_samples, of_dimensions),) = evaluate(
            z / np.linalg.norm(z, axis=1, keepdims=True)
        )
        gap = of_samples - of_dimensions
        assert n**2 / d - n + 1e-2 < gap < n**2 - n - 1.0


@pytest.mark.parametrize("n, d", [(9, 4), (4, 9), (6, 6)])
def test_reductions_of_the_losses_on_equal_views(n, d, float64):
    z = normal(n, d)
    mu = 1e3  # larger than every squared norm: nothing is projected
    weights = dict(invariance_weight=0.0, variance_weight=0.0, covariance_weight=1.0)

    @jax.jit
    def terms(z):
        covariance = losses.vicreg(z, z, **weights) / 2  # of one view
        on, all_entries = (
            losses.barlow_twins(z, z, off_diagonal_weight=w) for w in (0.0, 1.0)
        )
        spectral = mu * losses.spectral_contrastive(z, z, mu=mu)
        attraction = 2 * jnp.mean(jnp.sum(z**2, axis=1))
        return covariance, all_entries - on, spectral + attraction

    covariance, redundancy, repulsion = terms(z)
    equal = partial(np.testing.assert_allclose, rtol=1e-12)

    centered, scale = z - z.mean(axis=0), d * (n - 1) ** 2
    standard = centered / np.sqrt((centered**2).mean(axis=0) + 1e-5)
    of_plain, of_centered, of_standard = evaluate(z, centered, standard)
    equal(covariance, of_centered[1] / scale)
    # The same, written as a sample-contrastive loss with a penalty on norms.
    rows, columns = (((centered**2).sum(axis=k) ** 2).sum() for k in (1, 0))
    equal(covariance, (of_centered[0] + rows - columns) / scale)
    equal(redundancy, of_standard[1] / n**2)
    equal(repulsion, of_plain[0] / (n * (n - 1)))


def test_shapes_are_checked():
    for criterion in (criteria.sample_contrastive, criteria.dimension_contrastive):
        for shape in [(3,), (2, 2, 2), (0, 3)]:
            with pytest.raises(ValueError, match=r"one \[N, D\] array, got shape"):
                criterion(jnp.ones(shape))
