"""Checks of features and labels; each failure is one line that names the fix."""

import numpy as np

from ssljax.evaluation.rows import in_blocks


def check_labelled(
    features: np.ndarray, labels: np.ndarray, num_classes: int, name: str
) -> None:
    """Refuse features and labels that cannot be evaluated.

    Args:
        features: ``[N, F]``.
        labels: ``[N]``.
        num_classes: number of classes.
        name: name of the set in the message, such as ``"train"``.

    Raises:
        ValueError: if shapes, values or classes cannot be used.

    >>> check_labelled(np.eye(2), np.array([0, 1]), 2, "train")
    """
    check_features(features, name)
    if np.shape(labels) != (len(features),):
        raise ValueError(
            f"{name}: {len(features)} feature rows but labels of shape "
            f"{np.shape(labels)}; pass one label per row"
        )
    check_classes(np.asarray(labels), num_classes, f"{name} labels")


def check_features(features: np.ndarray, name: str) -> None:
    """Refuse anything but finite rows ``[N, F]``.

    >>> check_features(np.eye(2), "test")
    """
    if np.ndim(features) != 2 or len(features) == 0:
        raise ValueError(
            f"{name} features must be [N, F] with N > 0, got shape {np.shape(features)}"
        )
    bad = sum(
        int((~np.isfinite(part).all(axis=1)).sum()) for _, part in in_blocks(features)
    )
    if bad:
        raise ValueError(
            f"{bad} of {len(features)} rows of the {name} features are not finite; "
            "check whether the training diverged"
        )


def check_classes(labels: np.ndarray, num_classes: int, name: str) -> None:
    """Refuse labels that are not integers from 0 to ``num_classes - 1``.

    >>> check_classes(np.array([0, 1]), 2, "labels")
    """
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"{name} must be integers, got {labels.dtype}; use astype(int)"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"{name} range from {labels.min()} to {labels.max()}, but {num_classes} "
            f"classes allow 0 to {num_classes - 1}; drop unlabelled rows (-1)"
        )
