"""The images that a run is evaluated on."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.config.paths import in_bucket
from ssljax.data import Source
from ssljax.data.subsets import rows_of
from ssljax.evaluation import extract
from ssljax.runs.encoder import Encode, Restored
from ssljax.runs.setup import load_split

_CHUNK = 2048  # images read at once for their labels


def with_data(
    run: Restored, data: str | None, examples: int | None, test_examples: int | None
) -> Config:
    """Return a run's config with other images instead.

    Args:
        run: the restored run.
        data: a folder of images, or a name as for `data.name`; None keeps the run's.
        examples: fit classifiers on this many images, drawn at random.
        test_examples: test on this many.
    """
    settings = run.config.data
    if data is not None:
        folder = in_bucket(data) or Path(data).expanduser().is_dir()
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


def check_channels(run: Restored, *sources: Source) -> None:
    """Refuse images of another number of channels than the run was trained on."""
    wanted = run.setup.image_shape[2]
    for source in sources:
        if source.image_shape[2] != wanted:
            raise ConfigError(
                f"images of {source.name!r} have {source.image_shape[2]} channels, "
                f"the run was trained on {wanted}; evaluate it on such images"
            )


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
    """Return the classes of all images of a source, -1 where unknown: int32 ``[N]``.

    A set that is read from disk is read once, without decoding images where its reader
    can do that.
    """
    if source.labels is not None:
        return source.labels
    whole = getattr(source.read, "whole", None)  # of a subset
    if isinstance(whole, Source):
        return labels(whole)[source.read.indices]  # pyright: ignore
    fetch = getattr(source.read, "fetch", None)
    parts = []
    for start in range(0, source.size, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, source.size))
        if fetch is None:
            parts.append(source.read_many(rows).labels)
        else:
            parts.append(np.array([label for _, label in fetch(rows)], np.int32))
    return np.concatenate(parts)


def variant_of(
    checkpoint: int | None,
    data: str | None,
    examples: int | None,
    test_examples: int | None,
) -> str:
    """Return what the file of a special evaluation is called by.

    >>> variant_of(None, None, None, None), variant_of(50, "~/my photos", 100, None)
    ('', '-step_50-my_photos-train_100')
    """
    parts = [
        f"step_{checkpoint}" if checkpoint is not None else "",
        re.sub(r"[^\w.-]+", "_", Path(data).name) if data is not None else "",
        f"train_{examples}" if examples is not None else "",
        f"test_{test_examples}" if test_examples is not None else "",
    ]
    return "".join(f"-{part}" for part in parts if part)


def name_of(source: Source) -> str:
    """Return the name of the images, as the records show it."""
    return f"{source.name} ({source.split}), {source.size} images"


def _labelled_part(source: Source) -> Source:
    if not source.labelled or source.labels is None or (source.labels >= 0).all():
        return source
    part = rows_of(source, np.flatnonzero(source.labels >= 0))
    return replace(part, split=f"{source.split}, labelled part")
