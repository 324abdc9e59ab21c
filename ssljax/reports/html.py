"""The report as one self-contained HTML page, from a Jinja2 template."""

import base64
import functools
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
import markupsafe

from ssljax.reports.scores import tables
from ssljax.reports.summary import launch_name, launch_pairs
from ssljax.runs.environment import Environment
from ssljax.runs.files import write_atomically
from ssljax.runs.records import DataRecord, Evaluation


@dataclass(frozen=True)
class Figure:
    """A section with one picture, or with a sentence that says why there is none."""

    heading: str
    caption: str
    png: bytes | None
    table: Sequence[Sequence[str]] = ()
    """Below the picture, the first row being the header."""
    details: Sequence[str] = ()
    """Sentences below the table, folded away."""


def write_html(
    path: str | os.PathLike[str],
    *,
    title: str,
    summary: Sequence[tuple[str, Any]],
    figures: Sequence[Figure],
    evaluation: Evaluation,
    settings: Mapping[str, Any],
    environment: Environment,
    data: DataRecord,
    notes: Sequence[str],
    evaluation_note: str = "",
) -> None:
    """Write one page that needs no other file, no network and no script.

    The file appears whole or not at all.

    Args:
        path: the page, normally ``report.html``.
        title: heading of the page.
        summary: what the run is, name and value in reading order.
        figures: the figure sections, in order.
        evaluation: the table of results, see `ssljax.reports.scores`.
        settings: the run's configuration by dotted keys.
        environment: the launches.
        data: the training images.
        notes: alarms and warnings, one sentence or more each.
        evaluation_note: a sentence below the evaluation, or in its place; text in
            backticks is shown as code.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = pathlib.Path(folder, "report.html")
    ...     write_html(page, title="a < b", summary=[], figures=[],
    ...                evaluation=Evaluation(), settings={}, environment=Environment(),
    ...                data=DataRecord(), notes=[])
    ...     "<h1>a &lt; b</h1>" in page.read_text()
    True
    """
    launches = [
        (launch_name(number, launch), launch_pairs(launch))
        for number, launch in enumerate(environment.launches, start=1)
    ]
    known = {k: v for k, v in data.as_object().items() if v not in (None, "")}
    render(
        path,
        "page.html.jinja",
        title=title,
        headings=[
            "What this run is",
            "Evaluation",
            "Alarms and warnings",
            *(figure.heading for figure in figures),
            "Configuration",
            "Environment",
        ],
        summary=summary,
        tables=tables(evaluation),
        evaluation_note=evaluation_note,
        notes=notes,
        figures=figures,
        settings=settings,
        launches=launches,
        data=known,
    )


def render(path: str | os.PathLike[str], template: str, **values: Any) -> None:
    """Write a page from a template beside this file, whole or not at all.

    Args:
        path: the page.
        template: name of the template.
        values: what it shows; text is escaped.
    """
    css = markupsafe.Markup(_resource("page.css"))
    page = _templates().get_template(template).render(css=css, **values)
    # A lone surrogate (an odd file name) has no UTF-8; it must not stop the report.
    write_atomically(path, page.lstrip().encode("utf-8", "backslashreplace"))


def flatten_values(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as dotted keys.

    >>> flatten_values({"data": {"name": "shapes"}, "seed": 0})
    {'data.name': 'shapes', 'seed': 0}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten_values(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


@functools.cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # A misspelt name must not become an empty cell.
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "base64": lambda data: base64.b64encode(data).decode("ascii"),
        "code_spans": _code_spans,
        "shown": _shown,
        "slug": lambda text: re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-"),
    }
    return environment


def _resource(name: str) -> str:
    """Read a file that is beside this one, also from an installed package."""
    return (
        resources.files(__name__.rpartition(".")[0]).joinpath(name).read_text("utf-8")
    )


def _code_spans(sentence: str) -> markupsafe.Markup:
    """Mark up what stands between backticks as code; all else is escaped first."""
    escaped = str(markupsafe.escape(sentence))
    return markupsafe.Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped))


def _shown(value: Any) -> str:
    """Return any value as text; None is a dash, containers are JSON."""
    if value is None:
        return "–"
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
