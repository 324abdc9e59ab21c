"""`ssljax doctor RECIPE`: check on every process whether a run can start."""

import sys

from ssljax.commands.parse import value_of
from ssljax.commands.pretrain import asked_for
from ssljax.commands.tables import columns
from ssljax.config.checks import ConfigError

_USAGE = "ssljax doctor RECIPE [--workdir DIR] [--KEY VALUE ...] [--steps N] [--smoke]"
_HELP = f"""usage: {_USAGE}

Check whether a run can start: devices, versions, data and the speed at which it is
read, run folder, clock, shared memory and memory, in one table with the fixes.

RECIPE, --workdir and --KEY VALUE are those of `ssljax pretrain`. With several
processes, start each of them as for the run; process 0 prints.

  --steps N   steps and batches to time (5); 0 compiles nothing, and takes seconds
  --smoke     check the shrunken recipe

Exit code 2 if a check fails. `slow` and `look` do not stop a run.
"""
_STEPS = 5


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    if not words or {"-h", "--help"} & set(words):
        print(_HELP, end="")
        return 0 if words else 2
    if words[0].startswith("-"):
        raise ConfigError(
            f"the recipe comes first: {_USAGE} (`ssljax list recipes` prints names)"
        )
    steps, words = _steps(words)
    # A dry run needs no folder.
    asked = asked_for([*words, "--dry-run"])
    from ssljax.benchmark.pace import check_pace
    from ssljax.runs import processes
    from ssljax.runs.preflight import preflight
    from ssljax.runs.verdicts import merged

    found = preflight(asked.config, asked.workdir)
    rows = merged(found.checks)
    if steps and not any(check.verdict == "fail" for _, check in rows):
        check_pace(found, steps=steps)
        rows = merged(found.checks)
    failed = [(who, check) for who, check in rows if check.verdict == "fail"]
    if processes.is_first():
        print(_table(rows))
        for who, check in failed:
            where = "" if who == "all" else f"process {who}: "
            print(f"ssljax: {where}{check.line}", file=sys.stderr)
    return 2 if failed else 0


def _steps(words: list[str]) -> tuple[int, list[str]]:
    """Take ``--steps N`` out of the words, which are otherwise those of a run."""
    typed = value_of(words, "--steps")
    if typed is None and "--steps" not in words:
        return _STEPS, words
    if typed is None or not typed.isdecimal():
        raise ConfigError(f"--steps must be a whole number from 0 on, got {typed!r}")
    left: list[str] = []
    for word in words:
        if left[-1:] == ["--steps"]:
            left.pop()
        elif not word.startswith("--steps="):
            left.append(word)
    return int(typed), left


def _table(rows: list) -> str:
    several = any(who != "all" for who, _ in rows)
    head = ("check", "process", "", "found", "fix")
    cells = [
        (check.name, who, check.verdict, check.value, check.fix) for who, check in rows
    ]
    table = [head, *cells] if several else [r[:1] + r[2:] for r in (head, *cells)]
    return columns(table)
