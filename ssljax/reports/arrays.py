"""Arrays that a report keeps, so that it can be rebuilt without the data."""

import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssljax.config.paths import as_path
from ssljax.runs.files import write_atomically

Contact = tuple[np.ndarray, Sequence[np.ndarray], Sequence[str] | None]


def principal_components(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute coordinates along the two directions of largest variance.

    The sign of each direction is chosen so that its largest loading is positive:
    the same features give the same picture.

    Args:
        features: ``[N, F]``, finite, N >= 1, F >= 1, any float type.

    Returns:
        Points ``[N, 2]`` float32 in feature units, and the fraction of the variance
        along each axis, ``[2]`` (zeros if the features do not vary). With a single
        feature the second coordinate is zero.

    Raises:
        ValueError: if ``features`` is not ``[N, F]``, is empty or is not finite.

    >>> points, explained = principal_components(np.array([[0.0, 0.0], [2.0, 0.0]]))
    >>> points.tolist(), explained.tolist()
    ([[-1.0, 0.0], [1.0, 0.0]], [1.0, 0.0])
    """
    x = np.array(features, dtype=np.float64)
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"features must be [N, F] and not empty, got {x.shape}")
    if not np.isfinite(x).all():
        raise ValueError("features must be finite; drop the rows that are not")
    x -= x.mean(axis=0)
    if len(x) > x.shape[1]:
        # The small Gram matrix has the same right singular vectors, far sooner.
        _, variances, directions = np.linalg.svd(x.T @ x, hermitian=True)
    else:
        _, singular, directions = np.linalg.svd(x, full_matrices=False)
        variances = singular**2
    directions = directions[:2]  # [2, F], or [1, F]
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(np.take_along_axis(directions, largest[:, None], axis=1))
    points = np.zeros((len(x), 2), np.float32)
    points[:, : len(directions)] = x @ (directions * signs).T
    explained = np.zeros(2)
    total = variances.sum()
    if total > 0:
        explained[: len(directions)] = variances[:2] / total
    return points, explained


def gather(
    path: str | os.PathLike[str],
    *,
    contact: Contact | None = None,
    features: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    confusion: np.ndarray | None = None,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read the arrays in ``path`` and replace those that are passed now.

    Args:
        path: the ``.npz`` file; need not exist.
        contact: originals ``[n, H, W, C]``, views ``[n, h, w, C]`` and column titles.
        features: ``[N, F]``; only their principal components are stored.
        labels: classes of the features, ``[N]``.
        class_names: names of the classes.
        confusion: counts ``[K, K]``, row = true class.

    Returns:
        Arrays by name (``originals``, ``view_0`` ..., ``titles``, ``points``,
        ``explained``, ``labels``, ``class_names``, ``confusion``; any may be absent)
        and sentences about what was left out.

    Raises:
        ValueError: if labels come without features, or lengths differ.
    """
    path = as_path(path)
    arrays, notes = _stored(path)
    fresh: dict[str, np.ndarray] = {}
    if contact is not None:
        originals, views, titles = contact
        for name in [n for n in arrays if n.startswith("view_")] + ["titles"]:
            arrays.pop(name, None)
        fresh["originals"] = _plain(originals)
        fresh |= {f"view_{i}": _plain(view) for i, view in enumerate(views)}
        if titles is not None:
            fresh["titles"] = np.array([str(t) for t in titles])
    if features is not None:
        arrays.pop("labels", None)  # they named the points of other features
        mapped, note = _mapped(features, labels)
        fresh |= mapped
        notes += note
    elif labels is not None:
        raise ValueError("labels were passed without features; pass both")
    if class_names is not None:
        fresh["class_names"] = np.array([str(name) for name in class_names])
    if confusion is not None:
        fresh["confusion"] = np.asarray(confusion)
        if class_names is not None and len(class_names) != len(confusion):
            raise ValueError(
                f"class_names has {len(class_names)} names for a confusion matrix of "
                f"{len(confusion)} classes; pass one name for each"
            )
    return arrays | fresh, notes


def store(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write the arrays of :func:`gather` as one ``.npz`` file, whole or not at all."""
    buffer = io.BytesIO()
    members: Mapping[str, Any] = arrays
    np.savez_compressed(buffer, **members)
    write_atomically(path, buffer.getvalue())


def _stored(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    if not path.exists():
        return {}, []
    try:
        # np.load leaves a damaged file open when it is given the path.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}, []
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        return {}, [f"{path.name} could not be read and was ignored: {error}"]


def _mapped(
    features: np.ndarray, labels: np.ndarray | None
) -> tuple[dict[str, np.ndarray], list[str]]:
    features = np.asarray(features, dtype=np.float64)
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"features must be [N, F] and not empty, got {features.shape}")
    if labels is not None and np.shape(labels) != features.shape[:1]:
        raise ValueError(
            f"labels must be [{len(features)}] like the features, "
            f"got {np.shape(labels)}"
        )
    finite = np.asarray(np.isfinite(features).all(axis=1))
    notes = []
    if not finite.all():
        notes.append(
            f"{(~finite).sum()} of {len(finite)} feature vectors are not finite "
            "and are left out of the map."
        )
    if not finite.any():
        return {}, notes
    points, explained = principal_components(features[finite])
    arrays = {"points": points, "explained": explained}
    if labels is not None:
        arrays["labels"] = np.asarray(labels)[finite]
    return arrays, notes


def _plain(images: np.ndarray) -> np.ndarray:
    # bfloat16 and its kin come back from an .npz file as raw bytes.
    images = np.asarray(images)
    return images if images.dtype == np.uint8 else images.astype(np.float32)
