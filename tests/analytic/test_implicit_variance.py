from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixed_steps import runge_kutta

from ssljax.analytic.implicit_variance import (
    cosine_velocity,
    euclidean_growth,
    isotropic_rate,
    isotropic_variance,
    predictor_eigenvalues,
    recruitment_time,
    relu_velocity,
    solve_cosine,
    solve_euclidean,
    solve_moving_target,
    solve_normalized_predictor,
    solve_relu,
    sphere_averages,
    weight_decay_limits,
)

# Where W0 = default_rng(2).normal(size=(10, 15)) / 4 starts.
W0 = np.random.default_rng(2).normal(size=(10, 15)) / 4.0
S0 = np.linalg.eigvalsh(W0 @ W0.T)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("loss, power", [("euclidean", 2), ("isoloss_euclidean", 1)])
def test_the_closed_form_solves_its_equation(loss, power, alpha):
    lambda0 = np.array([0.02, 0.4, 1.0, 1.5, 4.0])
    expected = runge_kutta(lambda x: 2 * alpha * x**power * (1 - x), lambda0, 2.5)
    found = predictor_eigenvalues(lambda0, np.array([0.0, 2.5]), loss=loss, alpha=alpha)
    assert found.shape == (2, 5)
    np.testing.assert_allclose(found[0], lambda0, rtol=1e-12)
    np.testing.assert_allclose(found[1], expected, rtol=1e-9)


def test_the_closed_form_meets_known_values():
    euclidean = predictor_eigenvalues(S0, np.array([1.0]))[0]
    isoloss = predictor_eigenvalues(S0, np.array([1.0]), loss="isoloss_euclidean")[0]
    np.testing.assert_allclose(
        euclidean,
        [
            0.1296,
            0.3468,
            0.5881,
            0.6925,
            0.9245,
            0.9418,
            0.9967,
            1.0238,
            1.0304,
            1.0490,
        ],
        atol=6e-5,
    )
    np.testing.assert_allclose(
        isoloss,
        [
            0.4655,
            0.6901,
            0.8066,
            0.8465,
            0.9454,
            0.9555,
            0.9967,
            1.0287,
            1.0393,
            1.0884,
        ],
        atol=6e-5,
    )


def test_extreme_eigenvalues_and_times_neither_overflow_nor_move():
    lambda0 = np.array([0.0, 1e-300, 1e-12, 1.0, 1e6])
    found = predictor_eigenvalues(lambda0, np.array([0.0, 1.0, 1e9]))
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(found[0], lambda0, rtol=1e-9)
    np.testing.assert_array_equal(found[:, 0], 0.0)
    np.testing.assert_allclose(found[1, 1:3], lambda0[1:3], rtol=1e-9)
    np.testing.assert_allclose(found[:, 3], 1.0)
    # 1 / lambda0 is the time that a mode waits, half of it at twice the rate.
    late = predictor_eigenvalues(np.array([1e-6]), np.array([4.99e5, 5.01e5]))
    assert late[0, 0] < 1e-3 and late[1, 0] > 0.999


@pytest.mark.parametrize("loss", ["euclidean", "isoloss_euclidean"])
def test_derivatives_match_finite_differences(float64, loss):
    def value(x):
        lambda0, t, alpha = x
        found = predictor_eigenvalues(lambda0[None], t[None], loss=loss, alpha=alpha)
        return found[0, 0]

    def both(lambda0):
        x = jnp.array([0.0, 1.3, 0.7]).at[0].set(lambda0)
        step = 1e-6 * jnp.diag(x)
        rise = jax.vmap(value)(x[None, :] + step) - jax.vmap(value)(x[None, :] - step)
        return jax.grad(value)(x), rise / (2e-6 * x)

    lambda0 = jnp.array([1e-3, 0.3, 0.999, 1.0, 1.001, 2.0])
    exact, numeric = jax.jit(jax.vmap(both))(lambda0)
    np.testing.assert_allclose(exact, numeric, rtol=1e-5, atol=1e-9)


def test_results_are_float64_whatever_the_default():
    t = np.linspace(0.0, 1.0, 4)
    lambda0 = jnp.array([0.2, 0.6])
    assert lambda0.dtype == jnp.float32
    for found in (
        predictor_eigenvalues(lambda0, t),
        solve_euclidean(lambda0, online_noise=0.1)(t),
        cosine_velocity(lambda0),
        recruitment_time(lambda0),
    ):
        assert found.dtype == np.float64


def test_the_time_of_recruitment_is_when_the_closed_form_gets_there():
    lambda0 = np.array([0.02, 0.1, 0.3])
    for loss in ("euclidean", "isoloss_euclidean"):
        times = recruitment_time(lambda0, 0.9, loss=loss, alpha=0.5)
        found = predictor_eigenvalues(lambda0, times, loss=loss, alpha=0.5)
        np.testing.assert_allclose(np.diagonal(found), 0.9, rtol=1e-12)
    np.testing.assert_allclose(recruitment_time(lambda0), [27.489, 6.642, 2.633], 1e-3)
    assert recruitment_time(np.array([0.5, 2.0]), 0.9).tolist()[1] == np.inf


@pytest.mark.parametrize(
    "setting",
    [
        {"loss": "euclidean", "online_noise": 0.5},
        {"loss": "isoloss_euclidean", "online_noise": 0.5, "weight_decay": 0.1},
        {"loss": "isoloss_euclidean", "weight_decay": 1.0},
        {"stop_gradient": "prediction", "target_noise": 0.3},
        pytest.param(  # all three terms, for which an integrator is compiled
            {"stop_gradient": "none", "target_noise": 0.1, "weight_decay": 0.2},
            marks=pytest.mark.slow,
        ),
        {"predictor": False, "online_noise": 0.3},
    ],
)
def test_every_euclidean_setting_solves_its_equation(setting):
    alpha, s0 = 0.5, np.array([0.2, 0.7, 1.3])
    growth = euclidean_growth(**setting)

    def velocity(s):
        x = s**alpha
        return 2 * s * (growth.constant + growth.linear * x + growth.quadratic * x**2)

    found = solve_euclidean(s0, alpha=alpha, **setting)(np.array([0.0, 1.0]))
    np.testing.assert_allclose(found[0], s0, rtol=1e-12)
    np.testing.assert_allclose(found[1], runge_kutta(velocity, s0, 1.0), rtol=1e-8)


def test_on_the_wrong_side_a_large_mode_blows_up_in_finite_time():
    solution = solve_euclidean(np.array([1.5, 0.5]), stop_gradient="prediction")
    burst = np.log(3.0) / 2.0
    found = solution(np.array([0.99 * burst, 1.01 * burst, 800.0]))
    assert 10 < found[0, 0] < np.inf
    assert found[1, 0] == found[2, 0] == np.inf
    assert found[2, 1] == 0.0


@pytest.mark.parametrize("loss", ["euclidean", "isoloss_euclidean"])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1, 0.2, 0.24])
def test_weight_decay_limits_are_fixed_points(loss, weight_decay):
    growth = euclidean_growth(loss=loss, weight_decay=weight_decay)
    threshold, limit = weight_decay_limits(weight_decay, loss=loss)
    for x in (threshold, limit) if threshold else (limit,):
        rate = growth.constant + growth.linear * x + growth.quadratic * x**2
        assert abs(rate) < 1e-12


def test_too_much_weight_decay_leaves_nothing():
    assert weight_decay_limits(0.3) == (np.inf, 0.0)
    assert weight_decay_limits(1.0, loss="isoloss_euclidean") == (np.inf, 0.0)


@pytest.mark.slow
def test_a_fast_target_is_no_moving_target():
    s0, t = np.array([0.2, 0.6]), np.array([0.0, 1.0, 3.0])
    fast = solve_moving_target(s0, rate=300.0, loss="isoloss_euclidean", alpha=0.5)(t)
    np.testing.assert_allclose(
        fast, solve_euclidean(s0, loss="isoloss_euclidean", alpha=0.5)(t), atol=4e-3
    )


@pytest.mark.slow
def test_a_normalised_predictor_decays_unless_epsilon_is_zero(float64):
    def late(epsilon):
        solution = solve_normalized_predictor(
            jnp.array([0.2, 0.6]), epsilon=epsilon, loss="isoloss_euclidean"
        )
        return solution(jnp.array([20.0, 21.0]))

    rest, shrinking = jax.vmap(late)(jnp.array([0.0, 0.25]))
    np.testing.assert_allclose(rest[0], 0.6, rtol=1e-6)
    # At isotropy every eigenvalue is 1.25.
    np.testing.assert_allclose(shrinking[1] / shrinking[0], np.exp(-0.5), rtol=1e-4)


def around_the_circle(s, x, p, q):
    angle = (np.arange(20000) + 0.5) * np.pi / 20000
    squares = np.stack([s[0] * np.cos(angle) ** 2, s[1] * np.sin(angle) ** 2], axis=1)
    norms = (squares @ x**2) ** (p / 2) * squares.sum(axis=1) ** (q / 2)
    return np.einsum("im,ik,i->mk", squares, squares, 1 / norms) / len(angle)


@pytest.mark.parametrize("p, q", [(3, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("s", [(0.3, 1.5), (0.01, 2.0)])
def test_averages_of_two_modes_match_a_quadrature_over_angles(p, q, s):
    s = np.array(s)
    found = sphere_averages(s, s**0.5, prediction_power=p, target_power=q)
    np.testing.assert_allclose(found, around_the_circle(s, s**0.5, p, q), rtol=2e-6)


@pytest.mark.parametrize("p, q", [(3, 1), (1, 3), (0, 6)])
def test_averages_of_five_modes_match_sampling(p, q):
    s = np.array([0.3, 0.4, 0.7, 1.0, 1.6])
    z = np.random.default_rng(0).normal(size=(200_000, 5)) * np.sqrt(s)
    norms = np.sum((z * s) ** 2, 1) ** (p / 2) * np.sum(z**2, 1) ** (q / 2)
    sampled = np.einsum("im,ik,i->mk", z**2, z**2, 1 / norms) / len(z)
    found = sphere_averages(s, s, prediction_power=p, target_power=q)
    np.testing.assert_allclose(found, sampled, rtol=0.03)


def test_averages_scale_with_their_powers():
    s, x = np.array([0.3, 1.0, 2.0]), np.array([0.2, 0.5, 1.5])
    once = sphere_averages(s, x)
    np.testing.assert_allclose(
        sphere_averages(1e6 * s, 1e-3 * x), 1e9 * once, rtol=1e-9
    )


@pytest.mark.slow  # compiles an integrator, as the next ones marked so
def test_known_values_of_the_coupled_modes():
    found = solve_cosine(S0)(np.array([0.0, 10.0]))
    assert found.shape == (2, 10)
    known = [0.141, 0.408, 0.680, 0.785, 1.007, 1.024, 1.095, 1.145, 1.160, 1.253]
    np.testing.assert_allclose(found[1], known, atol=0.005)
    np.testing.assert_allclose(found.sum(axis=1), S0.sum(), rtol=1e-7)


def test_cosine_conserves_what_its_limit_is_made_of():
    s = np.array([0.2, 0.5, 1.1])
    for alpha in (1.0, 0.5):
        assert abs(cosine_velocity(s, alpha=alpha).sum()) < 1e-12
        rate = cosine_velocity(s, loss="isoloss_cosine", alpha=alpha)
        assert abs((s**alpha * rate).sum()) < 1e-12
    for side in ("prediction", "none"):
        assert abs(cosine_velocity(s, stop_gradient=side).sum()) < 1e-12
    quiet = cosine_velocity(s, predictor=False, target_noise=0.1)
    assert abs(quiet.sum()) < 1e-12
    power_mean = np.mean(s**1.5) ** (1 / 1.5)
    found = isotropic_variance(s, loss="isoloss_cosine", alpha=0.5)
    np.testing.assert_allclose(found, power_mean, rtol=1e-12)


def test_the_linear_rate_is_that_of_the_velocity(float64):
    flat, deviation = jnp.full(5, 0.6), jnp.array([1.0, -1.0, 2.0, -2.0, 0.0])
    for loss in ("cosine", "isoloss_cosine"):
        velocity = partial(cosine_velocity, loss=loss, alpha=0.5)
        _, push = jax.jit(lambda s, ds, f=velocity: jax.jvp(f, (s,), (ds,)))(
            flat, deviation
        )
        rate = isotropic_rate(0.6, 5, loss=loss, alpha=0.5)
        np.testing.assert_allclose(push, -rate * deviation, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_the_coupled_modes_can_be_differentiated(float64):
    t = jnp.array([2.0])

    @jax.jit
    @jax.value_and_grad
    def both(s0):
        return solve_cosine(s0)(t)[0, 0]

    s0 = jnp.array([0.3, 1.5])
    step = 1e-4 * np.concatenate([np.eye(2), -np.eye(2)])
    around = np.array([both(s0 + move)[0] for move in step])
    numeric = (around[:2] - around[2:]) / 2e-4
    # The solver's own tolerance adds to that of the differences.
    np.testing.assert_allclose(both(s0)[1], numeric, rtol=1e-5, atol=1e-5)


def test_the_velocity_can_be_differentiated(float64):
    def value(s):
        return jnp.sum(jnp.array([1.0, 2.0, -1.0]) * cosine_velocity(s))

    s = jnp.array([0.3, 1.5, 0.8])
    step = 1e-5 * jnp.concatenate([jnp.eye(3), -jnp.eye(3)])
    around = jax.jit(jax.vmap(value))(s[None, :] + step)
    numeric = (around[:3] - around[3:]) / 2e-5
    np.testing.assert_allclose(jax.jit(jax.grad(value))(s), numeric, rtol=1e-5)


def test_weight_decay_shrinks_the_trace_of_the_cosine_loss():
    s = np.array([0.4, 1.0])
    rate = cosine_velocity(s, weight_decay=0.3)
    np.testing.assert_allclose(rate.sum(), -0.6 * s.sum(), rtol=1e-12)


def test_rectifiers_match_an_average_over_samples():
    rng = np.random.default_rng(0)
    w = rng.normal(size=(3, 4)) / 2.0
    x, n = rng.normal(size=(2, 200_000, 4))
    p = w @ w.T
    z1, z2 = np.maximum(x @ w.T, 0.0), np.maximum((x + 0.5 * n) @ w.T, 0.0)
    error, active = z2 - z1 @ p, x @ w.T > 0
    for loss, back in (("euclidean", error @ p), ("isoloss_euclidean", error)):
        sampled = (active * back).T @ x / len(x)
        found = relu_velocity(w, loss=loss, target_noise=0.5)
        np.testing.assert_allclose(found, sampled, atol=0.006)


@pytest.mark.slow
def test_rectifiers_record_ascending_eigenvalues():
    w = np.random.default_rng(1).normal(size=(2, 3)) / 2.0
    found = solve_relu(w)(np.array([0.0, 0.5]))
    np.testing.assert_allclose(found[0], np.linalg.eigvalsh(w @ w.T), rtol=1e-9)
    assert found.shape == (2, 2)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: predictor_eigenvalues(S0, [1.0], loss="cosine"), "loss must be one"),
        (lambda: predictor_eigenvalues(0.5, [1.0]), "start must be"),
        (lambda: predictor_eigenvalues([-0.5], [1.0]), "finite and >= 0"),
        (lambda: predictor_eigenvalues([0.5], [np.nan]), "t must be >= 0, got nan"),
        (lambda: predictor_eigenvalues([0.5], [-1.0]), "t must be >= 0"),
        (lambda: euclidean_growth(stop_gradient="both"), "stop_gradient must be"),
        (
            lambda: euclidean_growth(loss="isoloss_euclidean", stop_gradient="none"),
            "on the target",
        ),
        (
            lambda: cosine_velocity(S0, loss="isoloss_cosine", stop_gradient="none"),
            "on the target",
        ),
        (lambda: cosine_velocity(S0[:1]), "at least 2"),
        (lambda: cosine_velocity(S0[:2], predictor=False), "at least 3"),
        (
            lambda: cosine_velocity(S0, predictor=False, stop_gradient="none"),
            "without a predictor",
        ),
        (lambda: solve_cosine(np.array([0.0, 1.0])), "must be > 0"),
        (lambda: sphere_averages(S0, S0[:3]), "one entry for each of 10 modes, got 3"),
        (
            lambda: sphere_averages(S0[:2], S0[:2], prediction_power=0, target_power=6),
            "infinite",
        ),
        (lambda: weight_decay_limits(-0.1), "weight_decay must be"),
        (lambda: relu_velocity(S0), "weights must be"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
