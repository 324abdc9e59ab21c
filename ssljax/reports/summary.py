"""Describe a run in a few lines, from its typed records."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax.reports.style import number, series
from ssljax.runs.environment import Environment, Launch
from ssljax.runs.folder import RunFolder
from ssljax.runs.records import DataRecord

UNKNOWN = "not recorded"
_VERSIONS = ("ssljax", "jax", "jaxlib", "flax", "optax", "numpy")


def run_title(workdir: Path, settings: Mapping[str, Any]) -> str:
    """Return method, data and folder as one line.

    >>> run_title(Path("runs/a"), {"method.name": "vicreg", "data.name": "shapes"})
    'vicreg on shapes (a)'
    """
    words = [str(settings.get("method.name") or "Self-supervised run")]
    if settings.get("data.name"):
        words.append(f"on {settings['data.name']}")
    return " ".join([*words, f"({RunFolder(workdir).path.name})"])


def run_summary(
    settings: Mapping[str, Any],
    environment: Environment,
    data: DataRecord,
    records: Sequence[Mapping[str, Any]],
) -> list[tuple[str, str]]:
    """Return the names and values needed to repeat the run.

    Args:
        settings: the configuration by dotted keys.
        environment: the launches; the first one is shown.
        data: the training images.
        records: the metrics.

    Returns:
        Pairs in reading order; a value that no file holds is ``not recorded``.

    >>> dict(run_summary({"seed": 3}, Environment(), DataRecord(), []))["Seed"]
    '3'
    """
    launches = environment.launches
    first = launches[0] if launches else Launch()
    options = {
        key.removeprefix("method.options."): value
        for key, value in settings.items()
        if key.startswith("method.options.")
    }
    model = {
        name: settings[f"model.{name}"]
        for name in ("width", "stem", "dtype")
        if settings.get(f"model.{name}") is not None
    }
    rows = [
        ("Command", shlex.join(first.command) if first.command else UNKNOWN),
        ("Method", _shown(settings.get("method.name")) + _in_brackets(options)),
        ("Data", _data(settings, data)),
        ("Encoder", _shown(settings.get("model.arch")) + _in_brackets(model)),
        ("Epochs", _epochs(settings, records)),
        ("Batch size", _shown(settings.get("batch_size"))),
        ("Seed", _shown(settings.get("seed"))),
        ("Monitor", _monitor(records)),
        ("Commit", _shown(first.commit)),
        ("Device", _device(first)),
        ("Versions", _versions(first)),
        ("Started", _time(first.started)),
    ]
    if launches:
        rows.append(("Resumed", _resumed(launches)))
    return rows


def launch_name(number: int, launch: Launch) -> str:
    """Return a heading: ``Launch 2, 2026-11-28 05:53:41 UTC``."""
    return f"Launch {number}, {_time(launch.started)}"


def launch_pairs(launch: Launch) -> list[tuple[str, str]]:
    """Return all that is known of a launch, as names and values."""
    versions = {k: v for k, v in launch.versions.items() if v is not None}
    pairs = [
        ("Command", shlex.join(launch.command) if launch.command else UNKNOWN),
        ("Commit", _shown(launch.commit)),
        ("Device", _device(launch)),
        ("Processes", _shown(launch.process_count)),
        ("Platform", _shown(launch.platform)),
        ("Python", _shown(launch.python)),
        ("Versions", ", ".join(f"{k} {v}" for k, v in versions.items()) or UNKNOWN),
    ]
    if launch.changed:
        pairs.append(("Changed", "; ".join(launch.changed)))
    # Keys of a newer version are shown as they are.
    return pairs + [(key, _shown(value)) for key, value in launch.extra.items()]


def _data(settings: Mapping[str, Any], data: DataRecord) -> str:
    name = data.name or settings.get("data.name")
    if name is None:
        return UNKNOWN
    text = f"{name} ({data.split})" if data.split else str(name)
    parts = []
    if data.examples is not None:
        parts.append(f"{grouped(data.examples)} images")
    if data.image_shape is not None:
        parts.append("x".join(map(str, data.image_shape)))
    if data.num_classes is not None:
        parts.append(f"{data.num_classes} classes")
    elif data.complete:
        parts.append("no labels")
    if data.skipped:
        parts.append(f"{data.skipped} unreadable files")
    if data.note:
        parts.append(data.note)
    return ", ".join([text, *parts])


def _epochs(settings: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str:
    planned = settings.get("epochs")
    text = UNKNOWN if planned is None else f"{_shown(planned)} planned"
    steps = [s for s in (number(r.get("step")) for r in records) if s is not None]
    if not steps:
        return f"{text}; no step was logged"
    text += f"; last logged step {max(steps):.0f}"
    _, epochs = series(records, "epoch")
    return text + (f" (epoch {epochs[-1]:.4g})" if len(epochs) else "")


def _monitor(records: Sequence[Mapping[str, Any]]) -> str:
    """Say what the spectrum panel and the kNN monitor cost."""
    seconds = [
        s for s in (number(r.get("monitor_seconds")) for r in records) if s is not None
    ]
    if not seconds:
        return "off"
    # The first panel compiles.
    later = seconds[1:] or seconds
    return (
        f"{len(seconds)} panels took {sum(seconds):.3g} s in all, "
        f"{sum(later) / len(later):.2g} s each once compiled"
    )


def _device(launch: Launch) -> str:
    if launch.device is None:
        return UNKNOWN
    count = launch.device_count
    text = launch.device if count is None else f"{count} x {launch.device}"
    several = launch.process_count is not None and launch.process_count > 1
    return f"{text} in {launch.process_count} processes" if several else text


def _versions(launch: Launch) -> str:
    found = {name: launch.versions.get(name) for name in _VERSIONS}
    found["Python"] = launch.python
    return ", ".join(f"{k} {v}" for k, v in found.items() if v) or UNKNOWN


def _resumed(launches: Sequence[Launch]) -> str:
    """Say how often, and whether with other code or on another device."""
    later = launches[1:]
    if not later:
        return "never"
    times = "once" if len(later) == 1 else f"{len(later)} times"
    last = "" if later[-1].started is None else f", last {_time(later[-1].started)}"
    changed = [
        name
        for name, of in (("commit", lambda each: each.commit), ("device", _device))
        if len({of(each) for each in launches}) > 1
    ]
    if len({str(sorted(each.versions.items())) for each in launches}) > 1:
        changed.append("versions")
    return f"{times}{last}" + (f"; changed: {', '.join(changed)}" if changed else "")


def _time(iso: str | None) -> str:
    """Return ``2026-11-28 05:53:41 UTC`` of ``2026-11-28T05:53:41+00:00``."""
    if iso is None:
        return f"time {UNKNOWN}"
    return iso.replace("T", " ").replace("+00:00", " UTC")


def grouped(count: int) -> str:
    """Return a number with a no-break space between groups of thousands.

    >>> grouped(50000) == "50\\N{NO-BREAK SPACE}000"
    True
    """
    return f"{count:,}".replace(",", "\N{NO-BREAK SPACE}")


def _in_brackets(values: Mapping[str, Any]) -> str:
    text = ", ".join(f"{key} {_shown(value)}" for key, value in values.items())
    return f" ({text})" if text else ""


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return UNKNOWN if value is None else str(value)
