"""Evaluate and report a run folder: the encoder beside two baselines."""

import datetime
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.config.checks import ConfigError
from ssljax.data import DataError, Source, from_arrays
from ssljax.data.augment import make_views
from ssljax.data.subsets import subset_indices
from ssljax.evaluation import (
    confusion,
    evaluate_features,
    extract,
    format_table,
    knn_predict,
    raw_pixels,
)
from ssljax.runs.encoder import Encode, Restored, as_function, load_encoder, restore
from ssljax.runs.folder import RunFolder, write_json_atomically
from ssljax.runs.setup import load_split

SHEET = 12


def evaluate(
    workdir: str | Path,
    *,
    protocols: tuple[str, ...] = ("knn", "linear"),
    train: Source | None = None,
    test: Source | None = None,
) -> str:
    """Evaluate the frozen encoder on un-augmented images and keep the table.

    Args:
        workdir: folder of a run.
        protocols: of ``knn``, ``linear`` and ``spectrum``.
        train: labelled images that classifiers are fitted on; None loads the config's.
        test: held-out images; None loads the config's.

    Returns:
        The table as text; ``evaluation.json`` has the same rows. Baselines are the same
        network before its first step, and raw pixels.

    Raises:
        ConfigError: no run there, or no checkpoint yet.
    """
    if not protocols:
        raise ConfigError("--protocol names none; allowed: knn, linear, spectrum")
    run = restore(workdir)
    train, test = (_known(split) for split in _splits(run, train, test))
    encoders = {
        "encoder": as_function(run),
        "untrained network": load_encoder(workdir, untrained=True),
    }
    named = {
        name: (_features(encode, train), _features(encode, test))
        for name, encode in encoders.items()
    }
    named["raw pixels"] = (raw_pixels(train), raw_pixels(test))
    labelled = train.labelled and test.labelled
    rows = evaluate_features(
        named,
        _labels(train) if labelled else None,
        _labels(test) if labelled else None,
        num_classes=train.num_classes,
        protocols=protocols,
        seed=run.config.seed,
        split=test.split,
    )
    folder = RunFolder(workdir)
    data = {"train": _name(train), "test": _name(test)}
    rows = _with_earlier(folder, run.step, data, rows)
    write_json_atomically(
        folder.evaluation,
        {
            "step": run.step,
            "data": data,
            "written": datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
            "rows": rows,
        },
    )
    return format_table(rows)


def report(
    workdir: str | Path, *, train: Source | None = None, test: Source | None = None
) -> Path:
    """Write ``report.html`` and ``report/*.png`` into a run folder.

    Where the images or a checkpoint are gone, the page says so and shows the rest.

    Returns:
        Path of the page.
    """
    from ssljax.reports import build_report

    folder = RunFolder(workdir)
    folder.load_config()
    try:
        run = restore(workdir)
        train, test = (_known(split) for split in _splits(run, train, test))
    except (ConfigError, DataError) as error:
        print(f"without images: {error}")
        return build_report(folder.path)
    encode = as_function(run)
    extra: dict[str, Any] = {"contact": _contact_sheet(run, train)}
    features = _features(encode, test)
    extra["features"] = features
    classes = train.num_classes
    if test.labelled and train.labelled and classes:
        extra["labels"] = _labels(test)
        extra["class_names"] = test.class_names
        # A random part: a folder's images are sorted by class.
        part = subset_indices(train.size, min(train.size, 10_000), seed=0)
        bank = train.take(part)
        predicted = knn_predict(
            extract(encode, bank[0]),
            bank[1],
            features,
            k=min(20, len(bank[1])),
            num_classes=classes,
        )
        extra["confusion"] = confusion(_labels(test), predicted, classes)
    return build_report(folder.path, **extra)


def _with_earlier(folder: RunFolder, step: int, data: Any, rows: list) -> list:
    """Keep what other protocols found for the same step and the same images."""
    try:
        saved = json.loads(folder.evaluation.read_text("utf-8"))
        same = saved["step"] == step and saved["data"] == data
        earlier = saved["rows"] if same else []
        done = {row["protocol"].split()[0] for row in rows}
        return [r for r in earlier if r["protocol"].split()[0] not in done] + rows
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return rows


def _splits(run: Restored, train: Source | None, test: Source | None):
    if train is None:
        train = load_split(run.config, train=True, labelled=True)
    if test is None:
        shape = run.setup.image_shape
        test = load_split(run.config, train=False, image_shape=shape)
    return train, test


def _known(source: Source) -> Source:
    """Only the labelled images of a set that is labelled in part."""
    if not source.labelled or source.labels is None or (source.labels >= 0).all():
        return source
    rows = np.flatnonzero(source.labels >= 0)
    images, labels = source.take(rows)
    return from_arrays(
        images,
        labels,
        class_names=source.class_names,
        name=source.name,
        split=f"{source.split}, labelled part",
    )


def _features(encode: Encode, source: Source) -> np.ndarray:
    images = source.images if source.images is not None else source
    return extract(encode, images)


def _labels(source: Source) -> np.ndarray:
    if source.labels is not None:
        return source.labels
    return source.take(np.arange(source.size))[1]


def _name(source: Source) -> str:
    return f"{source.name} ({source.split}), {source.size} images"


def _contact_sheet(run: Restored, source: Source):
    images, _ = source.take(np.arange(min(SHEET, source.size)))
    setup, views = run.setup, []
    for draw in range(3):
        key = jax.random.fold_in(jax.random.key(run.config.seed), draw)
        made = make_views(key, jnp.asarray(images), setup.views, size=setup.view_sizes)
        views += [np.asarray(view) for view in made]
    titles = [
        f"view {i % len(setup.views) + 1}, draw {i // len(setup.views) + 1}"
        for i in range(len(views))
    ]
    return images, views, titles
