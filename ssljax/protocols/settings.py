"""What a caller of `ssljax evaluate` can set for single protocols."""

from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self, get_args

from ssljax.config.checks import ConfigError

Protocol = Literal["knn", "knn_euclidean", "linear", "spectrum"]
PROTOCOLS: tuple[str, ...] = get_args(Protocol)
"""The names, in the order in which the help shows them."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The protocols to run, and their settings. The texts are those of ``--help``."""

    protocol: list[Protocol] = field(default_factory=lambda: ["knn", "linear"])
    """Protocols to run; without labels only `spectrum` is possible."""

    def __post_init__(self):
        if not self.protocol:
            raise ConfigError(f"--protocol names none; allowed: {', '.join(PROTOCOLS)}")
        for name in self.protocol:
            if name not in PROTOCOLS:
                raise ConfigError(
                    f"protocol {name!r} is unknown; allowed: {', '.join(PROTOCOLS)}"
                )

    @classmethod
    def of(cls, values: dict[str, Any]) -> Self:
        """Return the settings of keyword arguments.

        Raises:
            ConfigError: for a name that is not a setting.

        >>> Settings.of({"protocol": ["knn"]}).protocol
        ['knn']
        """
        known = [each.name for each in fields(cls)]
        for name in values:
            if name not in known:
                raise ConfigError(
                    f"evaluate has no setting {name!r}; allowed: {', '.join(known)}"
                )
        return cls(**values)
