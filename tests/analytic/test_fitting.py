"""Parameters from measured eigenvalues: right within their own error bars."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic import Solution, fit
from ssljax.analytic.fitting import Fit

TIMES = np.linspace(0.0, 6.0, 40)


def growth(params, t):
    """Logistic curves: the modes of linearised Barlow Twins."""
    first = jnp.log(params["start"]) - jnp.log1p(-params["start"])
    return jax.nn.sigmoid(first[None, :] + params["rate"][None, :] * t[:, None])


def made(start, rate):
    params = {"start": np.asarray(start, float), "rate": np.asarray(rate, float)}
    return Solution(params, growth, title="logistic growth")


TRUTH = made([0.05, 0.01], [1.5, 1.0])
GUESS = made([0.1, 0.1], [1.0, 1.0])


def measured(seed, noise=0.02):
    rng = np.random.default_rng(seed)
    return np.asarray(TRUTH(TIMES)) + noise * rng.normal(size=(len(TIMES), 2))


def misses(found: Fit) -> np.ndarray:
    """Return the distances from the truth in units of the error bars."""
    return np.concatenate(
        [
            (found.solution.params[k] - TRUTH.params[k]) / found.errors[k]
            for k in found.errors
        ]
    )


def test_exact_values_are_fitted_exactly():
    found = fit(GUESS, TIMES, TRUTH(TIMES))
    for name, value in TRUTH.params.items():
        np.testing.assert_allclose(found.solution.params[name], value, rtol=1e-7)
    assert found.noise < 1e-9 and found.evaluations < 50


@pytest.mark.slow
@pytest.mark.parametrize("noise", [None, 0.02])
def test_error_bars_cover_the_truth(noise):
    """Of 400 parameters of 100 draws 95 % lie within 1.96 error bars."""
    inside = np.concatenate(
        [
            np.abs(misses(fit(GUESS, TIMES, measured(s), noise=noise)))
            for s in range(100)
        ]
    )
    coverage = np.mean(inside < 1.96)
    assert 0.90 <= coverage <= 0.98, coverage
    # Neither far too long nor too short, which coverage alone would not show.
    assert 0.9 < np.sqrt(np.mean(inside**2)) < 1.1


def test_a_wrong_error_bar_would_be_noticed():
    draws = [misses(fit(GUESS, TIMES, measured(s))) for s in range(12)]
    assert 0.6 < np.sqrt(np.mean(np.square(draws))) < 1.4


def test_parameters_that_are_not_free_keep_their_values():
    found = TRUTH.replace(rate=np.array([1.0, 2.0])).fit(
        TIMES, measured(0), free=["rate"]
    )
    np.testing.assert_array_equal(found.solution.params["start"], TRUTH.params["start"])
    assert list(found.errors) == ["rate"] and found.covariance.shape == (2, 2)
    assert np.abs(found.solution.params["rate"] - TRUTH.params["rate"]).max() < 0.05


def test_missing_values_are_left_out():
    values = measured(1)
    values[::3, 0] = np.nan
    found = fit(GUESS, TIMES, values)
    assert np.abs(misses(found)).max() < 4.0


def test_the_text_form_names_values_and_errors():
    text = repr(fit(GUESS, TIMES, measured(0)))
    assert text.startswith("Fit(logistic growth, noise 0.0")
    assert text.count("+-") == 4 and "rate[1]" in text


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: fit(GUESS, TIMES, np.zeros((3, 2))), r"values must be \[40, 2\]"),
        (lambda: fit(GUESS, TIMES, measured(0), free=["speed"]), "no parameter speed"),
        (lambda: fit(GUESS, TIMES, measured(0), free=[]), "at least one parameter"),
        (lambda: fit(GUESS, TIMES, measured(0), noise=0.0), "noise must be > 0"),
        (lambda: fit(GUESS, TIMES, measured(0), noise=np.inf), "noise must be finite"),
        (
            lambda: fit(GUESS, TIMES, measured(0), noise=np.ones(7)),
            r"noise must be a number or broadcast to \[40, 2\], got \[7\]",
        ),
        (
            lambda: fit(
                GUESS, TIMES, np.where(TIMES[:, None] > 1, np.inf, measured(0))
            ),
            "values must be finite, or NaN",
        ),
        (
            lambda: fit(GUESS, TIMES, 1j * measured(0)),
            "values must be an array of real",
        ),
        (lambda: fit(GUESS, TIMES, -measured(0)), "better than zeros do; check their"),
        (
            lambda: fit(GUESS, TIMES, 0 * measured(0)),
            "better than zeros do; check their",
        ),
        (lambda: fit(growth, TIMES, measured(0)), "solution must be a Solution"),
        (lambda: fit(GUESS, TIMES[::-1], measured(0)), "times must be ascending"),
        (
            lambda: fit(GUESS, TIMES[:2], TRUTH(TIMES[:2])),
            "4 values do not determine 4 parameters",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_parameters_without_an_effect_are_named():
    def law(params, t):
        return growth(params, t) + 0.0 * params["idle"]

    solution = Solution({**GUESS.params, "idle": np.ones(())}, law)
    with pytest.raises(ValueError, match="do not determine all of start, rate, idle"):
        fit(solution, TIMES, measured(0))
