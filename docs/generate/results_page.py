"""The page of results, from the files in ``experiments/results``.

A folder with ``config.json`` is a run folder. Any other JSON file is the record of a
script: ``made`` (a `ssljax.runs.environment.Launch`, or a sentence), ``configs`` (the
settings of the recipes that its rows name, as they were then) and tables. A record of
`ssljax bench` has ``environment`` and ``config`` in their place.
"""

import ast
import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from changes import changed_settings, nested, today_name
from tables import table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "experiments" / "results"
MARK = "recipe has changed since"
_HEAD = f"""\
<!-- Written by `python docs/generate/write_pages.py` from experiments/results/. -->

# Results

Every figure here is read from a file in `experiments/results/`, which also says how it
came about: command, commit, device, versions and date. A figure whose recipe has other
settings today is marked "{MARK}", with the settings that changed.
A test keeps these marks up to date. The checks of the theories have
[a page of their own](figures/checklist.md).
"""
_UNDER = """\
kNN and linear probe are of the frozen encoder, on the whole test set. The kNN of the
monitor is the last one during training, on the images that the config names. images/s
is the median of the log."""
_LONG = 12
"""Tables with more rows are folded."""

# The columns of records whose rows are deeper than a table; of others, all numbers and
# words of a row.
_COLUMNS = {
    "accelerator_step": (
        ("recipe", "recipe"),
        ("device", "device"),
        ("images per device", "batch_per_device"),
        ("GFLOP", "total.flops", 1e-9),
        ("GB moved", "total.bytes", 1e-9),
        ("ms at the device's peak", "total.seconds_at_peak", 1e3),
        ("GB of temporaries", "memory.temporary", 1e-9),
    ),
    "many_devices": (
        ("recipe", "recipe"),
        ("loss", "loss"),
        ("N", "n"),
        ("compiler", "compiler"),
        ("devices", "devices"),
        ("images per device", "batch_per_device"),
        ("GFLOP", "flops", 1e-9),
        ("GB of temporaries", "temporary", 1e-9),
        ("MB all-reduced", "collectives.all-reduce.bytes", 1e-6),
        ("MB all-gathered", "collectives.all-gather.bytes", 1e-6),
    ),
}


def page(results: Path = RESULTS) -> str:
    """Return the page of a folder of results."""
    # The runs of theory_fit/, which theory.md draws, have no accuracy to report.
    folders = sorted(path.parent for path in results.rglob("metrics.csv"))
    records = sorted(results.glob("*.json"))
    parts = [_HEAD, "## Trained recipes", ""]
    parts += _trained(folders, results)
    parts += ["## Measurements and counts", ""]
    for path in records:
        parts += _measured(path, json.loads(path.read_text("utf-8")))
    return "\n".join(parts).rstrip() + "\n"


def _trained(folders: list[Path], results: Path) -> list[str]:
    heads = (
        "recipe",
        "recipe today",
        "epochs",
        "kNN k=200 %",
        "linear probe %",
        "untrained, linear %",
        "kNN of the monitor %",
        "images/s",
        "device",
    )
    rows, stamps = [], []
    for folder in folders:
        launches = _json(folder / "environment.json")["launches"]
        config = _json(folder / "config.json")
        recipe = today_name(launches[0]["command"][2])
        changed = changed_settings(config, recipe)
        found = scores(folder)
        log = _logged(folder)
        rows.append(
            (
                f"`{recipe}`",
                MARK if changed else "the same",
                f"{float(log[-1]['epoch']):g} of {config['epochs']:g}",
                found.get(("encoder", "knn k=200"), "-"),
                found.get(("encoder", "linear"), "-"),
                found.get(("untrained network", "linear"), "-"),
                _last(log, "knn_accuracy"),
                _speed(log),
                launches[-1]["device"],
            )
        )
        made = stamp(launches[-1], "commit in the notes")
        stamps += [f"`{recipe}`: {made}", *_changes(changed), ""]
    lines = [table(heads, rows), "", _UNDER, ""]
    for path in sorted({folder.parent for folder in folders}):
        notes = path.with_suffix(".md")
        if notes.is_file():
            lines += [f"Notes, with settings and spectra: {_link(notes, results)}.", ""]
    return lines + stamps


def scores(folder: Path) -> dict[tuple[str, str], str]:
    """Return a run's accuracies in percent, with one decimal.

    Args:
        folder: with ``evaluation.json``, or without.

    Returns:
        By representation and the start of the protocol's name: "knn k=200", "linear".
    """
    path = folder / "evaluation.json"
    if not path.is_file():
        return {}
    return {
        (row["representation"], row["protocol"].partition(" (")[0]): (
            f"{row['accuracy']:.1f}"
        )
        for row in _json(path)["rows"]
    }


def _measured(path: Path, record: Mapping[str, Any]) -> list[str]:
    made, configs = _origin(record)
    lines = [f"### {path.stem}", ""]
    lines += [f"{_title(made)} File: {_link(path, path.parent)}{_discussed(path)}.", ""]
    lines += [made if isinstance(made, str) else stamp(made), ""]
    for recipe, config in configs.items():
        changed = changed_settings(config, recipe)
        name = today_name(recipe)
        text = f"{MARK}:" if changed else "recipe is the same today."
        lines += [f"`{name}`: {text}", *_changes(changed, heading=False), ""]
    for name, value in record.items():
        if name in ("made", "configs", "environment", "config"):
            continue
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [_rows(path.stem, value), ""]
        elif isinstance(value, dict) and all(map(_is_scalar, value.values())):
            cells = [(key, _cell(each)) for key, each in value.items()]
            lines += [table((name.replace("_", " "), ""), cells), ""]
        elif _is_scalar(value):
            lines += [f"{name.replace('_', ' ')}: {_cell(value)}", ""]
        elif isinstance(value, list) and value:
            lines += [f"{name.replace('_', ' ')}: {', '.join(map(str, value))}", ""]
    return lines


def _origin(record: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the stamp of a record, and the settings of its recipes."""
    if "environment" not in record:
        return record.get("made", ""), record.get("configs", {})
    stamp = record["environment"]
    return stamp, {stamp["command"][2]: nested(record["config"])}


def _rows(stem: str, rows: list[dict[str, Any]]) -> str:
    known = next((c for start, c in _COLUMNS.items() if stem.startswith(start)), None)
    if known is None:
        keys = list(dict.fromkeys(key for row in rows for key in row))
        known = [
            (key.replace("_", " "), key)
            for key in keys
            if all(_is_scalar(row.get(key)) for row in rows)
        ]
    shown = [
        (head, key, *scale)
        for head, key, *scale in known
        if any(_at(row, key) is not None for row in rows)
    ]
    cells = [[_cell(_at(row, key), *scale) for _, key, *scale in shown] for row in rows]
    text = table([head for head, *_ in shown], cells)
    if len(rows) <= _LONG:
        return text
    # Markdown inside needs the attribute in the site, and the empty lines elsewhere.
    summary = f"<summary>{len(rows)} rows</summary>"
    return f'<details markdown="1">\n{summary}\n\n{text}\n\n</details>'


def _title(made: Any) -> str:
    """Return the first line of the docstring of the script that a stamp names."""
    command = made.get("command", ()) if isinstance(made, Mapping) else ()
    for word in command:
        script = ROOT / word
        if word.endswith(".py") and script.is_file():
            text = ast.get_docstring(ast.parse(script.read_text("utf-8"))) or ""
            return text.splitlines()[0]
    if "bench" in command:
        return "Time, memory and work of a recipe's step, by `ssljax bench`."
    return "Counts of compiled programs, and times of a host."


def _discussed(path: Path) -> str:
    """Return links to the pages that name a file."""
    pages = [
        page.name
        for page in sorted((ROOT / "docs").glob("*.md"))
        if page.name != "results.md" and path.name in page.read_text("utf-8")
    ]
    links = ", ".join(f"[{name}]({name})" for name in pages)
    return f"; discussed in {links}" if links else ""


def stamp(made: Mapping[str, Any], no_commit: str = "commit not recorded") -> str:
    """Return command, commit, device, versions and date of a launch as a line."""
    command = " ".join(made["command"])
    commit = made.get("commit")
    where = no_commit
    if commit:
        where = f"commit {commit[:7]}"
        where += " with local changes" if commit.endswith("-dirty") else ""
    versions = made.get("versions", {})
    shown = [f"{p} {versions[p]}" for p in ("jax", "flax", "optax") if versions.get(p)]
    device = "CPU" if made["device"] == "cpu" else made["device"]
    return (
        f"`{_without_paths(command)}`; {where}; {device} x {made['device_count']}; "
        f"Python {made['python']}, {', '.join(shown)}; {made['started'][:10]}."
    )


def _without_paths(command: str) -> str:
    """Return a command with folders outside of the checkout reduced to their names.

    >>> _without_paths("ssljax pretrain a --workdir /tmp/runs/a")
    'ssljax pretrain a --workdir a'
    """
    return re.sub(r"(?<=\s)/\S*/", "", command)


def _changes(changed: list[str], *, heading: bool = True) -> list[str]:
    lines = []
    for line in changed:
        key, _, values = line.partition(": ")
        then, _, now = values.partition(" -> ")
        lines.append(f"- `{key}` was `{then}`, is now `{now}`")
    return ["", *([f"{MARK.capitalize()}:", ""] if heading else []), *lines] * bool(
        lines
    )


def _logged(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _last(log: list[dict[str, str]], key: str) -> str:
    values = [row[key] for row in log if row.get(key)]
    return f"{float(values[-1]):.1f}" if values else "-"


def _speed(log: list[dict[str, str]]) -> str:
    values = sorted(
        float(r["images_per_second"]) for r in log if r["images_per_second"]
    )
    return f"{values[len(values) // 2]:,.0f}" if values else "-"


def _link(path: Path, results: Path) -> str:
    name = path.relative_to(results).as_posix()
    return f"[{name}](../experiments/results/{name})"


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


def _is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, int | float | str)


def _at(row: Mapping[str, Any], key: str) -> Any:
    for name in key.split("."):
        row = row.get(name, {}) if isinstance(row, Mapping) else {}
    return None if isinstance(row, Mapping) else row


def _cell(value: Any, scale: float = 1) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        # A whole commit would take the place of the numbers.
        return value[:7] if re.fullmatch(r"[0-9a-f]{40}", value) else value
    value = value * scale
    if isinstance(value, int) or (value == int(value) and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.1f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
