"""What a run is, in a few lines, from the files it left."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ssljax.reports.html import flatten_values
from ssljax.reports.style import number, series

_VERSIONS = ("ssljax", "python", "jax", "jaxlib", "flax", "optax", "numpy")
_UNKNOWN = "not recorded"


def run_title(workdir: Path, config: Mapping[str, Any]) -> str:
    """Method, data and folder as one line.

    >>> run_title(Path("runs/a"), {"method": {"name": "vicreg"}})
    'vicreg (a)'
    """
    flat = flatten_values(config)
    method, data = (_first(flat, f"{part}.name", part) for part in ("method", "data"))
    name = Path(workdir).absolute().name
    words = [str(method or "Self-supervised run")]
    words += [f"on {data}"] if data else []
    return " ".join([*words, f"({name})"])


def run_summary(
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    data: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
) -> list[tuple[str, str]]:
    """Name and value of what someone needs to repeat the run.

    Args:
        config: contents of ``config.json``, nested or flat.
        environment: contents of ``environment.json``: command, commit, devices and
            versions, under any parent.
        data: contents of ``data.json``, or empty.
        records: the metrics.

    Returns:
        Pairs in reading order; what no file tells is ``not recorded``.

    >>> dict(run_summary({"seed": 3}, {}, {}, []))["Seed"]
    '3'
    """
    flat, around = flatten_values(config), flatten_values(environment)
    command = _first(around, "command", "argv")
    if isinstance(command, list):
        command = shlex.join(str(word) for word in command)
    options = {
        key.removeprefix("method.options."): value
        for key, value in flat.items()
        if key.startswith("method.options.")
    }
    method = _first(flat, "method.name", "method")
    return [
        ("Command", _shown(command)),
        ("Method", _shown(method) + _in_brackets(options)),
        (
            "Data",
            _shown(_first(flat, "data.name", "data")) + _in_brackets(_plain(data)),
        ),
        ("Encoder", _encoder(flat)),
        ("Epochs", _epochs(flat, records)),
        ("Monitor", _monitor(records)),
        ("Batch size", _shown(_first(flat, "batch_size"))),
        ("Seed", _shown(_first(flat, "seed"))),
        ("Commit", _shown(_first(around, "commit", "git_commit", "git"))),
        ("Device", _device(around)),
        ("Versions", _versions(around)),
    ]


def _first(flat: Mapping[str, Any], *keys: str) -> Any:
    """Value of the first key present, whole or as the end of a dotted key."""
    for key in keys:
        if flat.get(key) is not None:
            return flat[key]
    for key in keys:
        for name, value in flat.items():
            if name.endswith(f".{key}") and value is not None:
                return value
    return None


def _encoder(flat: Mapping[str, Any]) -> str:
    arch = _first(flat, "model.arch", "encoder", "model")
    details = {
        k: flat[f"model.{k}"]
        for k in ("width", "stem", "dtype")
        if f"model.{k}" in flat
    }
    return _shown(arch) + _in_brackets(details)


def _epochs(flat: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> str:
    planned = _first(flat, "epochs")
    text = _UNKNOWN if planned is None else f"{_shown(planned)} planned"
    steps = [s for s in (number(r.get("step")) for r in records) if s is not None]
    if not steps:
        return f"{text}; no step was logged"
    text += f"; last logged step {max(steps):.0f}"
    _, epochs = series(records, "epoch")
    return text + (f" (epoch {epochs[-1]:.4g})" if len(epochs) else "")


def _monitor(records: Sequence[Mapping[str, Any]]) -> str:
    """What the spectrum panel and the kNN monitor cost."""
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


def _device(around: Mapping[str, Any]) -> str:
    device = _first(
        around,
        "device",
        "devices",
        "device_kind",
        "devices.kind",
        "backend",
        "platform",
    )
    if isinstance(device, list):
        kinds = [str(d) for d in device]
        device = ", ".join(f"{kinds.count(k)} x {k}" for k in dict.fromkeys(kinds))
    count = _first(around, "device_count", "devices.count")
    return _shown(device) + (f" x {count}" if count is not None else "")


def _versions(around: Mapping[str, Any]) -> str:
    found = [(name, _first(around, f"versions.{name}", name)) for name in _VERSIONS]
    return ", ".join(f"{name} {value}" for name, value in found if value) or _UNKNOWN


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    kinds = (str, int, float)
    return {k: v for k, v in values.items() if isinstance(v, kinds) and k != "name"}


def _in_brackets(values: Mapping[str, Any]) -> str:
    text = ", ".join(f"{key} {_shown(value)}" for key, value in values.items())
    return f" ({text})" if text else ""


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return _UNKNOWN if value is None else str(value)
