"""Write configs as JSON or flat tables, and compare them before a run is resumed."""

import dataclasses
import json
import typing
from dataclasses import replace
from typing import Any

from ssljax.config.checks import ConfigError, nearest
from ssljax.config.schema import Config

# Settings that do not change the trajectory may differ when a run is resumed.
RESUMABLE = (
    "log.",
    "checkpoint.",
    # Not the images and eigenvalues of the panels, which a run compares.
    "monitor.every_epochs",
    "monitor.knn",
    "monitor.collapse",
    "data.workers",
    "data.data_dir",
    # All of devices except the microbatch, which changes BatchNorm's statistics.
    "devices.count",
    "devices.engine",
    "devices.distributed",
    "devices.compilation_cache",
    "devices.coordinator",
    "devices.process",
    "devices.timeout",
)

# What runs did before a setting existed, where today's default may differ.
_BEFORE = {"data": {"crop": "stored"}}


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Return the values of a config by dotted key, options included.

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
    """Write the config as indented JSON; `from_json` is the inverse."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(text: str) -> Config:
    """Read a config from the JSON of `to_json`, also of an earlier version.

    Raises:
        ConfigError: for an unknown key, or a value that is not allowed.

    >>> from_json(to_json(Config(seed=3))).seed
    3
    """
    values = json.loads(text)
    for section, settings in _BEFORE.items():
        if section in values:
            values[section] = settings | values[section]
    return _build(Config, values, "")


def continued(saved: Config, wanted: Config) -> Config:
    """Return ``wanted`` with what it leaves open decided as in ``saved``.

    A run that cropped stored images keeps them, whatever "auto" means today.

    >>> from ssljax.config import DataConfig
    >>> continued(Config(data=DataConfig(crop="stored")), Config()).data.crop
    'stored'
    """
    if (wanted.data.crop, saved.data.crop) != ("auto", "stored"):
        return wanted
    return replace(wanted, data=replace(wanted.data, crop="stored"))


def differences(saved: Config, wanted: Config) -> list[str]:
    """List the differences that prevent resuming `saved` with `wanted`.

    Returns:
        Lines such as ``seed: 0 -> 5``, sorted by key; empty if the run may resume.
    """
    a, b = flatten(saved), flatten(wanted)
    return [
        f"{key}: {a.get(key)!r} -> {b.get(key)!r}"
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key) and not key.startswith(RESUMABLE)
    ]


def _build(cls: type, values: dict[str, Any], prefix: str) -> Any:
    # The sections are dataclasses themselves, and check their values when built.
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
