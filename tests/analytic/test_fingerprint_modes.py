"""Any number of modes: the basis, and rates against differences and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import losses
from ssljax.analytic.fingerprint import (
    TwoViews,
    eigenvalue_rates,
    gaussian_views,
    spectral_fingerprint,
)
from ssljax.analytic.fingerprint.basis import spread_basis
from ssljax.analytic.fingerprint.closed_forms import closed_rates

# Losses of the table whose rates do not depend on the channels that modes lie in.
ROTATED = [
    "asymmetric_euclidean",
    "isoloss_euclidean",
    "linearized_barlow_twins",
    "spectral_transform",
    "iterative_normalization",
]


@pytest.mark.parametrize("modes", [1, 2, 3, 6, 10, 15, 17, 48])
def test_a_basis_is_orthogonal_and_no_mode_is_the_mean(modes):
    basis = spread_basis(modes)
    np.testing.assert_allclose(basis.T @ basis, np.eye(modes), atol=1e-12)
    # No entry has more than twice the even share of its mode.
    assert np.max(basis**2) * modes <= 2.0 + 1e-12
    if modes > 3:
        assert np.max(np.sum(basis, axis=0) ** 2 / modes) < 0.5


def test_powers_of_two_keep_their_entries_of_one_size():
    for modes in (1, 2, 4, 8, 16, 32):
        np.testing.assert_allclose(np.abs(spread_basis(modes)), modes**-0.5, rtol=1e-12)


@pytest.mark.parametrize("modes", [3, 10])
def test_views_of_any_number_of_modes_are_white(modes):
    views = gaussian_views(modes)
    both = np.concatenate([views.source, views.noise], axis=1)
    np.testing.assert_allclose(both.T @ both / len(both), np.eye(2 * modes), atol=1e-12)


@pytest.mark.parametrize("loss", [losses.vicreg, losses.nt_xent])
def test_ten_modes_against_differences_of_a_gradient_step(loss, float64):
    rng = np.random.default_rng(0)
    # Apart, so that a small step does not let eigenvalues meet.
    levels = np.geomspace(0.1, 3.0, 10)
    rho = rng.uniform(0.3, 0.95, 10)
    views = gaussian_views(10, samples=80)
    shared = views.source * jnp.sqrt(0.5 * (1.0 + rho))[None, :]
    own = views.noise * jnp.sqrt(0.5 * (1.0 - rho))[None, :]
    weights = views.basis * jnp.sqrt(levels)[None, :]
    gradient = jax.grad(lambda w: loss((shared + own) @ w.T, (shared - own) @ w.T))(
        weights
    )
    rates = eigenvalue_rates(loss, levels, correlation=rho, views=views)
    step = 1e-6 / float(jnp.max(jnp.abs(gradient)))
    ends = [
        np.linalg.eigvalsh((weights + s * gradient) @ (weights + s * gradient).T)
        for s in (-step, step)
    ]
    differences = (ends[0] - ends[1]) / (2.0 * step)
    scale = np.abs(differences).max()
    np.testing.assert_allclose(rates / scale, differences / scale, atol=1e-7)


@pytest.mark.parametrize("name", ROTATED)
def test_closed_forms_of_losses_that_see_rotations_only(name):
    from ssljax.analytic.fingerprint.losses import FINGERPRINTED

    spectrum, rho = np.geomspace(0.2, 3.0, 10), np.linspace(0.4, 0.9, 10)
    found = eigenvalue_rates(
        FINGERPRINTED[name].loss,
        spectrum,
        correlation=rho,
        views=gaussian_views(10, samples=80),
    )
    expected = closed_rates(name, spectrum, correlation=rho, samples=80)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found / scale, expected / scale, atol=1e-11)


def test_what_ten_modes_lose_is_of_the_stated_size():
    """VICReg's hinge sees channels of unequal variance, so equal modes differ."""
    spectrum = np.where(np.arange(10) < 3, 1.0, 0.3)
    views = gaussian_views(10, samples=80)
    rates = eigenvalue_rates(losses.vicreg, spectrum, views=views)
    within = np.ptp(rates[:3]) / np.abs(rates).max()
    assert 0.01 < within < 0.2
    even = spectrum[:8]
    rates = eigenvalue_rates(losses.vicreg, even, views=gaussian_views(8, samples=64))
    assert np.ptp(rates[:3]) / np.abs(rates).max() < 1e-12


def test_a_fingerprint_of_ten_modes():
    found = spectral_fingerprint(losses.linearized_barlow_twins, modes=10, samples=80)
    assert found.scale == pytest.approx(1.25, rel=1e-4)  # 1 / rho
    assert found.growth == pytest.approx(6.4, rel=1e-3)  # 8 rho
    assert found.equalisation == pytest.approx(6.4, rel=1e-4)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: gaussian_views(0), "modes must be a whole number >= 1, got 0"),
        (lambda: gaussian_views(2.5), "modes must be a whole number"),
        (lambda: gaussian_views(10, samples=64), "multiple of 20 and at least 80"),
        (lambda: gaussian_views(10_000), "use at most 2896 modes"),
        (
            lambda: spectral_fingerprint(losses.vicreg, modes=1),
            "modes must be a whole number >= 2",
        ),
    ],
)
def test_numbers_of_modes_that_cannot_be_are_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_views_of_ones_own_may_have_any_number_of_modes():
    angle = 2 * np.pi * np.arange(30) / 30
    source = np.sqrt(2.0) * np.stack(
        [np.cos(angle), np.sin(angle), np.cos(2 * angle)], axis=1
    )
    views = TwoViews(source, np.zeros_like(source), np.eye(3))
    found = eigenvalue_rates(
        losses.linearized_barlow_twins, np.ones(3), correlation=1.0, views=views
    )
    np.testing.assert_allclose(found, 0.0, atol=1e-12)
