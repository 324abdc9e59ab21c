"""When eigenvalues are recruited, and whether a trained predictor has C's eigenvectors.

C is the second moment of the projections z, of which a closed-form predictor is a
power. Its eigenvalues over the largest are those of the predictor, to a power.
"""

from typing import Any

import numpy as np

from ssljax.analytic.comparison import crossing_times

Row = dict[str, Any]


def recruited(curve: Row, levels: np.ndarray) -> np.ndarray:
    """Return the step after which each mode's ratio stays above a level.

    Args:
        curve: ``steps`` and ``moments_z``.
        levels: ratios to the largest eigenvalue, ``[modes]``.

    Returns:
        Steps ``[modes]``, infinity for modes that are below their level at the end.

    >>> moments = [[1.0, 0.3], [1.0, 0.1], [1.0, 0.1], [1.0, 0.5]]
    >>> curve = {"steps": [1, 2, 3, 4], "moments_z": moments}
    >>> recruited(curve, np.array([1.0, 0.3])).tolist()
    [1.0, 3.5]
    """
    steps, ratios = np.asarray(curve["steps"], float), ratios_of(curve)
    found = []
    for mode, level in enumerate(levels):
        below = np.flatnonzero(ratios[:, mode] < level)
        last = below[-1] if below.size else 0
        if last == len(steps) - 1:
            found.append(np.inf)
        elif below.size:
            rise = crossing_times(steps[last:], ratios[last:, mode : mode + 1], level)
            found.append(rise[0])
        else:
            found.append(steps[0])
    return np.array(found)


def ratios_of(curve: Row) -> np.ndarray:
    """Return the eigenvalues over the largest, ``[checkpoints, modes]``."""
    moments = np.asarray(curve["moments_z"])
    return moments / moments[:, :1]


def times_earlier(iso: Row, direct: Row, *, mode: int) -> float:
    """Return how many times earlier IsoLoss recruits a mode.

    A mode is recruited at half of the ratio that it ends at with IsoLoss. Where
    DirectPred does not get there, the end of training is taken, which is a lower bound.

    Args:
        iso: ``steps`` and ``moments_z`` of IsoLoss.
        direct: those of DirectPred, at the same steps.
        mode: its rank, 1 for the largest.
    """
    levels = 0.5 * ratios_of(iso)[-1]
    first, second = recruited(iso, levels), recruited(direct, levels)
    return min(second[mode - 1], float(iso["steps"][-1])) / first[mode - 1]


def cosines(matrix: np.ndarray, vectors: np.ndarray) -> list[float]:
    """Return the cosine of every column u with E u, without sign: 1 for eigenvectors.

    Args:
        matrix: E, ``[D, D]``.
        vectors: columns of length 1, ``[D, modes]``.

    >>> cosines(np.diag([1.0, 2.0]), np.array([[1.0, 0.6], [0.0, 0.8]]))[0]
    1.0
    """
    moved = matrix @ vectors
    lengths = np.linalg.norm(moved, axis=0)
    return np.abs((moved * vectors).sum(axis=0) / lengths).tolist()
