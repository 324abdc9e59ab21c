"""kNN and the linear probe of a run's features beside scikit-learn's.

Command:  python experiments/benchmarks/evaluation_reference.py RUN
Time:     ten minutes for 50,000 training and 10,000 test images on two cores
Result:   for k = 1, 5, 20, 200 how many predictions differ, and how many of those are
          ties in float32; the probe's accuracy and that of LogisticRegression with the
          same penalty, in points; seconds of each
"""

import argparse
import time
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from ssljax.evaluation import knn_predict, linear_probe
from ssljax.evaluation.linear import standardise
from ssljax.protocols.images import evaluation_images, features, labels
from ssljax.runs.encoder import as_function, restore

KS = (1, 5, 20, 200)
TEMPERATURE = 0.1
TIE = 1e-5  # cosines or shares of votes that float32 cannot order


class Set(NamedTuple):
    """Features ``[N, F]`` and classes ``[N]``."""

    x: np.ndarray
    y: np.ndarray


def sets_of(workdir: str) -> tuple[Set, Set, int]:
    """Return training and test features of a run, and the number of classes."""
    run = restore(workdir)
    encode = as_function(run)
    train, test = evaluation_images(run, None, None)
    assert train.num_classes is not None, "the images have labels"
    bank, queries = (Set(features(encode, s), labels(s)) for s in (train, test))
    return bank, queries, train.num_classes


def compare_neighbours(
    train: Set, test: Set, k: int, classes: int
) -> tuple[int, int, float]:
    """Compare predictions with a vote over scikit-learn's neighbours in float64.

    Returns:
        How many differ, how many of those are ties, and our seconds.
    """
    start = time.perf_counter()
    ours = knn_predict(
        train.x, train.y, test.x, k=k, temperature=TEMPERATURE, num_classes=classes
    )
    seconds = time.perf_counter() - start
    bank, queries = (unit(s.x) for s in (train, test))
    more = min(k + 1, len(bank))
    search = NearestNeighbors(n_neighbors=more, algorithm="brute", metric="euclidean")
    distance, index = search.fit(bank).kneighbors(queries)
    cosine = 1 - distance**2 / 2
    votes = np.zeros((len(queries), classes))
    for column in range(k):
        weight = np.exp((cosine[:, column] - cosine[:, 0]) / TEMPERATURE)
        votes[np.arange(len(queries)), train.y[index[:, column]]] += weight
    differ = np.flatnonzero(votes.argmax(1) != ours)
    # A tie at the edge of the neighbourhood, or between the two largest votes.
    edge = cosine[differ, k - 1] - cosine[differ, more - 1] < TIE
    share = np.sort(votes[differ], 1)
    close = share[:, -1] - share[:, -2] < TIE * share[:, -1]
    return len(differ), int((edge | close).sum()), seconds


def unit(x: np.ndarray) -> np.ndarray:
    """Scale rows to length one in float64; a row of zeros stays zero."""
    x = x.astype(np.float64)
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return x / np.where(norm > 0, norm, 1)


def compare_probes(train: Set, test: Set, classes: int) -> dict[str, float]:
    """Compare the probe with LogisticRegression at the penalty that it chose."""
    start = time.perf_counter()
    ours = linear_probe(train.x, train.y, test.x, test.y, num_classes=classes)
    middle = time.perf_counter()
    train_x, test_x = standardise(train.x, test.x)
    theirs = LogisticRegression(
        C=1 / (ours.l2 * len(train_x)), tol=1e-6, max_iter=2000
    ).fit(train_x.astype(np.float64), train.y)
    return {
        "penalty": ours.l2,
        "ssljax %": 100 * ours.accuracy,
        "scikit-learn %": 100 * float(theirs.score(test_x, test.y)),
        "ssljax s": middle - start,
        "scikit-learn s": time.perf_counter() - middle,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="folder of a run")
    train, test, classes = sets_of(parser.parse_args().run)
    print(f"{len(train.x):,} and {len(test.x):,} images, {train.x.shape[1]} features")
    for k in KS:
        differ, ties, seconds = compare_neighbours(train, test, k, classes)
        print(f"kNN k={k}: {differ} differ, {ties} of them ties; {seconds:.1f} s")
    for name, value in compare_probes(train, test, classes).items():
        print(f"probe, {name}: {value:.4g}")


if __name__ == "__main__":
    main()
