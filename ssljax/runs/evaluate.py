"""Evaluate a run folder: the frozen encoder beside three baselines."""

import datetime
from pathlib import Path

import numpy as np

from ssljax.config.checks import ConfigError
from ssljax.data import Source, from_arrays
from ssljax.evaluation import evaluate_features, extract, format_table, raw_pixels
from ssljax.runs.encoder import Encode, Restored, as_function, load_encoder, restore
from ssljax.runs.folder import RunFolder
from ssljax.runs.programs import keep_programs
from ssljax.runs.records import EvaluatedData, Evaluation, EvaluationRow
from ssljax.runs.setup import load_split


def evaluate(
    workdir: str | Path,
    *,
    protocols: tuple[str, ...] = ("knn", "linear"),
    train: Source | None = None,
    test: Source | None = None,
) -> str:
    """Evaluate the frozen encoder on un-augmented images and record the table.

    Args:
        workdir: folder of a run.
        protocols: of ``knn``, ``linear`` and ``spectrum``.
        train: labelled images that classifiers are fitted on; None loads the config's.
        test: held-out images; None loads the config's.

    Returns:
        The table as text; ``evaluation.json`` has the same rows. The baselines are the
        same network before its first step, raw pixels, and a constant answer: the most
        frequent training class.

    Raises:
        ConfigError: if there is no run, no checkpoint yet, or the folder cannot be
            written. A table that could not be saved is printed first.
    """
    if not protocols:
        raise ConfigError("--protocol names none; allowed: knn, linear, spectrum")
    folder = RunFolder(workdir)
    keep_programs(folder.load_config().devices.compilation_cache)
    folder.check_writable(folder.evaluation.name)
    damage: list[str] = []
    folder.load_evaluation(damage)
    for note in damage:
        print(f"{note} This evaluation replaces it: {folder.evaluation}")
    run = restore(workdir)
    train, test = evaluation_images(run, train, test)
    encoders = {
        "encoder": as_function(run),
        "untrained network": load_encoder(workdir, untrained=True),
    }
    named = {
        name: (features(encode, train), features(encode, test))
        for name, encode in encoders.items()
    }
    named["raw pixels"] = (raw_pixels(train), raw_pixels(test))
    labelled = train.labelled and test.labelled
    rows = evaluate_features(
        named,
        labels(train) if labelled else None,
        labels(test) if labelled else None,
        num_classes=train.num_classes,
        protocols=protocols,
        seed=run.config.seed,
        split=test.split,
    )
    new = Evaluation(
        step=run.step,
        data=EvaluatedData(train=_name(train), test=_name(test)),
        written=datetime.datetime.now(datetime.UTC).isoformat("T", "seconds"),
        rows=tuple(EvaluationRow.from_object(row) for row in rows),
    )
    kept = _other_protocols(folder.load_evaluation(), new)
    new = Evaluation(new.step, new.data, new.written, (*kept, *new.rows))
    table = format_table([row.as_object() for row in new.rows])
    try:
        with folder.refusing("make it writable; the table above was not saved"):
            folder.write_evaluation(new)
    except ConfigError:
        print(table)
        raise
    return table


def evaluation_images(
    run: Restored, train: Source | None, test: Source | None
) -> tuple[Source, Source]:
    """Return the training and test images that classifiers use.

    Args:
        run: the restored run, whose config names the images.
        train: images to use instead of the config's.
        test: likewise.

    Returns:
        Both, without the unlabelled images of a set that is labelled in part.
    """
    if train is None:
        train = load_split(run.config, train=True, labelled=True)
    if test is None:
        shape = run.setup.image_shape
        test = load_split(run.config, train=False, image_shape=shape)
    return _labelled_part(train), _labelled_part(test)


def features(encode: Encode, source: Source) -> np.ndarray:
    """Encode all images of a source: ``[N, F]`` float32."""
    images = source.images if source.images is not None else source
    return extract(encode, images)


def labels(source: Source) -> np.ndarray:
    """Return the classes of all images of a source: int32 ``[N]``."""
    if source.labels is not None:
        return source.labels
    return source.take(np.arange(source.size))[1]


def _other_protocols(old: Evaluation, new: Evaluation) -> list[EvaluationRow]:
    """Return the results of other protocols for the same step and images."""
    if (old.step, old.data) != (new.step, new.data):
        return []
    done = {_kind(row) for row in new.rows}
    return [row for row in old.rows if row.protocol and _kind(row) not in done]


def _kind(row: EvaluationRow) -> str:
    """Return ``knn`` of ``knn k=5 (cosine, T=0.1)``."""
    return (row.protocol or "").partition(" ")[0]


def _labelled_part(source: Source) -> Source:
    if not source.labelled or source.labels is None or (source.labels >= 0).all():
        return source
    rows = np.flatnonzero(source.labels >= 0)
    images, classes = source.take(rows)
    return from_arrays(
        images,
        classes,
        class_names=source.class_names,
        name=source.name,
        split=f"{source.split}, labelled part",
    )


def _name(source: Source) -> str:
    return f"{source.name} ({source.split}), {source.size} images"
