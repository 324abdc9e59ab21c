"""Text forms of records of arrays: names and shapes rather than pages of numbers."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ssljax.analytic.precision import known


def described(params: Mapping[str, Any]) -> str:
    """Return the names of values with their shapes, or the values of single numbers.

    >>> described({"alpha": np.array(0.5), "rates": np.ones((2, 3))})
    'alpha 0.5, rates [2, 3]'
    """
    parts = []
    for name, value in params.items():
        for path, leaf in jax.tree_util.tree_flatten_with_path(value)[0]:
            label = name + jax.tree_util.keystr(path)
            if isinstance(leaf, str):
                parts.append(f"{label} {leaf}")
            elif np.shape(leaf) or not known(leaf):
                parts.append(f"{label} {list(np.shape(leaf))}")
            else:
                parts.append(f"{label} {float(leaf):.4g}")
    return ", ".join(parts)


def short(record: Any) -> str:
    """Return the text form of a named tuple of arrays, on one line.

    >>> from typing import NamedTuple
    >>> class Modes(NamedTuple):
    ...     gamma: np.ndarray
    >>> short(Modes(np.ones(3)))
    'Modes(gamma [3])'
    """
    return f"{type(record).__name__}({described(record._asdict())})"
