"""Spectral transformations against loops, differences and numeric integration."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic import spectral_transformation as theory

LAM = np.array([4.0, 1.0, 0.5, 0.1])
RHO = np.array([0.95, 0.9, 0.8, 0.6])
NOISE = np.array([0.02, 0.1, 0.3, 1.0])
# Recorded h_T(1/n) for n = 1024, 256, 64, 8.
RECORDED = {
    1: (0.002196, 0.008766, 0.034791, 0.258301),
    4: (0.024710, 0.095153, 0.328704, 0.956249),
    7: (0.246163, 0.668014, 0.983237, 1.0),
}


def difference(function, x, step=1e-6):
    """Central differences of a scalar function of one array, entry by entry."""
    found = np.zeros_like(x)
    for k in range(x.size):
        moved = [np.array(x), np.array(x)]
        moved[0][k] += step
        moved[1][k] -= step
        found[k] = (float(function(moved[0])) - float(function(moved[1]))) / (2 * step)
    return found


def test_the_force_is_the_slope_of_the_alignment_loss():
    def loss(logs, p):
        return 2 * np.sum(np.exp(logs) ** (1 - 2 * p) * (1 - RHO))

    for p in (0.0, 0.3, 0.5, 0.75):
        found = theory.implicit_spectral_gradient(LAM, RHO, lambda v, p=p: v**-p)
        expected = difference(lambda logs, p=p: loss(logs, p), np.log(LAM))
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)
    assert found.shape == (4,) and found.dtype == np.float64


@pytest.mark.parametrize(
    "p, expected",
    [
        (0.0, (0.4, 0.2, 0.2, 0.08)),
        (0.75, (-0.025, -0.1, -0.2828427, -1.2649111)),
    ],
)
def test_recorded_forces(p, expected):
    found = theory.implicit_spectral_gradient(LAM, RHO, lambda v: v**-p)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_force_of_iterative_normalisation_sums_to_zero():
    def loss(logs):
        x = np.exp(logs) / np.exp(logs).sum()
        return 2 * np.sum(np.asarray(theory.iter_norm_spectrum(x, 4)) * (1 - RHO))

    found = theory.iter_norm_spectral_gradient(LAM, RHO, 4)
    np.testing.assert_allclose(found, difference(loss, np.log(LAM)), atol=1e-8)
    assert abs(found.sum()) < 1e-13 and np.abs(found).max() > 1e-3


@pytest.mark.parametrize("iterations", RECORDED)
def test_recorded_output_variances(iterations):
    x = 1 / np.array([1024.0, 256.0, 64.0, 8.0])
    found = theory.iter_norm_spectrum(x, iterations)
    np.testing.assert_allclose(found, RECORDED[iterations], atol=1e-6)
    # The recursion in the gain is another route to it.
    gain = theory.iter_norm_gain(x, iterations)
    np.testing.assert_allclose(found, x * gain**2, rtol=1e-13)


def test_no_iteration_changes_nothing_and_shapes_stay():
    x = np.linspace(0.0, 1.0, 6).reshape(2, 3)
    np.testing.assert_array_equal(theory.iter_norm_spectrum(x, 0), x)
    assert theory.iter_norm_gain(x, 3).shape == (2, 3)
    assert theory.output_variance(x + 1.0, lambda v: 1.0).shape == (2, 3)


def test_the_growth_of_rounding_is_that_of_a_disturbed_recursion():
    x = np.array([0.8, 0.15, 0.05])
    off = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * 1e-9

    def run(order, first):
        largest = 0.0
        for pair in np.argwhere(off > 0):
            p = np.eye(3)
            for step in range(9):
                if step == first:
                    p = p + np.zeros((3, 3))
                    p[tuple(pair)] += 1e-9
                s = np.diag(x)
                cube = p @ p @ p @ s if order == "last" else p @ p @ s @ p
                p = 1.5 * p - 0.5 * cube
            largest = max(largest, np.abs(p - np.diag(np.diag(p))).max() / 1e-9)
        return largest / np.asarray(theory.iter_norm_gain(x, 9)).max()

    for order in ("last", "inside"):
        worst = max(run(order, first) for first in range(9))
        found = theory.rounding_growth(x, 9, order=order)
        assert float(found) == pytest.approx(worst, rel=1e-3)


@pytest.mark.parametrize(
    "n, iterations, floor",
    [(8, 4, 0.015313), (32, 4, 6.54266), (64, 4, 28.841), (256, 4, 209.6)],
)
def test_recorded_floors(n, iterations, floor):
    found = float(theory.trace_loss_floor(n, iterations))
    assert found == pytest.approx(floor, rel=1e-4)
    # It is the loss of equal eigenvalues.
    x, u = np.full(n, 1 / n), np.eye(n)
    value = theory.trace_loss_of_spectrum(x, u, iterations)
    assert float(value) == pytest.approx(found, rel=1e-12)


def test_a_floor_of_lower_rank_is_reached_by_spread_eigenvectors():
    hadamard = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    x = np.array([0.5, 0.5, 0.0, 0.0])
    found = float(theory.trace_loss_of_spectrum(x, hadamard / 2, 4))
    assert found == pytest.approx(float(theory.trace_loss_floor(4, 4, rank=2)))
    # One direction alone: n - 2 + 1/n, whatever the number of steps.
    assert float(theory.trace_loss_floor(32, 3, rank=1)) == pytest.approx(30 + 1 / 32)


def test_floors_of_the_whole_loss():
    assert float(theory.intl_floor(256, 4)) == pytest.approx(20.96, abs=1e-3)
    assert float(theory.intl_floor(256, 4, teacher=True)) == pytest.approx(10.48, 1e-4)
    assert float(theory.intl_floor(8, 4)) == 0.0
    given = float(theory.intl_floor(8, 4, trace_weight=0.5))
    assert given == pytest.approx(float(theory.trace_loss_floor(8, 4)))


@pytest.mark.parametrize(
    "n, iterations, expected",
    [(32, 4, 0.111), (64, 4, 0.105), (128, 4, 0.141), (256, 4, 0.232)]
    + [(512, 4, 0.420), (64, 6, 0.068), (128, 6, 0.026), (256, 7, 0.013)],
)
def test_recorded_weights_that_revive(n, iterations, expected):
    found = float(theory.reviving_trace_weight(n, iterations))
    assert found == pytest.approx(expected, abs=6e-4)
    # The weight is proportional to the excess of noise.
    half = theory.reviving_trace_weight(
        n, iterations, dead_correlation=0.25, alignment=0.5
    )
    assert float(half) == pytest.approx(found / 2, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("spread", [False, True])
def test_the_last_approach_has_the_equalizing_rate(spread):
    start = np.array([1.001, 0.999, 1.0, 1.0])
    rate = float(
        theory.equalizing_rate(4, 2, observations=9, total_variance=4.0, spread=spread)
    )
    times = np.array([0.0, 1.0 / rate, 2.0 / rate])
    solution = theory.solve_trace_flow(
        start, iterations=2, observations=9, spread=spread
    )
    values = solution(times)
    assert values.shape == (3, 4)
    np.testing.assert_allclose(values.sum(axis=1), 4.0, rtol=1e-9)
    gaps = values[:, 0] - values[:, 1]
    np.testing.assert_allclose(gaps / gaps[0], np.exp([0.0, -1.0, -2.0]), rtol=2e-3)


@pytest.mark.parametrize("power", [0.0, 0.2, 0.5, 0.8])
def test_the_alignment_flow_solves_its_equation(power):
    solution = theory.solve_alignment_flow(LAM, NOISE, power=power)
    values = solution(np.array([0.0, 0.01]))
    assert values.shape == (2, 4) and values.dtype == np.float64
    np.testing.assert_allclose(values[0], LAM, rtol=1e-12)
    step = 1e-5
    around = np.asarray(solution(np.array([0.01 - step, 0.01 + step])))
    slope = (around[1] - around[0]) / (2 * step)
    expected = -8 * NOISE * (1 - 2 * power) * values[1] ** (1 - 2 * power)
    np.testing.assert_allclose(slope, expected, rtol=1e-6, atol=1e-9)


def test_a_mode_is_gone_at_its_collapse_time_and_stays_so():
    ends = np.asarray(theory.collapse_time(LAM, NOISE, power=0.25))
    solution = theory.solve_alignment_flow(LAM, NOISE, power=0.25)
    diagonal = [
        solution(np.array([0.99 * t, 1.01 * t]))[:, k] for k, t in enumerate(ends)
    ]
    assert all(before > 0 and after == 0 for before, after in diagonal)
    for power in (0.0, 0.5, 0.8):
        assert np.isinf(theory.collapse_time(LAM, NOISE, power=power)).all()


def test_derivatives_agree_with_differences(float64):
    t = jnp.array([0.3])

    @jax.jit
    def end(noise):
        solution = theory.solve_alignment_flow(LAM, noise, power=0.2)
        return jnp.sum(solution(t)[0, :3])

    noise = 0.1 * NOISE
    found = jax.jit(jax.grad(end))(jnp.asarray(noise))
    np.testing.assert_allclose(found, difference(end, noise), rtol=1e-5)

    @jax.jit
    def of_power(power):
        return theory.solve_alignment_flow(LAM, noise, power=power[0])(t)[0, 1]

    found = jax.jit(jax.grad(of_power))(jnp.array([0.3]))
    np.testing.assert_allclose(found, difference(of_power, np.array([0.3])), rtol=1e-5)

    x = np.array([0.5, 0.3, 0.2])

    @jax.jit
    def of_spectrum(x):
        return theory.trace_loss_of_spectrum(x, jnp.eye(3), 3)

    found = jax.jit(jax.grad(of_spectrum))(jnp.asarray(x))
    np.testing.assert_allclose(found, difference(of_spectrum, x), rtol=1e-5)


@pytest.mark.slow  # reverse mode through the integrator takes long to compile
def test_the_trace_flow_can_be_differentiated(float64):
    @jax.jit
    @jax.value_and_grad
    def end(spectrum):
        solution = theory.solve_trace_flow(spectrum, iterations=1, observations=9)
        return solution(jnp.array([0.0, 2.0]))[-1, 0]

    start = np.array([0.7, 0.3])
    found = end(jnp.asarray(start))[1]
    numeric = difference(lambda x: end(jnp.asarray(x))[0], start, 1e-5)
    np.testing.assert_allclose(found, numeric, rtol=1e-5)


def test_a_float32_caller_gets_float64_without_a_warning():
    lam, noise = jnp.asarray(LAM, jnp.float32), jnp.asarray(NOISE, jnp.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solution = theory.solve_alignment_flow(lam, noise, power=0.75)
        found = solution(jnp.array([0.0, 1.0]))
        assert found.dtype == np.float64
        assert theory.iter_norm_spectrum(lam / 6.0, 4).dtype == np.float64
        assert (found + found).dtype == np.float64


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: theory.iter_norm_spectrum(LAM, -1), "whole number >= 0"),
        (lambda: theory.iter_norm_gain(LAM, 1.5), "whole number >= 0"),
        (
            lambda: theory.implicit_spectral_gradient(LAM, RHO[:2], abs),
            "each of 4 modes",
        ),
        (
            lambda: theory.solve_alignment_flow(LAM, NOISE[:1], power=0.1),
            "each of 4 modes",
        ),
        (
            lambda: theory.solve_alignment_flow(LAM, NOISE, power=-0.1),
            "power must be >= 0",
        ),
        (
            lambda: theory.rounding_growth(LAM, 4, order="first"),
            "order must be one of last, inside",
        ),
        (lambda: theory.trace_loss_floor(0, 4), "n must be a whole number >= 1"),
        (lambda: theory.trace_loss_floor(4, 4, rank=5), "rank must be 1 to 4, got 5"),
        (lambda: theory.intl_floor(6, 4), "trace_weight must be >= 0"),
        (lambda: theory.reviving_trace_weight(1, 4), ">= 2"),
        (
            lambda: theory.trace_loss_of_spectrum(LAM, np.eye(3), 4),
            r"vectors must be \[4, 4\]",
        ),
        (
            lambda: theory.solve_trace_flow(np.eye(2), iterations=1, observations=9),
            r"start must be \[modes\]",
        ),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
