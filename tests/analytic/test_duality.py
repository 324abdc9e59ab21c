"""The duality's closed forms against loops, differences and brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import losses
from ssljax.analytic import duality as theory

Z = np.random.default_rng(0).normal(size=(6, 4))


def criteria(z):
    """Both criteria by loops over pairs."""
    n, d = z.shape
    of_samples = sum((z[i] @ z[j]) ** 2 for i in range(n) for j in range(n) if i != j)
    of_dimensions = sum(
        (z[:, i] @ z[:, j]) ** 2 for i in range(d) for j in range(d) if i != j
    )
    return of_samples, of_dimensions


def difference(function, x, step=1e-6):
    """Central differences of a scalar function of one array, entry by entry."""
    found = np.zeros_like(x)
    for k in np.ndindex(x.shape):
        moved = [np.array(x), np.array(x)]
        moved[0][k] += step
        moved[1][k] -= step
        found[k] = (float(function(moved[0])) - float(function(moved[1]))) / (2 * step)
    return found


def test_recorded_norms_and_gap():
    i, j = np.arange(6.0)[:, None], np.arange(4.0)[None, :]
    z = np.sin(1 + 0.7 * j + 1.3 * i + 0.1 * i * j)
    rows, columns = theory.fourth_powers(z)
    assert float(rows) == pytest.approx(26.2325837954, abs=1e-9)
    assert float(columns) == pytest.approx(38.2987144734, abs=1e-9)
    gap = 37.7320358190 - 49.7981664970
    assert float(theory.criterion_gap(z)) == pytest.approx(gap, abs=1e-9)


def test_the_gap_and_the_gradients_are_those_of_the_loops():
    of_samples, of_dimensions = criteria(Z)
    assert float(theory.criterion_gap(Z)) == pytest.approx(of_dimensions - of_samples)
    for k, found in enumerate(theory.criterion_gradients(Z)):
        expected = difference(lambda z, k=k: criteria(z)[k], Z)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert found.dtype == np.float64 and found.shape == Z.shape


def test_double_normalisation_keeps_the_signs():
    z = theory.double_normalize(Z, iterations=5000)
    np.testing.assert_allclose((z**2).sum(1), 1.0, rtol=1e-12)
    np.testing.assert_allclose((z**2).sum(0), 1.5, rtol=1e-12)
    np.testing.assert_array_equal(np.sign(z), np.sign(Z))
    of_samples, of_dimensions = criteria(2.0 * z)
    gap = theory.normalized_gap(6, 4, row_norm=2.0)
    assert float(gap) == pytest.approx(of_dimensions - of_samples)


def test_soft_norms_leave_a_constant():
    square = 0.7
    of_samples, of_dimensions = criteria(Z)
    soft = [
        value + (((Z**2).sum(axis) - square) ** 2).sum()
        for value, axis in ((of_samples, 1), (of_dimensions, 0))
    ]
    expected = theory.soft_gap(6, 4, square=square)
    assert soft[0] - soft[1] == pytest.approx(expected)


def test_the_soft_norm_flow_solves_its_equation():
    singular = np.array([0.1, 1.0, 3.0, 0.0])
    solution = theory.solve_soft_norm_flow(singular, square=0.8)
    step = 1e-6
    times = np.array([0.0, 0.2 - step, 0.2, 0.2 + step, 50.0])
    values = np.asarray(solution(times))
    assert values.shape == (5, 4) and values.dtype == np.float64
    np.testing.assert_allclose(values[0], singular**2, atol=1e-15)
    np.testing.assert_allclose(values[-1], [0.8, 0.8, 0.8, 0.0], atol=1e-12)
    slope = (values[3] - values[1]) / (2 * step)
    np.testing.assert_allclose(slope, -8 * values[2] * (values[2] - 0.8), rtol=1e-7)


def test_the_soft_norm_flow_can_be_differentiated(float64):
    def end(singular):
        return jnp.sum(theory.solve_soft_norm_flow(singular)(jnp.array([0.1])))

    start = np.array([0.3, 1.7])
    found = jax.grad(end)(jnp.asarray(start))
    np.testing.assert_allclose(found, difference(end, start), rtol=1e-5)


def test_the_bounds_of_the_sums_hold_the_bounds_of_the_gap():
    for n, d in ((9, 6), (6, 9)):
        z = np.random.default_rng(1).normal(size=(200, n, d))
        z /= np.linalg.norm(z, axis=2, keepdims=True)
        sums = ((z**2).sum(1) ** 2).sum(1)
        low, high = theory.fourth_power_bounds(n, d)
        assert low < sums.min() and sums.max() < high
        assert theory.criterion_gap_bounds(n, d) == (low - n, high - n)
        # The other half is the same for the transpose.
        other = theory.criterion_gap_bounds(d, n, unit="columns")
        assert other == theory.criterion_gap_bounds(n, d)
        assert theory.fourth_power_bounds(d, n, of="rows") == (low, high)
    doubled = theory.fourth_power_bounds(9, 6, norm=2.0)
    assert doubled == (16 * 81 / 6, 16 * 81)


def test_known_frames_attain_what_is_said_of_them():
    basis = np.concatenate([np.eye(4), -np.eye(4)])  # tight, and sums to zero
    of_samples, of_dimensions = criteria(basis)
    assert of_samples == theory.welch_bound(8, 4) == 8.0 and of_dimensions == 0.0
    gram = basis @ basis.T
    off = gram[~np.eye(8, dtype=bool)]
    mean, square = theory.repulsion_optimum(8, 4)
    assert off.mean() == pytest.approx(mean) and (off**2).mean() == pytest.approx(
        square
    )
    # The simplex of four samples, in three dimensions or more.
    simplex = np.eye(4) - 0.25
    simplex /= np.linalg.norm(simplex, axis=1, keepdims=True)
    off = (simplex @ simplex.T)[~np.eye(4, dtype=bool)]
    for d in (3, 4, 50):
        mean, square = theory.repulsion_optimum(4, d)
        np.testing.assert_allclose(off, mean, rtol=1e-12)
        assert square == pytest.approx(mean**2)
    assert theory.welch_bound(4, 8) == 0.0


@pytest.mark.parametrize("n, d", [(8, 4), (4, 4), (3, 4)])
def test_the_coding_rate_of_a_frame_is_the_largest(n, d, float64):
    frame = jnp.asarray(np.concatenate([np.eye(4), -np.eye(4)])[:n])
    rate = -losses.tcr(frame, frame, eps_squared=0.3, invariance_weight=0.0)
    largest = theory.largest_coding_rate(n, d, eps_squared=0.3)
    assert float(rate) == pytest.approx(float(largest), rel=1e-12)
    z = jnp.asarray(Z[:n])
    other = -losses.tcr(z, z, eps_squared=0.3, invariance_weight=0.0)
    assert float(other) < float(largest)


def test_a_float32_caller_gets_float64():
    z = jnp.asarray(Z, jnp.float32)
    assert theory.criterion_gap(z).dtype == np.float64
    assert theory.double_normalize(z).dtype == np.float64
    assert theory.solve_soft_norm_flow(z[0] ** 2)(z[1] ** 2).shape == (4, 4)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: theory.criterion_gap(Z[0]), r"\[N, D\]"),
        (lambda: theory.double_normalize(Z[:0]), r"\[N, D\]"),
        (lambda: theory.normalized_gap(0, 3), "n must be a whole number >= 1, got 0"),
        (lambda: theory.solve_soft_norm_flow(Z), r"must be \[modes\]"),
        (
            lambda: theory.fourth_power_bounds(3, 3, of="both"),
            "of must be one of columns, rows",
        ),
        (
            lambda: theory.criterion_gap_bounds(3, 3, unit="z"),
            "unit must be one of rows, columns",
        ),
        (lambda: theory.repulsion_optimum(1, 3), "n must be a whole number >= 2"),
        (
            lambda: theory.ctr_weights(1, temperature=0.1),
            "d must be a whole number >= 2",
        ),
        (lambda: theory.ctr_weights(4, temperature=0.0), "temperature must be > 0"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
