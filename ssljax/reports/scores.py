"""The evaluation as one table: representations as rows, protocols as columns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ssljax.evaluation.table import MAJORITY
from ssljax.reports.summary import grouped
from ssljax.runs.records import Evaluation, EvaluationRow

_Column = tuple[str, str]  # protocol and split

_OWN_TABLES = {
    "layers": "Every layer of the projector",
    "transfer": "Transfer to {split}",
    "scores": "Checkpoints, and scores without labels",
}
"""Protocols whose representations or splits would leave most of one table empty."""


@dataclass(frozen=True)
class Score:
    """One cell."""

    text: str
    best: bool = False
    """Whether no other row of the column is higher."""


@dataclass(frozen=True)
class Scores:
    """The table and what belongs below it."""

    columns: list[str]
    """Headings, the settings of the protocols left out."""
    rows: list[tuple[str, list[Score]]]
    caption: str
    details: list[tuple[str, list[str]]]
    """Protocols with their settings, and remarks on their numbers."""
    measures: list[tuple[str, str]]
    """Representations and what protocols without an accuracy measured."""


def tables(evaluation: Evaluation) -> list[tuple[str, Scores]]:
    """Arrange an evaluation as tables, each with its title; the first has none.

    Args:
        evaluation: as for `scores`.

    >>> row = EvaluationRow("encoder", "layers linear (L-BFGS)", "test", accuracy=81.25)
    >>> [title for title, _ in tables(Evaluation(rows=(row,)))]
    ['Every layer of the projector']
    """
    groups: dict[str, list[EvaluationRow]] = {"": []}
    for row in evaluation.rows:
        if row.representation != MAJORITY:
            title = _OWN_TABLES.get(row.kind, "").format(split=row.split)
            groups.setdefault(title, []).append(row)
    constant = [row for row in evaluation.rows if row.representation == MAJORITY]
    found = []
    for title, rows in groups.items():
        splits = {row.split for row in rows}
        mine = [row for row in constant if row.split in splits or len(groups) == 1]
        made = scores(replace(evaluation, rows=(*rows, *mine)))
        if made is not None:
            found.append((title, made))
    return found


def scores(evaluation: Evaluation) -> Scores | None:
    """Arrange the rows of an evaluation as a table.

    Args:
        evaluation: rows of any order; the majority class has one row, whose accuracy
            holds for every protocol on the same split.

    Returns:
        The table, None without rows.

    >>> row = EvaluationRow("encoder", "knn k=5 (cosine)", "test", accuracy=81.25)
    >>> scores(Evaluation(rows=(row,))).rows
    [('encoder', [Score(text='81.25', best=True)])]
    """
    rows = [row for row in evaluation.rows if row.representation]
    if not rows:
        return None
    with_accuracy = {_column(row) for row in rows if row.accuracy is not None}
    # A protocol that only ever measures, such as the spectrum, has no column.
    measured = [row for row in rows if row.detail and _column(row) not in with_accuracy]
    shown = [row for row in rows if row not in measured]
    constant = {row.split or "": row for row in shown if row.representation == MAJORITY}
    others = [row for row in shown if row.representation != MAJORITY]
    columns = list(dict.fromkeys(map(_column, others or shown)))
    table = {(row.representation, _column(row)): row for row in others}
    names = list(dict.fromkeys(row.representation for row in others))
    if constant:
        names.append(MAJORITY)
        for column in columns:
            if column[1] in constant:
                table[MAJORITY, column] = constant[column[1]]
    best = {
        column: max(
            (
                a
                for name in names
                if (a := _finite(table.get((name, column)))) is not None
            ),
            default=None,
        )
        for column in columns
    }
    return Scores(
        columns=_headings(columns),
        rows=[
            (
                str(name),
                [_score(table.get((name, column)), best[column]) for column in columns],
            )
            for name in names
        ],
        caption=_caption(evaluation, shown),
        details=_details(shown),
        measures=[(_what(row), str(row.detail)) for row in measured],
    )


def _column(row: EvaluationRow) -> _Column:
    return row.protocol or "protocol not recorded", row.split or ""


def _headings(columns: Sequence[_Column]) -> list[str]:
    several = len({split for _, split in columns}) > 1
    return [
        _without_settings(protocol) + (f", {split}" if several and split else "")
        for protocol, split in columns
    ]


def _without_settings(protocol: str) -> str:
    """Return ``knn k=5`` of ``knn k=5 (cosine, T=0.1)``."""
    return protocol.partition(" (")[0]


def _what(row: EvaluationRow) -> str:
    """Return what a row without an accuracy measured: ``encoder, projections``."""
    rest = _without_settings(row.protocol or "")
    if row.kind == "spectrum" or row.kind in _OWN_TABLES:
        rest = rest.removeprefix(row.kind).strip()
    return f"{row.representation}, {rest}" if rest else str(row.representation)


def _finite(row: EvaluationRow | None) -> float | None:
    accuracy = None if row is None else row.accuracy
    return accuracy if accuracy is not None and math.isfinite(accuracy) else None


def _score(row: EvaluationRow | None, best: float | None) -> Score:
    accuracy = None if row is None else row.accuracy
    if row is None or accuracy is None:
        return Score("–")
    if not math.isfinite(accuracy):
        return Score("not finite")
    spread = "" if row.interval is None else f" ± {row.interval:.2f}"
    return Score(f"{accuracy:.2f}{spread}", accuracy == best)


def _caption(evaluation: Evaluation, rows: Sequence[EvaluationRow]) -> str:
    sentences = []
    if rows:
        splits = {row.split for row in rows}
        tests = {row.test_examples for row in rows}
        trains = {row.train_examples for row in rows}
        text = "Accuracy in percent"
        if len(splits) == len(tests) == 1 and None not in splits | tests:
            text += f" on {grouped(tests.pop() or 0)} images ({splits.pop()})"
        if len(trains) == 1 and None not in trains:
            text += f", classifiers fitted on {grouped(trains.pop() or 0)} images"
        sentences += [text, "Bold: best of its column"]
        if any(row.interval is not None for row in rows):
            sentences.append("±: 95 % interval of the mean of several draws")
        seeds = {row.seed for row in rows}
        if len(seeds) == 1 and None not in seeds:
            sentences.append(f"Seed {seeds.pop()}")
    if evaluation.step is not None:
        text = f"Encoder of step {evaluation.step}"
        if evaluation.written:
            text += f", evaluated {evaluation.written.partition('T')[0]}"
        sentences.append(text)
    return "".join(f"{sentence}. " for sentence in sentences).rstrip()


def _details(rows: Sequence[EvaluationRow]) -> list[tuple[str, list[str]]]:
    """Return the protocols with their settings and details, equal ones merged."""
    found: dict[_Column, dict[str, list[str]]] = {}
    for row in rows:
        details = found.setdefault(_column(row), {})
        if row.detail:
            details.setdefault(row.detail, []).append(str(row.representation))
    groups: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (protocol, split), details in found.items():
        head, _, settings = protocol.partition(" (")
        lines = tuple(f"{', '.join(names)}: {text}" for text, names in details.items())
        groups.setdefault((settings, split, lines), []).append(head)
    several = len({split for _, split in found}) > 1
    return [
        (
            ", ".join(heads)
            + (f" ({settings}" if settings else "")
            + (f", {split}" if several and split else ""),
            list(lines),
        )
        for (settings, split, lines), heads in groups.items()
    ]
