import numpy as np
import pytest

from ssljax.evaluation import (
    evaluate_features,
    format_table,
    knn_accuracy,
    linear_probe,
)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=90)
    good = (np.eye(3)[y] * 3 + rng.normal(size=(90, 3))).astype(np.float32)
    noise = rng.normal(size=(90, 3)).astype(np.float32)
    named = {"encoder": (good[:60], good[60:]), "raw pixels": (noise[:60], noise[60:])}
    return named, y[:60], y[60:]


@pytest.fixture(scope="module")
def rows(data):
    return evaluate_features(*data, num_classes=3, seed=4)


def test_a_row_for_every_representation_and_protocol(rows):
    assert [(row["representation"], row["protocol"]) for row in rows] == [
        (name, protocol)
        for name in ("encoder", "raw pixels")
        for protocol in (
            "knn k=1 (cosine, T=0.1)",
            "knn k=5 (cosine, T=0.1)",
            "knn k=20 (cosine, T=0.1)",
            "linear (logistic regression, L-BFGS)",
        )
    ] + [("majority class", "majority (constant answer)")]
    assert all(row["split"] == "test" for row in rows)
    assert all(
        (row["train_examples"], row["test_examples"], row["seed"]) == (60, 30, 4)
        for row in rows
    )


def test_the_numbers_are_those_of_the_protocols(data, rows):
    named, train_y, test_y = data
    for name, offset in (("encoder", 0), ("raw pixels", 4)):
        train, test = named[name]
        knn = knn_accuracy(train, train_y, test, test_y, num_classes=3)
        linear = linear_probe(train, train_y, test, test_y, num_classes=3, seed=4)
        expected = [*knn.values(), linear.accuracy]
        got = [row["accuracy"] for row in rows[offset : offset + 4]]
        assert got == [round(100 * value, 2) for value in expected]
    assert rows[0]["accuracy"] > rows[4]["accuracy"]


def test_the_vote_by_distance_has_a_row_of_its_own(data):
    named, train_y, test_y = data
    rows = evaluate_features(
        named, train_y, test_y, num_classes=3, protocols=("knn_euclidean",)
    )
    train, test = named["encoder"]
    expected = knn_accuracy(
        *(train, train_y, test, test_y), ks=(5,), metric="euclidean", num_classes=3
    )
    assert rows[0]["protocol"] == "knn_euclidean k=5 (majority)"
    assert rows[0]["accuracy"] == round(100 * expected[5], 2)
    assert [row["representation"] for row in rows[1:]] == [
        "raw pixels",
        "majority class",
    ]


def test_the_majority_class_is_that_of_the_training_labels(data):
    named, _, test_y = data
    train_y = np.array([2] * 31 + [0] * 29)
    rows = evaluate_features(named, train_y, test_y, num_classes=3, protocols=("knn",))
    assert rows[-1]["representation"] == "majority class"
    assert rows[-1]["accuracy"] == round(100 * np.mean(test_y == 2), 2)
    assert rows[-1]["detail"] == "always class 2, 51.67 % of the training images"
    # A spectrum has no accuracy to compare with.
    ranks = evaluate_features(
        named, train_y, test_y, num_classes=3, protocols=("spectrum",)
    )
    assert [row["protocol"] for row in ranks] == ["spectrum", "spectrum"]


def test_a_k_beyond_the_bank_is_named_and_not_answered(rows):
    assert rows[0]["detail"] == (
        "no augmentation, nothing searched; k=200 left out: exceeds the training set"
    )


def test_the_linear_row_says_how_it_was_chosen(rows):
    detail = rows[3]["detail"]
    assert "l2=" in detail and "held-out" in detail and "converged in" in detail


def test_unlabelled_data_get_ranks_and_no_accuracy(data):
    named, _, _ = data
    rows = evaluate_features(named, None, None, num_classes=None)
    assert [row["representation"] for row in rows] == ["encoder", "raw pixels"]
    assert all(row["accuracy"] is None for row in rows)
    assert all(row["protocol"] == "spectrum (no labels)" for row in rows)
    assert (
        "effective rank" in rows[0]["detail"] and "of 3 dimensions" in rows[0]["detail"]
    )
    assert "RankMe" in rows[1]["detail"] and "of 3 dimensions" in rows[1]["detail"]
    assert " -  " in format_table(rows)


def test_the_spectrum_can_be_asked_for_beside_labels(data):
    rows = evaluate_features(
        *data, num_classes=3, protocols=("knn", "spectrum"), ks=(1,)
    )
    assert [row["protocol"] for row in rows[:2]] == [
        "knn k=1 (cosine, T=0.1)",
        "spectrum",
    ]


def test_the_table_is_aligned(rows):
    lines = format_table(rows).splitlines()
    assert len(lines) == 1 + len(rows)
    start = lines[0].index("protocol")
    assert all(line[start - 1] == " " and line[start] != " " for line in lines)
    end = lines[0].index("accuracy %") + len("accuracy %")
    for line, row in zip(lines[1:], rows, strict=True):
        assert line[:end].endswith(f" {row['accuracy']:.2f}")


def test_refusals_are_one_clear_line(data):
    named, train_y, test_y = data
    with pytest.raises(
        ValueError, match="allowed are knn, knn_euclidean, linear, spectrum"
    ):
        evaluate_features(named, train_y, test_y, num_classes=3, protocols=("svm",))
    with pytest.raises(ValueError, match="or for neither"):
        evaluate_features(named, train_y, None, num_classes=3)
    with pytest.raises(ValueError, match="need num_classes"):
        evaluate_features(named, train_y, test_y, num_classes=None)
    uneven = named | {"other": (np.ones((9, 2)), np.ones((30, 2)))}
    with pytest.raises(ValueError, match="different numbers of images"):
        evaluate_features(uneven, train_y, test_y, num_classes=3)


def test_an_exponent_that_few_images_leave_open_is_said_to_be(data):
    named, *_ = data
    few = {"encoder": tuple(x[:3] for x in next(iter(named.values())))}
    (row,) = evaluate_features(few, None, None, num_classes=None)
    assert "alpha-ReQ - (too few images or dimensions)" in row["detail"]
    assert "nan" not in row["detail"]
