"""Other losses, plateaus and preconditioned flows against plain integration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic import stepwise


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def integrated(velocity, state, times, steps=400):
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


# At weights 2 and 1 the third mode's rate is zero and two others are negative.
GAMMA = np.array([1.0, 0.8, 0.5, 0.1])
SIGMA = np.array([1.0, 2.0, 1.0, 1.5])


def test_merged_vicreg_solves_its_mode_equation():
    s0, times = np.array([0.05, 0.2, 1.0, 0.8]), np.array([0.0, 0.5, 1.0, 3.0])
    a, b = 2.0, 1.0

    def velocity(s):
        rate = (b - a) * SIGMA + a * GAMMA
        return 4 * s * (rate - b * SIGMA**2 * s**2)

    found = stepwise.merged_vicreg_singular_values(
        s0, GAMMA, SIGMA, times, invariance_weight=a, spread_weight=b
    )
    assert found.shape == (4, 4)
    np.testing.assert_allclose(found, integrated(velocity, s0, times), rtol=1e-7)


def test_spectral_contrastive_modes_end_at_nu():
    s = stepwise.spectral_contrastive_singular_values(
        np.full(4, 1e-5), GAMMA, SIGMA, np.array([1e4])
    )
    np.testing.assert_allclose(SIGMA * s[0] ** 2, GAMMA / SIGMA, rtol=1e-9)


def test_no_embedding_does_better_than_the_minimum():
    sigma = np.cov(normal(0, 4, 50))
    gamma = 0.3 * sigma + 0.1 * np.diag([1.0, -1.0, 0.5, 0.2])

    def loss(w):
        spread = w @ sigma @ w.T
        return np.sum(spread**2) - 2 * np.trace(w @ gamma @ w.T)

    best, nu = stepwise.spectral_contrastive_minimum(gamma, sigma, 2)
    np.testing.assert_allclose(loss(best), -np.sum(nu**2), rtol=1e-10)
    np.testing.assert_allclose(best @ sigma @ best.T, np.diag(nu), atol=1e-12)
    near = [
        loss(best + size * normal(i, 2, 4)) for i in range(50) for size in (0.01, 1)
    ]
    assert min(near) > loss(best)


def test_negative_whitened_modes_are_left_out_of_the_minimum():
    w, nu = stepwise.spectral_contrastive_minimum(np.diag([0.5, -0.5]), np.eye(2), 2)
    np.testing.assert_allclose(nu, [0.5, -0.5])
    np.testing.assert_allclose(w[1], 0.0)


@pytest.mark.slow  # compiles an integrator
def test_competing_modes_solve_their_equations_and_drift_apart_evenly():
    s0, times = np.array([0.1, 0.02, 0.05]), np.linspace(0.0, 6.0, 7)
    gamma, sigma = np.array([1.0, 0.6, 0.4]), np.array([4.0, 1.0, 0.5])

    def velocity(s):
        return 4 * s * (gamma - sigma * np.sum(sigma * s**2))

    found = stepwise.solve_competition(s0, gamma, sigma)(times)
    np.testing.assert_allclose(found, integrated(velocity, s0, times), rtol=1e-6)
    drift = np.diff(np.log(found) / sigma[None], axis=0)
    nu = gamma / sigma
    np.testing.assert_allclose(
        drift[:, 1] - drift[:, 0], 4 * (nu[1] - nu[0]), rtol=1e-9
    )


def test_displacement_is_late_for_a_small_second_mode():
    gamma, sigma = np.array([1.0, 0.6]), np.array([4.0, 1.0])
    early, late = (
        stepwise.displacement_time(np.array([1e-6, s]), gamma, sigma)
        for s in (1e-6, 1e-7)
    )
    np.testing.assert_allclose(late - early, np.log(10) / 1.4, rtol=1e-9)
    with pytest.raises(ValueError, match="larger gamma/sigma"):
        stepwise.displacement_time(np.ones(2), gamma[::-1], sigma[::-1])


def test_a_constant_embedding_costs_log_n_under_infonce():
    x = normal(1, 5, 3)
    found = stepwise.info_nce_expansion(np.zeros((2, 3)), x, x)
    np.testing.assert_allclose(found, np.log(5))


def test_early_velocities_have_the_shape_of_the_weights():
    x1, x2, w = normal(2, 9, 4), normal(3, 9, 4), normal(4, 3, 4)
    assert stepwise.vicreg_early_velocity(w, x1, x2).shape == (3, 4)
    bias = normal(5, 3)
    moved = stepwise.nt_xent_collapsed_velocity(w, bias, x1, x2)
    # A cosine does not see motion along the shared direction.
    np.testing.assert_allclose(bias @ moved, 0.0, atol=1e-12)


@pytest.mark.parametrize("weight", [0.0051, 0.1, 1.0])
def test_weighted_plateau_minimises_over_frames_of_equal_norm(weight):
    # The first two columns of a Hadamard matrix: two directions, equal rows.
    frame = np.array([[1, 1], [1, -1], [1, 1], [1, -1]]) / 2.0
    projector = frame @ frame.T
    diagonal = np.eye(4, dtype=bool)

    def loss(c):
        gap = c * projector - np.eye(4)
        return np.sum(np.where(diagonal, 1.0, weight) * gap**2)

    found = float(stepwise.weighted_plateau(2, 4, off_diagonal_weight=weight))
    assert loss(found) < min(loss(0.999 * found), loss(1.001 * found))


def test_plateaus_reach_one_without_weight_or_noise():
    assert stepwise.weighted_plateau(3, 3, off_diagonal_weight=0.2) == 1.0
    assert abs(stepwise.batch_plateau(2, 10**9) - 1.0) < 1e-8
    with pytest.raises(ValueError, match="learned must be 1 to 3"):
        stepwise.weighted_plateau(4, 3, off_diagonal_weight=0.2)


@pytest.mark.parametrize("eps", [0.01, 0.3, 10.0])
def test_left_preconditioned_modes_solve_their_equation(eps):
    gamma, s0 = np.array([1.0, 0.3]), np.array([0.05, 0.2])
    times = np.array([0.0, 0.05, 0.4, 2.0])

    def velocity(value):
        return 8 * gamma * value * (1 - value) / (value + eps)

    found = stepwise.left_preconditioned_eigenvalues(s0, gamma, times, eps=eps)
    numeric = integrated(velocity, gamma * s0**2, times, steps=2000)
    np.testing.assert_allclose(found, numeric, rtol=1e-6)


def test_left_preconditioned_levels_and_times_are_inverse_from_tiny_starts():
    gamma, s0 = np.array([1.0, 0.3]), np.array([1e-8, 1e-7])
    for level in (1e-6, 0.5, 0.999):
        times = stepwise.left_preconditioned_times(s0, gamma, eps=0.01, level=level)
        found = stepwise.left_preconditioned_eigenvalues(s0, gamma, times, eps=0.01)
        np.testing.assert_allclose(np.diagonal(found), level, rtol=1e-9)


@pytest.mark.usefixtures("float64")
def test_left_preconditioned_modes_can_be_differentiated():
    def value(eps):
        return stepwise.left_preconditioned_eigenvalues(
            jnp.array([0.1]), jnp.array([1.0]), jnp.array([0.3]), eps=eps
        )[0, 0]

    numeric = (value(0.2 + 1e-6) - value(0.2 - 1e-6)) / 2e-6
    np.testing.assert_allclose(jax.grad(value)(0.2), numeric, rtol=1e-5)


def test_right_preconditioning_solves_its_flow_within_its_row_space():
    basis = np.linalg.qr(normal(6, 4, 4))[0]
    moment = basis @ np.diag([1.0, 0.5, 0.2, 0.1]) @ basis.T
    w0, times = 0.3 * normal(7, 2, 4), np.array([0.0, 0.2, 1.0])

    def velocity(w):
        return -4 * (w @ moment @ w.T - np.eye(2)) @ w

    found = stepwise.solve_right_preconditioned(w0, moment)(times)
    np.testing.assert_allclose(found, integrated(velocity, w0, times), atol=1e-9)
    with pytest.raises(ValueError, match="positive definite"):
        stepwise.solve_right_preconditioned(w0, -moment)


def test_counted_modes_of_a_power_law_invert_the_critical_times():
    gamma = np.arange(1.0, 51.0) ** -1.2
    times = stepwise.critical_times(np.full(50, 1e-6), gamma)
    found = stepwise.power_law_modes(times, exponent=1.2, scale=1e-6)
    np.testing.assert_allclose(found, np.arange(1.0, 51.0), rtol=1e-9)
