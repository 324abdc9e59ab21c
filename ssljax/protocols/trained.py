"""The rows of protocols that train: choose a learning rate, train, test once."""

import sys
from dataclasses import replace
from typing import Any

import numpy as np

from ssljax.config.checks import ConfigError
from ssljax.data.subsets import rows_of
from ssljax.evaluation.linear import HELD_OUT
from ssljax.protocols.asked import Asked
from ssljax.protocols.children import Task, train
from ssljax.protocols.classifier import accuracy
from ssljax.runs.loop import TrainingFailed


def rows_of_task(
    asked: Asked, task: Task, rows: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """Return the row of the encoder, and where asked for that of the untrained network.

    The test images are read once, by the network trained last; everything before is
    chosen on training images.

    Args:
        asked: the run and its images.
        task: what to train.
        rows: training images to use, int64 ``[n]``; None takes all.

    Raises:
        ConfigError: if a setting does not fit the images.
    """
    starts = {"encoder": task}
    if asked.settings.baseline:
        starts["untrained network"] = replace(task, untrained=True)
    return [_row(asked, name, each, rows) for name, each in starts.items()]


def _row(
    asked: Asked, representation: str, task: Task, rows: np.ndarray | None
) -> dict[str, Any]:
    rate, how = _choose(asked, task, rows)
    found = train(asked, task, rows, rate)
    share, tested = accuracy(found, asked.test)
    optimizer, what = found.config.optimizer, task.protocol
    if task.what:
        what += f" {task.what}"
    factor = optimizer.encoder_factor
    parts = (
        "random crops and flips",
        f"{optimizer.name.upper()} with momentum {optimizer.momentum:g}, cosine",
        f"batch {task.batch_size}",
        f"weight decay {optimizer.weight_decay:g}",
        f"learning rate {rate:g} ({how})",
        f"encoder's {factor * rate:g}" if factor != 1 else "",
    )
    return {
        "representation": representation,
        "protocol": f"{what} ({task.epochs:g} epoch{'s' if task.epochs != 1 else ''})",
        "split": asked.test.split,
        "seed": asked.seed,
        "train_examples": found.data.examples,
        "test_examples": tested,
        "accuracy": round(100 * share, 2),
        "detail": ", ".join(part for part in parts if part),
    }


def _choose(asked: Asked, task: Task, rows: np.ndarray | None) -> tuple[float, str]:
    """Return the learning rate that does best on held-out training images, and how."""
    if len(task.rates) == 1:
        return task.rates[0], "not searched"
    chosen = np.arange(asked.train.size) if rows is None else rows
    order = np.random.default_rng(asked.seed).permutation(len(chosen))
    count = max(1, round(HELD_OUT * len(chosen)))
    held, kept = (chosen[np.sort(each)] for each in (order[:count], order[count:]))
    shares: list[float] = []
    for rate in task.rates:
        try:
            found = train(asked, task, kept, rate, part="nine_tenths")
            shares.append(accuracy(found, rows_of(asked.train, held))[0])
        except TrainingFailed as failed:
            print(f"learning rate {rate:g} left out: {failed}", file=sys.stderr)
            shares.append(float("nan"))
    if np.isnan(shares).all():
        raise ConfigError(
            f"{task.protocol} failed at every learning rate of "
            f"{_list(task.rates)}; use smaller --learning-rates"
        )
    best = task.rates[int(np.nanargmax(shares))]
    return best, (
        f"best of {_list(task.rates)} on a held-out tenth of the training images"
    )


def _list(rates: tuple[float, ...]) -> str:
    return ", ".join(f"{rate:g}" for rate in rates)
