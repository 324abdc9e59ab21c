"""Find the steps in a run's eigenvalues, and set them beside those of a kernel."""

from typing import Any, NamedTuple

import numpy as np

from ssljax.analytic.comparison import crossing_times, subspace_overlap
from ssljax.analytic.stepwise import kernel_embedding, kernel_modes, kernel_start
from ssljax.evaluation.rank_correlation import rank_correlation

SMALLEST = 0.02
"""Share of the largest plateau below which a mode has not been learned."""


class Steps(NamedTuple):
    """When each eigenvalue went through half of its plateau."""

    times: np.ndarray
    """``[modes]``, NaN for a mode that has not been learned."""
    plateaus: np.ndarray
    """Medians over the last tenth of the records, ``[modes]``."""
    learned: int
    """How many have been."""
    one_by_one: int
    """Leading modes that were half learned in order, each before the next one had
    reached a quarter of its own plateau."""


def find_steps(times: np.ndarray, values: np.ndarray) -> Steps:
    """Find the steps of eigenvalues.

    Args:
        times: ``[records]``, ascending.
        values: eigenvalues ``[records, modes]``, each record descending.

    >>> t = np.linspace(0.0, 30.0, 301)
    >>> steps = find_steps(t, 1 / (1 + np.exp(np.array([5.0, 15.0]) - t[:, None])))
    >>> steps.times.round(1).tolist(), steps.one_by_one
    ([5.0, 15.0], 2)
    """
    plateaus = np.median(values[-max(1, len(values) // 10) :], axis=0)
    found = crossing_times(times, values, 0.5 * plateaus)
    learned = plateaus > SMALLEST * plateaus.max()
    found = np.where(learned & (found < times[-1] * 0.95), found, np.nan)
    count = 0
    for mode, time in enumerate(found):
        if np.isnan(time) or (mode and not time > found[mode - 1]):
            break
        if mode + 1 < len(found) and learned[mode + 1]:
            following = np.interp(time, times, values[:, mode + 1])
            if following > 0.25 * plateaus[mode + 1]:
                break
        count += 1
    return Steps(found, plateaus, int(np.isfinite(found).sum()), count)


def moments(first: np.ndarray, second: np.ndarray, *, centre: bool) -> np.ndarray:
    """Return eigenvalues of the views' covariance, or of their cross moment.

    Args:
        first: embeddings ``[N, D]``.
        second: of the other views, ``[N, D]``.
        centre: take the covariance of both together, for losses that centre.
    """
    if centre:
        matrix = np.cov(np.concatenate([first, second]), rowvar=False, bias=True)
    else:
        matrix = first.T @ second / len(first)
        matrix = (matrix + matrix.T) / 2
    return np.linalg.eigvalsh(matrix)[::-1]


class Predicted(NamedTuple):
    """What a kernel says of a run on fixed pairs."""

    gamma: np.ndarray
    """Eigenvalues of the contrastive kernel, ``[modes]``."""
    times: np.ndarray
    """Critical times, in steps, ``[modes]``."""
    shares: np.ndarray
    """How much of each predicted mode the embedding has, 0 to 1, ``[records, modes]``:
    the squared cross moment of the views' embeddings with the mode."""


def predict_steps(kernel: np.ndarray, views: np.ndarray, rate: float) -> Predicted:
    """Predict the steps of a run from the tangent kernel at its start.

    Args:
        kernel: of first and second views, ``[2n, 2n]``.
        views: their embeddings, ``[records, 2n, D]``.
        rate: learning rate.
    """
    n, dim = len(kernel) // 2, views.shape[2]
    blocks = _blocks(kernel, n)
    start = kernel_start(*blocks, views[0, :n], views[0, n:])
    modes = kernel @ np.asarray(kernel_modes(*blocks, dim).coefficients)
    partners = np.roll(modes, n, axis=0) / (2 * n)
    moments = np.einsum("tnd,nm->tdm", views, partners)
    return Predicted(
        np.asarray(start.gamma),
        np.asarray(start.critical_times) / rate,
        (moments**2).sum(axis=1),
    )


def agreement(
    predicted: np.ndarray, times: np.ndarray, shares: np.ndarray
) -> dict[str, Any]:
    """Compare predicted times with those at which each predicted mode was learned.

    Args:
        predicted: times, ``[modes]``.
        times: ``[records]``.
        shares: how much of each mode the embedding has, ``[records, modes]``.

    Returns:
        ``predicted`` and ``mode_times`` as lists, where a mode that was not learned has
        the last time; ``rank_correlation`` (Spearman's) of the two; and
        ``time_agreement``, the mean over learned modes of the smaller of both times
        over the larger.
    """
    measured = crossing_times(times, shares, 0.5)
    learned = np.isfinite(measured)
    ratio = (measured / predicted)[learned]
    measured = np.where(learned, measured, times[-1])
    order = rank_correlation(predicted.tolist(), measured.tolist())
    return {
        "predicted": predicted.tolist(),
        "mode_times": measured.tolist(),
        "rank_correlation": order.spearman if order else 0.0,
        "time_agreement": float(np.mean(np.minimum(ratio, 1 / ratio)))
        if learned.any()
        else 0.0,
    }


def held_out_overlap(
    kernel: np.ndarray, embedding: np.ndarray, modes: int, *, centre: bool
) -> tuple[float, float]:
    """Compare embeddings of held-out points with a kernel's prediction.

    Args:
        kernel: of first views, second views and the points, ``[2n + N, 2n + N]``.
        embedding: of the points, ``[N, D]``.
        modes: how many leading modes to compare.
        centre: centre kernel and embeddings, for losses that do.

    Returns:
        The overlap of the spanned spaces, and that of random ones.
    """
    views = len(kernel) - len(embedding)
    if centre:
        mean = kernel[:, :views].mean(axis=1)
        kernel = kernel - mean[:, None] - mean[None, :] + mean[:views].mean()
    pairs = views // 2
    embed = kernel_embedding(*_blocks(kernel, pairs), modes)
    points = kernel[views:]
    predicted = np.asarray(embed(points[:, :pairs], points[:, pairs:views]))
    if centre:
        predicted = predicted - predicted.mean(axis=0)
    return subspace_overlap(leading(embedding, modes, centre=centre), predicted)


def leading(embedding: np.ndarray, modes: int, *, centre: bool) -> np.ndarray:
    """Return an embedding's leading principal components, ``[N, modes]``.

    >>> abs(leading(np.diag([1.0, -3.0]), 1, centre=False)).tolist()
    [[0.0], [3.0]]
    """
    if centre:
        embedding = embedding - embedding.mean(axis=0)
    left, sizes, _ = np.linalg.svd(embedding, full_matrices=False)
    return (left * sizes)[:, :modes]


def _blocks(kernel: np.ndarray, n: int) -> tuple[Any, Any, Any]:
    """Return the kernel's blocks between first and second views."""
    first, second = slice(0, n), slice(n, 2 * n)
    return kernel[first, first], kernel[first, second], kernel[second, second]
