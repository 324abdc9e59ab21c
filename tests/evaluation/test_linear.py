"""The linear probe and its solver against scikit-learn."""

import inspect
from functools import partial

import jax
import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from ssljax.evaluation import fit_logistic, linear_probe, logistic
from ssljax.evaluation.linear import standardise
from ssljax.evaluation.logistic import held_out, predict
from ssljax.evaluation.rows import over_devices


def relu_features(n, d=24, classes=5, seed=0):
    """Correlated, skewed, unevenly scaled: what an encoder's features look like."""
    shared = np.random.default_rng(99)
    centres = shared.normal(size=(classes, d))
    mix = shared.normal(size=(d, d)) / np.sqrt(d)
    scale = 3.0 * np.arange(1, d + 1)[None] ** -0.7
    rng = np.random.default_rng(seed)
    y = rng.integers(classes, size=n)
    z = (0.7 * centres[y] + rng.normal(size=(n, d))) * scale
    return np.maximum(z @ mix, 0.0).astype(np.float32), y


def objective(x, y, weights, bias, l2):
    logs = log_softmax(x.astype(np.float64) @ weights + bias[None], axis=1)
    return -logs[np.arange(len(y)), y].mean() + 0.5 * l2 * (weights**2).sum()


@pytest.fixture(scope="module")
def problem():
    x, y = relu_features(1000)
    test_x, test_y = relu_features(1000, seed=1)
    return (*standardise(x, test_x), y, test_y)


@pytest.fixture(scope="module")
def fits(problem):
    x, _, y, _ = problem
    return fit_logistic(x, y, num_classes=5, l2=(1e-4, 1e-2, 1.0))


@pytest.mark.parametrize("g, l2", [(0, 1e-4), (1, 1e-2), (2, 1.0)])
def test_agrees_with_scikit_learn(problem, fits, g, l2):
    x, test_x, y, test_y = problem
    oracle = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8, max_iter=5000)
    oracle.fit(x.astype(np.float64), y)
    best = objective(x, y, oracle.coef_.T, oracle.intercept_, l2)
    weights, bias = np.asarray(fits.weights[g]), np.asarray(fits.bias[g])
    ours = objective(x, y, weights.astype(np.float64), bias, l2)
    assert ours == pytest.approx(best, rel=1e-5)
    assert float(fits.objective[g]) == pytest.approx(ours, rel=1e-5)
    accuracy = np.mean(predict(fits, test_x)[g] == test_y)
    assert accuracy == pytest.approx(oracle.score(test_x, test_y), abs=0.003)
    np.testing.assert_allclose(weights, oracle.coef_.T, atol=5e-3)


def test_each_fit_stops_by_itself(fits):
    assert bool(fits.converged.all())
    # A weak penalty is the harder problem: fits that ran together stop apart.
    assert fits.iterations[0] > fits.iterations[1] > fits.iterations[2] > 0


def test_fits_side_by_side_equal_fits_alone(problem, fits):
    x, _, y, _ = problem
    alone = fit_logistic(x, y, num_classes=5, l2=(1e-2,))
    np.testing.assert_allclose(alone.weights[0], fits.weights[1], atol=2e-4)
    np.testing.assert_allclose(alone.objective[0], fits.objective[1], rtol=1e-6)


def test_large_features_are_read_without_a_copy(problem, fits, monkeypatch):
    x, _, y, _ = problem
    monkeypatch.setattr(logistic, "_COPY_LIMIT", 0)
    # Another jit, because the limit is read when a program is traced.
    monkeypatch.setattr(logistic, "_fit", jax.jit(inspect.unwrap(logistic._fit)))
    fit = fit_logistic(x, y, num_classes=5, l2=(1e-4, 1e-2, 1.0))
    np.testing.assert_allclose(fit.weights, fits.weights, atol=2e-4)
    np.testing.assert_allclose(fit.objective, fits.objective, rtol=1e-6)


def test_double_precision_where_it_is_enabled(float64):
    x, y = relu_features(200)
    fit = fit_logistic(x, y, num_classes=5, l2=(0.1,), tolerance=1e-10)
    assert fit.weights.dtype == np.float64 and bool(fit.converged[0])


def test_too_few_iterations_are_admitted(problem):
    x, _, y, _ = problem
    fit = fit_logistic(x, y, num_classes=5, l2=(1e-4,), max_iterations=3)
    assert not bool(fit.converged[0])
    assert int(fit.iterations[0]) == 3


def test_separable_classes_and_an_absent_class_stay_finite():
    y = 2 * np.arange(1000, dtype=np.int32) % 4  # 0 and 2 of five classes
    x = np.zeros((1000, 24), np.float32)
    x[:, 0] = (y - 1) * np.linspace(2.0, 3.0, 1000)
    fit = fit_logistic(x, y, num_classes=5, l2=(1e-5,))
    assert np.isfinite(fit.weights).all() and np.isfinite(fit.bias).all()
    np.testing.assert_array_equal(predict(fit, x)[0], y)


def test_held_out_scores_equal_their_definition(problem, fits):
    _, test_x, _, test_y = problem
    accuracies, losses = held_out(fits, test_x, test_y)
    for g in range(3):
        weights, bias = np.asarray(fits.weights[g]), np.asarray(fits.bias[g])
        assert losses[g] == pytest.approx(
            objective(test_x, test_y, weights, bias, 0.0), rel=1e-5
        )
        assert accuracies[g] == pytest.approx(
            np.mean(predict(fits, test_x)[g] == test_y), abs=1e-6
        )


def test_the_probe_fits_all_examples_and_reports_its_choice(problem):
    x, test_x, y, test_y = problem
    result = linear_probe(x, y, test_x, test_y, num_classes=5, l2_grid=(1.0, 1e-3))
    # The final fit is the optimum on all training examples.
    full = fit_logistic(x, y, num_classes=5, l2=(result.l2,))
    assert np.mean(predict(full, test_x)[0] == result.predictions) > 0.998
    assert [l2 for l2, _ in result.validation] == [1e-3, 1.0]
    held_out_accuracy = dict(result.validation)
    assert held_out_accuracy[result.l2] == max(held_out_accuracy.values())
    assert result.accuracy == np.mean(result.predictions == test_y)
    assert result.converged and result.accuracy > 0.6


def test_the_choice_never_sees_the_test_set(problem):
    x, test_x, y, test_y = problem
    probe = partial(linear_probe, num_classes=5, l2_grid=(1e-3, 1.0))
    one = probe(x, y, test_x, test_y)
    other = probe(x, y, -test_x[:9], test_y[:9])
    assert one.validation == other.validation and one.l2 == other.l2


def test_one_seed_one_split(problem):
    x, test_x, y, test_y = problem
    probe = partial(linear_probe, num_classes=5, l2_grid=(1e-3, 1.0))
    first, again, other = (probe(x, y, test_x, test_y, seed=seed) for seed in (0, 0, 3))
    assert first.validation == again.validation
    np.testing.assert_array_equal(first.predictions, again.predictions)
    assert first.validation != other.validation


def test_the_scale_of_the_features_is_irrelevant(problem):
    x, test_x, y, test_y = problem
    probe = partial(linear_probe, num_classes=5, l2_grid=(1e-2, 1.0))
    scale = (10.0 ** np.linspace(-6, 3, 24)[None]).astype(np.float32)
    plain = probe(x, y, test_x, test_y)
    scaled = probe(x * scale, y, test_x * scale, test_y)
    assert np.mean(plain.predictions == scaled.predictions) > 0.99


def test_standardising_uses_training_statistics_and_drops_constants():
    train = np.array([[1.0, 7.1, 0.0], [3.0, 7.1, 0.0]])
    a, b = standardise(train, np.array([[5.0, 8.0, 1.0]]))
    np.testing.assert_allclose(a, [[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(b, [[3.0, 0.0, 0.0]])


def test_refusals_are_one_clear_line():
    x, y = relu_features(20)
    with pytest.raises(ValueError, match="at least 10 training examples .*got 9"):
        linear_probe(x[:9], y[:9], x, y, num_classes=5)
    with pytest.raises(ValueError, match="use the same encoder for both"):
        linear_probe(x, y, x[:, :3], y, num_classes=5)
    with pytest.raises(ValueError, match="every penalty must be positive"):
        linear_probe(x, y, x, y, num_classes=5, l2_grid=(0.0, 1.0))
    with pytest.raises(ValueError, match="every penalty must be positive"):
        fit_logistic(x, y, num_classes=5, l2=())
    with pytest.raises(ValueError, match="max_iterations must be at least 1"):
        fit_logistic(x, y, num_classes=5, l2=(1.0,), max_iterations=0)


def test_rows_spread_over_devices_give_the_same_fit():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(61, 5)).astype(np.float32), rng.integers(0, 3, 61)
    used = rng.random(61) < 0.8
    fits = []
    for devices in (jax.devices()[:1], jax.devices()[:3]):
        rows = over_devices(x, y, used, devices=devices)
        assert len(rows.x.sharding.device_set) == len(devices)
        fits.append(
            fit_logistic(rows.x, rows.y, num_classes=3, l2=(0.1,), used=rows.used)
        )
    alone = fit_logistic(x[used], y[used], num_classes=3, l2=(0.1,))
    for fit in fits:
        np.testing.assert_allclose(fit.weights, alone.weights, atol=1e-5)
        np.testing.assert_allclose(fit.objective, alone.objective, rtol=1e-5)


def test_blocks_of_rows_give_the_same_fit(monkeypatch):
    """Two whole blocks of 1,024 rows and a rest."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2500, 4)).astype(np.float32), rng.integers(0, 3, 2500)
    fits = []
    for block in (logistic._BLOCK, 0):
        monkeypatch.setattr(logistic, "_BLOCK", block)
        logistic.fit_on.cache_clear()
        fits.append(fit_logistic(x, y, num_classes=3, l2=(0.01,)))
    logistic.fit_on.cache_clear()
    np.testing.assert_allclose(fits[0].weights, fits[1].weights, atol=1e-6)
    assert fits[0].converged.all() and fits[1].converged.all()
