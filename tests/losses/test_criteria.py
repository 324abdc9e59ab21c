import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ssljax.losses import criteria

sample_contrastive = jax.jit(criteria.sample_contrastive)
dimension_contrastive = jax.jit(criteria.dimension_contrastive)
CRITERIA = [sample_contrastive, dimension_contrastive]
SHAPES = [(4, 7), (6, 6), (9, 3), (2, 5), (1, 3), (3, 1)]


def embeddings(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def by_loops(vectors):
    """Squared products of every vector with every other one."""
    total = 0.0
    for i, a in enumerate(vectors):
        for j, b in enumerate(vectors):
            if i != j:
                total += sum(x * y for x, y in zip(a, b, strict=True)) ** 2
    return total


@pytest.mark.parametrize("n, d", SHAPES)
def test_equal_the_definitions(n, d, float64):
    z = embeddings(n, d)
    rows = np.asarray(z).tolist()
    columns = [list(column) for column in zip(*rows, strict=True)]
    np.testing.assert_allclose(sample_contrastive(z), by_loops(rows), rtol=1e-12)
    np.testing.assert_allclose(dimension_contrastive(z), by_loops(columns), rtol=1e-12)


def test_rows_are_samples(float64):
    # Two equal samples along one axis: the samples coincide, the dimensions do not.
    z = jnp.array([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    assert float(sample_contrastive(z)) == 2 * 4.0**2
    assert float(dimension_contrastive(z)) == 0.0


def test_what_rotates_and_what_does_not(float64):
    z = embeddings(7, 5)
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))
    p, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(7, 7)))
    np.testing.assert_allclose(
        sample_contrastive(z @ q), sample_contrastive(z), rtol=1e-12
    )
    np.testing.assert_allclose(
        dimension_contrastive(p @ z), dimension_contrastive(z), rtol=1e-12
    )
    assert abs(float(sample_contrastive(p @ z) - sample_contrastive(z))) > 1.0
    assert abs(float(dimension_contrastive(z @ q) - dimension_contrastive(z))) > 1.0


@pytest.mark.parametrize("criterion", CRITERIA)
def test_orders_change_nothing_and_a_scale_its_fourth_power(criterion, float64):
    z = embeddings(7, 5)
    rng = np.random.default_rng(1)
    moved = z[rng.permutation(7)][:, rng.permutation(5)]
    np.testing.assert_allclose(criterion(moved), criterion(z), rtol=1e-12)
    np.testing.assert_allclose(criterion(3 * z), 81 * criterion(z), rtol=1e-12)


def test_small_products_are_not_lost_beside_large_norms():
    # The total less its diagonal would be 0 or 2^-24 of 2e8 here.
    z = jnp.array([[100.0, 0.0], [1e-4, 100.0]])
    assert float(sample_contrastive(z)) == pytest.approx(2 * 1e-2**2, rel=1e-5)
    assert float(dimension_contrastive(z)) == pytest.approx(2 * 1e-2**2, rel=1e-5)


@pytest.mark.parametrize("criterion", CRITERIA)
def test_gradient_matches_finite_differences(criterion, float64):
    check_grads(criterion, (embeddings(5, 4),), order=2, modes=["rev"])


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_degenerate_embeddings_have_finite_gradients(criterion, dtype):
    z = np.asarray(embeddings(5, 4), np.float32)
    value_and_grad = jax.jit(jax.value_and_grad(criterion))
    cases = [0 * z, np.full((5, 4), 0.7), np.outer(z[:, 0], z[0]), 1e-4 * z, 1e4 * z]
    cases += [np.where(np.arange(4) == 2, 0.3, z), z[:2]]
    for case in cases:
        case = jnp.asarray(case, dtype)
        value, gradient = value_and_grad(case)
        assert value.dtype == jnp.float32 and gradient.dtype == dtype
        assert np.isfinite(value)
        assert np.isfinite(np.asarray(gradient, np.float32)).all()


@pytest.mark.parametrize("criterion", CRITERIA)
def test_vmap_agrees_with_the_plain_call(criterion, float64):
    z = np.stack([embeddings(6, 5, seed) for seed in (0, 1)])
    expected = [criterion.__wrapped__(one) for one in z]
    np.testing.assert_allclose(jax.vmap(criterion)(z), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (2, 2, 2), (0, 3)])
def test_shapes_are_checked(shape):
    for criterion in (criteria.sample_contrastive, criteria.dimension_contrastive):
        with pytest.raises(ValueError, match=r"one \[N, D\] array, got shape"):
            criterion(jnp.ones(shape))
