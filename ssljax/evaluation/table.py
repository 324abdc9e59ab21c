"""One table of evaluations: representations by protocols, each number labelled."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ssljax.evaluation.knn import KS, knn_accuracy
from ssljax.evaluation.linear import linear_probe
from ssljax.evaluation.spectrum import rank_measures

PROTOCOLS = ("knn", "knn_euclidean", "linear", "spectrum")
"""The protocols to choose from; `spectrum` needs no labels."""
EUCLIDEAN_KS = (5,)
"""Neighbours by distance that the tables of W-MSE, CW-RGP and INTL report."""
MAJORITY = "majority class"
"""The baseline that looks at no image: its accuracy holds for every protocol."""

_MEASURES = {
    "effective_rank": "effective rank",
    "rankme": "RankMe",
    "participation_ratio": "participation ratio",
    "alpha_req": "alpha-ReQ",
}

_AS_IT_IS = "no augmentation, nothing searched"

_rank_measures = jax.jit(rank_measures, static_argnames="top")


def evaluate_features(
    named_features: Mapping[str, tuple[np.ndarray, np.ndarray]],
    train_labels: np.ndarray | None,
    test_labels: np.ndarray | None,
    *,
    num_classes: int | None,
    protocols: Sequence[str] = ("knn", "linear"),
    seed: int = 0,
    ks: Sequence[int] = KS,
    temperature: float = 0.1,
    split: str = "test",
) -> list[dict[str, Any]]:
    """Evaluate several representations of the same images under the same protocols.

    Without labels there is no accuracy, and none is made up: each representation gets
    one row of rank measures, whatever the protocols.

    Args:
        named_features: ``{"encoder": (train [N, F], test [M, F]), ...}``; F may differ.
        train_labels: classes ``[N]``, or None for unlabelled data.
        test_labels: classes ``[M]``, or None.
        num_classes: number of classes; None is allowed without labels.
        protocols: of ``PROTOCOLS``.
        seed: draws the linear probe's held-out examples; shown in every row.
        ks: numbers of neighbours; those above the training set's size are left out and
            named in the detail.
        temperature: of the kNN vote.
        split: name of the test examples' split, shown in every row.

    Returns:
        Rows in order of representation, then protocol: ``representation``, ``protocol``
        (with its settings), ``split``, ``train_examples``, ``test_examples``,
        ``seed``, ``accuracy`` (percent, two decimals, or None), ``detail``. The last
        row is the majority class: the accuracy of always answering the most frequent
        training class. Protocols without an accuracy have no such row.

    Raises:
        ValueError: for an unknown protocol, representations of different lengths, or
            labels on one side only. What a protocol refuses becomes the detail of its
            row, without an accuracy.

    >>> x, y = np.eye(20, dtype=np.float32), np.arange(20) % 2
    >>> rows = evaluate_features({"raw pixels": (x, x)}, y, y, num_classes=2,
    ...                          protocols=("knn",), ks=(1,))
    >>> [(row["protocol"], row["accuracy"]) for row in rows]
    [('knn k=1 (cosine, T=0.1)', 100.0), ('majority (constant answer)', 50.0)]
    """
    unknown = [name for name in protocols if name not in PROTOCOLS]
    if unknown or not protocols:
        raise ValueError(
            f"protocols {tuple(protocols)}: allowed are {', '.join(PROTOCOLS)}"
        )
    if (train_labels is None) != (test_labels is None):
        raise ValueError(
            "give labels for both training and test images, or for neither"
        )
    labelled = train_labels is not None
    if labelled and num_classes is None:
        raise ValueError("labelled features need num_classes")
    sizes = {(len(train), len(test)) for train, test in named_features.values()}
    if len(sizes) > 1:
        raise ValueError(
            f"representations of different numbers of images (train, test): "
            f"{sorted(sizes)}; evaluate one set of images at a time"
        )
    train_examples, test_examples = next(iter(sizes), (0, 0))
    common = {
        "split": split,
        "train_examples": train_examples,
        "test_examples": test_examples,
        "seed": seed,
    }
    rows = []
    for name, (train, test) in named_features.items():
        results = []
        data = train, train_labels, test, test_labels, num_classes
        for protocol in protocols if labelled else ("spectrum",):
            try:
                if protocol == "knn":
                    results += _knn(*data, ks, temperature)
                elif protocol == "knn_euclidean":
                    results += _knn(*data, EUCLIDEAN_KS, None)
                elif protocol == "linear":
                    results.append(linear_row(*data, seed=seed))
                else:
                    results.append(_spectrum(test, labelled))
            except ValueError as refused:
                # The others may be possible: a tiny set has no linear probe.
                results.append(left_out(protocol, refused))
        rows += [{"representation": name} | common | result for result in results]
    if train_labels is not None and rows and set(protocols) - {"spectrum"}:
        rows.append(common | majority_row(train_labels, test_labels))
    return [{key: row[key] for key in _COLUMNS} for row in rows]


_COLUMNS = (
    "representation",
    "protocol",
    "split",
    "train_examples",
    "test_examples",
    "seed",
    "accuracy",
    "detail",
)


def format_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format rows as plain text, one line for each representation and protocol.

    Args:
        rows: as :func:`evaluate_features` returns them.

    Returns:
        Aligned columns below one header line; a missing accuracy is a dash.

    >>> print(format_table([{"representation": "encoder", "protocol": "linear",
    ...     "split": "test", "train_examples": 90, "test_examples": 10,
    ...     "seed": 0, "accuracy": 87.5, "detail": "l2=0.01"}]))
    representation  protocol  split  train  test  seed  accuracy %  detail
    encoder         linear    test      90    10     0       87.50  l2=0.01
    """
    header = "representation protocol split train test seed accuracy_% detail".split()
    header = [title.replace("_", " ") for title in header]
    cells = [header] + [
        [
            "-"
            if row.get(key) is None
            else f"{row[key]:.2f}"
            if key == "accuracy"
            else str(row[key])
            for key in _COLUMNS
        ]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    numeric = (False, False, False, True, True, True, True, False)
    lines = []
    for line in cells:
        padded = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def _percent(accuracy: Any) -> float:
    return round(100.0 * float(accuracy), 2)


def _knn(train, train_labels, test, test_labels, num_classes, ks, temperature):
    """Return rows of the vote by cosine, by distance where temperature is None."""
    euclidean = temperature is None
    accuracies = knn_accuracy(
        train,
        train_labels,
        test,
        test_labels,
        ks=ks,
        temperature=1.0 if euclidean else temperature,
        metric="euclidean" if euclidean else "cosine",
        num_classes=num_classes,
    )
    too_many = sorted(set(ks) - set(accuracies))
    note = f"k={', '.join(map(str, too_many))} left out: exceeds the training set"
    return [
        {
            "protocol": f"knn_euclidean k={k} (majority)"
            if euclidean
            else f"knn k={k} (cosine, T={temperature:g})",
            "accuracy": _percent(accuracy),
            "detail": f"{_AS_IT_IS}; {note}" if too_many else _AS_IT_IS,
        }
        for k, accuracy in accuracies.items()
    ]


def linear_row(
    train, train_labels, test, test_labels, num_classes, *, seed
) -> dict[str, Any]:
    """Return protocol, accuracy and detail of the linear probe.

    Args:
        train: features, ``[N, F]``.
        train_labels: classes ``[N]``.
        test: ``[M, F]``.
        test_labels: ``[M]``.
        num_classes: number of classes.
        seed: draws the held-out tenth of the training set.

    Raises:
        ValueError: as `ssljax.evaluation.linear_probe`.
    """
    result = linear_probe(
        train, train_labels, test, test_labels, num_classes=num_classes, seed=seed
    )
    grid = [l2 for l2, _ in result.validation]
    edge = " (edge of the grid)" if result.l2 in (grid[0], grid[-1]) else ""
    state = "converged" if result.converged else "NOT converged"
    return {
        "protocol": "linear (logistic regression, L-BFGS)",
        "accuracy": _percent(result.accuracy),
        "detail": (
            f"no augmentation; l2={result.l2:g}{edge} of {len(grid)} chosen on a "
            "held-out tenth of the training images "
            f"({_percent(dict(result.validation)[result.l2]):.2f} %); "
            f"{state} in {result.iterations} iterations"
        ),
    }


def tried(
    row: Callable[..., dict[str, Any]], protocol: str, *args: Any, **options: Any
) -> dict[str, Any]:
    """Return ``row(...)``, or a row that says why the protocol refuses these images."""
    try:
        return row(*args, **options)
    except ValueError as refused:
        return left_out(protocol, refused)


def left_out(protocol: str, why: object) -> dict[str, Any]:
    """Return the row of a protocol that cannot be computed.

    >>> left_out("linear", "too few images")["detail"]
    'left out: too few images'
    """
    return {"protocol": protocol, "accuracy": None, "detail": f"left out: {why}"}


def majority_row(train_labels, test_labels) -> dict[str, Any]:
    """Return what anyone gets who knows the class frequencies and looks at no image.

    Args:
        train_labels: classes ``[N]``.
        test_labels: ``[M]``.

    >>> majority_row([0, 1, 1], [1, 0])["accuracy"]
    50.0
    """
    train_labels, test_labels = np.asarray(train_labels), np.asarray(test_labels)
    # Of classes that are equally frequent, the one with the lowest number.
    answer = int(np.bincount(train_labels).argmax())
    share = _percent(np.mean(train_labels == answer))
    return {
        "representation": MAJORITY,
        "protocol": "majority (constant answer)",
        "accuracy": _percent(np.mean(test_labels == answer)),
        "detail": f"always class {answer}, {share:.2f} % of the training images",
    }


def _or_too_few(value: float) -> str:
    # Only the decay exponent can be undetermined, by fewer than three eigenvalues.
    return "- (too few images or dimensions)" if np.isnan(value) else f"{value:.2f}"


def _spectrum(test, labelled):
    measures = _rank_measures(np.asarray(test, np.float32), top=1)
    figures = ", ".join(
        f"{title} {_or_too_few(float(measures[key]))}"
        for key, title in _MEASURES.items()
    )
    return {
        "protocol": "spectrum" if labelled else "spectrum (no labels)",
        "accuracy": None,
        "detail": f"{figures}; of {np.shape(test)[1]} dimensions",
    }
