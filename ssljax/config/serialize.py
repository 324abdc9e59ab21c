"""Configs as JSON and as flat tables, and which of them may go on with a run."""

import dataclasses
import json
import typing
from typing import Any

from ssljax.config import Config
from ssljax.config.checks import ConfigError, nearest

# Settings that do not change the trajectory may differ when a run goes on.
RESUMABLE = (
    "log.",
    "checkpoint.",
    "data.workers",
    "data.data_dir",
    # All of devices but the microbatch, which BatchNorm sees.
    "devices.count",
    "devices.engine",
    "devices.distributed",
    "devices.coordinator",
    "devices.process",
    "devices.timeout",
)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Dotted keys and plain values of a config, options included.

    >>> flatten(Config())["data.name"]
    'shapes'
    """
    flat: dict[str, Any] = {}
    items = config.items() if isinstance(config, dict) else vars(config).items()
    for name, value in items:
        if dataclasses.is_dataclass(value) or isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def to_json(config: Config) -> str:
    """The config as indented JSON; `from_json` is its inverse."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str) -> Config:
    """Read what `to_json` wrote.

    Raises:
        ConfigError: for a key that this version does not know.

    >>> from_json(to_json(Config(seed=3))).seed
    3
    """
    return _build(Config, json.loads(text), "")


def differences(saved: Config, wanted: Config) -> list[str]:
    """Keys that forbid `wanted` to go on where `saved` stopped, as `key: a -> b`."""
    a, b = flatten(saved), flatten(wanted)
    return [
        f"{key}: {a.get(key)!r} -> {b.get(key)!r}"
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key) and not key.startswith(RESUMABLE)
    ]


def _build(cls: type, values: dict[str, Any], prefix: str) -> Any:
    hints = typing.get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise ConfigError(f"unknown key {prefix + key!r}{nearest(key, hints)}")
    return cls(
        **{
            key: _build(hints[key], value, f"{prefix}{key}.")
            if dataclasses.is_dataclass(hints[key])
            else value
            for key, value in values.items()
        }
    )
