"""Derivatives where a formula has a limit, a tie or a zero, against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic import curves, duality, stepwise
from ssljax.analytic import spectral_transformation as spectral
from ssljax.analytic.stepwise import definite
from ssljax.analytic.stepwise.kernel import KernelStart
from ssljax.analytic.stepwise.symmetric import matrix_root

TIMES = np.array([0.2, 0.7])
SIGMA = np.array([1.0, 2.0])


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def turned(values, seed=9):
    """A symmetric matrix with these eigenvalues, in no special basis."""
    basis = np.linalg.qr(normal(seed, len(values), len(values)))[0]
    return jnp.asarray(basis @ np.diag(values) @ basis.T)


def symmetric(matrix):
    return 0.5 * (matrix + matrix.T)


def derivatives(function, x, direction, *, one_sided=False, step=1e-4):
    """Return the derivative along a direction by JAX, backward and forward, and by
    differences of fourth (central) or third (one-sided) order."""
    x, direction = jnp.asarray(x), jnp.asarray(direction)
    weights = normal(0, *np.shape(function(x)))

    def along(h):
        return jnp.sum(weights * function(x + h * direction))

    if one_sided:
        at = [float(along(k * step)) for k in range(4)]
        numeric = (-11 * at[0] + 18 * at[1] - 9 * at[2] + 2 * at[3]) / (6 * step)
    else:
        at = [float(along(k * step)) for k in (-2, -1, 1, 2)]
        numeric = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step)
    forward = jax.jvp(along, (0.0,), (1.0,))[1]
    return np.array([jax.grad(along)(0.0), forward]), numeric


# Rates of exactly zero, alone and beside others.
RATES = {
    "aligned": lambda gamma: stepwise.solve_aligned([0.4, 0.5], gamma)(TIMES),
    "steps": lambda gamma: stepwise.kernel_steps(
        KernelStart(gamma, jnp.array([0.4, 0.5]), jnp.eye(2), gamma)
    )(TIMES),
    # At weights 2 and 1 the rate is 2 gamma - sigma.
    "merged": lambda shift: stepwise.solve_merged_vicreg(
        [0.4, 0.5], 0.5 * SIGMA + shift, SIGMA, invariance_weight=2.0
    )(TIMES),
    "contrastive": lambda gamma: stepwise.solve_spectral_contrastive(
        [0.4, 0.5], gamma, SIGMA
    )(TIMES),
    "logistic": lambda rate: curves.logistic_curve(
        0.4, jnp.asarray(TIMES)[:, None], rate[None, :], -0.7
    ),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", RATES)
def test_a_rate_of_zero_is_smooth(name):
    for rates in ([0.0, 0.0], [0.0, -0.3]):
        found, numeric = derivatives(RATES[name], rates, [1.0, -0.6])
        np.testing.assert_allclose(found, numeric, rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_second_derivatives_go_through_a_rate_of_zero():
    def slope(rate):
        return jax.grad(lambda r: RATES["logistic"](r)[:, 0].sum())(rate)

    found, numeric = derivatives(slope, [0.0, 0.0], [1.0, 0.0])
    np.testing.assert_allclose(found, numeric, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("function", [curves.mean_decay, curves.mean_growth])
def test_means_and_their_slopes_have_no_seam(function):
    # On both sides of where the series takes over, and far away.
    x = np.array([-3.0, -0.51, -0.49, -0.11, -0.09, 1e-9, 0.09, 0.11, 0.49, 0.51, 0.7])
    for each in (function, jax.vmap(jax.grad(function))):
        found, numeric = derivatives(each, x, np.ones_like(x), step=5e-4)
        np.testing.assert_allclose(found, numeric, rtol=1e-8)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("start", [0.0, 1e-120, 0.3, 1.0, 1.7])
def test_the_lambert_curve_is_smooth_in_its_start(start):
    def ends(x0):
        return curves.lambert_curve(x0, jnp.asarray(TIMES))

    zero = start < 1e-9
    found, numeric = derivatives(ends, start, 1.0, one_sided=zero)
    np.testing.assert_allclose(found, numeric, rtol=1e-6)
    if start:
        return
    bend = jax.grad(jax.grad(lambda x: ends(x)[1]))(0.0)
    np.testing.assert_allclose(bend, 2 * TIMES[1])  # x + x^2 t


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("power", [0.0, 0.5])
def test_the_alignment_flow_goes_through_the_limits_of_its_power(power):
    def ends(x):
        solution = spectral.solve_alignment_flow(
            jnp.array([1.5, 0.4]) + x[1:], jnp.array([0.1, 0.2]), power=x[0]
        )
        return solution(TIMES)

    start = np.array([power, 0.0, 0.0])
    found, numeric = derivatives(ends, start, [1.0, 0.5, -0.2], one_sided=power == 0)
    np.testing.assert_allclose(found, numeric, rtol=1e-6)


RANK_TWO = turned([2.0, 1.0, 0.0, 0.0])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_a_rank_deficient_moment_has_derivatives():
    start, change = normal(1, 2, 4), symmetric(normal(2, 4, 4))

    def prediction(moment):
        return stepwise.small_init_prediction(start, moment, 0.1)(TIMES)

    def smallest(moment):
        return stepwise.minimum_norm_solution(moment, 2)

    # In the axes, too, where zeros are exact.
    for moment in (RANK_TWO, jnp.diag(jnp.array([2.0, 1.0, 0.0, 0.0]))):
        for function in (prediction, smallest):
            found, numeric = derivatives(function, moment, change)
            np.testing.assert_allclose(found, numeric, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_equal_learned_eigenvalues_leave_what_has_no_basis_differentiable():
    change = symmetric(normal(3, 4, 4))

    def gram(moment):
        w = stepwise.minimum_norm_solution(moment, 2)
        return w.T @ w

    for moment in (turned([2.0, 2.0, 0.5, 0.5]), jnp.diag(jnp.array([2.0, 2, 0, 0]))):
        found, numeric = derivatives(gram, moment, change)
        np.testing.assert_allclose(found, numeric, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_a_whitened_basis_has_derivatives():
    gamma, change = turned([0.8, 0.3, -0.2]), symmetric(normal(4, 3, 3))

    # A second moment whose eigenvalues are all equal.
    def best(sigma):
        w, nu = stepwise.spectral_contrastive_minimum(gamma, sigma, 2)
        return jnp.concatenate([(w.T @ w).ravel(), nu])

    found, numeric = derivatives(best, jnp.eye(3), change)
    np.testing.assert_allclose(found, numeric, rtol=1e-6)

    def flow(moment):
        return stepwise.solve_right_preconditioned(0.3 * np.eye(3), moment)(TIMES)

    found, numeric = derivatives(flow, jnp.eye(3), change)
    np.testing.assert_allclose(found, numeric, rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_a_matrix_root_has_second_derivatives_at_equal_eigenvalues():
    change = jnp.asarray(symmetric(normal(5, 3, 3)))

    def slope(h):
        def entry(h):
            return matrix_root(jnp.eye(3) + h * change)[0, 1]

        return jax.grad(entry)(h)

    found, numeric = derivatives(slope, 0.0, 1.0)
    np.testing.assert_allclose(found, numeric, rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_a_kernel_of_one_view_twice_has_derivatives():
    # Rank n of 2 n, and equal eigenvalues. The change keeps the rank.
    features = jnp.eye(2)

    def kernel(features):
        k = features @ features.T
        return stepwise.contrastive_kernel(k, k, k)

    found, numeric = derivatives(kernel, features, normal(6, 2, 2))
    np.testing.assert_allclose(found, numeric, rtol=1e-6)


@pytest.mark.usefixtures("float64")
def test_equal_views_have_derivatives_in_their_moments():
    def views(gamma):
        return jnp.concatenate(stepwise.pairs_with_moments(gamma))

    found, numeric = derivatives(views, [0.7, -0.4], [1.0, 0.5])
    np.testing.assert_allclose(found, numeric, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_entries_and_eigenvalues_of_zero_have_derivatives():
    z = np.array([[0.0, 1.0], [0.7, -0.4], [0.2, 0.9]])
    found, numeric = derivatives(
        lambda z: duality.double_normalize(z, iterations=15), z, normal(7, 3, 2)
    )
    np.testing.assert_allclose(found, numeric, rtol=1e-6)

    def force(spectrum):
        return spectral.iter_norm_spectral_gradient(spectrum, [0.9, 0.2, 0.6], 3)

    found, numeric = derivatives(
        force, [1.0, 0.5, 0.0], [0.3, -0.2, 0.5], one_sided=True
    )
    np.testing.assert_allclose(found, numeric, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
def test_a_mode_that_is_not_learned_does_not_spoil_the_others():
    def times(start):
        gamma = jnp.array([1.0, 0.5, -0.3])
        return jnp.stack(
            [
                stepwise.critical_times(start, gamma)[:1],
                stepwise.half_times(start, gamma)[:1],
                stepwise.critical_steps(start, gamma, learning_rate=0.01)[:1],
            ]
        )

    found, numeric = derivatives(times, [0.1, 0.0, 0.1], [1.0, 0.0, 0.5], step=1e-5)
    np.testing.assert_allclose(found, numeric, rtol=1e-6)
    exponents = stepwise.error_exponents
    slopes = jax.jacobian(lambda g: exponents(g, 1, power=0.5).weights)
    np.testing.assert_array_equal(slopes(jnp.array([1.0, 0.0])), [0.0, 0.0])


SIZES = (
    lambda s: stepwise.solve_aligned(0.1 * s, s)(TIMES),
    lambda s: stepwise.critical_times(0.1 * s, s),
    lambda s: stepwise.half_times(0.1 * s, s),
    lambda s: stepwise.critical_steps(0.1 * s, s, learning_rate=0.01),
    lambda s: stepwise.expected_critical_times(s[::-1], 0.1),
    lambda s: stepwise.solve_merged_vicreg(s, s, s)(TIMES),
    lambda s: stepwise.solve_spectral_contrastive(s, s, s)(TIMES),
    lambda s: stepwise.solve_competition(0.01 * s, s, s)(TIMES),
    lambda s: stepwise.solve_left_preconditioned(0.1 * s, s, eps=0.1)(TIMES),
    lambda s: spectral.solve_alignment_flow(s, s, power=0.2)(TIMES),
    lambda s: spectral.collapse_time(s, s, power=0.2),
    lambda s: spectral.solve_trace_flow(s, iterations=2, observations=9)(TIMES),
    lambda s: spectral.iter_norm_spectral_gradient(s, s, 3),
    lambda s: spectral.rounding_growth(s / s.sum(), 3),
    lambda s: spectral.iter_norm_spectrum(s / s.sum(), 3),
    lambda s: duality.solve_soft_norm_flow(s)(TIMES),
)


@pytest.mark.parametrize("count", [1, 10_000])
@pytest.mark.parametrize("which", range(len(SIZES)))
def test_one_mode_and_ten_thousand_are_spectra(which, count):
    values = np.asarray(SIZES[which](np.linspace(0.1, 1.0, count)[::-1]))
    assert np.isfinite(values).all() and values.shape[-1:] in ((), (count,))


def test_indefinite_kernels_are_refused_at_any_size():
    check = definite.check_kernel
    for size in (4, 1500):
        kernel = np.eye(size)
        check("the kernel", kernel)
        kernel[0, 2] = kernel[2, 0] = 1.5
        with pytest.raises(ValueError, match="semi-definite, got the eigenvalue -0.5"):
            check("the kernel", kernel)
