"""`eigenvalue_rates` inside of `jax.grad`, `jax.jit` and `jax.vmap`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import losses
from ssljax.analytic import eigenvalue_rates

pytestmark = pytest.mark.slow

SPECTRUM = np.array([0.5, 1.0, 2.5, 4.0])
RHO = 0.5


def barlow(spectrum, correlation=RHO):
    return eigenvalue_rates(
        losses.linearized_barlow_twins, spectrum, correlation=correlation
    )


def of_temperature(temperature, spectrum=SPECTRUM):
    def loss(z1, z2):
        return losses.nt_xent(z1, z2, temperature=temperature)

    return jnp.sum(eigenvalue_rates(loss, spectrum) * jnp.arange(1.0, 5.0))


def test_derivatives_of_a_closed_form(float64):
    # 8 rho lambda (1 - rho lambda)
    def total(spectrum, correlation):
        return barlow(spectrum, correlation).sum()

    found = jax.grad(total, argnums=(0, 1))(jnp.asarray(SPECTRUM), jnp.full(4, RHO))
    by_spectrum = 8 * RHO * (1 - 2 * RHO * SPECTRUM)
    np.testing.assert_allclose(found[0], by_spectrum, atol=1e-9)
    by_correlation = 8 * SPECTRUM * (1 - 2 * RHO * SPECTRUM)
    np.testing.assert_allclose(found[1], by_correlation, atol=1e-9)


def test_derivatives_match_finite_differences(float64):
    spectrum, step = jnp.asarray(SPECTRUM), 1e-5
    both = jax.jit(jax.value_and_grad(of_temperature, argnums=(0, 1)))
    found = both(0.4, spectrum)[1]

    def value(temperature, spectrum=spectrum):
        return both(temperature, spectrum)[0]

    slope = (value(0.4 + step) - value(0.4 - step)) / (2 * step)
    np.testing.assert_allclose(found[0], slope, rtol=1e-5)
    slopes = [
        (value(0.4, spectrum + step * e) - value(0.4, spectrum - step * e)) / (2 * step)
        for e in np.eye(4)
    ]
    np.testing.assert_allclose(found[1], slopes, rtol=1e-5)


def test_compiled_and_mapped_rates_are_the_rates(float64):
    spectra = np.stack([SPECTRUM, 2 * SPECTRUM])
    expected = 8 * RHO * spectra * (1 - RHO * spectra)
    np.testing.assert_allclose(jax.jit(barlow)(SPECTRUM), expected[0], rtol=1e-9)
    np.testing.assert_allclose(
        jax.vmap(barlow)(jnp.asarray(spectra)), expected, atol=1e-9
    )
    by_correlation = jax.jit(lambda rho: barlow(SPECTRUM, rho))(RHO)
    np.testing.assert_allclose(by_correlation, expected[0], rtol=1e-9)


def test_float32_callers_can_map_compile_and_differentiate():
    mapped = jax.vmap(barlow)(jnp.asarray(SPECTRUM)[None])
    np.testing.assert_allclose(mapped[0], barlow(SPECTRUM), rtol=1e-6)
    np.testing.assert_allclose(
        jax.jit(of_temperature)(0.4), of_temperature(0.4), rtol=1e-5
    )
    with jax.enable_x64(True):
        expected = jax.grad(of_temperature)(0.4)
    np.testing.assert_allclose(jax.grad(of_temperature)(0.4), expected, rtol=1e-5)
