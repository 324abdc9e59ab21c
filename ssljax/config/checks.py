"""Checks of configuration values; each failure is one line that names the fix."""

import difflib
import math
import types
import typing
from typing import Any, Literal

LARGEST_INT = 2**31 - 1  # arrays on the device count with 32 bits
LARGEST_SEED = 2**32 - 1


class ConfigError(ValueError):
    """A setting is not allowed; the message is one line that names what is."""


def nearest(name: str, allowed: typing.Iterable[str]) -> str:
    """Return a hint such as `; did you mean 'x'?`, or "" if no name is similar.

    >>> nearest("lerning_rate", ["learning_rate", "momentum"])
    "; did you mean 'learning_rate'?"
    """
    match = similar(name, allowed)
    return f"; did you mean {match[0]!r}?" if match else ""


def similar(name: str, allowed: typing.Iterable[str], *, count: int = 1) -> list[str]:
    """Return up to ``count`` allowed names that a misspelt one may have meant.

    A name that shares only a few letters is not a misspelling: suggesting it would
    mislead.

    >>> similar("barlow", ["byol", "barlow_twins"]), similar("foo", ["byol"])
    (['barlow_twins'], [])
    """
    allowed = list(allowed)
    begun = [each for each in allowed if len(name) > 2 and each.startswith(name)]
    near = difflib.get_close_matches(name, allowed, n=count, cutoff=0.7)
    return list(dict.fromkeys([*near, *begun]))[:count]


def refuse(key: str, value: Any, allowed: str) -> typing.NoReturn:
    """Raise the `ConfigError` for a value that is not allowed."""
    raise ConfigError(f"{key} is {value!r}; allowed: {allowed}")


def check_types(config: Any, prefix: str) -> None:
    """Refuse fields whose value does not match the type in the schema.

    The command line checks types itself, but recipes are Python and do not.
    """
    for name, hint in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if not _matches(value, hint):
            key = f"{prefix}.{name}".lstrip(".")
            choices = typing.get_args(hint)
            hint_is_literal = typing.get_origin(hint) is Literal
            near = (
                nearest(value, choices)
                if hint_is_literal and isinstance(value, str)
                else ""
            )
            refuse(key, value, _describe(hint) + near)
        _check_size(f"{prefix}.{name}".lstrip("."), value)


def _check_size(key: str, value: Any) -> None:
    """Refuse whole numbers and epochs that the device could not count."""
    if isinstance(value, tuple):
        for each in value:
            _check_size(key, each)
    if isinstance(value, dict):
        for name, each in value.items():
            _check_size(f"{key}.{name}", each)
    most = LARGEST_SEED if key == "seed" else LARGEST_INT
    counted = int | float if key.endswith("epochs") else int
    if isinstance(value, counted) and most < value < math.inf:
        refuse(key, value, f"at most {most}")


def _matches(value: Any, hint: Any) -> bool:
    """Decide whether a value has the type of a hint, as the schema uses hints."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_matches(value, option) for option in typing.get_args(hint))
    if origin is Literal:
        return value in typing.get_args(hint)
    if origin is dict:
        return isinstance(value, dict) and all(
            isinstance(k, str) and _matches(v, typing.get_args(hint)[1])
            for k, v in value.items()
        )
    if origin is list:
        # Python callers may pass a tuple.
        return isinstance(value, list | tuple) and all(
            _matches(each, typing.get_args(hint)[0]) for each in value
        )
    if origin is tuple:
        kinds = typing.get_args(hint)
        if not isinstance(value, tuple):
            return False
        if kinds[-1] is Ellipsis:  # tuple[int, ...]
            kinds = kinds[:1] * len(value)
        return len(value) == len(kinds) and all(map(_matches, value, kinds))
    # True is an int in Python, but not a number in a config.
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def _describe(hint: Any) -> str:
    """Name a type in the words of an error message."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_describe(option) for option in typing.get_args(hint))
    if origin is Literal:
        return ", ".join(map(repr, typing.get_args(hint)))
    if hint is type(None):
        return "None"
    if origin is dict:
        return "names with numbers or text"
    if origin is list:
        return f"several of: {_describe(typing.get_args(hint)[0])}"
    if origin is tuple:
        kinds = [_describe(kind) for kind in typing.get_args(hint) if kind is not ...]
        many = "several of: " if typing.get_args(hint)[-1] is ... else ""
        return f"{many}({', '.join(kinds)})"
    names = {float: "a number", int: "a whole number", str: "text", bool: "a bool"}
    return names.get(hint, getattr(hint, "__name__", ""))


def as_tuples(value: Any) -> Any:
    """Convert nested lists, as in parsed files, to the tuples of a frozen config."""
    if isinstance(value, list | tuple):
        return tuple(as_tuples(item) for item in value)
    return value


def _values(config: Any, prefix: str, names: tuple[str, ...]):
    """Yield dotted key and value of each named field that is set."""
    for name in names:
        value = getattr(config, name)
        if value is not None:
            yield f"{prefix}.{name}".lstrip("."), value


def positive(config: Any, prefix: str, *names: str) -> None:
    """Refuse named fields that are not > 0 and finite; None passes."""
    for key, value in _values(config, prefix, names):
        if not 0 < value < math.inf:
            refuse(key, value, f"{_if_not_finite(value)}> 0")


def at_least(config: Any, prefix: str, least: float, *names: str) -> None:
    """Refuse named fields below `least`; None passes."""
    for key, value in _values(config, prefix, names):
        if not least <= value < math.inf:
            refuse(key, value, f"{_if_not_finite(value)}>= {least}")


def within(config: Any, prefix: str, least: float, most: float, *names: str) -> None:
    """Refuse named fields outside `least` to `most`; None passes."""
    for key, value in _values(config, prefix, names):
        if not least <= value <= most:
            refuse(key, value, f"{least} to {most}")


def not_empty(config: Any, prefix: str, *names: str) -> None:
    """Refuse named layer widths that are empty: `none` is explicit; None passes."""
    for key, value in _values(config, prefix, names):
        if not value.strip():
            refuse(key, value, "layer widths such as 2048-2048-128, or none")


def _if_not_finite(value: float) -> str:
    return "" if math.isfinite(value) else "finite and "


def near_multiples(value: int, part: int) -> str:
    """Name the multiples of `part` next to a value that is not one.

    >>> near_multiples(100, 32)
    '96 or 128'
    """
    below = value // part * part
    return " or ".join(str(near) for near in (below, below + part) if near)


def fraction(config: Any, prefix: str, *names: str) -> None:
    """Refuse named fields outside 0 to 1; None passes."""
    for key, value in _values(config, prefix, names):
        if not 0 <= value <= 1:
            refuse(key, value, "0 to 1")


def check_range(name: str, value: float, *, low: float, high: float = math.inf) -> None:
    """Refuse a number outside [low, high], NaN and infinity.

    >>> check_range("eta", -1.0, low=0.0)
    Traceback (most recent call last):
    ValueError: eta must be finite and >= 0, got -1.0
    """
    # Written so that NaN fails too.
    if not low <= value <= high or math.isinf(value):
        allowed = (
            f"[{low:g}, {high:g}]" if high < math.inf else f"finite and >= {low:g}"
        )
        raise ValueError(f"{name} must be {allowed}, got {value}")
