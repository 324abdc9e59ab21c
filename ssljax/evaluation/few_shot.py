"""Few-shot classification of frozen features: a few images per class, drawn often."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ssljax.evaluation.checks import check_labelled
from ssljax.evaluation.logistic import fit_logistic, predict
from ssljax.evaluation.neighbours import unit_rows

INVERSE_PENALTY = 1.0
"""scikit-learn's C of the classifier."""


class FewShot(NamedTuple):
    """Accuracies of classifiers fitted to random draws of a few images per class."""

    accuracies: np.ndarray
    """Of each draw, 0 to 1, float64 ``[draws]``."""
    classes: int
    """How many classes have images."""

    @property
    def mean(self) -> float:
        """Mean over the draws."""
        return float(self.accuracies.mean())

    @property
    def interval(self) -> float | None:
        """Half the width of the 95 % interval of the mean; None for one draw."""
        return half_width(self.accuracies)


def few_shot(
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    *,
    num_classes: int,
    shots: int,
    draws: int = 10,
    seed: int = 0,
) -> FewShot:
    """Measure classifiers fitted to ``shots`` images of every class.

    Features are scaled to length one and classified by logistic regression with C = 1,
    as in the source; nothing is searched. All images of the test set are classified,
    among all classes. A draw of few images is contained in the draw of more with the
    same seed. All draws have one shape, so the fit compiles once.

    Args:
        train_x: features, ``[N, F]``.
        train_y: classes, integers ``[N]``.
        test_x: ``[M, F]``.
        test_y: ``[M]``.
        num_classes: number of classes; those without an image in either set are
            ignored.
        shots: images per class, >= 1.
        draws: how many times images are drawn, >= 1.
        seed: of the draws.

    Returns:
        :class:`FewShot`.

    Raises:
        ValueError: if a class has fewer training images than shots, or the features or
            labels cannot be used.

    Source: Tian et al., "Rethinking few-shot image classification: a good embedding is
    all you need?", ECCV 2020.

    >>> x, y = np.eye(2)[[0, 0, 1, 1]], np.array([0, 0, 1, 1])
    >>> few_shot(x, y, x, y, num_classes=2, shots=1, draws=3).mean
    1.0
    """
    check_labelled(train_x, train_y, num_classes, "train")
    check_labelled(test_x, test_y, num_classes, "test")
    if shots < 1 or draws < 1:
        raise ValueError(f"shots and draws must be at least 1, got {shots}, {draws}")
    train_y, test_y = np.asarray(train_y), np.asarray(test_y)
    counts = np.bincount(train_y, minlength=num_classes)
    present = np.union1d(train_y, test_y)
    few = [int(each) for each in present if counts[each] < shots]
    if few:
        others = f" (and {len(few) - 1} others)" if len(few) > 1 else ""
        raise ValueError(
            f"class {few[0]}{others} has only {counts[few[0]]} training images, fewer "
            f"than {shots}"
        )
    places = [np.flatnonzero(train_y == each) for each in present]
    queries = np.asarray(unit_rows(np.asarray(test_x, np.float32)))
    found = []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        chosen = np.concatenate([rng.permutation(rows)[:shots] for rows in places])
        support = np.asarray(unit_rows(np.asarray(train_x[chosen], np.float32)))
        fit = fit_logistic(
            support,
            train_y[chosen],
            num_classes=num_classes,
            l2=(1.0 / (INVERSE_PENALTY * len(chosen)),),
        )
        found.append(np.mean(predict(fit, queries)[0] == test_y))
    return FewShot(np.array(found), len(present))


def half_width(values: Sequence[float] | np.ndarray) -> float | None:
    """Return half the width of the mean's 95 % interval, by Student's t.

    Args:
        values: independent measurements, ``[n]``.

    Returns:
        None for a single value.

    >>> round(half_width([1.0, 2.0, 3.0]), 4)
    2.4841
    """
    count = len(values)
    if count < 2:
        return None
    # Here, because loading it takes longer than the start of a command may.
    import scipy.stats

    error = np.std(values, ddof=1) / np.sqrt(count)
    return float(scipy.stats.t.ppf(0.975, count - 1) * error)
