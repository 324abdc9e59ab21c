"""Import optional packages, or say in one line which extra brings them."""

import importlib
import importlib.util
from typing import Any

from ssljax.config.checks import ConfigError


def need(package: str, *, extra: str, what: str, otherwise: str) -> Any:
    """Return an optional package or a module of it.

    Args:
        package: its name.
        extra: the extra of ssljax that installs it.
        what: what needs it, to begin the message.
        otherwise: what works without it.

    Raises:
        ConfigError: if it is not installed.

    >>> need("json", extra="export", what="nothing", otherwise="").__name__
    'json'
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        package = package.split(".")[0]
        missing = isinstance(error, ModuleNotFoundError) and error.name == package
        why = "is not installed" if missing else f"cannot be imported ({error})"
        raise ConfigError(
            f"{what} needs {package}, which {why}; run: pip install "
            f"'ssljax[{extra}]', or {otherwise}"
        ) from error


def installed(package: str) -> bool:
    """Return whether a package can be found, without importing it.

    >>> installed("json"), installed("no_such_package")
    (True, False)
    """
    return importlib.util.find_spec(package) is not None
