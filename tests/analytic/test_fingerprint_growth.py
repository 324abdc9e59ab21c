"""`growth_rate` and `equalisation_rate`: closed forms and all derivatives."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import losses
from ssljax.analytic.fingerprint import (
    eigenvalue_rates,
    equalisation_rate,
    gaussian_views,
    growth_rate,
    spectral_fingerprint,
)
from ssljax.analytic.fingerprint.losses import FINGERPRINTED, power_predictor

SMALL = {"modes": 4, "samples": 32}


def of_temperature(temperature, **options):
    loss = partial(losses.nt_xent, temperature=temperature)
    return growth_rate(loss, **(SMALL | options))


def slope(function, at, step=1e-4):
    return float(function(at + step) - function(at - step)) / (2.0 * step)


def test_the_growth_is_the_fingerprints():
    loss = FINGERPRINTED["isoloss_euclidean"].loss
    found = spectral_fingerprint(loss, **SMALL)
    rate = growth_rate(loss, reference=found.reference, **SMALL)
    assert rate == pytest.approx(found.growth, rel=1e-12)


def test_the_gradient_by_the_temperature_is_that_of_differences(float64):
    growth = jax.jit(of_temperature)
    assert float(jax.grad(growth)(0.5)) == pytest.approx(slope(growth, 0.5), rel=1e-6)


@pytest.mark.slow
def test_every_transformation_by_the_temperature(float64):
    growth = jax.jit(of_temperature)
    first = jax.grad(of_temperature)(0.5)
    assert float(first) == pytest.approx(slope(growth, 0.5), rel=1e-6)
    tangent = jax.jvp(of_temperature, (0.5,), (1.0,))[1]
    assert float(tangent) == pytest.approx(float(first), rel=1e-9)
    second = jax.grad(jax.grad(growth))(0.5)
    by_differences = slope(jax.jit(jax.grad(of_temperature)), 0.5)
    assert float(second) == pytest.approx(by_differences, rel=1e-6)
    many = jax.vmap(of_temperature)(jnp.array([0.3, 0.5]))
    np.testing.assert_allclose(many, [growth(0.3), growth(0.5)], rtol=1e-9)


@pytest.mark.slow
def test_float32_callers_get_the_same_numbers():
    exact = float(of_temperature(0.5))
    for found in (
        jax.jit(of_temperature)(0.5),
        jax.vmap(of_temperature)(jnp.array([0.5]))[0],
        jax.jvp(of_temperature, (0.5,), (1.0,))[0],
    ):
        assert float(found) == pytest.approx(exact, rel=1e-5)
    with jax.enable_x64(True):
        expected = float(jax.grad(of_temperature)(0.5))
    assert float(jax.grad(of_temperature)(0.5)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_arguments_given_as_numbers_can_be_differentiated():
    def growth(correlation):
        return growth_rate(
            losses.linearized_barlow_twins, correlation=correlation, level=0.1, **SMALL
        )

    # 8 rho (1 - rho lambda) at lambda = 0.1
    assert float(growth(0.5)) == pytest.approx(4.0 * 0.95, rel=1e-6)
    assert float(jax.grad(growth)(0.5)) == pytest.approx(8.0 * 0.9, rel=1e-5)


@pytest.mark.parametrize(
    "name", ["asymmetric_euclidean", "isoloss_euclidean", "asymmetric_cosine"]
)
def test_derivatives_go_through_stop_gradients(name, float64):
    """Also those of the predictor's exponent, which the descent holds constant."""
    views = gaussian_views(4, samples=32)

    @jax.jit
    def rates(spectrum, exponent, correlation):
        def loss(z1, z2):
            predictor = power_predictor(z1, exponent)
            return getattr(losses, name)(z1, z2, predictor)

        return eigenvalue_rates(loss, spectrum, correlation=correlation, views=views)

    at = (jnp.array([0.5, 1.0, 2.5, 4.0]), jnp.array(0.5), jnp.full(4, 0.7))
    found = jax.jit(jax.jacrev(rates, argnums=(0, 1, 2)))(*at)
    step = 1e-5
    for place, jacobian in enumerate(found):
        columns = []
        for tilt in np.eye(at[place].size).reshape(-1, *at[place].shape):
            ends = [
                rates(*(x + s * tilt if i == place else x for i, x in enumerate(at)))
                for s in (-step, step)
            ]
            columns.append((ends[1] - ends[0]) / (2.0 * step))
        expected = np.stack(columns, axis=-1).reshape(jacobian.shape)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(jacobian / scale, expected / scale, atol=1e-7)


@pytest.mark.slow
def test_derivatives_through_the_matrix_functions_of_the_losses(float64):
    loss = FINGERPRINTED["spectral_transform"].loss

    @jax.jit
    def growth(correlation):
        return growth_rate(loss, correlation=correlation, **SMALL)

    found = float(jax.grad(growth)(0.7))
    assert found == pytest.approx(slope(growth, 0.7), rel=1e-6)


def test_equalisation_of_the_closed_forms():
    for level in (0.3, 2.0):
        rate = equalisation_rate(
            losses.linearized_barlow_twins,
            level,
            correlation=0.5,
            views=gaussian_views(4, samples=32),
        )
        # d ln lambda / dt = 8 rho (1 - rho lambda)
        assert rate == pytest.approx(8 * 0.25 * level, rel=1e-12)


@pytest.mark.slow
def test_equalisation_can_be_differentiated(float64):
    views = gaussian_views(4, samples=32)

    @jax.jit
    def rate(temperature):
        loss = partial(losses.nt_xent, temperature=temperature)
        return equalisation_rate(loss, 1.0, views=views)

    assert float(jax.grad(rate)(0.5)) == pytest.approx(slope(rate, 0.5), rel=1e-6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"level": 0.0}, "level must be > 0, got 0"),
        ({"reference": -1.0}, "reference must be > 0"),
        ({"correlation": np.nan}, r"correlation must lie in \[-1, 1\]"),
        ({"others": 1.5}, r"others must lie in \[-1, 1\]"),
        ({"modes": 1}, "modes must be a whole number >= 2, got 1"),
        ({"samples": 30}, "samples must be a multiple of 8"),
        ({"basis": "random"}, "basis must be one of"),
    ],
)
def test_bad_numbers_are_one_line(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        growth_rate(losses.vicreg, **(SMALL | options))
    assert "\n" not in str(caught.value)
