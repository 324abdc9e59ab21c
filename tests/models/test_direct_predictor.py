"""The closed-form predictor and its moment, as Halvagal et al. define them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.models.predictors import direct_predictor, update_covariance


def covariance(d=6, seed=0, rank=None):
    rows = np.random.default_rng(seed).normal(size=(rank or 2 * d, d))
    return jnp.asarray(rows.T @ rows / len(rows))


def test_the_moment_follows_its_recursion(float64):
    rng = np.random.default_rng(0)
    batches = rng.normal(size=(4, 9, 3)) + 0.5
    expected, actual = np.zeros((3, 3)), jnp.zeros((3, 3))
    for batch in batches:
        second = np.zeros((3, 3))
        for row in batch:
            second += np.outer(row, row) / len(batch)
        expected = 0.7 * expected + 0.3 * second
        actual = update_covariance(actual, jnp.asarray(batch), momentum=0.7)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("exponent", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.25])
def test_epsilon_stands_inside_the_power(exponent, epsilon):
    c = covariance().astype(jnp.float32)
    w = direct_predictor(c, exponent=exponent, epsilon=epsilon)
    s = np.linalg.eigvalsh(np.asarray(c, np.float64))
    eigenvalues = np.linalg.eigvalsh(np.asarray(w, np.float64))
    expected = (s / s[-1] + epsilon) ** exponent
    np.testing.assert_allclose(eigenvalues, expected, rtol=1e-5, atol=1e-6)
    assert eigenvalues[-1] == pytest.approx((1 + epsilon) ** exponent, rel=1e-5)
    np.testing.assert_array_equal(w, w.T)


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_the_root_squared_is_the_predictor(exponent, rank):
    c = covariance(rank=rank).astype(jnp.float32)
    w = direct_predictor(c, exponent=exponent, epsilon=0.25)
    root = direct_predictor(c, exponent=exponent / 2, epsilon=0.25)
    assert np.linalg.eigvalsh(root).min() > 0
    np.testing.assert_allclose(root @ root, w, rtol=0, atol=1e-5)
    assert np.linalg.eigvalsh(direct_predictor(c, exponent=exponent)).min() > -1e-6


@pytest.mark.parametrize("convention", ["fmi", "luckmatters"])
def test_directcopy_needs_no_eigenvectors(convention, float64):
    c = covariance()
    copied = direct_predictor(c, exponent=1.0, epsilon=0.25, convention=convention)
    s, u = np.linalg.eigh(np.asarray(c))
    normalizer = s[-1] if convention == "fmi" else 1.0
    expected = (u * (s / normalizer + 0.25)[None]) @ u.T
    np.testing.assert_allclose(copied, expected, rtol=0, atol=1e-12)
    # The limit of the path that does decompose; luckmatters' two are not connected.
    near = direct_predictor(c, exponent=1 + 1e-9, epsilon=0.25, convention="fmi")
    if convention == "fmi":
        np.testing.assert_allclose(copied, near, rtol=0, atol=1e-8)
    else:
        assert float(jnp.abs(copied - near).max()) > 0.1


@pytest.mark.parametrize("convention", ["fmi", "luckmatters"])
def test_directcopy_decomposes_nothing(convention):
    def copied(c):
        return direct_predictor(c, exponent=1.0, epsilon=0.25, convention=convention)

    def root(c):
        return direct_predictor(c, exponent=0.5, convention=convention)

    shape = jax.ShapeDtypeStruct((6, 6), jnp.float32)
    assert "eigh" not in str(jax.make_jaxpr(copied)(shape))
    assert "eigh" in str(jax.make_jaxpr(root)(shape))


@pytest.mark.parametrize("lead", [1e-6, 3e-5, 1e-3])
@pytest.mark.parametrize("d", [2, 256])
def test_one_eigenvalue_above_equal_ones(d, lead):
    """Float32: the top eigenvalue is found to rounding, the others do not hide it."""
    c = np.ones(d, np.float32)
    c[d // 2] = 1 + lead
    copied = direct_predictor(jnp.diag(jnp.asarray(c)), exponent=1.0)
    np.testing.assert_allclose(np.diagonal(copied), c / c.max(), rtol=1e-6)


@pytest.mark.parametrize(
    "spectrum",
    [[1.0, 1.0, 0.2], [1.0, 1.0 - 1e-6, 0.0], [3e-9, 1e-9, 0.0], [5.0, 0.0, 0.0]],
)
def test_the_top_eigenvalue_may_be_repeated(spectrum, float64):
    u, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    c = (u * np.array(spectrum)[None]) @ u.T
    copied = direct_predictor(jnp.asarray(c), exponent=1.0)
    np.testing.assert_allclose(copied, c / max(spectrum), rtol=0, atol=1e-12)


def test_the_conventions_differ_where_epsilon_stands(float64):
    c = jnp.diag(jnp.array([4.0, 1.0, 0.0]))
    options = dict(exponent=0.5, epsilon=0.21)
    inside = jnp.diagonal(direct_predictor(c, convention="fmi", **options))
    outside = jnp.diagonal(direct_predictor(c, convention="luckmatters", **options))
    np.testing.assert_allclose(inside, np.sqrt([1.21, 0.46, 0.21]), rtol=1e-12)
    np.testing.assert_allclose(outside, [1.21, 0.71, 0.21], rtol=1e-12)
    plain = [
        direct_predictor(c, exponent=0.5, convention=name)
        for name in ("fmi", "luckmatters")
    ]
    # Without epsilon they differ in luckmatters' smallest eigenvalue alone.
    gap = np.diagonal(plain[1] - plain[0])
    np.testing.assert_allclose(gap, [0.0, 0.0, 1e-4], atol=1e-15)
