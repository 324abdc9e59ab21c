"""Protocols on frozen features: the encoder beside three baselines."""

from typing import Any

import numpy as np

from ssljax.data import Source
from ssljax.evaluation import evaluate_features
from ssljax.evaluation.features import Extracted
from ssljax.protocols.asked import Asked
from ssljax.protocols.features import embed, encoder_on_devices, key_of
from ssljax.runs.encoder import restore


def rows(asked: Asked, protocols: list[str]) -> list[dict[str, Any]]:
    """Return the rows of kNN, the linear probe and the spectrum.

    The baselines are the same network before its first step, raw pixels, and a constant
    answer: the most frequent training class.

    Args:
        asked: the run and its images.
        protocols: of `ssljax.evaluation.table.PROTOCOLS`.
    """
    run, sources = asked.run, (asked.train, asked.test)
    start = restore(asked.folder.path, untrained=True)
    encoders = {
        "encoder": (key_of(run), lambda: encoder_on_devices(run)),
        "untrained network": (key_of(start), lambda: encoder_on_devices(start)),
    }
    kept = asked.folder.path / "features"
    with asked.folder.refusing("make room or make it writable"):
        found = [embed(encoders, source, folder=kept) for source in sources]
    if asked.labelled:
        found = [
            with_labels(each, source)
            for each, source in zip(found, sources, strict=True)
        ]
    of_train, of_test = found
    return evaluate_features(
        {
            name: (of_train.features[name], of_test.features[name])
            for name in of_train.features
        },
        of_train.labels if asked.labelled else None,
        of_test.labels if asked.labelled else None,
        num_classes=asked.train.num_classes,
        protocols=protocols,
        seed=run.config.seed,
        split=asked.test.split,
    )


def with_labels(found: Extracted, source: Source) -> Extracted:
    """Return the features and labels of all labelled images."""
    classes = found.labels if source.labels is None else source.labels
    if classes is None or (classes >= 0).all():
        return Extracted(found.features, classes)
    rows = np.flatnonzero(classes >= 0)
    features = {name: each[rows] for name, each in found.features.items()}
    return Extracted(features, classes[rows])
