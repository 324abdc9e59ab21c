"""Command-line arguments: tyro, with its boxed complaints folded into one line."""

import contextlib
import dataclasses
import io
import itertools
import re
from collections.abc import Sequence
from typing import Any

from ssljax.config.checks import ConfigError, nearest, similar
from ssljax.config.serialize import flatten

# What the field calls an option, by its last part or in full.
_MEANT = {
    "lr": "learning-rate",
    "wd": "weight-decay",
    "mom": "momentum",
    "bs": "batch-size",
    "temp": "temperature",
    "tau": "temperature",
    "ema": "target-momentum",
    "warmup": "warmup-epochs",
    "opt": "optimizer.name",
    "dataset": "data.name",
    "model": "model.arch",
    "backbone": "model.arch",
    "img-size": "image-size",
    "resolution": "image-size",
    "num-workers": "data.workers",
    "gpus": "devices.count",
    "num-gpus": "devices.count",
    "out": "workdir",
    "output": "workdir",
    "output-dir": "workdir",
    "log-dir": "workdir",
    "logdir": "workdir",
}
_POSITIONAL = {"workdir": "DIR", "name": "NAME"}


def parse(
    kind: Any,
    words: list[str],
    *,
    command: str,
    help_command: str | None = None,
    flags: Sequence[str] = (),
    missing: str = "",
    **options: Any,
) -> Any:
    """Parse words into a dataclass.

    Args:
        kind: the dataclass; its fields become flags.
        words: what was typed after the command.
        command: such as ``ssljax evaluate``, for the help.
        help_command: prints the help, if it is not ``COMMAND --help``.
        flags: names of the flags, to suggest the nearest; those of ``default`` where
            one is given.
        missing: the line for words without the positional argument.
        options: passed to `tyro.cli`.

    Raises:
        ConfigError: the one line for words that cannot be parsed.
        SystemExit: with code 0, after ``--help`` was printed.
    """
    import tyro

    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(kind, args=words, prog=command, **options)
    except SystemExit as stop:
        if not stop.code:
            raise
        default = options.get("default")
        names = [
            f"--{key.removeprefix('config.')}".replace("_", "-")
            for key in (flatten(default) if default else flags)
        ]
        how = help_command or f"{command} --help"
        line = _one_line(printed.getvalue(), how, words, names)
        if missing and re.match(r"Missing (from|value for argument '\w)", line):
            line = missing
        raise ConfigError(line) from None


def parse_positional(
    kind: Any, words: list[str], *, command: str, flags: Sequence[str] = ()
) -> Any:
    """Parse as `parse` does; fields without a default are positional."""
    import tyro

    missing = ""
    asked = {"-h", "--help"} & set(words)
    for field in dataclasses.fields(kind):
        if asked or field.default is not dataclasses.MISSING:
            continue
        if field.default_factory is not dataclasses.MISSING:
            continue
        shown = _POSITIONAL.get(field.name, field.name.upper())
        missing = f"{shown} is missing; write: {command} {shown}"
        typed = value_of(words, f"--{field.name}")
        if typed is not None:
            raise ConfigError(
                f"unknown option '--{field.name}'; write: {command} {typed}"
            )
    required = tyro.conf.PositionalRequiredArgs[kind]
    return parse(required, words, command=command, flags=flags, missing=missing)


def value_of(words: list[str], flag: str) -> str | None:
    """Return the value of a flag before the words are parsed, or None."""
    found = None  # the last one wins, as it does for the parser
    for position, word in enumerate(words):
        if word == flag and position + 1 < len(words):
            found = words[position + 1]
        elif word.startswith(flag + "="):
            found = word.removeprefix(flag + "=")
    return found


def _wrong_word(word: str, flags: list[str]) -> str:
    """Name a word that no option takes, with what may have been meant."""
    flag = word.split("=")[0].replace("_", "-")
    if word in ("True", "False"):
        return (
            f"unexpected word {word!r}; a switch takes no value: --probe.enabled or "
            "--probe.no-enabled"
        )
    if not word.startswith("-"):
        return f"unexpected word {word!r}"
    near = _nearest_flags(flag, flags)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"unknown option {word!r}{hint}"


def _nearest_flags(flag: str, flags: list[str]) -> list[str]:
    """Return the flags nearest to one; without its group it may belong to several."""
    group, _, name = flag.lstrip("-").rpartition(".")
    positive = "--" + flag.removeprefix("--no-")
    if flag.startswith("--no-") and positive in flags:
        group, _, name = positive.removeprefix("--").rpartition(".")
        return [f"--{group}.no-{name}"]
    # The group's own name: `--optimizer adamw`.
    if f"{flag}.name" in flags:
        return [f"{flag}.name"]
    meant = _MEANT.get(name, name)
    named = [f for f in flags if f == f"--{meant}" or f.endswith(f".{meant}")]
    here = [f for f in named if f.startswith(f"--{group}.")]
    if here or named:
        return here or named
    by_name: dict[str, list[str]] = {}
    for known in flags:
        inside, _, last = known.removeprefix("--").rpartition(".")
        if group in ("", inside):
            by_name.setdefault(last, []).append(known)
    # Similar names only: those of one group all begin alike.
    if by_name:
        return [f for match in similar(name, by_name) for f in by_name[match]]
    return similar(flag, flags)


def _one_line(boxed: str, help_command: str, words: list[str], flags: list[str]) -> str:
    """Take the sentence out of tyro's box, and say it in the user's words."""
    # The box is drawn in ASCII where the terminal has no Unicode.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", boxed)
    lines = [line.strip("│╭╮╰╯─|+ ") for line in plain.splitlines()]
    text = " ".join(lines[1:])
    text = text.split("Argument helptext")[0].split("For full helptext")[0]
    text = re.sub(r"\s+", " ", re.sub(r"─+|-{4,}", " ", text)).strip()
    # A check of the dataclass itself, which says what is wrong.
    text = re.sub(r"^Error parsing (config\S*|[A-Z]\w*): ", "", text)
    more = f" (`{help_command}` lists all options)"
    unknown = re.search(r"Unrecognized options: (\S+)", text)
    if unknown:
        # Not tyro's own hint: it is cut off where the terminal is narrow.
        return _wrong_word(unknown[1].rstrip(","), flags) + more
    missing = re.search(r"Missing value for argument '(--\S+)'", text)
    if missing:
        return f"{missing[1]} needs a value{more}"
    choice = re.search(
        r"invalid choice '(.*)' for argument '(\S+)'\. Expected one of \((.*?),?\)",
        text,
    )
    if choice:
        value, flag, allowed = choice.groups()
        hint = nearest(value, re.findall(r"'(.*?)'", allowed))
        return f"{flag} must be one of {allowed}, got {value!r}{hint}"
    bad = re.search(r"Error parsing (--[\w.-]+): (.*)", text)
    if bad:
        flag, reason = bad.groups()
        wanted = _wanted(reason)
        if wanted is not None:
            return f"{flag} must be {wanted}, got {_given(words, flag)!r}"
    return text


def _wanted(reason: str) -> str | None:
    """Return in plain words what the parser's own error asks for, None if unknown."""
    if "to float:" in reason:
        return "a number"
    if "literal for int()" in reason:
        return "a whole number"
    kind = re.match(r"no type matching (.*?) could be instantiated", reason)
    if kind is None:
        return None
    several, number = "[" in kind[1], "number" if "FLOAT" in kind[1] else "whole number"
    if "INT" not in kind[1] and number == "whole number":
        return None
    if several:
        pairs = "FLOAT FLOAT" in kind[1]
        return f"pairs of {number}s" if pairs else f"{number}s with spaces between"
    return f"a {number}" + (" or None" if "None" in kind[1] else "")


def _given(words: list[str], flag: str) -> str:
    """Return the words typed after a flag, up to the next flag."""
    same = flag.replace("-", "_")
    at = max(
        (i for i, w in enumerate(words) if w.replace("-", "_") == same), default=-1
    )
    if at < 0:
        return value_of(words, flag) or ""
    found = list(itertools.takewhile(lambda w: w[:2] != "--", words[at + 1 :]))
    return " ".join(found)
