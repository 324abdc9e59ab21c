"""Input checks for the theory functions, one name and message per kind.

All raise a `ValueError` of one line: the fault and allowed values. Shapes are always
known; values are checked unless JAX traces them, and traced ones are trusted.
"""

import numbers
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.precision import known


def check_choice(name: str, given: str, allowed: tuple[str, ...]) -> None:
    """Raise unless ``given`` is one of the allowed names."""
    if given not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, got {given!r}")


def check_whole(name: str, value: int, least: int) -> int:
    """Return an integer, and raise for other numbers and for ones below ``least``."""
    # A bool is an integer to Python, but never a count.
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < least:
        raise ValueError(f"{name} must be a whole number >= {least}, got {value!r}")
    return int(value)


def check_at_least(name: str, value: Any, least: int, most: int | None = None) -> None:
    """Raise for a count below ``least`` or above ``most``."""
    if most is not None and not least <= value <= most:
        raise ValueError(f"{name} must be {least} to {most}, got {value}")
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, got {value}")


def check_real(name: str, values: Any) -> jax.Array:
    """Return an array in float64, and raise unless it holds real numbers.

    >>> check_real("t", [[1, 2], [3]])
    Traceback (most recent call last):
    ValueError: t must be an array of real numbers, got a list
    """
    try:
        # JAX reads text as the name of a dtype.
        text = any(isinstance(x, str) for x in jax.tree.leaves(values))
        array = None if text else jnp.asarray(values)
    except (TypeError, ValueError):
        array = None
    if array is None or array.dtype.kind not in "bfiu":
        what = f"a {type(values).__name__}" if array is None else str(array.dtype)
        raise ValueError(f"{name} must be an array of real numbers, got {what}")
    return jnp.asarray(array, jnp.float64)


def floating(values: Any) -> jax.Array:
    """Return whole numbers as floating ones, which have gradients."""
    array = jnp.asarray(values)
    moves = jnp.issubdtype(array.dtype, jnp.inexact)
    return array if moves else array.astype(jnp.float64)


def check_shape(
    name: str, values: Any, *axes: str | int, empty: bool = False
) -> jax.Array:
    """Return an array in float64, and raise unless it has these axes.

    Args:
        name: of the argument, for the message.
        values: the argument.
        axes: a number for an axis of that size, a name for one of any size; the same
            name twice is the same size.
        empty: allow axes of size 0.

    >>> with jax.enable_x64(True):
    ...     check_shape("moment", [[1.0, 0.0], [0.0, 2.0]], "M", "M").shape
    (2, 2)
    """
    array = check_real(name, values)
    sizes: dict[str | int, int] = {}
    fits = array.ndim == len(axes) and (empty or 0 not in array.shape)
    for axis, size in zip(axes, array.shape, strict=False):
        wanted = axis if isinstance(axis, int) else sizes.setdefault(axis, size)
        fits = fits and size == wanted
    if not fits:
        raise ValueError(
            f"{name} must be [{', '.join(map(str, axes))}], "
            f"got shape {list(array.shape)}"
        )
    return array


def check_modes(
    name: str, values: Any, *, like: jax.Array | None = None, least: int = 1
) -> jax.Array:
    """Return ``[modes]`` in float64.

    Args:
        name: of the argument, for the message.
        values: the argument.
        like: another such vector, which it must be as long as.
        least: fewest modes allowed.
    """
    array = check_shape(name, values, "modes")
    if like is not None and array.shape != like.shape:
        raise ValueError(
            f"{name} must have one entry for each of {like.shape[0]} modes, "
            f"got {array.shape[0]}"
        )
    if array.shape[0] < least:
        raise ValueError(f"{name} must have at least {least} modes, got {len(array)}")
    return array


def check_rates(name: str, values: Any, *, like: jax.Array | None = None) -> jax.Array:
    """Return `check_modes` of numbers of any sign, which are finite."""
    array = check_modes(name, values, like=like)
    check_finite(name, array)
    return array


def check_spectrum(
    name: str, values: Any, *, like: jax.Array | None = None, least: int = 1
) -> jax.Array:
    """Return `check_modes` of eigenvalues, which are finite and not negative."""
    array = check_modes(name, values, like=like, least=least)
    check_rate(name, array)
    return array


def check_times(name: str, times: Any) -> jax.Array:
    """Return ``[times]`` in float64: at least one, from 0 on, ascending."""
    array = check_shape(name, times, "times")
    # NaN fails the comparison.
    if known(array) and not np.all(np.diff(np.asarray(array), prepend=0.0) >= 0):
        raise ValueError(f"{name} must be ascending and >= 0")
    return array


def check_finite(name: str, values: Any) -> None:
    """Raise unless all numbers are finite."""
    _require(name, values, np.isfinite, "be finite")


def check_positive(name: str, values: Any) -> None:
    """Raise unless all numbers are > 0."""
    _require(name, values, lambda x: x > 0, "be > 0")


def check_not_negative(name: str, values: Any) -> None:
    """Raise unless all numbers are >= 0."""
    _require(name, values, lambda x: x >= 0, "be >= 0")


def check_rate(name: str, values: Any) -> None:
    """Raise unless all numbers are finite and >= 0."""
    _require(name, values, lambda x: np.isfinite(x) & (x >= 0), "be finite and >= 0")


def check_between(
    name: str, values: Any, low: float, high: float, ends: str = "[]"
) -> None:
    """Raise unless all numbers lie in an interval, written as in ``(0, 1]``."""

    def inside(x: np.ndarray) -> np.ndarray:
        above = x >= low if ends[0] == "[" else x > low
        return above & (x <= high if ends[1] == "]" else x < high)

    _require(name, values, inside, f"lie in {ends[0]}{low:g}, {high:g}{ends[1]}")


def check_fractions(name: str, values: Any) -> jax.Array:
    """Return shares of a trace in float64, in [0, 1] to within float32 rounding."""
    array = jnp.asarray(values, jnp.float64)
    _require(
        name,
        array,
        lambda x: np.abs(x - 0.5) <= 0.5 + 1e-6,
        "be eigenvalues over their sum, in [0, 1]",
    )
    return array


def check_moment(name: str, moment: Any) -> jax.Array:
    """Return a symmetric ``[M, M]`` in float64, symmetric to the last digit."""
    array = check_shape(name, moment, "M", "M")
    check_finite(name, array)
    check_symmetric(name, array)
    return 0.5 * (array + array.T)


def check_symmetric(name: str, matrix: jax.Array) -> None:
    """Raise unless a matrix equals its transpose to float32's rounding."""
    if known(matrix):
        # In NumPy, because inside `jax.jit` JAX traces even operations on constants.
        seen = np.asarray(matrix)
        gap = np.abs(seen - seen.T).max()
        if gap > 1e-6 * np.abs(seen).max():
            raise ValueError(
                f"{name} must be symmetric; it differs from its transpose by {gap:.3g}"
            )


def check_positive_modes(
    name: str, eigenvalues: jax.Array, d: int, *, rounding: float = 0.0
) -> None:
    """Raise unless at least ``d`` eigenvalues are positive.

    Args:
        name: of the matrix, for the message.
        eigenvalues: the largest first.
        d: number needed.
        rounding: share of the largest up to which a number counts as zero.
    """
    if known(eigenvalues):
        seen = np.asarray(eigenvalues)
        # Written so that NaN counts as not positive.
        positive = int(np.sum(seen > rounding * np.abs(seen[0])))
        if positive < d:
            raise ValueError(
                f"{name} must have at least {d} positive eigenvalues, got {positive}"
            )


def check_definite(name: str, eigenvalues: jax.Array) -> None:
    """Raise unless the first of a matrix's ascending eigenvalues is positive."""
    if known(eigenvalues) and not bool(eigenvalues[0] > 0):
        raise ValueError(
            f"{name} must be positive definite, "
            f"got the eigenvalue {float(eigenvalues[0]):.3g}"
        )


def check_rank(d: int, modes: int) -> None:
    """Raise unless that many modes can fill ``d`` dimensions of an embedding."""
    check_at_least("the dimension of the embedding", d, 1, modes)


def check_pairs(x1: Any, x2: Any) -> tuple[jax.Array, jax.Array]:
    """Return two views ``[N, M]`` of the same samples in float64."""
    first = check_shape("x1", x1, "N", "M")
    second = check_shape("x2", x2, *first.shape)
    check_finite("x1", first)
    check_finite("x2", second)
    return first, second


def _require(name: str, values: Any, right: Any, what: str) -> None:
    """Raise for the first known number of which ``right`` is not true."""
    if not known(values):
        return
    seen = np.asarray(values, float)
    wrong = ~np.asarray(right(seen))
    if wrong.any():
        raise ValueError(f"{name} must {what}, got {seen[wrong].flat[0]:g}")
