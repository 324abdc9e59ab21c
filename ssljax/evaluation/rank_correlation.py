"""Rank correlation: whether a score orders encoders as their accuracy does."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class RankCorrelation(NamedTuple):
    """Two measures of how well two orders agree, -1 to 1."""

    spearman: float
    kendall: float
    """Kendall's tau-b, which accounts for ties."""


def rank_correlation(
    scores: Sequence[float], accuracies: Sequence[float]
) -> RankCorrelation | None:
    """Compute Spearman's and Kendall's rank correlation.

    Args:
        scores: of n encoders, n >= 3.
        accuracies: of the same encoders.

    Returns:
        None where there is no order: all values of one side are equal, or one is NaN.

    Raises:
        ValueError: if the lengths differ or there are fewer than three encoders.

    >>> rank_correlation([1.0, 2.0, 9.0], [10.0, 30.0, 20.0])
    RankCorrelation(spearman=0.5, kendall=0.333333333333)
    """
    x, y = np.asarray(scores, np.float64), np.asarray(accuracies, np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 3:
        raise ValueError(
            "a rank correlation needs at least three scores and as many accuracies, "
            f"got {x.shape} and {y.shape}"
        )
    if np.isnan(x).any() or np.isnan(y).any() or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    # Here, because loading it takes longer than the start of a command may.
    import scipy.stats

    measures: Any = scipy.stats  # whose types do not know the results
    spearman, kendall = (
        measure(x, y).statistic for measure in (measures.spearmanr, measures.kendalltau)
    )
    # Rounded, because 0.4999999999999999 is not meant.
    return RankCorrelation(round(float(spearman), 12), round(float(kendall), 12))
