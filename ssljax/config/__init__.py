"""The typed, validated configuration of a run: its schema, checks and JSON."""

from ssljax.config.checks import ConfigError
from ssljax.config.operation import (
    CheckpointConfig,
    DevicesConfig,
    LogConfig,
    MonitorConfig,
    ProbeConfig,
)
from ssljax.config.schema import (
    AugmentConfig,
    Config,
    DataConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
)

__all__ = [
    "AugmentConfig",
    "CheckpointConfig",
    "Config",
    "ConfigError",
    "DataConfig",
    "DevicesConfig",
    "LogConfig",
    "MethodConfig",
    "ModelConfig",
    "MonitorConfig",
    "OptimizerConfig",
    "ProbeConfig",
]
