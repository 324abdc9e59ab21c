"""Files of a run folder, read so that a damaged one costs no more than itself."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax.reports.style import number


def read_records(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    """Objects of a JSON-lines file; NaN and Infinity are numbers.

    A last line that broke off, as a killed run leaves it, is ignored; any other line
    that is no JSON object is left out and counted in ``notes``.
    """
    lines = path.read_text("utf-8", errors="replace").split("\n")
    records, damaged = [], 0
    for i, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if isinstance(record, dict):
            records.append(record)
        else:
            damaged += i < len(lines) - 1
    if damaged:
        notes.append(f"{path.name}: {damaged} damaged line(s) were left out.")
    return records


def read_object(path: Path, notes: list[str]) -> dict[str, Any]:
    """The JSON object in a file, empty if there is none; damage goes to ``notes``."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        notes.append(f"{path.name} could not be read and was ignored: {error}")
        return {}
    if isinstance(value, dict):
        return value
    notes.append(f"{path.name} is not a JSON object and was ignored.")
    return {}


def read_alarms(
    path: Path, records: Sequence[Mapping[str, Any]], notes: list[str]
) -> list[dict[str, Any]]:
    """Alarms of ``path`` and of the metrics as records for the figure.

    Each is told in ``notes`` with its advice, once for a step and kind.
    """
    told = read_records(path, notes) if path.is_file() else []
    told += [{**r, "kind": r["alarm"]} for r in records if r.get("alarm")]
    found: dict[tuple[Any, str], dict[str, Any]] = {}
    for alarm in told:
        kind = str(alarm.get("kind", "unnamed"))
        step = number(alarm.get("step"))
        step = step if step is not None and math.isfinite(step) else None
        if (step, kind) not in found:
            found[step, kind] = {"step": step, "alarm": kind}
            at = "Alarm" if step is None else f"Step {step:.0f}"
            text = str(alarm.get("message") or "").rstrip(". ")
            if alarm.get("advice"):
                text = f"{text}. Advice: {alarm['advice']}".lstrip(". ").rstrip(". ")
            notes.append(f"{at}, {kind}: {text}." if text else f"{at}: {kind}.")
    return list(found.values())


def read_skipped_files(path: Path, notes: list[str]) -> None:
    """Tell in ``notes`` how many files were skipped, and the first five."""
    if not path.is_file():
        return
    names = path.read_text("utf-8", errors="replace").split("\n")
    names = [name.strip() for name in names if name.strip()]
    if names:
        some = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
        notes.append(f"{len(names)} file(s) could not be used as images: {some}")
