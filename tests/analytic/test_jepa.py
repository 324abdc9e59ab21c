"""Features of a deep linear encoder against independent integration and quadrature."""

import numpy as np
import pytest

from ssljax.analytic import jepa as theory
from ssljax.analytic.checklist import load

MOMENTS = {"covariance": np.array([0.8, 1.2]), "variance": np.array([1.0, 0.9])}


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("objective", ["jepa", "mae"])
def test_times_are_the_integral_of_one_over_the_rate(objective, depth):
    numbers = {**MOMENTS, "depth": depth, "objective": objective}
    start = np.array([0.1, 0.3])
    limit = np.asarray(theory.encoder_limits(**numbers))
    level = np.array([0.8, 0.6]) * limit
    nodes, weights = np.polynomial.legendre.leggauss(120)
    # In the logarithm, where the integrand is smooth.
    middle, half = np.log(level * start) / 2, np.log(level / start) / 2
    w = np.exp(middle[None, :] + half[None, :] * nodes[:, None])
    rates = np.stack([theory.encoder_velocity(x, **numbers) for x in w])
    expected = np.sum(weights[:, None] * half[None, :] * w / rates, axis=0)
    found = theory.encoder_time(start, level, **numbers)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("objective", ["jepa", "mae"])
def test_levels_from_above_and_out_of_reach(objective):
    numbers = {**MOMENTS, "depth": 2, "objective": objective}
    limit = np.asarray(theory.encoder_limits(**numbers))
    from_above = np.asarray(theory.encoder_time(2.0 * limit, 1.2 * limit, **numbers))
    solution = theory.solve_encoder(2.0 * limit, **numbers)
    for i in range(2):
        value = float(solution(from_above[i])[i])
        np.testing.assert_allclose(value, 1.2 * limit[i], rtol=1e-7)
    start = 0.5 * limit
    for level in (0.3 * limit, limit, 1.5 * limit):
        assert np.isinf(theory.encoder_time(start, level, **numbers)).all()
    assert (np.asarray(theory.encoder_time(start, start, **numbers)) == 0).all()


def test_a_balanced_predictor_is_the_default():
    start = np.array([0.2, 0.4])
    balanced = theory.solve_encoder(start, **MOMENTS, depth=3)(4.0)
    given = theory.solve_encoder(start, **MOMENTS, depth=3, predictor=start ** (1 / 3))(
        4.0
    )
    np.testing.assert_allclose(balanced, given, rtol=1e-12)


@pytest.mark.parametrize("objective", ["jepa", "mae"])
def test_a_fixed_point_has_no_velocity(objective):
    numbers = {**MOMENTS, "depth": 3, "objective": objective}
    limit = theory.encoder_limits(**numbers)
    np.testing.assert_allclose(theory.encoder_velocity(limit, **numbers), 0, atol=1e-12)


def test_only_deep_jepa_prefers_the_larger_coefficient():
    """The noisy feature covaries more, the other has the larger coefficient."""
    moments = {"covariance": np.array([1.0, 0.8]), "variance": np.array([1.6, 0.6])}
    first = {}
    for objective in ("jepa", "mae"):
        for depth in (1, 4):
            numbers = {**moments, "depth": depth, "objective": objective}
            level = 0.5 * theory.encoder_limits(**numbers)
            t = theory.encoder_time(np.full(2, 0.02), level, **numbers)
            first[objective, depth] = int(np.argmin(t))
    assert first == {
        ("jepa", 1): 0,
        ("jepa", 4): 1,
        ("mae", 1): 0,
        ("mae", 4): 0,
    }


def test_the_checklist_has_its_items():
    assert [item.number for item in load("jepa").items] == list("12345")
