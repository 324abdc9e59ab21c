"""`ssljax bench RECIPE`: how fast a recipe trains on this device."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from ssljax.commands.parse import parse
from ssljax.commands.pretrain import with_options
from ssljax.commands.tables import columns
from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.config.paths import local
from ssljax.recipes import load_recipe

_USAGE = (
    "ssljax bench RECIPE [--KEY VALUE ...] [--smoke] [--steps N] [--json FILE] "
    "[--against torch] [--profile DIR] [--threads N]"
)
_HELP = f"""usage: {_USAGE}

Measure how fast a recipe trains on this device, and print one table.

RECIPE and --KEY VALUE are those of `ssljax pretrain`. Without the data set, images of
noise of the same shape are used.

  --smoke          shrink the recipe, as `ssljax pretrain --smoke` does
  --steps N        steps to time (30)
  --json FILE      write the numbers, the settings and the environment
  --against torch  run the same work in PyTorch, in turns, and print ratios
  --profile DIR    write a trace, and print which kinds of operations take the time
  --threads N      CPU threads of both programs; all by default

docs/bench.md explains every row.
"""


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    if not words or words[0] in ("-h", "--help"):
        print(_HELP, end="")
        return 0 if words else 2
    if words[0].startswith("-"):
        raise ConfigError(
            f"the recipe comes first: {_USAGE} (`ssljax list recipes` prints names)"
        )
    recipe = words[0]
    asked = _parse(recipe, words)
    _check(asked)
    if asked.threads is not None:
        _limit_threads(asked.threads)
    if asked.against is not None:
        from ssljax.benchmark.pytorch.twin import check_installed

        check_installed()
        # Otherwise JAX takes three quarters of a GPU's memory when it starts.
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")
        # PyTorch's threads spin while they wait, which is ruinous where another program
        # has the processor: 13 times slower on two busy cores.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from ssljax.benchmark.report import benchmark

    result = benchmark(
        asked.config,
        steps=asked.steps,
        against=asked.against is not None,
        profile=asked.profile,
        threads=asked.threads,
        words=["ssljax", "bench", *words],
    )
    print(f"{recipe}{' --smoke' if asked.smoke else ''}, {result.title}")
    for heading, table in result.tables:
        print(f"\n{heading}" if heading else "")
        print(columns(table, right=[1]))
    if asked.json is not None:
        from ssljax.runs.files import write_json

        record = {"recipe": recipe, "smoke": asked.smoke, **result.record}
        write_json(asked.json, record)
    return 0


def _parse(recipe: str, words: list[str]) -> Any:
    import tyro

    base = with_options(load_recipe(recipe, smoke="--smoke" in words), words)

    @dataclass(frozen=True)
    class Bench:
        """Measure how fast a recipe trains on this device."""

        recipe: Annotated[str, tyro.conf.Positional]
        """A name from `ssljax list recipes`, or a Python file with a config()."""
        config: Annotated[Config, tyro.conf.arg(name="")]
        smoke: bool = False
        """Shrink the recipe: tiny network, few images."""
        steps: int = 30
        """Steps to time, of each kind."""
        json: Path | None = None
        """Write the numbers, the settings and the environment to this file."""
        against: Literal["torch"] | None = None
        """Run the same work in PyTorch, in turns, and print ratios."""
        profile: Path | None = None
        """Write a trace to this folder, and print which operations take the time."""
        threads: int | None = None
        """CPU threads of both programs; None leaves them alone."""

    return parse(
        Bench,
        words,
        command="ssljax bench",
        help_command="ssljax bench RECIPE --help",
        default=Bench(recipe=recipe, config=base),
    )


def _check(asked: Any) -> None:
    """Refuse what would fail after minutes of measuring.

    Raises:
        ConfigError: a number out of range, or a file that cannot be written.
    """
    if asked.steps < 1:
        raise ConfigError(f"--steps is {asked.steps}; allowed: at least 1")
    most = os.cpu_count() or 1
    if asked.threads is not None and not 1 <= asked.threads <= most:
        raise ConfigError(f"--threads is {asked.threads}; allowed: 1 to {most}")
    from ssljax.runs.files import why_unwritable

    for flag, path, folder in (
        ("--json", asked.json, False),
        ("--profile", asked.profile, True),
    ):
        why = path and why_unwritable(local(path, flag), folder=folder)
        if why:
            raise ConfigError(f"{flag} {path} cannot be written: {why}")


def _limit_threads(count: int) -> None:
    """Let JAX and PyTorch use the same few processors; neither has started yet."""
    os.environ["NPROC"] = str(count)  # which XLA's pool of threads follows
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:count])
