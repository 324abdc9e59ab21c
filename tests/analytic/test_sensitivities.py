"""Derivatives of solutions and flows where they were once wrong, against differences.

A stop-gradient inside of a loss, an eigenvalue that repeats, a mode at 0.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import losses
from ssljax.analytic import implicit_variance as iv
from ssljax.analytic import prediction_head as ph
from ssljax.analytic.curves import lambert_gain, logistic_gain
from ssljax.analytic.simulate import gradient_flow
from ssljax.analytic.spectral_functions import symmetric_power

pytestmark = pytest.mark.usefixtures("float64")


def differences(function, x, step=1e-4):
    """Return the Jacobian ``[*out, *in]`` by central differences of fourth order."""
    x = jnp.asarray(x)
    moves = np.eye(x.size).reshape(x.size, *x.shape)

    def along(move):
        near, far = (
            function(x + h * step * move) - function(x - h * step * move)
            for h in (1, 2)
        )
        return (8 * near - far) / (12 * step)

    columns = [np.asarray(along(move)) for move in moves]
    return np.moveaxis(columns, 0, -1).reshape(*columns[0].shape, *x.shape)


def agree(found, expected, tolerance=1e-6):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("alpha, noise", [(1.0, 0.0), (0.5, 0.3)])
def test_rectifiers_of_equal_orthogonal_rows(alpha, noise):
    w = 0.5 * np.eye(2)

    @jax.jit
    def velocity(w):
        return iv.relu_velocity(w, alpha=alpha, target_noise=noise)

    slope = jax.jit(jax.jacrev(velocity))
    agree(slope(w), differences(velocity, w))
    agree(jax.jit(jax.jacfwd(slope))(w), differences(slope, w))


def test_rectifiers_in_the_limit_of_no_noise():
    def velocity(noise):
        return iv.relu_velocity(0.5 * np.eye(2), target_noise=noise)

    # A row and its own noisy view: of third order in the noise.
    np.testing.assert_allclose(jax.jacfwd(velocity)(0.0), 0.0, atol=1e-15)


@pytest.mark.slow
def test_the_flow_of_rectifiers_from_equal_orthogonal_rows():
    @jax.jit
    def trace(w):
        return jnp.sum(iv.solve_relu(w, loss="isoloss_euclidean", alpha=0.5)(1.5))

    w = 0.5 * np.eye(2)
    agree(jax.jit(jax.grad(trace))(w), differences(trace, w, 1e-3))


@pytest.mark.parametrize("loss", ["euclidean", "isoloss_euclidean"])
def test_a_mode_at_zero_has_the_derivatives_of_its_limit(loss):
    t = jnp.array([0.0, 1.0, 3.0])

    def values(x):
        return iv.predictor_eigenvalues(x[None], t, loss=loss, alpha=0.5)[:, 0]

    slope = jax.jit(jax.jacfwd(values))
    curve = jax.jit(jax.jacfwd(jax.jacfwd(values)))
    zero = jnp.zeros(())
    tau = np.asarray(t)
    grown = np.exp(tau)
    if loss == "euclidean":  # dx/dtau = x^2 (1 - x): x = x0 + tau x0^2 + ...
        np.testing.assert_allclose(slope(zero), 1.0, rtol=1e-12)
        np.testing.assert_allclose(curve(zero), 2.0 * tau, rtol=1e-12)
    else:  # x = x0 exp(tau) / (1 + x0 (exp(tau) - 1))
        np.testing.assert_allclose(slope(zero), grown, rtol=1e-12)
        np.testing.assert_allclose(curve(zero), -2.0 * grown * (grown - 1), rtol=1e-12)
    # One-sided differences, from above.
    h = 1e-5
    ahead = [np.asarray(values(jnp.asarray(i * h))) for i in range(5)]
    numeric = np.tensordot([-25, 48, -36, 16, -3], ahead, 1) / (12 * h)
    np.testing.assert_allclose(slope(zero), numeric, rtol=1e-9)


@pytest.mark.parametrize("loss", ["euclidean", "isoloss_euclidean"])
@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_a_variance_at_zero_has_finite_derivatives(loss, alpha):
    def values(s):
        return iv.solve_euclidean(s, loss=loss, alpha=alpha)(jnp.array([1.5]))[0]

    found = jax.jacfwd(values)(jnp.array([0.0, 0.4]))
    tiny = values(jnp.array([1e-12, 0.4]))[0] / 1e-12
    np.testing.assert_allclose(found[0, 0], tiny, rtol=1e-5)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("constant", [0.0, 1e-9, -0.0166, 0.8, -0.8])
def test_the_logistic_curve_is_smooth_where_its_rate_vanishes(constant):
    function = jax.jit(lambda x: logistic_gain(x[0], x[1], x[2], x[3]))
    x = jnp.array([0.3, 1.2, constant, -1.0])
    slope = jax.jit(jax.grad(function))
    agree(slope(x), differences(function, x), 1e-9)
    agree(jax.jit(jax.hessian(function))(x), differences(slope, x), 1e-8)


@pytest.mark.parametrize("start", [0.02, 0.3, 0.995, 1.0, 1.005, 1.5])
def test_the_lambert_curve_is_twice_differentiable(start):
    function = jax.jit(lambda x: lambert_gain(x[0], x[1]))
    x = jnp.array([start, 1.2])
    slope = jax.jit(jax.grad(function))
    agree(slope(x), differences(function, x), 1e-8)
    agree(jax.jit(jax.hessian(function))(x), differences(slope, x), 1e-8)


@pytest.mark.slow
def test_directpred_and_its_closed_form_have_one_jacobian():
    """Simulate ``asymmetric_euclidean``, whose target and predictor are held fixed."""
    x = np.sqrt(3.0) * np.eye(3)  # white inputs
    times = jnp.array([0.0, 2.0])

    def simulated(start):
        def loss(w):
            fixed = jax.lax.stop_gradient(w)
            predictor = symmetric_power(fixed @ fixed.T, 0.5)
            return losses.asymmetric_euclidean(x @ w.T, x @ w.T, predictor)

        def spectrum(w):
            return jnp.diagonal(symmetric_power(w @ w.T, 0.5))

        # The predictor's eigenvalues are the network's singular values.
        flow = gradient_flow(
            loss, jnp.diag(start), times, record=spectrum, estimate_error=False
        )
        return flow.values[-1]

    def exact(start):
        return iv.predictor_eigenvalues(start, 2.0, alpha=0.5)

    start = jnp.array([0.2, 0.5, 1.5])
    np.testing.assert_allclose(simulated(start), exact(start), rtol=1e-8)
    found = jax.jit(jax.jacrev(simulated))(start)
    agree(found, jax.jacfwd(exact)(start), 1e-7)
    agree(found, differences(exact, start), 1e-7)


DATA = ph.PatchData(strengths=(1.5, 1.2), noise=0.8, patches=4, feature_patches=2)
START = ph.HeadParams(
    np.array([[0.6, 0.3, 0.5, 0.1], [0.2, 0.5, -0.2, 0.6]]),
    np.array([[1.0, 0.1], [0.2, 1.0]]),
)


@pytest.mark.slow
def test_sensitivities_of_the_head_s_flow():
    @jax.jit
    def end(x):
        w = START.w + x[0] * np.eye(2, 4)
        start = ph.HeadParams(w, START.head + x[1] * (1 - np.eye(2)))
        times = jnp.array([0.0, 2.0])
        flow = ph.head_flow(start, times, data=DATA, rate_ratio=0.3 + x[2])
        return jnp.concatenate(
            [flow.values.w[-1].ravel(), flow.values.head[-1].ravel()]
        )

    zero = jnp.zeros(3)
    agree(jax.jit(jax.jacrev(end))(zero), differences(end, zero, 1e-3))


@pytest.mark.slow
def test_second_derivatives_of_the_frozen_head():
    """Its clock is inverted by bisection; two steps of Newton carry derivatives."""
    w = START.w * 0.3

    @jax.jit
    def end(x):
        data = ph.PatchData(strengths=(6.0, 4.5), noise=1.0 + x[2])
        return ph.solve_frozen_head(w.at[0, 0].multiply(1 + x[0]), data)(1.5 + x[1])[0]

    w, zero = jnp.asarray(w), jnp.zeros(3)
    slope = jax.jit(jax.grad(end))
    agree(slope(zero), differences(end, zero, 1e-4))
    agree(jax.jit(jax.hessian(end))(zero), differences(slope, zero, 1e-4))


def test_effective_rank_at_repeated_eigenvalues():
    def rank(c):
        return ph.effective_rank(0.5 * (c + c.T))

    slope = jax.jit(jax.grad(rank))
    for c in (np.eye(2), np.array([[1.0, 0.3], [0.3, 0.6]])):
        np.testing.assert_allclose(slope(c), differences(rank, c), rtol=0, atol=1e-9)
        agree(jax.jit(jax.hessian(rank))(c), differences(slope, c))


@pytest.mark.slow
def test_a_weight_decay_of_zero_is_a_parameter_where_it_is_an_array():
    start, t = np.array([0.3, 0.7]), np.array([1.0])
    plain = iv.solve_euclidean(start)
    assert "weight_decay" not in plain.params
    array = iv.solve_euclidean(start, weight_decay=jnp.zeros(()))
    np.testing.assert_allclose(array(t), plain(t), rtol=1e-8)
    with pytest.raises(ValueError, match="has no parameter weight_decay"):
        plain.replace(weight_decay=0.1)
    slope = jax.jacfwd(lambda d: array.replace(weight_decay=d)(t))(0.0)
    h = 1e-3
    ahead = [np.asarray(array.replace(weight_decay=i * h)(t)) for i in range(5)]
    numeric = np.tensordot([-25, 48, -36, 16, -3], ahead, 1) / (12 * h)
    agree(slope, numeric)
