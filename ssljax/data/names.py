"""Suggest a name for a misspelt one, as `ssljax.config.checks.nearest` does."""

import difflib
from collections.abc import Iterable


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name that a misspelt one may have meant, or None.

    >>> nearest("cifer10", ["mnist", "cifar10"]), nearest("nonexist", ["mnist"])
    ('cifar10', None)
    """
    allowed = list(allowed)
    near = difflib.get_close_matches(name, allowed, n=1, cutoff=0.7)
    begun = [each for each in allowed if len(name) > 2 and each.startswith(name)]
    return next(iter([*near, *begun]), None)
