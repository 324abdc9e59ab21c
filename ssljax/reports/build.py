"""Build `report.html` and its figures from a run folder."""

import functools
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssljax.config.paths import as_path
from ssljax.reports import fonts, pictures, plots
from ssljax.reports.arrays import Contact, gather, store
from ssljax.reports.html import Figure, flatten_values, write_html
from ssljax.reports.notes import alarm_note, alarms_of, skipped_note
from ssljax.reports.style import NothingToDraw, to_png
from ssljax.reports.summary import run_summary, run_title
from ssljax.reports.theory_fit_section import theory_section
from ssljax.runs import files
from ssljax.runs.folder import RunFolder
from ssljax.runs.records import Alarm

_MAKES_METRICS = "ssljax pretrain RECIPE --workdir {workdir}"
_MAKES_EVALUATION = "ssljax evaluate {workdir}"
_MAKES_ARRAYS = "ssljax report {workdir}"
# No command can load images that were passed as arrays.
_IN_PYTHON = "`ssljax.{name}(workdir, train=..., test=...)` in Python"


def build_report(
    workdir: str | os.PathLike[str],
    *,
    contact: Contact | None = None,
    features: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    class_names: Sequence[str] | None = None,
    confusion: np.ndarray | None = None,
) -> Path:
    """Write ``report.html`` and ``report/*.png`` from the files of a run.

    Only ``metrics.jsonl`` must exist; the other files of the folder are used where
    they do. Arrays passed here are kept in ``report/arrays.npz``; without them that
    file is used, so a report can be rebuilt when the data is gone.

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
        creates it.

    Raises:
        FileNotFoundError: if there is no ``metrics.jsonl``; the message names the
            command that writes it.
        ValueError: if the arrays do not fit together.
    """
    # As it was given, since the page quotes commands with it.
    workdir = as_path(workdir)
    run = RunFolder(workdir)
    if not run.metrics.is_file():
        raise FileNotFoundError(
            f"{workdir / run.metrics.name} does not exist, so there is no run to "
            f"report; `{_command(_MAKES_METRICS, workdir)}` writes it"
        )
    pictures_folder = workdir / "report"
    pictures_folder.mkdir(exist_ok=True)
    # Every damaged file costs a note and nothing else.
    notes: list[str] = []
    records = run.load_metrics(notes)
    alarms = alarms_of(run.load_alarms(notes), records)
    notes += map(alarm_note, alarms)
    # Not as a `Config`: a setting of another version must not cost the others.
    settings = flatten_values(files.read_object(run.config, notes))
    environment = run.load_environment(notes)
    data = run.load_data(notes)
    damage: list[str] = []
    evaluation = run.load_evaluation(damage)
    notes += damage
    skipped = run.load_skipped()
    notes += [skipped_note(skipped)] if skipped else []
    arrays, left_out = gather(
        pictures_folder / "arrays.npz",
        contact=contact,
        features=features,
        labels=labels,
        class_names=class_names,
        confusion=confusion,
    )
    notes += left_out
    known = dict(arrays)
    if "class_names" not in known and data.class_names is not None:
        known["class_names"] = np.array(data.class_names)
    makes_arrays = f"`{_command(_MAKES_ARRAYS, workdir)}`"
    if settings.get("data.name") == "arrays":
        makes_arrays = _IN_PYTHON.format(name="report")
    figures = [
        *_history(pictures_folder, records, alarms, workdir),
        theory_section(run, pictures_folder / "theory_fit.png"),
        *_pictures(pictures_folder, known, makes_arrays),
    ]
    # Stored once they could be drawn: a wrong array must not spoil later reports.
    if any(x is not None for x in (contact, features, class_names, confusion)):
        store(pictures_folder / "arrays.npz", arrays)
    makes_evaluation = f"`{_command(_MAKES_EVALUATION, workdir)}`"
    if settings.get("data.name") == "arrays":
        makes_evaluation = _IN_PYTHON.format(name="evaluate")
    missing_results = f"There are no results yet; {makes_evaluation} evaluates the "
    missing_results += "encoder."
    if damage:
        missing_results = (
            "The results cannot be read, because evaluation.json is damaged; "
            f"{makes_evaluation} writes it again."
        )
    page = workdir / "report.html"
    write_html(
        page,
        title=run_title(workdir, settings),
        summary=run_summary(settings, environment, data, records),
        figures=figures,
        evaluation=evaluation,
        settings=settings,
        environment=environment,
        data=data,
        notes=notes,
        evaluation_note="" if evaluation.rows else missing_results,
    )
    return page


def _history(
    folder: Path,
    records: list[dict[str, Any]],
    alarms: list[Alarm],
    workdir: Path,
) -> list[Figure]:
    pretrain = _command(_MAKES_METRICS, workdir)
    no_panel = (
        "No spectrum was recorded: the monitor was off (monitor.every_epochs=0) or the "
        f"run ended before its first turn; `{pretrain} --monitor.every-epochs 1` "
        "records one each epoch."
    )
    # An alarm in a metrics record is among the alarms already.
    marked = [{**record, "alarm": None} for record in records]
    marked += [{"step": alarm.step, "alarm": alarm.kind} for alarm in alarms]
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
            functools.partial(plots.spectrum, marked),
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
    folder: Path, arrays: Mapping[str, np.ndarray], makes_arrays: str
) -> list[Figure]:
    views = [
        arrays[name]
        for name in sorted(arrays, key=_natural)
        if name.startswith("view_")
    ]
    names = arrays["class_names"].tolist() if "class_names" in arrays else None
    lost = "not passed, and report/arrays.npz does not hold them"
    again = f"{makes_arrays} creates them while the data is there"
    sheet = map_ = matrix = None
    matrix_names: list[str] | None = None
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
        if names is not None and len(names) == len(arrays["confusion"]):
            matrix_names = names
        matrix = functools.partial(
            pictures.confusion, arrays["confusion"], matrix_names
        )
    return [
        _section(
            folder / "contact_sheet.png",
            "Contact sheet",
            sheet,
            "Images beside the views the network was trained on.",
            f"Images and views were {lost}; {again}.",
        ),
        _section(
            folder / "feature_map.png",
            "Map of the test features",
            map_,
            "First two principal components of the encoder's features: distances are "
            "a shadow of the full space, not a measure of accuracy."
            + (_undrawn(names) if "labels" in arrays else ""),
            f"Test features were {lost}; {again}.",
        ),
        _section(
            folder / "confusion.png",
            "Confusion matrix",
            matrix,
            "Percent of each true class, by row; the diagonal holds the right answers."
            + _undrawn(matrix_names),
            "The confusion matrix was not passed, and report/arrays.npz does not hold "
            f"it; {again.replace('them', 'it')}.",
        ),
    ]


def _undrawn(names: Sequence[str] | None) -> str:
    """Name the classes shown by number because no font has their characters."""
    lost = [(i, name) for i, name in enumerate(names or ()) if not fonts.drawable(name)]
    # A figure of more classes names none of them.
    if not lost or len(names or ()) > pictures.MAX_NAMED:
        return ""
    listed = ", ".join(f"class {i} is {name}" for i, name in lost)
    return f" No font on this system can draw some of the names: {listed}."


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
) -> Figure:
    """Draw and store one figure, or say why there is none."""
    try:
        figure = make() if make is not None else None
    except NothingToDraw:
        figure = None
    if figure is None:
        # A picture of an earlier build would contradict the page.
        path.unlink(missing_ok=True)
        return Figure(heading, missing, None)
    png = to_png(figure)
    files.write_atomically(path, png)
    return Figure(heading, caption, png)
