"""Evaluate a run folder by the protocols asked for, and record the table."""

import datetime
import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ssljax.config.checks import ConfigError
from ssljax.data import Source
from ssljax.evaluation import format_table
from ssljax.evaluation.records_table import Table
from ssljax.evaluation.table import MAJORITY
from ssljax.evaluation.table import PROTOCOLS as FROZEN
from ssljax.protocols import frozen
from ssljax.protocols.asked import Asked
from ssljax.protocols.images import (
    check_channels,
    evaluation_images,
    name_of,
    variant_of,
    with_data,
)
from ssljax.protocols.settings import WITHOUT_LABELS, Settings
from ssljax.runs.encoder import restore, step_of
from ssljax.runs.folder import RunFolder
from ssljax.runs.programs import keep_programs
from ssljax.runs.records import EvaluatedData, Evaluation, EvaluationRow

_MODULES: dict[str, str] = {
    "scores": "ssljax.protocols.scores",
    "transfer": "ssljax.protocols.transfer",
    "online": "ssljax.protocols.online",
    "layers": "ssljax.protocols.layers",
    "linear_sgd": "ssljax.protocols.linear_sgd",
    "semi_supervised": "ssljax.protocols.semi_supervised",
    "finetune": "ssljax.protocols.finetune",
}
"""Protocols that do more than compare frozen features: the module of each, whose
function ``rows(asked)`` returns its rows. They run in this order: what may be refused,
such as a set that is not there, comes first."""


def evaluate(
    workdir: str | Path,
    *,
    protocols: Sequence[str] | None = None,
    train: Source | None = None,
    test: Source | None = None,
    checkpoint: int | Literal["best"] | None = None,
    data: str | None = None,
    examples: int | None = None,
    test_examples: int | None = None,
    **settings: Any,
) -> Table:
    """Evaluate the encoder of a run and record the table.

    Args:
        workdir: folder of a run.
        protocols: of `ssljax.protocols.settings.PROTOCOLS`; None takes `knn` and
            `linear`, or `spectrum` of images without labels.
        train: labelled images that classifiers are fitted on; None loads the config's.
        test: held-out images; None loads the config's.
        checkpoint: step of the checkpoint, or ``best`` for the one that
            ``checkpoint.best`` keeps; None takes the newest.
        data: another data set: a folder of images, or a name as for `data.name`.
        examples: fit the classifiers on this many images, drawn at random.
        test_examples: test on this many images, drawn at random.
        settings: of single protocols, see `ssljax.protocols.settings.Settings`.

    Returns:
        The table: text that a notebook shows as HTML, with ``records`` and, where
        pandas is installed, ``frame()``. ``evaluation.json`` has the same rows, or
        ``evaluation-WHAT.json`` for another checkpoint, data set or number of images.
        Features of images that are not in memory stay in the run's folder ``features``
        for the next evaluation.

    Raises:
        ConfigError: if there is no run, no checkpoint yet, a setting is not allowed,
            labels are missing for a protocol that was asked for, or the folder cannot
            be written. A table that could not be saved is printed
            first.
    """
    if protocols is not None:
        settings["protocol"] = list(protocols)
    chosen = Settings.of(settings)
    folder = RunFolder(workdir)
    keep_programs(folder.load_config().devices.compilation_cache)
    step = step_of(workdir, checkpoint)
    variant = variant_of(step, data, examples, test_examples)
    record = folder.evaluation_of(variant)
    folder.check_writable(record.name)
    damage: list[str] = []
    folder.load_evaluation(damage, variant)
    for note in damage:
        print(f"{note} This evaluation replaces it: {record}")
    run = restore(workdir, step=step)
    run = replace(run, config=with_data(run, data, examples, test_examples))
    train, test = evaluation_images(run, train, test)
    check_channels(run, train, test)
    if protocols is not None:
        _check_labels(protocols, train, test)
    rows = _rows(Asked(folder, run, train, test, chosen, examples, test_examples))
    new = Evaluation(
        step=run.step,
        data=EvaluatedData(train=name_of(train), test=name_of(test)),
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


def _rows(asked: Asked) -> list[dict[str, Any]]:
    """Return the rows of all protocols, in the order asked for."""
    names = list(dict.fromkeys(asked.settings.protocol))
    others = {
        name: importlib.import_module(module).rows(asked)
        for name, module in _MODULES.items()
        if name in names
    }
    rows = []
    if on_features := [name for name in names if name in FROZEN]:
        rows += frozen.rows(asked, on_features)
    for name in names:
        rows += others.get(name, [])
    return _once(rows)


def _once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out the majority class where several protocols have it on one split."""
    of_split = {row["split"]: row for row in rows if row["representation"] == MAJORITY}
    others = [row for row in rows if row["representation"] != MAJORITY]
    return [*others, *of_split.values()]


def _check_labels(protocols: Sequence[str], *sources: Source) -> None:
    """Refuse protocols that were asked for and need labels that are not there."""
    needing = [name for name in protocols if name not in WITHOUT_LABELS]
    for source in sources:
        if needing and not source.labelled:
            raise ConfigError(
                f"protocol {needing[0]} needs labels, but {source.name} "
                f"({source.split}) has none; use --protocol spectrum"
            )


def _other_protocols(old: Evaluation, new: Evaluation) -> list[EvaluationRow]:
    """Return the results of other protocols for the same step and images."""
    if (old.step, old.data) != (new.step, new.data):
        return []
    done = {(row.kind, row.split) for row in new.rows}
    return [
        row for row in old.rows if row.protocol and (row.kind, row.split) not in done
    ]
