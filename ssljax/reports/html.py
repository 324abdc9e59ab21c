"""The report as one self-contained HTML page."""

import base64
import html
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax.reports.style import number

Figure = tuple[str, str, bytes | None]

_CSS = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --soft: #57606a;
  --line: #d0d7de; --panel: #f6f8fa; --warn: #9a3b00; --warnbg: #fff4e5;
  --link: #1f4e79; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #14181d;
  --soft: #9aa4af; --line: #343b44; --panel: #1d232a; --warn: #ffc48a;
  --warnbg: #33261a; --link: #8bbcf0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif;
  overflow-wrap: break-word; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
nav a { color: var(--link); margin-right: .9rem; white-space: nowrap; }
table { border-collapse: collapse; font-size: .9rem; }
.wide { overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .3rem .7rem .3rem 0;
  border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.group th { padding-top: .9rem; color: var(--soft); }
table.pairs { width: 100%; table-layout: fixed; }
table.pairs th { width: 30%; font-weight: 600; }
table.pairs td { overflow-wrap: anywhere; white-space: pre-wrap; }
code { background: var(--panel); padding: .1rem .3rem; border-radius: 3px; }
figure { margin: .5rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff;
  border: 1px solid var(--line); border-radius: 4px; }
/* Small multiples shrunk to a phone could not be read: scroll them sideways. */
@media (max-width: 42rem) { figure img { max-width: max(100%, 42rem); } }
figcaption, p.missing, p.aside { color: var(--soft); font-size: .9rem; }
figcaption { margin-top: .4rem; }
ul.notes { list-style: none; padding: 0; }
ul.notes li { background: var(--warnbg); color: var(--warn); padding: .5rem .75rem;
  border-radius: 4px; margin: .4rem 0; }
summary { cursor: pointer; color: var(--link); margin-bottom: .4rem; }
@media print { nav { display: none; } body { max-width: none; } }
"""


def write_html(
    path: str | os.PathLike[str],
    *,
    title: str,
    summary: Sequence[tuple[str, Any]],
    figures: Sequence[Figure],
    evaluation_rows: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    notes: Sequence[str],
    evaluation_note: str = "",
) -> None:
    """Write one page that needs no other file, no network and no script.

    The file appears whole or not at all: it is written beside ``path`` and renamed.

    Args:
        path: the page, normally ``report.html``.
        title: heading of the page.
        summary: what the run is, name and value in reading order.
        figures: title, caption and PNG bytes of each figure section; None instead of
            the bytes leaves the caption, which then says why there is no figure.
        evaluation_rows: each ``"representation"``, ``"protocol"``, ``"split"``,
            ``"train_examples"``, ``"test_examples"``, ``"accuracy"`` (percent) and
            ``"detail"``; all but the first two may be absent. The best accuracy of a
            protocol and split is bold.
        config: the run's configuration, nested or flat.
        environment: versions, devices, command, nested or flat.
        notes: alarms and warnings, one sentence or more each.
        evaluation_note: a sentence under the evaluation table, or in its place.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = Path(folder, "report.html")
    ...     write_html(page, title="a < b", summary=[], figures=[], evaluation_rows=[],
    ...                config={}, environment={}, notes=[])
    ...     "<h1>a &lt; b</h1>" in page.read_text()
    True
    """
    sections = [
        ("What this run is", pairs_table(summary) or _missing("Nothing is known.")),
        ("Evaluation", evaluation_table(evaluation_rows, evaluation_note)),
        ("Alarms and warnings", _notes(notes)),
        *((heading, _figure(heading, text, png)) for heading, text, png in figures),
        ("Configuration", _folded("Every setting", config, "config.json is missing.")),
        (
            "Environment",
            _folded(
                "Versions, devices and data",
                environment,
                "environment.json is missing.",
            ),
        ),
    ]
    links = "\n".join(f'<a href="#{_slug(h)}">{_text(h)}</a>' for h, _ in sections)
    body = "\n".join(
        f'<section id="{_slug(h)}">\n<h2>{_text(h)}</h2>\n{content}\n</section>'
        for h, content in sections
    )
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_CSS}</style>\n</head>\n<body>\n"
        f"<h1>{_text(title)}</h1>\n<nav>\n{links}\n</nav>\n{body}\n</body>\n</html>\n"
    )
    write_atomically(path, page.encode())


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` beside ``path`` and rename, so no reader sees a half."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def pairs_table(pairs: Sequence[tuple[str, Any]]) -> str:
    """Names and values as an HTML table, empty for no pairs.

    >>> pairs_table([("seed", 0)])
    '<table class="pairs">\\n<tr><th scope="row">seed</th><td>0</td></tr>\\n</table>'
    """
    rows = [
        f'<tr><th scope="row">{_text(name)}</th><td>{_text(value)}</td></tr>'
        for name, value in pairs
    ]
    return "\n".join(['<table class="pairs">', *rows, "</table>"]) if rows else ""


def evaluation_table(rows: Sequence[Mapping[str, Any]], note: str = "") -> str:
    """Representations as rows, grouped by protocol; the best accuracy bold.

    Args:
        rows: as in :func:`write_html`.
        note: a sentence under the table, or in its place.

    Returns:
        HTML.

    >>> row = {"representation": "encoder", "protocol": "kNN", "accuracy": 81.25}
    >>> "<strong>81.25</strong>" in evaluation_table([row])
    True
    """
    if not rows:
        return _missing(note or "No evaluation was made.")
    best: dict[tuple[str, str], float] = {}
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(str(row.get("protocol", "")), []).append(row)
        accuracy = number(row.get("accuracy"))
        if accuracy is not None and math.isfinite(accuracy):
            best[_contest(row)] = max(accuracy, best.get(_contest(row), -math.inf))
    parts = [
        '<div class="wide">\n<table>\n<thead><tr><th scope="col">Representation</th>'
        '<th scope="col" class="number">Accuracy (%)</th>'
        '<th scope="col">Split</th><th scope="col" class="number">Train images</th>'
        '<th scope="col" class="number">Test images</th>'
        '<th scope="col">Detail</th></tr></thead>'
    ]
    for protocol, members in groups.items():
        parts.append(
            '<tbody>\n<tr class="group"><th colspan="6" scope="rowgroup">'
            f"{_text(protocol or 'protocol not recorded')}</th></tr>"
        )
        parts += [_evaluation_row(row, best.get(_contest(row))) for row in members]
        parts.append("</tbody>")
    parts.append("</table>\n</div>")
    parts.append(
        f'<p class="aside">Bold: best of its protocol and split. {_text(note)}</p>'
    )
    return "\n".join(parts)


def _contest(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row.get("protocol", "")), str(row.get("split", ""))


def _evaluation_row(row: Mapping[str, Any], best: float | None) -> str:
    accuracy = number(row.get("accuracy"))
    if accuracy is None:
        shown = "–"
    elif not math.isfinite(accuracy):
        shown = "not finite"
    else:
        shown = f"{accuracy:.2f}"
        shown = f"<strong>{shown}</strong>" if accuracy == best else shown
    counts = "".join(
        f'<td class="number">{_text(_count(row.get(key)))}</td>'
        for key in ("train_examples", "test_examples")
    )
    return (
        f"<tr><td>{_text(row.get('representation', '–'))}</td>"
        f'<td class="number">{shown}</td><td>{_text(row.get("split", "–"))}</td>'
        f"{counts}<td>{_text(row.get('detail', ''))}</td></tr>"
    )


def _count(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}".replace(",", "\N{NO-BREAK SPACE}")
    return "–" if value is None else str(value)


def _figure(title: str, caption: str, png: bytes | None) -> str:
    if png is None:
        return _missing(caption)
    data = base64.b64encode(png).decode("ascii")
    return (
        '<figure>\n<div class="wide">'
        f'<img alt="{_text(title)}" src="data:image/png;base64,{data}"></div>\n'
        f"<figcaption>{_text(caption)}</figcaption>\n</figure>"
    )


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return _missing("None were recorded.")
    items = "\n".join(f"<li>{_text(note)}</li>" for note in notes)
    return f'<ul class="notes">\n{items}\n</ul>'


def _folded(label: str, values: Mapping[str, Any], missing: str) -> str:
    if not values:
        return _missing(missing)
    table = pairs_table(list(flatten_values(values).items()))
    return f"<details>\n<summary>{_text(label)}</summary>\n{table}\n</details>"


def flatten_values(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as dotted keys.

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


def _missing(sentence: str) -> str:
    # Escaped first, so the only markup is what the backticks become.
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(sentence))
    return f'<p class="missing">{marked}</p>'


def _slug(heading: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def _text(value: Any) -> str:
    """Any value as escaped text; None is a dash, containers are JSON."""
    if value is None:
        return "–"
    if isinstance(value, (list, tuple, dict)):
        value = json.dumps(value, ensure_ascii=False, default=str)
    # A lone surrogate (an odd file name) has no UTF-8; it must not stop the report.
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return html.escape(text)
