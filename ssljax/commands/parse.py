"""Command-line arguments: tyro, with its boxed complaints folded into one line."""

import contextlib
import difflib
import io
import re
from collections.abc import Sequence
from typing import Any

from ssljax.config.checks import ConfigError, nearest
from ssljax.config.serialize import flatten


def parse(
    kind: Any,
    words: list[str],
    *,
    command: str,
    help_command: str | None = None,
    flags: Sequence[str] = (),
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
        raise ConfigError(_one_line(printed.getvalue(), how, words, names)) from None


def parse_positional(
    kind: Any, words: list[str], *, command: str, flags: Sequence[str] = ()
) -> Any:
    """Parse as `parse` does; fields without a default are positional."""
    import tyro

    required = tyro.conf.PositionalRequiredArgs[kind]
    return parse(required, words, command=command, flags=flags)


def value_of(words: list[str], flag: str) -> str | None:
    """Return the value of a flag before the words are parsed, or None."""
    found = None  # the last one wins, as it does for the parser
    for position, word in enumerate(words):
        if word == flag and position + 1 < len(words):
            found = words[position + 1]
        elif word.startswith(flag + "="):
            found = word.removeprefix(flag + "=")
    return found


def _nearest_flag(flag: str, flags: list[str]) -> str:
    """Suggest the nearest flag; one typed without its group may belong to several."""
    if flag in ("True", "False"):
        return "; a switch takes no value: --probe.enabled or --probe.no-enabled"
    if flag.startswith("--no-") and "--" + flag.removeprefix("--no-") in flags:
        group, _, name = flag.removeprefix("--no-").rpartition(".")
        return f"; did you mean '--{group}.no-{name}'?"
    if "." in flag:
        return nearest(flag, flags)
    by_last_part: dict[str, list[str]] = {}
    for known in flags:
        last = known.removeprefix("--").rpartition(".")[2]
        by_last_part.setdefault(last, []).append(known)
    match = difflib.get_close_matches(
        flag.removeprefix("--"), by_last_part, n=1, cutoff=0.6
    )
    if not match:
        return nearest(flag, flags)
    return f"; did you mean {' or '.join(map(repr, by_last_part[match[0]]))}?"


def _one_line(boxed: str, help_command: str, words: list[str], flags: list[str]) -> str:
    """Take the sentence out of tyro's box, and add what was typed."""
    # The box is drawn in ASCII where the terminal has no Unicode.
    plain = re.sub(r"\x1b\[[0-9;]*m", "", boxed)
    lines = [line.strip("│╭╮╰╯─|+ ") for line in plain.splitlines()]
    text = " ".join(lines[1:])
    text = text.split("Argument helptext")[0].split("For full helptext")[0]
    text = re.sub(r"\s+", " ", re.sub(r"─+|-{4,}", " ", text)).strip()
    text = re.sub(r"^Error parsing config\S*: ", "", text)
    unknown = re.search(r"Unrecognized options: (\S+)", text)
    if unknown:
        flag = unknown[1].rstrip(",")
        # Not tyro's own hint: it is cut off where the terminal is narrow.
        hint = _nearest_flag(flag.split("=")[0], flags)
        return f"unknown option {flag!r}{hint} (`{help_command}` lists all options)"
    bad = re.search(r"(--[\w.-]+)", text)
    value = value_of(words, bad[1].rstrip(".'")) if bad else None
    return f"{text}" + (f" (given: {value!r})" if value is not None else "")
