"""Weighted k-nearest-neighbour classification of frozen features."""

from collections.abc import Sequence

import numpy as np

from ssljax.evaluation.checks import check_classes, check_features, check_labelled
from ssljax.evaluation.neighbours import Metric, nearest, votes
from ssljax.evaluation.rows import filled

KS = (1, 5, 20, 200)
"""The numbers of neighbours that are reported."""


def knn_predict(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    *,
    k: int,
    temperature: float = 0.1,
    num_classes: int,
    query_batch: int = 512,
) -> np.ndarray:
    """Predict classes by weighted k nearest neighbours (cosine).

    Args:
        train_features: the bank, ``[N, F]``.
        train_labels: its classes, ``[N]``, 0 to ``num_classes - 1``.
        test_features: ``[M, F]``.
        k: number of neighbours, 1 to N.
        temperature: of the vote, > 0; see :func:`neighbour_votes`.
        num_classes: number of classes.
        query_batch: test rows per device call.

    Returns:
        int32 ``[M]``.

    Raises:
        ValueError: if the shapes, labels, k or temperature are not allowed, or the
            features are not finite.

    >>> knn_predict(np.eye(2), np.array([1, 0]), np.eye(2), k=1, num_classes=2)
    array([1, 0], dtype=int32)
    """
    check_labelled(train_features, train_labels, num_classes, "train")
    if not 1 <= k <= len(train_features):
        raise ValueError(
            f"k is {k}, but the bank has {len(train_features)} rows; "
            f"use 1 to {len(train_features)}"
        )
    return _predict(
        train_features,
        train_labels,
        test_features,
        ks=(k,),
        temperature=temperature,
        num_classes=num_classes,
        query_batch=query_batch,
    )[0]


def knn_accuracy(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    *,
    ks: Sequence[int] = KS,
    temperature: float = 0.1,
    metric: Metric = "cosine",
    num_classes: int,
    query_batch: int = 512,
) -> dict[int, float]:
    """Measure the test accuracy of kNN for several k, from one search.

    Neighbours by cosine vote with weight ``exp(cosine / temperature)``. Neighbours by
    distance, of features as they are, have one vote each, as in the tables of W-MSE
    and INTL (k = 5); of equal votes the lower class wins.

    Args:
        train_features: the bank, ``[N, F]``.
        train_labels: its classes, ``[N]``, 0 to ``num_classes - 1``.
        test_features: ``[M, F]``.
        test_labels: ``[M]``.
        ks: numbers of neighbours. Those larger than the bank are left out: the keys of
            the result are the k that were used.
        temperature: of the vote by cosine, > 0; see :func:`neighbour_votes`.
        metric: ``"cosine"`` or ``"euclidean"``.
        num_classes: number of classes.
        query_batch: test rows per device call.

    Returns:
        ``{k: accuracy}``, accuracy a fraction from 0 to 1, k ascending.

    Raises:
        ValueError: as for :func:`knn_predict`, or if no k fits the bank.

    >>> bank, labels = np.eye(3), np.array([0, 1, 2])
    >>> knn_accuracy(bank, labels, bank, labels, ks=(1, 200), num_classes=3)
    {1: 1.0}
    """
    check_labelled(train_features, train_labels, num_classes, "train")
    check_labelled(test_features, test_labels, num_classes, "test")
    if any(k < 1 for k in ks):
        raise ValueError(f"every k must be at least 1, got ks = {tuple(ks)}")
    usable = tuple(sorted({k for k in ks if k <= len(train_features)}))
    if not usable:
        raise ValueError(
            f"every k of {tuple(ks)} exceeds the {len(train_features)} rows of the "
            "bank; use a smaller k or more training images"
        )
    predictions = _predict(
        train_features,
        train_labels,
        test_features,
        ks=usable,
        temperature=temperature,
        metric=metric,
        num_classes=num_classes,
        query_batch=query_batch,
    )
    test_labels = np.asarray(test_labels)
    return {
        k: float(np.mean(row == test_labels))
        for k, row in zip(usable, predictions, strict=True)
    }


def confusion(
    labels: np.ndarray, predictions: np.ndarray, num_classes: int
) -> np.ndarray:
    """Count class-i examples predicted as class j, in entry [i, j] of a matrix.

    Args:
        labels: true classes, ``[M]``.
        predictions: predicted classes, ``[M]``.
        num_classes: number of classes.

    Returns:
        int64 ``[num_classes, num_classes]``; its trace over its sum is the accuracy.

    Raises:
        ValueError: if the lengths differ or a class is out of range.

    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    labels, predictions = np.asarray(labels), np.asarray(predictions)
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise ValueError(
            "labels and predictions must both be [M], "
            f"got {labels.shape} and {predictions.shape}"
        )
    check_classes(labels, num_classes, "labels")
    check_classes(predictions, num_classes, "predictions")
    flat = labels.astype(np.int64) * num_classes + predictions
    counts = np.bincount(flat, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def _predict(
    bank,
    bank_labels,
    queries,
    *,
    ks,
    temperature,
    num_classes,
    query_batch,
    metric: Metric = "cosine",
) -> np.ndarray:
    """Predict ``[len(ks), M]`` classes, a fixed number of queries at a time."""
    check_features(queries, "test")
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    if query_batch < 1:
        raise ValueError(f"query_batch must be at least 1, got {query_batch}")
    if np.shape(queries)[1] != np.shape(bank)[1]:
        raise ValueError(
            f"train features have {np.shape(bank)[1]} dimensions, "
            f"test features {np.shape(queries)[1]}; use the same encoder for both"
        )
    bank, queries = np.asarray(bank), np.asarray(queries)
    similar, index = nearest(
        bank, queries, k=ks[-1], metric=metric, query_batch=query_batch
    )
    if metric == "euclidean":
        similar = np.zeros_like(similar)  # equal votes
    labels = np.asarray(bank_labels, np.int32)[index]
    predictions = []
    for start in range(0, len(queries), query_batch):
        rows = slice(start, start + query_batch)
        voted = votes(
            *(filled(part[rows], query_batch) for part in (similar, labels)),
            ks=ks,
            num_classes=num_classes,
            temperature=temperature,
        )
        predictions.append(np.asarray(voted)[:, : len(similar[rows])])
    return np.concatenate(predictions, axis=1)
