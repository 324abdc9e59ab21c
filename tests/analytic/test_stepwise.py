"""Modes, starts and minima of linearised Barlow Twins against independent figures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import losses
from ssljax.analytic import stepwise
from ssljax.analytic.simulate import gradient_descent

GAMMA = np.array([1.0, 0.5, 0.2, 0.0, -0.4])
S0 = np.array([1e-2, 0.3, 2.5, 0.7, 0.9])


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def runge_kutta(velocity, state, times, steps=200):
    """Classical fourth order between the times; plain NumPy."""
    path = [state]
    for start, stop in zip(times[:-1], times[1:], strict=True):
        h = (stop - start) / steps
        for _ in range(steps):
            a = velocity(state)
            b = velocity(state + h / 2 * a)
            c = velocity(state + h / 2 * b)
            d = velocity(state + h * c)
            state = state + h / 6 * (a + 2 * b + 2 * c + d)
        path.append(state)
    return np.array(path)


def test_the_closed_form_solves_each_mode_equation():
    times = np.array([0.0, 0.3, 1.0, 2.5])
    numeric = runge_kutta(lambda s: 4 * GAMMA * s * (1 - GAMMA * s**2), S0, times)
    found = stepwise.aligned_singular_values(S0, GAMMA, times)
    assert found.shape == (4, 5)  # [times, modes]
    np.testing.assert_allclose(found, numeric, rtol=1e-9)


def test_late_times_and_empty_modes_stay_finite():
    s0, gamma = np.array([1e-9, 0.0, 3.0, 0.5]), np.array([2.0, 2.0, -2.0, 0.0])
    late = stepwise.aligned_singular_values(s0, gamma, np.array([1e6]))
    np.testing.assert_allclose(late, [[2.0**-0.5, 0.0, 0.0, 0.5]], atol=1e-15)


def test_eigenvalues_are_half_at_the_half_time_and_above_at_the_critical_time():
    s0, gamma = np.array([1e-3, 0.1]), np.array([1.0, 3.0])
    start = gamma * s0**2
    at_half = stepwise.aligned_eigenvalues(s0, gamma, stepwise.half_times(s0, gamma))
    tau = stepwise.critical_times(s0, gamma)
    at_tau = stepwise.aligned_eigenvalues(s0, gamma, tau)
    np.testing.assert_allclose(np.diagonal(at_half), 0.5, rtol=1e-12)
    np.testing.assert_allclose(np.diagonal(at_tau), 1 / (2 - start), rtol=1e-12)


def test_modes_without_positive_eigenvalue_are_never_learned():
    times = stepwise.critical_times(np.full(5, 0.1), GAMMA)
    assert np.isfinite(times[:3]).all() and np.isposinf(times[3:]).all()
    gradient = jax.grad(
        lambda s: stepwise.critical_times(s, jnp.asarray(GAMMA))[:3].sum()
    )(jnp.full(5, 0.1))
    assert bool(jnp.isfinite(gradient).all())


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_step_counts_follow_the_scalar_recursion(momentum):
    def crossing(s):
        velocity, count, before = 0.0, 0, 0.0
        while s**2 < 0.5:
            before = s**2
            velocity = momentum * velocity - 4 * s * (1 - s**2)
            s, count = s - 0.01 * velocity, count + 1
        return count - (s**2 - 0.5) / (s**2 - before)

    found = [
        stepwise.critical_steps(
            np.array([s0]), np.ones(1), learning_rate=0.01, momentum=momentum
        )[0]
        for s0 in (1e-8, 1e-6)
    ]
    assert abs(crossing(1e-8) - found[0]) < 1.5
    # The offset does not depend on the start.
    saved = crossing(1e-8) - crossing(1e-6)
    np.testing.assert_allclose(saved, found[0] - found[1], rtol=2e-3)


def test_expected_critical_times_are_the_mean_over_random_starts():
    gamma, scale = np.array([1.0, 0.6, 0.2]), 1e-5
    draws = normal(0, 4000, 3, 3)
    sizes = scale * np.abs(np.diagonal(np.linalg.qr(draws)[1], axis1=1, axis2=2))
    mean = np.mean(-np.log(gamma * sizes**2) / (8 * gamma), axis=0)
    found = stepwise.expected_critical_times(gamma, scale)
    assert np.all(np.abs(8 * gamma * (found - mean)) < 0.15)


def test_an_aligned_start_orthogonalises_in_the_order_of_the_spectrum():
    w0, basis = normal(1, 3, 5), np.linalg.qr(normal(2, 5, 5))[0]
    moment = basis @ np.diag([0.1, 2.0, -1.0, 0.7, 0.3]) @ basis.T
    start = stepwise.aligned_start(w0, moment, 1e-3)
    np.testing.assert_allclose(start.gamma, [2.0, 0.7, 0.3], rtol=1e-12)
    np.testing.assert_allclose(start.rotation.T @ start.rotation, np.eye(3), atol=1e-12)
    triangle = start.rotation.T @ w0 @ start.directions
    np.testing.assert_allclose(triangle, np.triu(triangle), atol=1e-12)
    np.testing.assert_allclose(
        start.singular_values, 1e-3 * np.diagonal(triangle), rtol=1e-12
    )
    solution = stepwise.small_init_prediction(w0, moment, 1e-3)
    late = solution(np.array([0.0, 1.0, 100.0]))
    assert late.shape == (3, 3, 5) and late.dtype == np.float64
    np.testing.assert_allclose(late[-1] @ moment @ late[-1].T, np.eye(3), atol=1e-9)


def test_the_overlap_lost_is_what_leaks_before_a_mode_saturates():
    gamma, w0, scale = np.array([1.0, 0.75, 0.5]), normal(3, 1, 3), 1e-6

    def velocity(w):
        return -4 * (np.sum(gamma * w**2) - 1) * w * gamma

    w = runge_kutta(velocity, scale * w0, np.array([0.0, 8.0]), steps=1000)[-1][0]
    lost = np.sum(w[1:] ** 2) / np.sum(w**2)
    expected = stepwise.expected_overlap(w0, np.diag(gamma), scale)
    np.testing.assert_allclose(1 - expected, lost, rtol=0.01)


def test_exponents_read_the_smallest_and_the_last_gap():
    gamma = np.array([0.3, -0.5, 1.0, 0.6, 0.24])
    found = stepwise.error_exponents(gamma, 3)
    np.testing.assert_allclose(found, [0.2, 0.2], rtol=1e-12)
    np.testing.assert_allclose(stepwise.error_exponents(gamma, 2), [0.4, 0.5])
    # A mode that is not positive never grows.
    np.testing.assert_allclose(stepwise.error_exponents(gamma, 4).subspace, 1.0)
    whitened = stepwise.error_exponents(gamma, 3, power=1.0)
    np.testing.assert_allclose(whitened, [0.0, 0.0], atol=1e-12)


def test_the_smallest_solution_is_feasible_and_needs_enough_modes():
    basis = np.linalg.qr(normal(4, 4, 4))[0]
    moment = basis @ np.diag([2.0, 0.5, 0.1, -1.0]) @ basis.T
    w = stepwise.minimum_norm_solution(moment, 2)
    np.testing.assert_allclose(w @ moment @ w.T, np.eye(2), atol=1e-12)
    np.testing.assert_allclose(np.sum(w**2), 1 / 2 + 1 / 0.5, rtol=1e-12)
    with pytest.raises(ValueError, match="at least 4 positive eigenvalues, got 3"):
        stepwise.minimum_norm_solution(moment, 4)


def test_pairs_have_the_moments_they_were_made_for():
    gamma, sigma = np.array([1.0, 0.3, -0.2]), np.array([4.0, 0.3, 1.0])
    basis = np.linalg.qr(normal(5, 3, 3))[0]
    x1, x2 = stepwise.pairs_with_moments(gamma, sigma, basis=basis)
    for found, values in (
        (stepwise.cross_moment(x1, x2), gamma),
        (stepwise.second_moment(x1, x2), sigma),
    ):
        np.testing.assert_allclose(found, basis @ np.diag(values) @ basis.T, atol=1e-12)
    np.testing.assert_allclose(x1.mean(axis=0), 0.0, atol=1e-12)


def test_critical_time_can_be_differentiated_in_the_scale_of_the_start():
    # In the sizes of the aligned start above, whose operations are compiled already.
    w0, moment = normal(6, 3, 5), np.diag([1.0, 0.7, 0.6, 0.3, -0.1])

    def last(scale):
        start = stepwise.aligned_start(w0, moment, scale)
        return stepwise.critical_times(start.singular_values, start.gamma)[-1]

    numeric = (last(1.0001e-4) - last(0.9999e-4)) / 2e-8
    found = jax.grad(last)(jnp.float32(1e-4))
    np.testing.assert_allclose(found, numeric, rtol=1e-5)
    np.testing.assert_allclose(found, -1 / (4 * 0.6 * 1e-4), rtol=1e-5)


@pytest.mark.usefixtures("float64")
def test_simulated_crossing_time_can_be_differentiated_as_well():
    moment = jnp.diag(jnp.array([1.0, 0.5, -0.2]))
    x1, x2 = stepwise.pairs_with_moments(jnp.diagonal(moment))
    w0 = jnp.asarray(normal(7, 2, 3))

    def crossing(scale):
        path = gradient_descent(
            lambda w: losses.linearized_barlow_twins(x1 @ w.T, x2 @ w.T),
            scale * w0,
            900,
            0.01,
            record=lambda w: jnp.linalg.eigvalsh(w @ moment @ w.T)[0],
        )
        after = jnp.argmax(path.values >= 0.5)
        low, high = path.values[after - 1], path.values[after]
        return path.times[after - 1] + 0.01 * (0.5 - low) / (high - low)

    scale, step = 1e-5, 1e-10
    timed = jax.jit(jax.value_and_grad(crossing))
    numeric = (timed(scale + step)[0] - timed(scale - step)[0]) / (2 * step)
    found = timed(scale)[1]
    np.testing.assert_allclose(found, numeric, rtol=1e-5)
    # Descent with this learning rate grows 1 % slower than the flow.
    np.testing.assert_allclose(found, -1 / (4 * 0.5 * scale), rtol=0.02)


def test_float32_callers_get_float64_arrays():
    s0, gamma = jnp.full(3, 1e-3), jnp.array([3.0, 2.0, 1.0])
    found = stepwise.aligned_singular_values(s0, gamma, jnp.arange(4.0))
    assert isinstance(found, np.ndarray) and found.dtype == np.float64
    assert stepwise.critical_times(s0, gamma).dtype == np.float64


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: stepwise.aligned_singular_values(S0[:3], GAMMA, np.ones(2)),
            "one entry for each of 5 modes",
        ),
        (
            lambda: stepwise.aligned_singular_values(S0, GAMMA, -1.0),
            "t must be >= 0, got -1",
        ),
        (
            lambda: stepwise.aligned_singular_values(-S0, GAMMA, np.ones(2)),
            "start must be finite and >= 0",
        ),
        (lambda: stepwise.critical_times(S0, np.eye(2)), r"gamma must be \[modes\]"),
        (
            lambda: stepwise.small_init_prediction(np.eye(3), np.eye(2), 1.0),
            r"start must be \[D, 2\]",
        ),
        (
            lambda: stepwise.small_init_prediction(np.ones((3, 2)), np.eye(2), 1.0),
            "embedding must be 1 to 2, got 3",
        ),
        (
            lambda: stepwise.aligned_start(np.eye(2), normal(0, 2, 2), 1.0),
            "must be symmetric",
        ),
        (lambda: stepwise.error_exponents(GAMMA, 5), "embedding must be 1 to 4, got 5"),
        (
            lambda: stepwise.error_exponents(GAMMA, 4),
            "at least 4 positive eigenvalues, got 3",
        ),
        (
            lambda: stepwise.cross_moment(np.eye(3), np.ones((2, 3))),
            r"x2 must be \[3, 3\], got shape \[2, 3\]",
        ),
        (
            lambda: stepwise.pairs_with_moments(GAMMA, np.full(5, 0.9)),
            r"at least \|gamma\|",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
