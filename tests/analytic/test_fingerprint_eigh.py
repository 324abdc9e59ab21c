"""Losses that decompose a matrix themselves, and losses that compute too coarsely."""

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
from ssljax.analytic.fingerprint.loss_program import LossProgram

SMALL = {"modes": 4, "samples": 32}


def powered(z, power):
    """Return an embedding times its covariance to a power, by `jnp.linalg.eigh`."""
    values, vectors = jnp.linalg.eigh(z.T @ z / z.shape[0])
    return z @ (vectors * values[None, :] ** power) @ vectors.T


def distance(z1, z2, power=-0.25):
    return jnp.mean(jnp.sum((powered(z1, power) - powered(z2, power)) ** 2, axis=1))


def distance_rates(spectrum, correlation, power=-0.25):
    """Closed form: L = 2 sum lambda^r (1 - rho) with r = 1 + 2 power."""
    rise = 1.0 + 2.0 * power
    return -8.0 * rise * spectrum**rise * (1.0 - correlation)


def entropy(z1, z2):
    share = jnp.linalg.eigh(z1.T @ z1)[0]
    share = share / jnp.sum(share)
    return jnp.sum(share * jnp.log(share))


@pytest.mark.parametrize(
    "spectrum", [[1.0, 1.0, 1.0, 1.0], [2.0, 1.0, 2.0, 1e-3], [0.5, 1.0, 2.0, 4.0]]
)
def test_rates_at_equal_eigenvalues_are_those_of_the_closed_form(spectrum):
    spectrum = np.array(spectrum)
    found = eigenvalue_rates(distance, spectrum, correlation=0.7)
    expected = distance_rates(spectrum, 0.7)
    # Second order in the split of 3e-5.
    np.testing.assert_allclose(found, expected, rtol=2e-9)


def test_whitening_by_eigh_has_no_force():
    found = spectral_fingerprint(partial(distance, power=-0.5), **SMALL)
    assert found.verdict == "no force"


def test_the_fingerprint_of_a_power_by_eigh():
    found = spectral_fingerprint(distance, **SMALL)
    # d ln lambda / dt = -4 lambda^(-1/2) (1 - rho), at 1e-4 of the reference 1
    assert found.growth == pytest.approx(-80.0, rel=1e-8)
    assert found.equalisation == pytest.approx(-0.4, rel=1e-6)
    assert found.verdict == "collapse: all modes shrink"


def test_the_entropy_of_the_spectrum_by_eigh():
    found = spectral_fingerprint(entropy, correlation=0.5, **SMALL)
    shares = np.array([1e-4, 1.0, 1.0, 1.0])
    trace = shares.sum()
    shares /= trace
    expected = -4.0 / trace * (np.log(shares[0]) - shares @ np.log(shares))
    assert found.growth == pytest.approx(expected, rel=1e-8)
    assert found.equalisation == pytest.approx(1.0, rel=1e-6)


def test_the_error_falls_with_the_square_of_the_split():
    """So the split adds no offset: the mean over both orders drops first order."""
    spectrum = np.ones(4)
    expected = distance_rates(spectrum, 0.7)
    errors = []
    for width in (1e-2, 5e-3):
        split = width * np.array([-1.0, -1.0 / 3.0, 1.0 / 3.0, 1.0])
        both = [
            eigenvalue_rates(distance, np.exp(s), correlation=0.7) / np.exp(s)
            for s in (split, -split)
        ]
        errors.append(np.abs(0.5 * sum(both) - expected).max())
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.1)


@pytest.mark.slow
def test_derivatives_at_equal_eigenvalues(float64):
    def rates(spectrum, power):
        return eigenvalue_rates(
            partial(distance, power=power), spectrum, correlation=0.7
        )

    spectrum, power = jnp.array([2.0, 1.0, 2.0, 1.0]), jnp.array(-0.25)
    by_spectrum, by_power = jax.jacrev(rates, argnums=(0, 1))(spectrum, power)
    expected = jax.jacrev(lambda s, p: distance_rates(s, 0.7, p), argnums=(0, 1))(
        spectrum, power
    )
    np.testing.assert_allclose(by_spectrum, expected[0], atol=1e-6)
    np.testing.assert_allclose(by_power, expected[1], rtol=1e-6)


def test_growth_by_a_power_against_central_differences(float64):
    @jax.jit
    def growth(power):
        return growth_rate(partial(distance, power=power), level=0.1, **SMALL)

    step = 1e-4
    slope = float(growth(-0.2 + step) - growth(-0.2 - step)) / (2 * step)
    assert jax.grad(growth)(-0.2) == pytest.approx(slope, rel=1e-6)


def test_equalisation_at_equal_eigenvalues():
    views = gaussian_views(4, samples=32)
    found = equalisation_rate(distance, 0.25, correlation=0.8, views=views)
    # minus the slope of -4 lambda^(-1/2) (1 - rho) in log lambda
    assert found == pytest.approx(-0.4 / 0.5, rel=1e-6)


def test_which_losses_count_as_decomposing():
    def stopped(z1, z2):
        return losses.asymmetric_euclidean(z1, z2, jax.lax.stop_gradient(vectors(z1)))

    def vectors(z):
        return jnp.linalg.eigh(z.T @ z)[1]

    with jax.enable_x64(True):
        kinds = {
            name: LossProgram(loss, (32, 4))
            for name, loss in (
                ("eigh", distance),
                ("eigvalsh", lambda a, b: jnp.sum(jnp.linalg.eigvalsh(a.T @ b) ** 2)),
                ("svd", lambda a, b: jnp.sum(jnp.linalg.svd(a)[1]) + 0.0 * jnp.sum(b)),
                ("stopped", stopped),
                ("ruled", lambda a, b: jnp.sum(losses.whiten(a, method="pca") * b)),
                ("none", losses.vicreg),
            )
        }
    found = {
        name: (kind.decomposed, kind.decomposed_in_full) for name, kind in kinds.items()
    }
    assert found == {
        "eigh": (True, True),
        "eigvalsh": (True, True),
        "svd": (True, True),
        "stopped": (False, True),
        "ruled": (False, False),
        "none": (False, False),
    }


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_a_loss_that_computes_below_float64_is_refused(dtype):
    def loss(z1, z2):
        # The coarse part is inside of a compiled function, and its result is wide.
        return jax.jit(lambda a: jnp.mean(a.astype(dtype) ** 2))(z1 - z2).astype(float)

    views = gaussian_views(4, samples=32)
    for call in (
        lambda: spectral_fingerprint(loss, **SMALL),
        lambda: eigenvalue_rates(loss, np.ones(4)),
        lambda: growth_rate(loss, **SMALL),
        lambda: equalisation_rate(loss, 1.0, views=views),
    ):
        with pytest.raises(ValueError, match=f"computes in {dtype}.*remove") as caught:
            call()
        assert "\n" not in str(caught.value)


def test_narrow_constants_and_flags_are_not_refused():
    weight = jnp.float32(0.5)

    def loss(z1, z2):
        mask = (z1 > 0).astype(jnp.int32)
        return weight * jnp.mean(z1 * z2) + 0.0 * jnp.sum(mask)

    with jax.enable_x64(True):
        assert LossProgram(loss, (32, 4)).narrow == ""


def test_a_loss_of_several_numbers_is_refused():
    with pytest.raises(ValueError, match=r"one number, got shapes \[\[32\]\]"):
        growth_rate(lambda z1, z2: jnp.sum(z1 * z2, axis=1), **SMALL)


def test_a_gradient_that_stays_infinite_is_one_line():
    for call in (
        lambda: growth_rate(lambda a, b: np.nan * jnp.sum(a * b), **SMALL),
        lambda: eigenvalue_rates(lambda a, b: np.nan * jnp.sum(a * b), np.ones(4)),
        lambda: spectral_fingerprint(
            lambda a, b: jnp.sum(jnp.linalg.norm(a - a, axis=1)), **SMALL
        ),
    ):
        with pytest.raises(ValueError, match="no finite gradient") as caught:
            call()
        assert "\n" not in str(caught.value)
