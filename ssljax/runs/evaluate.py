"""Evaluate a run folder: the frozen encoder beside three baselines."""

import datetime
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.data import Source
from ssljax.data.subsets import rows_of
from ssljax.evaluation import evaluate_features, extract, format_table
from ssljax.evaluation.features import Extracted
from ssljax.evaluation.records_table import Table
from ssljax.evaluation.table import PROTOCOLS
from ssljax.runs.encoder import Encode, Restored, restore
from ssljax.runs.features import embed, encoder_on_devices, key_of
from ssljax.runs.folder import RunFolder
from ssljax.runs.programs import keep_programs
from ssljax.runs.records import EvaluatedData, Evaluation, EvaluationRow
from ssljax.runs.setup import load_split


def evaluate(
    workdir: str | Path,
    *,
    protocols: Sequence[str] = ("knn", "linear"),
    train: Source | None = None,
    test: Source | None = None,
    checkpoint: int | None = None,
    data: str | None = None,
    examples: int | None = None,
    test_examples: int | None = None,
) -> Table:
    """Evaluate the frozen encoder on un-augmented images and record the table.

    Args:
        workdir: folder of a run.
        protocols: of ``knn``, ``knn_euclidean``, ``linear`` and ``spectrum``.
        train: labelled images that classifiers are fitted on; None loads the config's.
        test: held-out images; None loads the config's.
        checkpoint: step of the checkpoint; None takes the newest.
        data: another data set: a folder of images, or a name as for `data.name`.
        examples: fit the classifiers on this many images, drawn at random.
        test_examples: test on this many images, drawn at random.

    Returns:
        The table: text that a notebook shows as HTML, with ``records`` and, where
        pandas is installed, ``frame()``. ``evaluation.json`` has the same rows, or
        ``evaluation-WHAT.json`` for another checkpoint, data set or number of images.
        The baselines are the same network before its first step, raw pixels, and a
        constant answer: the most frequent training class. Features of images that are
        not in memory stay in the run's folder ``features`` for the next evaluation.

    Raises:
        ConfigError: if there is no run, no checkpoint yet, or the folder cannot be
            written. A table that could not be saved is printed first.
    """
    if not protocols:
        raise ConfigError(f"--protocol names none; allowed: {', '.join(PROTOCOLS)}")
    folder = RunFolder(workdir)
    keep_programs(folder.load_config().devices.compilation_cache)
    variant = _variant(checkpoint, data, examples, test_examples)
    record = folder.evaluation_of(variant)
    folder.check_writable(record.name)
    damage: list[str] = []
    folder.load_evaluation(damage, variant)
    for note in damage:
        print(f"{note} This evaluation replaces it: {record}")
    run = restore(workdir, step=checkpoint)
    config = _with_data(run, data, examples, test_examples)
    train, test = evaluation_images(replace(run, config=config), train, test)
    _check_channels(run, train, test)
    start = restore(workdir, untrained=True)
    encoders = {
        "encoder": (key_of(run), lambda: encoder_on_devices(run)),
        "untrained network": (key_of(start), lambda: encoder_on_devices(start)),
    }
    kept = folder.path / "features"
    with folder.refusing("make room or make it writable"):
        found = [embed(encoders, source, folder=kept) for source in (train, test)]
    labelled = train.labelled and test.labelled
    if labelled:
        found = [
            _with_labels(each, source)
            for each, source in zip(found, (train, test), strict=True)
        ]
    of_train, of_test = found
    rows = evaluate_features(
        {
            name: (of_train.features[name], of_test.features[name])
            for name in of_train.features
        },
        of_train.labels if labelled else None,
        of_test.labels if labelled else None,
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
    others = _other_protocols(folder.load_evaluation(variant=variant), new)
    new = Evaluation(new.step, new.data, new.written, (*others, *new.rows))
    table = format_table([row.as_object() for row in new.rows])
    try:
        with folder.refusing("make it writable; the table above was not saved"):
            folder.write_evaluation(new, variant)
    except ConfigError:
        print(table)
        raise
    return Table.of(table, [row.as_object() for row in new.rows])


def _variant(
    checkpoint: int | None,
    data: str | None,
    examples: int | None,
    test_examples: int | None,
) -> str:
    """Return what the file of a special evaluation is called by.

    >>> _variant(None, None, None, None), _variant(50, "~/my photos", 100, None)
    ('', '-step_50-my_photos-train_100')
    """
    parts = [
        f"step_{checkpoint}" if checkpoint is not None else "",
        re.sub(r"[^\w.-]+", "_", Path(data).name) if data is not None else "",
        f"train_{examples}" if examples is not None else "",
        f"test_{test_examples}" if test_examples is not None else "",
    ]
    return "".join(f"-{part}" for part in parts if part)


def _with_data(
    run: Restored, data: str | None, examples: int | None, test_examples: int | None
) -> Config:
    """Return the run's config with the images that were asked for instead."""
    settings = run.config.data
    if data is not None:
        folder = Path(data).expanduser().is_dir()
        settings = replace(
            settings,
            name="folder" if folder else data,
            path=data if folder else None,
            split="train",
            test_split="test",
            labelled_split=None,
            image_size=run.setup.image_shape[0],
            examples=None,
            test_examples=None,
        )
    if examples is not None:
        settings = replace(settings, examples=examples)
    if test_examples is not None:
        settings = replace(settings, test_examples=test_examples)
    return replace(run.config, data=settings)


def _check_channels(run: Restored, *sources: Source) -> None:
    wanted = run.setup.image_shape[2]
    for source in sources:
        if source.image_shape[2] != wanted:
            raise ConfigError(
                f"images of {source.name!r} have {source.image_shape[2]} channels, "
                f"the run was trained on {wanted}; evaluate it on such images"
            )


def _with_labels(found: Extracted, source: Source) -> Extracted:
    """Return the features and labels of all labelled images."""
    classes = found.labels if source.labels is None else source.labels
    if classes is None or (classes >= 0).all():
        return Extracted(found.features, classes)
    rows = np.flatnonzero(classes >= 0)
    features = {name: each[rows] for name, each in found.features.items()}
    return Extracted(features, classes[rows])


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
    done = {row.kind for row in new.rows}
    return [row for row in old.rows if row.protocol and row.kind not in done]


def _labelled_part(source: Source) -> Source:
    if not source.labelled or source.labels is None or (source.labels >= 0).all():
        return source
    part = rows_of(source, np.flatnonzero(source.labels >= 0))
    return replace(part, split=f"{source.split}, labelled part")


def _name(source: Source) -> str:
    return f"{source.name} ({source.split}), {source.size} images"
