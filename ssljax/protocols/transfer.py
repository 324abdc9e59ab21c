"""Protocol `transfer`: the frozen encoder on other data sets, with all labels and few.

Every set is classified by the encoder, the same network before its first step and raw
pixels: by the linear probe, and by few-shot classifiers over random draws.
"""

from dataclasses import replace
from typing import Any

from ssljax.config.checks import ConfigError
from ssljax.data import Source
from ssljax.evaluation.few_shot import few_shot
from ssljax.evaluation.table import linear_row, majority_row, tried
from ssljax.protocols.asked import Asked
from ssljax.protocols.features import embed_sets
from ssljax.protocols.frozen import as_encoders, networks_of
from ssljax.protocols.images import check_channels, evaluation_images, with_data
from ssljax.runs.encoder import Restored


def rows(asked: Asked) -> list[dict[str, Any]]:
    """Return the rows of every set that ``transfer_data`` names.

    Args:
        asked: the run and the settings.

    Raises:
        ConfigError: for a set that cannot be loaded, has other channels than the run's
            images or no labels. All sets are loaded before the first is evaluated.
    """
    # Each once, however often it is named.
    names = list(dict.fromkeys(asked.settings.transfer_data))
    sets = [_load(asked, name) for name in names]
    networks = networks_of(asked)
    return [row for pair in sets for row in _of_set(asked, networks, *pair)]


def _load(asked: Asked, name: str) -> tuple[Source, Source]:
    """Return the training and the test images of a set."""
    run = asked.run
    config = with_data(run, name, asked.examples, asked.test_examples)
    train, test = evaluation_images(replace(run, config=config), None, None)
    check_channels(run, train, test)
    for source in (train, test):
        if not source.labelled:
            raise ConfigError(
                f"protocol transfer needs labels, but {source.name} ({source.split}) "
                "has none; put the images of each class into a folder of its own"
            )
    return train, test


def _of_set(
    asked: Asked, networks: dict[str, Restored], train: Source, test: Source
) -> list[dict[str, Any]]:
    settings = asked.settings
    of_train, of_test = embed_sets(asked.folder, as_encoders(networks), (train, test))
    train_y, test_y = of_train.labels, of_test.labels
    assert train_y is not None and test_y is not None
    classes = max(train.num_classes or 0, test.num_classes or 0)
    common = {
        "split": f"{test.name} ({test.split})",
        "train_examples": len(train_y),
        "test_examples": len(test_y),
        "seed": asked.seed,
    }
    found = []
    for name, train_x in of_train.features.items():
        data = train_x, train_y, of_test.features[name], test_y
        row = tried(linear_row, "linear", *data, num_classes=classes, seed=asked.seed)
        results = [row | {"protocol": f"transfer {row['protocol']}"}]
        results += [
            tried(
                _few_shot_row,
                f"transfer {shots}-shot",
                *data,
                num_classes=classes,
                shots=shots,
                draws=settings.draws,
                seed=asked.seed,
            )
            for shots in sorted(set(settings.shots))
        ]
        found += [{"representation": name} | common | result for result in results]
    return [*found, common | majority_row(train_y, test_y)]


def _few_shot_row(
    train_x, train_y, test_x, test_y, *, num_classes, shots, draws, seed
) -> dict[str, Any]:
    result = few_shot(
        *(train_x, train_y, test_x, test_y),
        num_classes=num_classes,
        shots=shots,
        draws=draws,
        seed=seed,
    )
    interval = result.interval
    spread = "" if interval is None else f"± {100 * interval:.2f} (95 % interval), "
    return {
        "protocol": f"transfer {shots}-shot (logistic regression, C=1, unit features)",
        "train_examples": shots * result.classes,
        "accuracy": round(100 * result.mean, 2),
        "interval": None if interval is None else round(100 * interval, 2),
        "detail": f"{spread}mean of {draws} draw{'s' if draws > 1 else ''} of {shots} "
        "per class; no augmentation, nothing searched",
    }
