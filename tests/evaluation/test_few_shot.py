"""Few-shot classifiers against scikit-learn, and rank correlations by hand."""

import sys

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from ssljax.evaluation import few_shot, rank_correlation
from ssljax.evaluation.few_shot import half_width
from ssljax.evaluation.logistic import fit_on
from ssljax.evaluation.rows import mesh_of


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (2 * np.eye(3)[y] @ rng.normal(size=(3, 5)) + rng.normal(size=(90, 5))).astype(
        np.float32
    )
    return x[:60], y[:60], x[60:], y[60:]


@pytest.mark.parametrize("shots", [1, 4])
def test_agrees_with_scikit_learn(data, shots):
    train_x, train_y, test_x, test_y = data
    found = few_shot(*data, num_classes=3, shots=shots, draws=4, seed=7)
    expected = []
    for draw in range(4):
        rng = np.random.default_rng([7, draw])
        rows = [rng.permutation(np.flatnonzero(train_y == c))[:shots] for c in range(3)]
        rows = np.concatenate(rows)
        model = LogisticRegression(C=1.0, tol=1e-8, max_iter=1000)
        model.fit(normalize(train_x[rows].astype(np.float64)), train_y[rows])
        expected.append(model.score(normalize(test_x.astype(np.float64)), test_y))
    np.testing.assert_allclose(found.accuracies, expected, atol=1e-9)
    assert 0.4 < found.mean < 1 and found.classes == 3
    assert len(set(found.accuracies)) > 1


def test_all_draws_share_one_compiled_fit(data):
    program = fit_on(mesh_of(jax.local_devices()[:1]))
    few_shot(*data, num_classes=3, shots=3, draws=1)
    before = program._cache_size()
    few_shot(*data, num_classes=3, shots=3, draws=5, seed=3)
    assert program._cache_size() == before


def test_a_smaller_draw_is_part_of_the_larger(monkeypatch, data):
    # The package has a function of the module's name.
    module = sys.modules["ssljax.evaluation.few_shot"]
    drawn = []
    original = module.fit_logistic

    def seen(x, y, **options):
        drawn.append({tuple(row) for row in np.asarray(x).round(5).tolist()})
        return original(x, y, **options)

    monkeypatch.setattr(module, "fit_logistic", seen)
    for shots in (2, 5):
        few_shot(*data, num_classes=3, shots=shots, draws=1, seed=1)
    assert drawn[0] < drawn[1] and len(drawn[1]) == 15


def test_the_length_of_features_does_not_matter(data):
    train_x, train_y, test_x, test_y = data
    longer = few_shot(9 * train_x, train_y, 2 * test_x, test_y, num_classes=3, shots=2)
    same = few_shot(*data, num_classes=3, shots=2)
    np.testing.assert_array_equal(longer.accuracies, same.accuracies)


def test_classes_without_images_are_ignored_and_small_ones_refused(data):
    found = few_shot(*data, num_classes=5, shots=2, draws=2)
    assert found.classes == 3
    with pytest.raises(ValueError, match="others. has only 20 training images, fewer"):
        few_shot(*data, num_classes=3, shots=21)
    train_x, train_y, test_x, test_y = data
    kept = train_y != 1
    with pytest.raises(ValueError, match="^class 1 has only 0 training images"):
        few_shot(train_x[kept], train_y[kept], test_x, test_y, num_classes=3, shots=1)
    with pytest.raises(ValueError, match="must be at least 1"):
        few_shot(*data, num_classes=3, shots=0)


def test_the_interval_is_that_of_students_t():
    # t(0.975, 9) is 2.262157; the deviation of 0..9 is sqrt(55 / 6).
    expected = 2.2621571628 * np.sqrt(55 / 6) / np.sqrt(10)
    assert half_width(np.arange(10.0)) == pytest.approx(expected)
    assert half_width([3.0]) is None and half_width([2.0, 2.0]) == 0


def test_rank_correlations_by_hand():
    found = rank_correlation([1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 40.0, 30.0])
    # Squared rank differences 0, 0, 1, 1: 1 - 6 * 2 / 60; five pairs of six agree.
    assert found.spearman == pytest.approx(0.8)
    assert found.kendall == pytest.approx(4 / 6)
    assert rank_correlation([3.0, 2.0, 1.0], [0.1, 0.2, 0.3]) == (-1, -1)
    assert rank_correlation([1.0, 1.0, 1.0], [0.1, 0.2, 0.3]) is None
    assert rank_correlation([np.nan, 1.0, 2.0], [0.1, 0.2, 0.3]) is None
    with pytest.raises(ValueError, match="at least three"):
        rank_correlation([1.0, 2.0], [0.1, 0.2])
