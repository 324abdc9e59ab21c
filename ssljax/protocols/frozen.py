"""Protocols on frozen features: the encoder beside three baselines."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ssljax.evaluation import evaluate_features
from ssljax.evaluation.features import Encoder
from ssljax.protocols import spectrum
from ssljax.protocols.asked import Asked
from ssljax.protocols.features import embed_sets, encoder_on_devices, key_of
from ssljax.runs.encoder import Restored, restore

ENCODER, UNTRAINED = "encoder", "untrained network"


def rows(asked: Asked, protocols: list[str]) -> list[dict[str, Any]]:
    """Return the rows of kNN, the linear probe and the spectrum.

    The baselines are the same network before its first step, raw pixels, and a constant
    answer: the most frequent training class.

    Args:
        asked: the run and its images.
        protocols: of `ssljax.evaluation.table.PROTOCOLS`.
    """
    networks = networks_of(asked)
    of_train, of_test = embed_sets(
        asked.folder,
        as_encoders(networks),
        (asked.train, asked.test),
        labelled=asked.labelled,
    )
    found = evaluate_features(
        {
            name: (of_train.features[name], of_test.features[name])
            for name in of_train.features
        },
        of_train.labels if asked.labelled else None,
        of_test.labels if asked.labelled else None,
        num_classes=asked.train.num_classes,
        protocols=protocols,
        seed=asked.seed,
        ks=asked.settings.k,
        temperature=asked.settings.temperature,
        split=asked.test.split,
    )
    if "spectrum" in protocols or not asked.labelled:
        found = spectrum.with_views(asked, networks, found)
    return found


def networks_of(asked: Asked) -> dict[str, Restored]:
    """Return the run's network by its checkpoint, and before its first step."""
    start = restore(asked.folder.path, untrained=True)
    # One setup, so that both share their compiled programs.
    return {ENCODER: asked.run, UNTRAINED: replace(start, setup=asked.run.setup)}


def as_encoders(
    networks: dict[str, Restored],
) -> dict[str, tuple[str, Callable[[], Encoder]]]:
    """Return networks as `ssljax.protocols.features.embed` takes encoders."""
    return {
        name: (key_of(network), lambda network=network: encoder_on_devices(network))
        for name, network in networks.items()
    }
