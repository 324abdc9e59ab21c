"""A run's config with every default filled in."""

from ssljax import methods
from ssljax.config import Config
from ssljax.runs.folder import RunFolder


def load_resolved(folder: RunFolder) -> Config:
    """Return the settings of a run; those that are newer than the run get defaults.

    Args:
        folder: holds ``config.json``, resolved when the run was made.

    Raises:
        ConfigError: if ``config.json`` is missing or cannot be used.
    """
    return methods.resolve(folder.load_config())
