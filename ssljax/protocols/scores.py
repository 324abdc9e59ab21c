"""Protocol `scores`: whether label-free scores order a run's checkpoints by accuracy.

For every checkpoint that the run keeps: the ranks of the spectrum and LiDAR, beside the
accuracy of kNN and the linear probe; then the rank correlation of each score with each
accuracy. Raw numbers of one run at different steps are not independent, so the
correlation describes this run and tests nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from ssljax.config.checks import ConfigError
from ssljax.evaluation import knn_accuracy, linear_probe, rank_measures
from ssljax.evaluation.rank_correlation import rank_correlation
from ssljax.protocols.asked import Asked
from ssljax.protocols.features import embed_sets
from ssljax.protocols.frozen import as_encoders
from ssljax.protocols.spectrum import embed_views
from ssljax.runs.checkpoint import saved_steps
from ssljax.runs.encoder import Restored, restore

FEWEST = 3
"""Checkpoints; two are always in one order or the other."""
NEIGHBOURS = 20
SCORES = {
    "rankme": "RankMe",
    "effective_rank": "effective rank",
    "participation_ratio": "participation ratio",
    "alpha_req": "alpha-ReQ",
    "lidar": "LiDAR",
}

_rank_measures = jax.jit(rank_measures, static_argnames="top")


def rows(asked: Asked) -> list[dict[str, Any]]:
    """Return two accuracies and the scores of each checkpoint, then the correlations.

    Args:
        asked: the run and its images.

    Raises:
        ConfigError: if the run keeps fewer than three checkpoints.
    """
    networks = _checkpoints(asked)
    of_train, of_test = embed_sets(
        asked.folder, as_encoders(networks), (asked.train, asked.test), pixels=False
    )
    train_y, test_y = of_train.labels, of_test.labels
    assert train_y is not None and test_y is not None
    classes, k = asked.train.num_classes or 0, min(NEIGHBOURS, len(train_y))
    common = {
        "split": asked.test.split,
        "train_examples": len(train_y),
        "test_examples": len(test_y),
        "seed": asked.seed,
    }
    found, scored = [], []
    accuracies: dict[str, list[float]] = {f"knn k={k}": [], "linear": []}
    settings = {f"knn k={k}": "cosine, T=0.1", "linear": "logistic regression, L-BFGS"}
    searched = {
        f"knn k={k}": "nothing searched",
        "linear": "l2 chosen on a held-out tenth of the training images",
    }
    for name, network in networks.items():
        data = of_train.features[name], train_y, of_test.features[name], test_y
        accuracies[f"knn k={k}"].append(
            knn_accuracy(*data, ks=(k,), num_classes=classes)[k]
        )
        probe = linear_probe(*data, num_classes=classes, seed=asked.seed)
        accuracies["linear"].append(probe.accuracy)
        found += [
            {"representation": name}
            | common
            | {
                "protocol": f"scores {protocol} ({settings[protocol]})",
                "accuracy": round(100 * values[-1], 2),
                "detail": f"no augmentation, {searched[protocol]}",
            }
            for protocol, values in accuracies.items()
        ]
        scores, views = _scores(asked, network, of_test.features[name])
        scored.append(scores)
        figures = ", ".join(f"{SCORES[key]} {scores[key]:.2f}" for key in SCORES)
        found.append(
            {"representation": name}
            | common
            | {
                "protocol": "scores without labels",
                "accuracy": None,
                "detail": f"{figures}; LiDAR of {views}, the others of the test images",
            }
        )
    found += [
        {"representation": "rank correlation"}
        | common
        | {
            "protocol": f"scores {SCORES[key]} by accuracy",
            "accuracy": None,
            "detail": correlations(key, [each[key] for each in scored], accuracies)
            + f"; over {len(networks)} checkpoints",
        }
        for key in SCORES
    ]
    return found


def correlations(
    key: str, values: list[float], accuracies: Mapping[str, list[float]]
) -> str:
    """Say how a score orders the checkpoints.

    >>> correlations("rankme", [1.0, 2.0, 3.0], {"linear": [0.1, 0.2, 0.3]})
    'RankMe with linear: Spearman 1.00, Kendall 1.00'
    """
    title = SCORES[key]
    if key == "alpha_req":
        # Its paper finds exponents near 1 best, from either side.
        title, values = "closeness of alpha-ReQ to 1", [-abs(v - 1) for v in values]
    parts = []
    for protocol, against in accuracies.items():
        found = rank_correlation(values, against)
        figures = (
            "no order (equal or undetermined values)"
            if found is None
            else f"Spearman {found.spearman:.2f}, Kendall {found.kendall:.2f}"
        )
        parts.append(f"with {protocol}: {figures}")
    return f"{title} {'; '.join(parts)}"


def _checkpoints(asked: Asked) -> dict[str, Restored]:
    """Return the networks of all kept checkpoints, without what training needs."""
    path = asked.folder.path
    steps = saved_steps(asked.folder.checkpoints)
    if len(steps) < FEWEST:
        raise ConfigError(
            f"protocol scores ranks at least {FEWEST} checkpoints, but {path} keeps "
            f"{len(steps)}; pretrain with --checkpoint.keep {FEWEST} or more"
        )
    found = {}
    for step in steps:
        run = restore(path, step=step)
        state = replace(run.state, opt_state=(), target={}, covariance={})
        # One setup, so that all share their compiled programs.
        found[f"step {step}"] = replace(run, state=state, setup=asked.run.setup)
    return found


def _scores(
    asked: Asked, network: Restored, features: np.ndarray
) -> tuple[dict[str, float], str]:
    """Return the scores of a checkpoint, and what LiDAR was measured on."""
    measures = _rank_measures(np.asarray(features, np.float32), top=1)
    scores = {key: float(measures[key]) for key in SCORES if key != "lidar"}
    views = embed_views(
        network,
        asked.test,
        images=asked.settings.lidar_images,
        views=asked.settings.lidar_views,
        seed=asked.seed,
    )
    return scores | {"lidar": views.lidar()}, views.what
