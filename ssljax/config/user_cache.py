"""The folder of the user's cache, where desktop systems agree to keep caches."""

import os
from pathlib import Path


def user_cache(name: str) -> Path:
    """Return this package's folder of that name in the user's cache folder.

    Args:
        name: what is kept, such as ``"programs"``.

    Raises:
        RuntimeError: if there is no home folder.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "ssljax" / name
