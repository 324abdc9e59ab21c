"""The plane on which the report maps features."""

import numpy as np
import pytest

from ssljax.reports.arrays import principal_components


@pytest.mark.parametrize("n, f", [(60, 5), (5, 60)])
def test_principal_components_are_those_of_the_covariance(n, f):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, f)) * np.linspace(3, 0.5, f)
    points, explained = principal_components(x)
    variances = np.linalg.eigvalsh(np.cov(x.T))[::-1]
    np.testing.assert_allclose(points.var(axis=0, ddof=1), variances[:2], rtol=1e-5)
    np.testing.assert_allclose(explained, variances[:2] / variances.sum(), rtol=1e-9)
    assert abs(np.corrcoef(points.T)[0, 1]) < 1e-5


@pytest.mark.parametrize("n, f", [(60, 5), (5, 60)])
def test_the_sign_of_a_component_does_not_depend_on_the_order_of_rows(n, f):
    x = np.random.default_rng(4).normal(size=(n, f)) * np.linspace(3, 0.5, f)
    points, _ = principal_components(x)
    turned, _ = principal_components(x[::-1])
    np.testing.assert_allclose(turned[::-1], points, atol=1e-5)


@pytest.mark.parametrize("x", [np.ones((4, 3)), np.ones((1, 3)), np.ones((4, 1))])
def test_collapsed_features_map_to_the_origin(x):
    points, explained = principal_components(x)
    assert points.shape == (len(x), 2) and not points.any() and not explained.any()
