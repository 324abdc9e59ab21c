"""Load a run's config with every default filled in."""

from ssljax import methods
from ssljax.config import Config
from ssljax.runs.folder import RunFolder


def load_resolved(folder: RunFolder) -> Config:
    """Return the settings of a run; settings added since then get their defaults.

    Args:
        folder: has the ``config.json`` that was resolved when the run was created.

    Raises:
        ConfigError: if ``config.json`` is missing or cannot be used.
    """
    return methods.resolve(folder.load_config())
