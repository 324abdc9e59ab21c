"""The spectral fingerprint: rates by autodiff, and every closed form they must meet."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import losses
from ssljax.analytic import fingerprint
from ssljax.analytic.checklist import Given, run_item
from ssljax.analytic.fingerprint import (
    FINGERPRINTED,
    TwoViews,
    eigenvalue_rates,
    fingerprints,
    gaussian_views,
    spectral_fingerprint,
)
from ssljax.analytic.fingerprint.checklist import THEORY
from ssljax.analytic.fingerprint.checklist.pictures import fingerprint_picture
from ssljax.analytic.fingerprint.closed_forms import CLOSED, closed_rates


def test_every_public_loss_has_a_fingerprint():
    assert set(FINGERPRINTED) == set(losses.__all__)


def test_closed_forms_belong_to_the_table():
    assert set(CLOSED) <= set(FINGERPRINTED)


def test_a_loss_replaced_in_the_module_is_the_one_that_is_differentiated(monkeypatch):
    spectrum = np.array([0.5, 1.0, 2.0, 4.0])
    loss = FINGERPRINTED["linearized_barlow_twins"].loss
    before = eigenvalue_rates(loss, spectrum)
    original = losses.linearized_barlow_twins
    monkeypatch.setattr(
        losses, "linearized_barlow_twins", lambda *args: -original(*args)
    )
    np.testing.assert_allclose(eigenvalue_rates(loss, spectrum), -before, rtol=1e-12)
    (item,) = (item for item in THEORY.items if item.number == "7")
    assert not run_item(item, Given()).passed


@pytest.mark.parametrize("basis", ["spread", "axes"])
@pytest.mark.parametrize("modes", [2, 4, 16])
def test_views_are_white_centred_and_correlated_as_asked(basis, modes):
    views = gaussian_views(modes, samples=16 * modes, basis=basis, seed=3)
    identity = np.eye(modes)
    np.testing.assert_allclose(views.basis.T @ views.basis, identity, atol=1e-14)
    with jax.enable_x64(True):
        correlation = jnp.linspace(-0.5, 1.0, modes)
        views = TwoViews(*map(jnp.asarray, views))
        z1, z2 = views.embeddings(jnp.full(modes, 2.0), correlation)
        x1, x2 = (np.asarray(z @ views.basis) / 2.0 for z in (z1, z2))
    for moment, expected in (
        (x1.T @ x1, identity),
        (x2.T @ x2, identity),
        (x1.T @ x2, np.diag(correlation)),
    ):
        np.testing.assert_allclose(moment / len(x1), expected, atol=1e-13)
    np.testing.assert_allclose(x1.mean(axis=0), 0.0, atol=1e-14)


def test_spread_modes_have_one_share_of_every_channel_and_of_their_mean():
    basis = np.asarray(gaussian_views(16).basis)
    np.testing.assert_allclose(np.abs(basis), 0.25, rtol=1e-12)
    np.testing.assert_allclose(np.abs(basis.sum(axis=0)), 1.0, rtol=1e-12)


def test_modes_of_one_size_move_alike_under_a_loss_of_angles():
    rates = eigenvalue_rates(losses.nt_xent, np.full(8, 0.3))
    np.testing.assert_allclose(rates, 0.0, atol=1e-12)
    spectrum = np.full(8, 0.3)
    spectrum[[0, 4]] = 1.0  # shifting the modes by four changes nothing
    rates = eigenvalue_rates(losses.nt_xent, spectrum)
    np.testing.assert_allclose(rates, np.roll(rates, 4), atol=1e-12)


def test_rates_are_float64_whatever_the_callers_default():
    rates = eigenvalue_rates(losses.vicreg, np.ones(4, np.float32))
    assert rates.dtype == np.float64 and rates.shape == (4,)
    assert not jax.config.read("jax_enable_x64")


def test_any_pure_function_has_a_fingerprint():
    """An entropy of the spectrum: it equalises, and small modes feel it most."""

    def entropy(z1, z2):
        share = jnp.linalg.eigvalsh(z1.T @ z1)
        share = share / jnp.sum(share)
        return jnp.sum(share * jnp.log(share))

    found = spectral_fingerprint(
        entropy, modes=4, samples=64, correlation=0.5, basis="axes"
    )
    # d ln lambda_i / dt = -4 / trace (log x_i - sum_k x_k log x_k)
    shares = np.full(4, 1.0)
    shares[0] = 1e-4
    trace = shares.sum()
    shares /= trace
    expected = -4.0 / trace * (np.log(shares[0]) - shares @ np.log(shares))
    assert found.growth == pytest.approx(expected, rel=1e-6)
    assert found.equalisation == pytest.approx(1.0, rel=1e-4)
    assert found.size == "free" and found.threshold == -np.inf
    assert found.verdict == "recruits all"


def test_a_loss_that_ignores_the_embedding_has_no_force():
    found = spectral_fingerprint(
        lambda z1, z2: 0.0 * jnp.sum(z1 * z2), modes=4, samples=64
    )
    assert found.verdict == "no force" and found.force == 0.0
    assert np.isnan(found.threshold) and np.isnan(found.plateau)


@pytest.mark.parametrize(
    "sign, size, verdict",
    [(1.0, "shrinks", "collapse: all modes shrink"), (-1.0, "grows", "recruits all")],
)
def test_a_pull_on_the_scale_is_told_by_its_sign(sign, size, verdict):
    found = spectral_fingerprint(
        lambda z1, z2: 0.5 * sign * jnp.mean(jnp.sum(z1**2, axis=1)),
        modes=4,
        samples=64,
    )
    assert found.drift == pytest.approx(-2.0 * sign)
    assert (found.size, found.verdict) == (size, verdict)


def test_a_rest_is_found_where_the_hinge_has_its_kink():
    found = spectral_fingerprint(losses.vicreg, modes=4, samples=64)
    # std = 1 with the variance over N - 1 and 1e-4 inside the root
    assert found.scale == pytest.approx((1.0 - 1e-4) * 63 / 64, rel=2e-3)


def test_barlow_twins_recruits_above_a_correlation_set_by_its_weight():
    rho, weight, modes = 0.8, 0.1, 4
    found = spectral_fingerprint(
        partial(losses.barlow_twins, off_diagonal_weight=weight),
        correlation=rho,
        modes=modes,
        samples=64,
    )
    # Zero of (1 - rho)(x - rho) + w rho x + w rho^2 / (M - 1), the rate of a small mode
    # of correlation x; the last term vanishes with many channels.
    expected = rho * (1 - rho - weight * rho / (modes - 1)) / (1 - rho + weight * rho)
    assert found.threshold == pytest.approx(expected, rel=1e-3)


def test_views_of_ones_own_are_used():
    angle = 2 * np.pi * np.arange(40) / 40
    source = np.sqrt(2.0) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    views = TwoViews(source, np.zeros_like(source), np.eye(2))
    rates = eigenvalue_rates(
        losses.linearized_barlow_twins, [0.5, 2.0], correlation=1.0, views=views
    )
    np.testing.assert_allclose(rates, [2.0, -16.0], rtol=1e-12)
    found = spectral_fingerprint(
        losses.linearized_barlow_twins, correlation=1.0, views=views
    )
    assert found.scale == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: gaussian_views(4, samples=60), "multiple of 8 and at least 32"),
        (lambda: gaussian_views(4, basis="random"), "basis must be one of"),
        (lambda: eigenvalue_rates(losses.vicreg, [1.0, 0.0]), "spectrum must be > 0"),
        (lambda: eigenvalue_rates(losses.vicreg, [[1.0]]), r"must be \[modes\]"),
        (
            lambda: eigenvalue_rates(losses.vicreg, np.ones(4), correlation=1.5),
            r"lie in \[-1, 1\]",
        ),
        (
            lambda: eigenvalue_rates(losses.vicreg, np.ones(4), correlation=[0, 1]),
            "one number or",
        ),
        (
            lambda: eigenvalue_rates(
                losses.vicreg, np.ones(2), views=gaussian_views(4)
            ),
            "the views have 4 modes, the spectrum 2",
        ),
        (
            lambda: spectral_fingerprint(losses.vicreg, correlation=0.0),
            r"lie in \(0, 1\]",
        ),
        (lambda: fingerprints(["vicregg"]), "loss must be one of .*, got 'vicregg'"),
    ],
)
def test_bad_input_is_one_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_picture_has_closed_forms_as_lines_and_rates_as_points():
    found = fingerprints(["linearized_barlow_twins", "negative_cosine"])
    picture = fingerprint_picture(found)
    with_form, without = picture.panels
    assert with_form.title == "linearized_barlow_twins" and not without.lines
    x, y = with_form.points[0]
    levels, curves = with_form.lines[0]
    for column in (0, 1):
        known = np.isfinite(curves[:, column])
        expected = np.interp(np.log(x), np.log(levels[known]), curves[known, column])
        seen = np.isfinite(y[:, column])
        np.testing.assert_allclose(y[seen, column], expected[seen], atol=0.05)
    # Rates beyond the reference's size are drawn too, on a logarithmic axis.
    assert np.isfinite(y).all() and np.abs(y).max() > 1.0
    assert with_form.linear_within == 1.0 and picture.caption


# The other closed forms are those of the checklist's item 14.
REMAINING = sorted({*CLOSED} - {"barlow_twins", "vicreg", "vicreg_exp", "trace_loss"})


@pytest.mark.slow
@pytest.mark.parametrize("name", REMAINING)
def test_every_closed_form_of_the_table_at_its_defaults(name):
    rng = np.random.default_rng(1)
    spectrum, correlation = np.exp(rng.normal(size=16)), rng.uniform(0.3, 0.95, 16)
    rates = eigenvalue_rates(
        FINGERPRINTED[name].loss, spectrum, correlation=correlation
    )
    expected = closed_rates(name, spectrum, correlation=correlation)
    scale = max(np.abs(expected).max(), 1.0)
    np.testing.assert_allclose(rates / scale, expected / scale, atol=1e-11)


@pytest.mark.slow
def test_the_table_of_all_losses():
    # Half the modes and a quarter of the samples: the verdicts are the same.
    found = fingerprints(modes=8, samples=64)
    assert list(found) == list(FINGERPRINTED)
    verdicts = {name: record.verdict for name, record in found.items()}
    for name in ("whiten", "w_mse"):
        assert verdicts[name] == "no force"
    for name in ("spectral_transform", "iterative_normalization"):
        assert verdicts[name].startswith("collapse")
    for name in ("asymmetric_euclidean", "asymmetric_cosine"):
        assert found[name].exponent == pytest.approx(0.5, abs=0.02)
    for name in ("isoloss_euclidean", "isoloss_cosine", "nt_xent", "vicreg", "tcr"):
        assert found[name].exponent == pytest.approx(0.0, abs=0.02)
        assert found[name].growth > 0
    # Without predictor and stop-gradient, modes below the mean correlation die.
    assert found["negative_cosine"].threshold > 0.7
    for name, record in found.items():
        if name not in ("spectral_transform", "iterative_normalization"):
            assert record.equalisation > -1e-9, name
        assert record.rates.shape == (len(record.levels), 2)


def test_contrastive_losses_are_compared_at_one_temperature():
    forms = {name: FINGERPRINTED[name].form for name in ("nt_xent", "info_nce", "dcl")}
    assert set(forms.values()) == {"temperature 0.5"}
    z1, z2 = np.random.default_rng(0).normal(size=(2, 8, 4))
    found = FINGERPRINTED["dcl"].loss(z1, z2)
    assert found == pytest.approx(float(losses.dcl(z1, z2, temperature=0.5)), rel=1e-6)


def test_the_module_says_what_it_offers():
    assert set(fingerprint.__all__) <= set(dir(fingerprint))
