"""Train a classifier on a run's encoder, as a run of its own inside the run's folder.

So it has what every run has: checkpoints, resuming after a kill, metrics, a report.
"""

import contextlib
import hashlib
import math
import sys
from dataclasses import dataclass, replace

import jax
import numpy as np

from ssljax.config import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    DevicesConfig,
    LogConfig,
    MethodConfig,
    MonitorConfig,
    OptimizerConfig,
    ProbeConfig,
)
from ssljax.config.checks import ConfigError
from ssljax.config.resuming import INCIDENTAL
from ssljax.config.serialize import flatten, to_json
from ssljax.data import Source
from ssljax.data.subsets import rows_of
from ssljax.methods import resolve
from ssljax.protocols.asked import Asked
from ssljax.protocols.features import key_of
from ssljax.runs import files
from ssljax.runs.checkpoint import saved_steps
from ssljax.runs.encoder import Restored, restore
from ssljax.runs.folder import RunFolder
from ssljax.runs.pretrain import pretrain

LARGEST_BATCH = 256
_STEPS_PER_EPOCH = 8  # at least, of few images
_STEPS_PER_CHECKPOINT = 200
# Where things are may change; what they are is in the name of the folder.
_PLACES = ("data.", "model.init_from")


@dataclass(frozen=True)
class Task:
    """What to train on a run's encoder.

    Attributes:
        protocol: its name, also that of a folder.
        what: tells trainings of a protocol apart, such as ``1 %``; may be empty.
        frozen: train the classifier alone.
        epochs: passes over the images.
        rates: learning rates to choose from, for a batch of 256.
        batch_size: images per step.
        untrained: start from the network before its first step, not from the run's.
    """

    protocol: str
    what: str
    frozen: bool
    epochs: float
    rates: tuple[float, ...]
    batch_size: int
    untrained: bool = False


def task_of(
    asked: Asked,
    protocol: str,
    *,
    size: int,
    epochs: float,
    rate: float,
    frozen: bool = False,
    what: str = "",
) -> Task:
    """Return a task with the caller's settings, or the protocol's where there are none.

    Args:
        asked: the run and its images.
        protocol: its name.
        size: number of images to train on.
        epochs: of the protocol.
        rate: the protocol's learning rate, for a batch of 256.
        frozen: as for `Task`.
        what: as for `Task`.
    """
    settings = asked.settings
    return Task(
        protocol,
        what,
        frozen,
        epochs=settings.epochs or epochs,
        rates=tuple(settings.learning_rates or (rate,)),
        batch_size=settings.batch_size or batch_for(size),
    )


def batch_for(size: int) -> int:
    """Return the batch for a number of images where the caller names none.

    It is 256, or for few images the largest power of two with eight steps per epoch.

    >>> batch_for(50_000), batch_for(500)
    (256, 32)
    """
    few = max(2, size // _STEPS_PER_EPOCH)
    return min(LARGEST_BATCH, 2 ** int(math.log2(few)))


def train(
    asked: Asked, task: Task, rows: np.ndarray | None, rate: float, *, part: str = ""
) -> Restored:
    """Train a classifier, or read the one that was trained before.

    Args:
        asked: the run and its images.
        task: what to train.
        rows: images of ``asked.train`` to train on, int64 ``[n]``; None takes all.
        rate: learning rate for a batch of 256.
        part: says in the folder's name which part of the images these are.

    Returns:
        The trained network.

    Raises:
        ConfigError: if there are fewer images than a batch has; and all errors of
            `ssljax.runs.pretrain.pretrain`.
    """
    images = asked.train if rows is None else rows_of(asked.train, rows)
    if task.batch_size > images.size:
        raise ConfigError(
            f"batch_size {task.batch_size} exceeds the {images.size} images that "
            f"{task.protocol} trains on; use --batch-size 2 to {images.size}"
        )
    config = _config(asked, task, rate, images)
    folder = RunFolder(
        asked.folder.path
        / "protocols"
        / task.protocol
        # Everything that decides the result is in the digest at the end of the name.
        / _name(asked, task, rate, part, _digest(asked, task, config, images, rows))
    )
    config = _as_begun(folder, config)
    if saved_steps(folder.checkpoints):
        found = restore(folder.path)
        if found.step == found.setup.total_steps:
            return found
    print(f"training {folder.path}", file=sys.stderr, flush=True)
    setup = asked.run.setup
    # The command prints its table, and nothing else, on stdout.
    with contextlib.redirect_stdout(sys.stderr):
        pretrain(
            config,
            folder.path,
            train=images,
            statistics=(setup.mean, setup.std),
            plan=False,
        )
    return restore(folder.path)


def _config(asked: Asked, task: Task, rate: float, images: Source) -> Config:
    run, settings = asked.run, asked.settings
    old = run.config
    start = None if task.untrained else str(asked.folder.path)
    per_epoch = max(1, images.size // task.batch_size)
    return resolve(
        Config(
            method=MethodConfig("supervised"),
            data=old.data if images.has_originals else replace(old.data, crop="auto"),
            augment=AugmentConfig(
                preset="supervised",
                variant=old.augment.variant,
                size=run.setup.view_size,
                interpolation=old.augment.interpolation,
            ),
            model=replace(
                old.model,
                stem=run.setup.stem,
                init_from=start,
                init_step=None if start is None else run.step,
                frozen=task.frozen,
            ),
            optimizer=OptimizerConfig(
                name=settings.optimizer,
                learning_rate=rate,
                weight_decay=settings.weight_decay,
                warmup_epochs=0.0,
                encoder_factor=1.0 if task.frozen else settings.encoder_factor,
            ),
            probe=ProbeConfig(enabled=False),
            monitor=MonitorConfig(every_epochs=0.0),
            checkpoint=CheckpointConfig(
                every_epochs=max(1.0, _STEPS_PER_CHECKPOINT / per_epoch)
            ),
            log=LogConfig(every_steps=old.log.every_steps),
            devices=DevicesConfig(
                # A small batch need not be a multiple of all devices.
                count=math.gcd(task.batch_size, jax.device_count()),
                compilation_cache=old.devices.compilation_cache,
            ),
            epochs=task.epochs,
            batch_size=task.batch_size,
            seed=asked.seed,
        )
    )


def _digest(
    asked: Asked, task: Task, config: Config, images: Source, rows: np.ndarray | None
) -> str:
    """Return eight hex digits of what decides the result, wherever the folder is."""
    settings = [
        (key, value)
        for key, value in sorted(flatten(config).items())
        if not key.startswith((*INCIDENTAL, *_PLACES))
    ]
    weights = "untrained" if task.untrained else key_of(asked.run)
    statistics = asked.run.setup.mean, asked.run.setup.std
    facts = repr((settings, weights, statistics, images.fingerprint()))
    taken = b"" if rows is None else np.ascontiguousarray(rows, np.int64).tobytes()
    return hashlib.sha256(facts.encode() + taken).hexdigest()[:8]


def _name(asked: Asked, task: Task, rate: float, part: str, digest: str) -> str:
    start = "untrained" if task.untrained else f"step_{asked.run.step}"
    what = task.what.replace(" %", "_percent").replace(" ", "_")
    how = f"{asked.settings.optimizer}_{rate:g}", f"{task.epochs:g}_epochs"
    return "-".join(each for each in (start, what, *how, part, digest) if each)


def _as_begun(folder: RunFolder, config: Config) -> Config:
    """Return the settings with the places that a training begun before has in its own.

    Its run may have been moved since. Before the first checkpoint it still needs the
    encoder, so there the new place is written down instead.
    """
    if not folder.config.exists():
        return config
    if not saved_steps(folder.checkpoints):
        with folder.refusing("make it writable"):
            files.write_atomically(folder.config, to_json(config))
        return config
    saved = folder.load_config()
    model = replace(config.model, init_from=saved.model.init_from)
    return replace(config, model=model, data=saved.data)
