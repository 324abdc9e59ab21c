"""Typed, validated configuration of a run, and how it is written and compared."""

from ssljax.config.checks import ConfigError
from ssljax.config.schema import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    DataConfig,
    DevicesConfig,
    LogConfig,
    MethodConfig,
    ModelConfig,
    MonitorConfig,
    OptimizerConfig,
    ProbeConfig,
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
