"""Rates of single modes from measured eigenvalues, where the truth is known."""

import numpy as np
import pytest

from ssljax.analytic.mode_fit import LATENESS, RESIDUAL, ModeFit, fit_modes
from ssljax.analytic.mode_law import ModeLaw

T = np.linspace(0.0, 5.0, 60)
RATES = np.array([8.0, 4.0, 2.5])


def logistic(t, start, rate, plateau):
    odds = start / (1 - start) * np.exp(rate * t)
    return plateau * odds / (1 + odds)


def curves(noise=0.0, seed=0):
    clean = logistic(T[:, None], 0.01, RATES, np.array([3.0, 1.0, 0.2]))
    spread = np.random.default_rng(seed).normal(size=clean.shape)
    return clean * (1.0 + noise * spread)


@pytest.mark.slow
def test_exact_curves_give_their_rates_plateaus_and_crossings():
    found = fit_modes(T, curves(), ModeLaw())
    np.testing.assert_allclose([f.rate for f in found], RATES, rtol=1e-6)
    np.testing.assert_allclose([f.plateau for f in found], [3, 1, 0.2], rtol=1e-6)
    half = np.log(99.0) / RATES
    np.testing.assert_allclose([f.predicted for f in found], half, rtol=1e-6)
    np.testing.assert_allclose([f.crossing for f in found], half, rtol=1e-6)
    # Between two measurements the curve is not straight.
    np.testing.assert_allclose([f.measured for f in found], half, rtol=2e-3)
    assert [f.verdict for f in found] == ["follows"] * 3
    np.testing.assert_allclose(found[1].curve(T), curves()[:, 1], atol=1e-6)


def test_errors_cover_the_truth_under_noise():
    scores = []
    for seed in range(10):
        found = fit_modes(T, curves(0.02, seed), ModeLaw())
        for f, rate in zip(found, RATES, strict=True):
            assert f.follows, f.verdict
            scores.append((f.rate - rate) / f.rate_error)
    # Standard normal: 30 of them have a root mean square of 1 +- 0.13. The noise is
    # that of a share of the value, not equal everywhere as the fit assumes.
    assert 0.5 < np.sqrt(np.mean(np.square(scores))) < 1.5
    assert abs(np.mean(scores)) < 0.5


def test_a_mode_that_does_not_follow_is_named():
    values = curves()
    values[:, 1] *= 1.0 + 0.4 * np.sin(4.0 * T)
    verdicts = [f.verdict for f in fit_modes(T, values, ModeLaw())]
    assert verdicts[0] == verdicts[2] == "follows"
    assert verdicts[1].startswith("does not follow") and "off the curve" in verdicts[1]


def test_a_start_that_does_not_fit_the_rise_is_named():
    # A logistic rise after a wait that its rate does not explain.
    values = 0.01 + logistic(T[:, None], 1e-6, np.array([6.0]), 1.0)
    (found,) = fit_modes(T, values, ModeLaw())
    assert found.residual <= RESIDUAL and found.lateness < -LATENESS
    assert found.verdict.endswith("late for its start")


@pytest.mark.parametrize(
    "values, why",
    [
        (np.zeros_like(T), "at zero, or measured too rarely"),
        (np.full_like(T, 2.0), "does not change"),
        (np.exp(-T), "does not grow"),
        (logistic(T, 0.7, 2.0, 1.0), "starts above half of its plateau"),
        (logistic(T, 1e-3, 1.3, 1.0), "still far from a plateau at the end"),
        (np.exp(T), "the measurements do not determine its curve"),
        (1e-3 + 1.0 * (T > 2), "0 measurements in its rise"),
    ],
)
def test_a_mode_without_a_rise_is_refused(values, why):
    (found,) = fit_modes(T, values[:, None], ModeLaw())
    assert found.refused == why and not found.follows
    assert found.verdict == f"not fitted: {why}"
    assert np.isnan(found.curve(T)).all()


@pytest.mark.slow
def test_zeros_and_gaps_are_left_out():
    values = curves()[:, :1]
    values[:4] = 0.0
    values[30] = np.nan
    (found,) = fit_modes(T, values, ModeLaw(), ranks=[7])
    assert found.mode == 7 and found.follows
    np.testing.assert_allclose(found.rate, RATES[0], rtol=1e-6)
    np.testing.assert_allclose(found.predicted, np.log(99.0) / RATES[0], rtol=1e-6)


def test_a_power_changes_what_half_learned_means():
    # Half of the predictor's eigenvalue is a quarter of the variance at exponent 1/2.
    law = ModeLaw(power=0.5)
    values = logistic(T[:, None], 0.05, RATES[:1], 1.0) ** 2
    (found,) = fit_modes(T, 3.0 * values, law)
    assert law.half == 0.25
    np.testing.assert_allclose(found.rate, RATES[0], rtol=1e-6)
    np.testing.assert_allclose(found.predicted, np.log(19.0) / RATES[0], rtol=1e-6)


@pytest.mark.slow
def test_the_lambert_curve_is_that_of_the_theory():
    from ssljax.analytic.implicit_variance import (
        predictor_eigenvalues,
        recruitment_time,
    )

    start, alpha = np.array([0.3, 0.1]), 0.5
    t = 3.0 * T
    values = 2.0 * np.asarray(predictor_eigenvalues(start, t, alpha=alpha)) ** 2
    found = fit_modes(t, values, ModeLaw("lambert", power=alpha))
    np.testing.assert_allclose([f.rate for f in found], 2 * alpha, rtol=1e-5)
    half = recruitment_time(start, 0.5, alpha=alpha)
    np.testing.assert_allclose([f.predicted for f in found], half, rtol=1e-5)
    # The logistic curve does not pass for it.
    wrong = fit_modes(t, values, ModeLaw("logistic", power=alpha))
    assert not any(f.follows for f in wrong)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="7 measurements do not determine a law"):
        fit_modes(T[:7], curves()[:7], ModeLaw())
    with pytest.raises(ValueError, match="do not fit"):
        fit_modes(T[:-1], curves(), ModeLaw())
    with pytest.raises(ValueError, match="curve must be one of"):
        ModeLaw("linear")
    with pytest.raises(ValueError, match="power"):
        ModeLaw(power=0.0)


def test_verdicts_depend_on_both_bounds():
    law = ModeLaw()
    assert ModeFit(1, law, residual=RESIDUAL, lateness=-LATENESS).follows
    assert not ModeFit(1, law, residual=1.01 * RESIDUAL, lateness=0.0).follows
    assert not ModeFit(1, law, residual=0.0, lateness=1.01 * LATENESS).follows
    assert not ModeFit(1, law).follows
