"""A run folder in, `report.html` and its figures out."""

import functools
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssljax.reports import pictures, plots
from ssljax.reports.arrays import Contact, gather, store
from ssljax.reports.html import write_atomically, write_html
from ssljax.reports.runfiles import (
    read_alarms,
    read_object,
    read_records,
    read_skipped_files,
)
from ssljax.reports.style import NothingToDraw, to_png
from ssljax.reports.summary import run_summary, run_title

_MAKES_METRICS = "ssljax pretrain RECIPE --workdir {workdir}"
_MAKES_EVALUATION = "ssljax evaluate {workdir}"
_MAKES_ARRAYS = "ssljax report {workdir}"


def build_report(
    workdir: str | os.PathLike[str],
    *,
    contact: Contact | None = None,
    features: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    confusion: np.ndarray | None = None,
) -> Path:
    """Write ``report.html`` and ``report/*.png`` from what a run left behind.

    Read from the folder: ``metrics.jsonl``, and where they exist ``config.json``,
    ``environment.json``, ``evaluation.json``, ``data.json``, ``alarms.jsonl`` and
    ``skipped_files.txt``. Arrays passed here are kept in ``report/arrays.npz``; without
    them that file is used, so a report can be rebuilt when the data is gone.

    Args:
        workdir: the run folder.
        contact: originals uint8 ``[n, H, W, C]``, a list of views ``[n, h, w, C]``
            (uint8, or float in [0, 1]) and the column titles or None.
        features: test features ``[N, F]``, any float type.
        labels: their classes ``[N]``, negative where unknown.
        class_names: name of each class.
        confusion: counts ``[K, K]``; row = true class, column = prediction.

    Returns:
        Path of the page. A section without its input says why and which command
        makes it.

    Raises:
        FileNotFoundError: if there is no ``metrics.jsonl``; the message names the
            command that writes it.
        ValueError: if the arrays do not fit together.
    """
    workdir = Path(workdir)
    metrics = workdir / "metrics.jsonl"
    if not metrics.is_file():
        raise FileNotFoundError(
            f"{metrics} does not exist, so there is no run to report; "
            f"`{_command(_MAKES_METRICS, workdir)}` writes it"
        )
    folder = workdir / "report"
    folder.mkdir(exist_ok=True)
    notes: list[str] = []
    records = read_records(metrics, notes)
    alarms = read_alarms(workdir / "alarms.jsonl", records, notes)
    config = read_object(workdir / "config.json", notes)
    environment = read_object(workdir / "environment.json", notes)
    data = read_object(workdir / "data.json", notes)
    evaluation = read_object(workdir / "evaluation.json", notes)
    read_skipped_files(workdir / "skipped_files.txt", notes)
    arrays, left_out = gather(
        folder / "arrays.npz",
        contact=contact,
        features=features,
        labels=labels,
        class_names=class_names,
        confusion=confusion,
    )
    notes += left_out
    known = dict(arrays)
    if "class_names" not in known and isinstance(data.get("class_names"), list):
        known["class_names"] = np.array([str(name) for name in data["class_names"]])
    figures = [
        *_history(folder, records, alarms, workdir),
        *_pictures(folder, known, workdir),
    ]
    # Stored once they could be drawn: a wrong array must not spoil later reports.
    if any(x is not None for x in (contact, features, class_names, confusion)):
        store(folder / "arrays.npz", arrays)
    rows = [row for row in evaluation.get("rows") or () if isinstance(row, Mapping)]
    page = workdir / "report.html"
    write_html(
        page,
        title=run_title(workdir, config),
        summary=run_summary(config, environment, data, records),
        figures=figures,
        evaluation_rows=rows,
        config=config,
        environment=environment | ({"data": data} if data else {}),
        notes=notes,
        evaluation_note=_evaluation_note(evaluation, rows, workdir),
    )
    return page


def _history(
    folder: Path,
    records: list[dict[str, Any]],
    alarms: list[dict[str, Any]],
    workdir: Path,
) -> list[tuple[str, str, bytes | None]]:
    pretrain = _command(_MAKES_METRICS, workdir)
    no_panel = (
        "No spectrum was recorded: the monitor was off (monitor.every_epochs=0) or the "
        f"run ended before its first turn; `{pretrain} --monitor.every-epochs 1` "
        "records one each epoch."
    )
    both = [{**record, "alarm": None} for record in records] + alarms
    return [
        _section(
            folder / "curves.png",
            "Training curves",
            functools.partial(plots.curves, records),
            "Metrics as logged, not smoothed. A gap with a cross marks a value that "
            "was not finite.",
            f"metrics.jsonl holds no numbers yet; `{pretrain}` adds them as it trains.",
        ),
        _section(
            folder / "spectrum.png",
            "Spectrum",
            functools.partial(plots.spectrum, both),
            "How many dimensions the embedding uses, and how it spreads. A std near 0, "
            "a mean cosine near 1 or a participation ratio near 1 mean "
            "collapse; the centred ranks can stay high on noise alone. Vertical lines "
            "are alarms.",
            no_panel,
        ),
        _section(
            folder / "eigenvalues.png",
            "Eigenvalues",
            functools.partial(plots.eigenvalues, records),
            "Eigenvalues of the embedding covariance, dark for the largest. Lines that "
            "rise one after another are modes learned step by step.",
            no_panel,
        ),
    ]


def _pictures(
    folder: Path, arrays: Mapping[str, np.ndarray], workdir: Path
) -> list[tuple[str, str, bytes | None]]:
    views = [
        arrays[name]
        for name in sorted(arrays, key=_natural)
        if name.startswith("view_")
    ]
    names = arrays["class_names"].tolist() if "class_names" in arrays else None
    kept = "not passed, and report/arrays.npz does not hold them"
    again = f"`{_command(_MAKES_ARRAYS, workdir)}` makes them while the data is at hand"
    sheet = map_ = matrix = None
    if "originals" in arrays:
        titles = arrays["titles"].tolist() if "titles" in arrays else None
        sheet = functools.partial(
            pictures.contact_sheet, arrays["originals"], views, titles=titles
        )
    if "points" in arrays:
        map_ = functools.partial(
            pictures.feature_map,
            arrays["points"],
            arrays.get("labels"),
            names,
            explained=arrays.get("explained"),
        )
    if "confusion" in arrays:
        fits = names is not None and len(names) == len(arrays["confusion"])
        matrix = functools.partial(
            pictures.confusion, arrays["confusion"], names if fits else None
        )
    evaluate = _command(_MAKES_EVALUATION, workdir)
    return [
        _section(
            folder / "contact_sheet.png",
            "Contact sheet",
            sheet,
            "Images beside the views the network was trained on.",
            f"Images and views were {kept}; {again}.",
        ),
        _section(
            folder / "feature_map.png",
            "Map of the test features",
            map_,
            "First two principal components of the encoder's features: distances are "
            "a shadow of the full space, not a measure of accuracy.",
            f"Test features were {kept}; {again}.",
        ),
        _section(
            folder / "confusion.png",
            "Confusion matrix",
            matrix,
            "Percent of each true class, by row; the diagonal holds the right answers.",
            "No confusion matrix was passed or kept in report/arrays.npz; "
            f"`{evaluate}` classifies the test set.",
        ),
    ]


def _evaluation_note(
    evaluation: Mapping[str, Any], rows: Sequence[Any], workdir: Path
) -> str:
    if not rows:
        command = _command(_MAKES_EVALUATION, workdir)
        return f"evaluation.json holds no result; `{command}` makes it."
    plain = {k: v for k, v in evaluation.items() if isinstance(v, (str, int, float))}
    told = ", ".join(f"{key} {value}" for key, value in plain.items())
    return f"Recorded with these results: {told}." if told else ""


def _command(template: str, workdir: Path) -> str:
    return template.format(workdir=shlex.quote(str(workdir)))


def _natural(name: str) -> tuple[int, str]:
    # view_10 comes after view_9
    return len(name), name


def _section(
    path: Path,
    heading: str,
    make: Callable[[], Any] | None,
    caption: str,
    missing: str,
) -> tuple[str, str, bytes | None]:
    """Draw and store one figure, or say why there is none."""
    try:
        figure = make() if make is not None else None
    except NothingToDraw:
        figure = None
    if figure is None:
        # A picture of an earlier build would contradict the page.
        path.unlink(missing_ok=True)
        return heading, missing, None
    png = to_png(figure)
    write_atomically(path, png)
    return heading, caption, png
