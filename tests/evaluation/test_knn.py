"""Weighted kNN against the protocol in loops; ties, limits and refusals."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.evaluation import (
    confusion,
    knn_accuracy,
    knn_predict,
    neighbour_votes,
    neighbours,
    rows,
)
from ssljax.evaluation.neighbours import nearest, unit_rows

STATUS = Path("/proc/self/status")


def clusters(n, d=8, classes=4, seed=0, noise=1.0):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, d))
    y = rng.integers(classes, size=n)
    return (centres[y] + noise * rng.normal(size=(n, d))).astype(np.float32), y


def by_loops(bank, labels, queries, k, temperature, classes):
    """The protocol, one query at a time in float64."""
    unit = [v / np.linalg.norm(v) for v in bank.astype(np.float64)]
    predictions = []
    for q in queries.astype(np.float64):
        cosines = [float(v @ q / np.linalg.norm(q)) for v in unit]
        nearest = sorted(range(len(bank)), key=lambda i: (-cosines[i], i))[:k]
        votes = [0.0] * classes
        for i in nearest:
            votes[labels[i]] += np.exp(cosines[i] / temperature)
        predictions.append(int(np.argmax(votes)))
    return np.array(predictions)


@pytest.mark.parametrize("k", [1, 5, 20, 90])
@pytest.mark.parametrize("temperature", [0.07, 0.1, 1.0])
def test_equals_the_protocol(k, temperature):
    bank, labels = clusters(90)
    queries, _ = clusters(37, seed=1)
    np.testing.assert_array_equal(
        knn_predict(
            bank,
            labels,
            queries,
            k=k,
            temperature=temperature,
            num_classes=4,
            query_batch=16,
        ),
        by_loops(bank, labels, queries, k, temperature, 4),
    )


def by_distance_in_loops(bank, labels, queries, k, classes):
    """The nearest by distance, one vote each, in float64."""
    predictions = []
    for q in queries.astype(np.float64):
        distances = [float(((v - q) ** 2).sum()) for v in bank.astype(np.float64)]
        nearest = sorted(range(len(bank)), key=lambda i: (distances[i], i))[:k]
        predictions.append(np.bincount(labels[nearest], minlength=classes).argmax())
    return np.array(predictions)


@pytest.mark.parametrize("k", [1, 5, 90])
@pytest.mark.parametrize("shift", [0.0, 300.0])
def test_the_vote_by_distance_equals_the_protocol(k, shift):
    # Far from the origin float32 loses the differences, unless it is moved there.
    bank, labels = clusters(90)
    queries, _ = clusters(37, seed=1)
    bank, queries = bank * 3 + shift, queries * 3 + shift
    expected = by_distance_in_loops(bank, labels, queries, k, 4)
    found = knn_accuracy(
        bank, labels, queries, expected, ks=(k,), metric="euclidean", num_classes=4
    )
    assert found == {k: 1.0}


def test_the_vote_by_distance_sees_lengths_and_the_vote_by_cosine_does_not():
    bank = np.array([[1.0, 0.0], [8.0, 1.0]], np.float32)
    query = np.array([[9.0, 0.0]], np.float32)
    options = dict(ks=(1,), num_classes=2)
    for metric, accuracy in (("cosine", 0.0), ("euclidean", 1.0)):
        found = knn_accuracy(
            bank, np.array([0, 1]), query, np.array([1]), metric=metric, **options
        )
        assert found == {1: accuracy}


@pytest.mark.parametrize("block", [7, 90])
def test_blocks_and_batches_change_no_neighbour_by_distance(block):
    bank, _ = clusters(90)
    queries, _ = clusters(37, seed=1)
    whole = nearest(bank, queries, k=20, metric="euclidean")
    parts = nearest(bank, queries, k=20, metric="euclidean", block=block, query_batch=8)
    np.testing.assert_array_equal(whole[1], parts[1])


def test_one_search_serves_every_k():
    bank, labels = clusters(90)
    queries, truth = clusters(40, seed=1)
    options = dict(num_classes=4, query_batch=16)
    accuracies = knn_accuracy(bank, labels, queries, truth, ks=(20, 1, 5), **options)
    assert list(accuracies) == [1, 5, 20]
    for k, accuracy in accuracies.items():
        predictions = knn_predict(bank, labels, queries, k=k, **options)
        assert accuracy == np.mean(predictions == truth)


def test_distance_weighting_can_outvote_the_majority():
    # One neighbour at cosine 1 against two at cosine 0: e^10 beats 2 e^0.
    bank = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    labels, query = np.array([0, 1, 1]), np.array([[1.0, 0.0]])
    near = knn_predict(bank, labels, query, k=3, num_classes=2)
    far = knn_predict(bank, labels, query, k=3, num_classes=2, temperature=100.0)
    assert (near[0], far[0]) == (0, 1)


def test_ties_go_to_the_first_of_the_bank_and_the_lower_class():
    bank = np.ones((6, 3))
    labels = np.array([2, 1, 1, 0, 0, 0])
    query = np.ones((1, 3))
    expected = {1: 2, 2: 1, 3: 1, 5: 0}
    for k, winner in expected.items():
        assert knn_predict(bank, labels, query, k=k, num_classes=3)[0] == winner


def test_a_tiny_temperature_does_not_overflow():
    bank, labels = clusters(90)
    queries, _ = clusters(10, seed=1)
    options = dict(num_classes=4, query_batch=16)
    np.testing.assert_array_equal(
        knn_predict(bank, labels, queries, k=5, temperature=1e-4, **options),
        knn_predict(bank, labels, queries, k=1, **options),
    )


def test_the_length_of_a_feature_is_irrelevant():
    bank, labels = clusters(90)
    queries, _ = clusters(10, seed=1)
    # Powers of two are exact.
    scale = np.float32(2.0) ** np.tile(np.arange(-15, 15), 3)[:, None]
    options = dict(k=5, num_classes=4, query_batch=16)
    np.testing.assert_array_equal(
        knn_predict(bank * scale, labels, queries, **options),
        knn_predict(bank, labels, queries, **options),
    )


def test_k_beyond_the_bank_is_left_out_of_the_result():
    bank, labels = clusters(30)
    accuracies = knn_accuracy(bank, labels, bank, labels, num_classes=4)
    assert list(accuracies) == [1, 5, 20]
    with pytest.raises(ValueError, match="every k of .* exceeds the 30 rows"):
        knn_accuracy(bank, labels, bank, labels, ks=(31,), num_classes=4)
    with pytest.raises(
        ValueError, match="k is 31, but the bank has 30 rows; use 1 to 30"
    ):
        knn_predict(bank, labels, bank, k=31, num_classes=4)


def test_the_training_loop_compiles_once():
    traces = []

    @jax.jit
    def monitor(bank, labels, queries, temperature):
        traces.append(1)
        return neighbour_votes(
            bank, labels, queries, ks=(1, 5), num_classes=4, temperature=temperature
        )

    for seed in range(3):
        bank, labels = clusters(30, seed=seed)
        votes = monitor(
            jnp.asarray(bank), jnp.asarray(labels), jnp.asarray(bank), 0.1 + seed
        )
        np.testing.assert_array_equal(votes[0], labels)
    assert len(traces) == 1


def test_votes_refuse_k_out_of_order():
    with pytest.raises(ValueError, match="ks must be ascending"):
        neighbour_votes(jnp.eye(3), jnp.arange(3), jnp.eye(3), ks=(2, 1), num_classes=3)


def test_confusion_counts_rows_by_truth():
    matrix = confusion(np.array([0, 0, 2, 2, 2]), np.array([0, 1, 2, 2, 0]), 3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 0, 0], [1, 0, 2]])
    with pytest.raises(ValueError, match="must both be"):
        confusion(np.zeros(2, int), np.zeros(3, int), 2)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda x, y: (x, y - 1), "drop unlabelled rows"),
        (lambda x, y: (x, y.astype(float)), "must be integers"),
        (lambda x, y: (x, y[:-1]), "one label per row"),
        (lambda x, y: (x[0], y), r"must be \[N, F\]"),
        (lambda x, y: (np.where(x > 1, np.nan, x), y), "rows of .* are not finite"),
        (lambda x, y: (x[:, :5], y), "use the same encoder for both"),
    ],
)
def test_refusals_are_one_clear_line(change, message):
    x, y = clusters(20)
    bank, labels = change(x, y)
    with pytest.raises(ValueError, match=message):
        knn_predict(bank, labels, x, k=1, num_classes=4)


def test_temperature_must_be_positive():
    x, y = clusters(20)
    with pytest.raises(ValueError, match="temperature must be positive"):
        knn_accuracy(x, y, x, y, temperature=0.0, num_classes=4)


@pytest.mark.parametrize("block", [1, 7, 64, 200, 1000])
def test_a_bank_in_blocks_gives_the_neighbours_of_a_sort(block):
    """With many equal cosines, which are taken in the order of the bank."""
    rng = np.random.default_rng(0)
    bank = rng.integers(-1, 2, (200, 4)).astype(np.float32)
    queries = rng.integers(-1, 2, (37, 4)).astype(np.float32)
    similar, index = nearest(bank, queries, k=90, query_batch=16, block=block)
    unit = [np.asarray(unit_rows(jnp.asarray(x)), np.float64) for x in (queries, bank)]
    cosines = (unit[0] @ unit[1].T).round(6)
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :90]
    np.testing.assert_allclose(
        similar, np.take_along_axis(cosines, order, 1), atol=1e-6
    )
    # Equal up to rounding is not equal: only rows of the same direction are.
    np.testing.assert_array_equal(index[:, 0], order[:, 0])


def test_devices_that_share_the_queries_find_the_same(monkeypatch):
    rng = np.random.default_rng(1)
    bank, queries = rng.normal(size=(300, 16)), rng.normal(size=(50, 16))
    alone = nearest(bank, queries, k=5, query_batch=16, block=128)
    monkeypatch.setattr(neighbours, "SMALL", 0)
    shared = nearest(bank, queries, k=5, query_batch=16, block=128)
    np.testing.assert_array_equal(alone[1], shared[1])
    np.testing.assert_allclose(alone[0], shared[0], atol=1e-6)


def test_a_mapped_file_is_given_back_and_read_again(tmp_path):
    bank, labels = clusters(90)
    np.save(tmp_path / "bank.npy", bank)
    mapped = np.load(tmp_path / "bank.npy", mmap_mode="r")
    for metric in ("cosine", "euclidean"):
        options = dict(ks=(1, 5), metric=metric, num_classes=4)
        found = knn_accuracy(mapped, labels, mapped[:40], labels[:40], **options)
        assert found == knn_accuracy(bank, labels, bank[:40], labels[:40], **options)
    # What is written and not yet on disk stays.
    copied = np.load(tmp_path / "bank.npy", mmap_mode="c")
    copied[3] = 7.0
    rows.give_back(copied[:10])
    assert (copied[3] == 7.0).all()


@pytest.mark.skipif(not STATUS.exists(), reason="the system does not list memory")
def test_what_is_given_back_is_no_memory_of_the_process(tmp_path):
    def mapped_mebibytes():
        return int(STATUS.read_text().split("RssFile:")[1].split()[0]) / 2**10

    np.save(tmp_path / "large.npy", np.ones((2**16, 256), np.float32))
    before = mapped_mebibytes()
    large = np.load(tmp_path / "large.npy", mmap_mode="r")
    assert np.asarray(large).sum(dtype=np.float64) == large.size
    assert mapped_mebibytes() > before + 50
    rows.give_back(np.asarray(large)[1000:])
    assert mapped_mebibytes() < before + 10
