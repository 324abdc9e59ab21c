"""Linear probe: logistic regression on frozen features, solved to convergence."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from ssljax.evaluation.checks import check_labelled
from ssljax.evaluation.logistic import LogisticFit, fit_logistic, held_out, predict
from ssljax.evaluation.rows import in_blocks, over_devices

L2_GRID = (1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
"""Penalties to try, on standardised features; scikit-learn's C is ``1 / (l2 N)``."""

CHOICE_ITERATIONS = 100
"""Iteration limit of the fits that choose the penalty: weak penalties on raw pixels
never converge."""

HELD_OUT = 0.1
"""Share of the training set that is held out to choose the penalty."""


class LinearResult(NamedTuple):
    """Outcome of :func:`linear_probe`."""

    accuracy: float
    """Test accuracy, 0 to 1."""
    l2: float
    """The chosen penalty."""
    validation: tuple[tuple[float, float], ...]
    """Each penalty of the grid with its accuracy on the held-out training examples."""
    iterations: int
    """L-BFGS iterations of the final fit, which starts from the chosen fit."""
    converged: bool
    """Whether the final fit reached the gradient tolerance."""
    predictions: np.ndarray
    """Predicted test classes, int32 ``[M]``."""


def linear_probe(
    train_x: np.ndarray,
    train_y: np.ndarray,
    test_x: np.ndarray,
    test_y: np.ndarray,
    *,
    num_classes: int,
    seed: int = 0,
    l2_grid: Sequence[float] = L2_GRID,
    max_iterations: int = 300,
    tolerance: float = 3e-6,
) -> LinearResult:
    """Measure the test accuracy of a linear classifier on frozen features.

    The penalty is chosen on a random tenth of the *training* examples. Only the final
    classifier, which is fitted to all training examples, sees the test set. Of equal
    held-out accuracies the smaller held-out loss decides. Features are standardised
    with the training mean and standard deviation.

    Args:
        train_x: features, ``[N, F]``, N >= 10.
        train_y: classes, integers ``[N]``.
        test_x: ``[M, F]``.
        test_y: ``[M]``.
        num_classes: number of classes.
        seed: seed of the held-out tenth.
        l2_grid: penalties to try, each > 0.
        max_iterations: limit of the L-BFGS iterations of each fit.
        tolerance: largest gradient entry at which a fit counts as converged.

    Returns:
        :class:`LinearResult`.

    Raises:
        ValueError: if the shapes, labels or grid are not allowed, the features are not
            finite, or there are fewer than ten training examples.

    >>> x = np.linspace(-1.0, 1.0, 20)[:, None]
    >>> y = (x[:, 0] > 0).astype(int)
    >>> linear_probe(x, y, x, y, num_classes=2).accuracy
    1.0
    """
    check_labelled(train_x, train_y, num_classes, "train")
    check_labelled(test_x, test_y, num_classes, "test")
    n = len(train_x)
    if n < 10:
        raise ValueError(f"use at least 10 training examples for the probe, got {n}")
    if np.shape(train_x)[1] != np.shape(test_x)[1]:
        raise ValueError(
            f"train features have {np.shape(train_x)[1]} dimensions, "
            f"test features {np.shape(test_x)[1]}; use the same encoder for both"
        )
    grid = tuple(sorted(float(l2) for l2 in l2_grid))
    train_x, test_x = standardise(train_x, test_x)
    train_y, test_y = np.asarray(train_y), np.asarray(test_y)
    order = np.random.default_rng(seed).permutation(n)
    held, used = order[: max(1, round(HELD_OUT * n))], np.ones(n, bool)
    used[held] = False
    held_x, held_y = train_x[held], train_y[held]
    # Both fits read the same features, which may take most of the memory.
    placed = over_devices(train_x, train_y, used)
    del train_x
    fit = partial(
        fit_logistic, placed.x, placed.y, num_classes=num_classes, tolerance=tolerance
    )
    tried: dict[float, LogisticFit] = {}
    start = None
    # From the strongest penalty on, each fit starts where the one before it ended.
    for l2 in reversed(grid):
        tried[l2] = fit(
            l2=(l2,),
            used=placed.used,
            start=start,
            max_iterations=min(CHOICE_ITERATIONS, max_iterations),
        )
        start = tried[l2].weights[0], tried[l2].bias[0]
    scores = [held_out(tried[l2], held_x, held_y) for l2 in grid]
    accuracies, losses = (np.concatenate(part) for part in zip(*scores, strict=True))
    # lexsort's last key leads: accuracy first, then the smaller loss.
    best = int(np.lexsort((losses, -accuracies))[0])
    chosen = tried[grid[best]]
    final = fit(
        l2=(grid[best],),
        used=placed.real,
        start=(chosen.weights[0], chosen.bias[0]),
        max_iterations=max_iterations,
    )
    predictions = predict(final, test_x)[0]
    return LinearResult(
        accuracy=float(np.mean(predictions == test_y)),
        l2=grid[best],
        validation=tuple(zip(grid, map(float, accuracies), strict=True)),
        iterations=int(final.iterations[0]),
        converged=bool(final.converged[0]),
        predictions=predictions,
    )


def standardise(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standardise features with the training mean and standard deviation.

    A feature that is constant in training has no information and becomes zero in both.

    Args:
        train: ``[N, F]``.
        test: ``[M, F]``.

    Returns:
        Both, float32.

    >>> standardise(np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[2.0, 9.0]]))[1]
    array([[0., 0.]], dtype=float32)
    """
    # Summed in float64, because a float32 mean of 50,000 rows loses digits.
    sums = [part.sum(axis=0, dtype=np.float64) for _, part in in_blocks(train)]
    mean = np.sum(sums, axis=0) / len(train)
    squares = [((part - mean) ** 2).sum(axis=0) for _, part in in_blocks(train)]
    deviation = np.sqrt(np.sum(squares, axis=0) / len(train))
    # Relative to the mean, because a constant has a rounding error in proportion to it.
    varies = deviation > 1e-6 * np.abs(mean)
    scale = np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)
    mean, scale = mean[None].astype(np.float32), scale[None].astype(np.float32)

    def scaled(x: np.ndarray) -> np.ndarray:
        result = np.empty(np.shape(x), np.float32)
        for rows, part in in_blocks(x):
            result[rows] = (np.asarray(part, np.float32) - mean) * scale
        return result

    return scaled(train), scaled(test)
