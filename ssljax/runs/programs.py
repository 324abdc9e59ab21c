"""Keep compiled programs on disk, so that the next run starts without compiling."""

import os
from pathlib import Path

import jax

from ssljax.config.paths import as_path, in_bucket
from ssljax.config.user_cache import user_cache

SHORTEST = 0.2  # seconds of compiling; loading a program takes about a tenth of that


def keep_programs(where: str | None) -> Path | None:
    """Keep this process's compiled programs in a folder, and take those found there.

    A folder that JAX already has (``JAX_COMPILATION_CACHE_DIR``, or set in Python)
    stays. A folder that cannot be written is left alone: compiling works without.

    Args:
        where: a folder; ``"auto"`` is ``ssljax/programs`` in the user's cache folder;
            None, or the word in any case, keeps nothing.

    Returns:
        The folder in use, None if there is none.
    """
    given = jax.config.values["jax_compilation_cache_dir"]
    if given is not None or where is None or where.lower() == "none":
        return None if given is None else Path(given)
    folder = user_cache("programs") if where == "auto" else as_path(where)
    if not in_bucket(folder):  # where JAX reads and writes without a folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return None
        if not os.access(folder, os.W_OK):
            return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST)
    return folder
