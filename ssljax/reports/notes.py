"""Alarms and skipped files of a run, as sentences for the page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ssljax.reports.style import number
from ssljax.runs.records import Alarm, SkippedFile


def alarms_of(
    alarms: Sequence[Alarm], records: Sequence[Mapping[str, Any]]
) -> list[Alarm]:
    """Collect alarms, each step and kind once.

    Args:
        alarms: of ``alarms.jsonl``.
        records: metrics, of which some may carry an ``"alarm"``.

    Returns:
        Alarms in order; the step is None where it is not a finite number.
    """
    found: dict[tuple[float | None, str], Alarm] = {}
    in_records = [{**r, "kind": r["alarm"]} for r in records if r.get("alarm")]
    for alarm in [*alarms, *map(Alarm.from_object, in_records)]:
        step, kind = number(alarm.step), alarm.kind or "unnamed"
        step = step if step is not None and math.isfinite(step) else None
        found.setdefault((step, kind), Alarm(step, kind, alarm.message, alarm.advice))
    return list(found.values())


def alarm_note(alarm: Alarm) -> str:
    """Say what was seen, when, and what to do.

    >>> alarm_note(Alarm(400, "low rank", "rank 9 of 128.", "raise the weight"))
    'Step 400, low rank: rank 9 of 128. Advice: raise the weight.'
    """
    at = "Alarm" if alarm.step is None else f"Step {alarm.step:.0f}"
    text = (alarm.message or "").rstrip(". ")
    if alarm.advice:
        text = f"{text}. Advice: {alarm.advice}".lstrip(". ").rstrip(". ")
    return f"{at}, {alarm.kind}: {text}." if text else f"{at}: {alarm.kind}."


def skipped_note(skipped: Sequence[SkippedFile]) -> str:
    """Say how many files were skipped, and name the first five.

    >>> skipped_note([SkippedFile("a.png", "not an image")])
    '1 file(s) could not be used as images: a.png (not an image)'
    """
    some = [f"{s.name} ({s.reason})" if s.reason else s.name for s in skipped[:5]]
    more = ", ..." if len(skipped) > 5 else ""
    return (
        f"{len(skipped)} file(s) could not be used as images: {', '.join(some)}{more}"
    )
