"""Write configs as JSON or flat tables, and read them back."""

import dataclasses
import json
import typing
from typing import Any

from ssljax.config.checks import ConfigError, nearest
from ssljax.config.schema import Config

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
