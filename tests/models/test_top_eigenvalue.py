"""The largest eigenvalue of a covariance, by squaring and in a Krylov space."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.models import predictors, top_eigenvalue

D = 160
SPECTRA = {
    "power law": 1.0 / np.arange(1, D + 1),
    "exponential": np.exp(-np.arange(D) / 3.0),
    "one above equal ones": np.where(np.arange(D) == 0, 1.001, 1.0),
    "two nearly equal": np.where(np.arange(D) < 2, 1.0 - 1e-6 * np.arange(D), 0.3),
    "many equal": np.where(np.arange(D) < 40, 1.0, 0.1),
    "rank one": np.where(np.arange(D) == 0, 1.0, 0.0),
    "nothing": np.zeros(D),
}
by_lanczos = jax.jit(top_eigenvalue.by_lanczos)
by_squaring = jax.jit(top_eigenvalue.by_squaring)


def matrix(spectrum):
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(D, D)))[0]
    return (basis * spectrum[None]) @ basis.T


@pytest.mark.parametrize("dtype, gap", [("float32", 5e-7), ("float64", 1e-13)])
def test_either_way_gives_the_largest_eigenvalue(dtype, gap, float64):
    for name, spectrum in SPECTRA.items():
        c = jnp.asarray(matrix(spectrum), dtype)
        value, converged = by_lanczos(c)
        assert converged, name
        assert abs(value - spectrum[0]) <= gap, name
        assert abs(by_squaring(c) - spectrum[0]) <= gap, name


def test_a_spectrum_that_does_not_separate_is_squared(float64, monkeypatch):
    """An edge as flat as this has no limit that 128 products with a vector reach."""
    monkeypatch.setattr(top_eigenvalue, "_LANCZOS_FROM", 1)
    monkeypatch.setattr(top_eigenvalue, "_MOST_STEPS", 16)
    spectrum = 1.0 - 1e-3 * np.arange(D) / D
    c = jnp.asarray(matrix(spectrum))
    value, converged = top_eigenvalue.by_lanczos(c)
    assert not converged and abs(value - 1.0) > 1e-8
    found = jax.jit(lambda c: top_eigenvalue.largest_eigenvalue(c))(c)
    assert abs(found - 1.0) <= 1e-13


def test_the_predictor_of_a_wide_embedding_is_the_same(float64, monkeypatch):
    z = np.random.default_rng(1).normal(size=(40, D)) + 0.5
    c = jnp.asarray(z.T @ z / len(z))

    def copied(c):
        return predictors.direct_predictor(c, exponent=1.0, epsilon=0.25)

    small = jax.jit(copied)(c)
    monkeypatch.setattr(top_eigenvalue, "_LANCZOS_FROM", 1)
    wide = jax.jit(lambda c: copied(c))(c)
    np.testing.assert_allclose(wide, small, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(wide, wide.T)
    broken = jax.jit(lambda c: copied(c))(c.at[3, 4].set(jnp.nan))
    assert np.isnan(broken).any()
