"""`ssljax sweep RECIPE`: a grid of runs, one after the other, and their comparison."""

import argparse
import itertools
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ssljax.commands.pretrain import asked_for
from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.config.paths import as_path
from ssljax.protocols.settings import PROTOCOLS

_STOPPED = (75, 130)  # preempted, interrupted: the sweep stops too
_BAD_INPUT = 2
_OWN = ("--workdir", "--seed", "--dry-run")  # flags of pretrain that a sweep sets


@dataclass(frozen=True)
class Member:
    """One run of the grid: its folder, and the words after ``ssljax pretrain``."""

    folder: Path
    words: tuple[str, ...]
    config: Config

    @property
    def name(self) -> str:
        """What tells the run from the others."""
        return self.folder.name


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message} (`ssljax sweep --help` lists the options)")


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    asked, others = _parser().parse_known_args(words)
    workdir = as_path(asked.workdir)
    members = grid(
        asked.recipe,
        workdir,
        settings=asked.set,
        seeds=asked.seeds,
        others=others,
    )
    if asked.only is not None:
        if not 0 <= asked.only < len(members):
            raise ConfigError(
                f"--only is {asked.only}; the grid has runs 0 to {len(members) - 1}"
            )
        members = members[asked.only : asked.only + 1]
    for member in members:
        _check_folder(member)
    if asked.dry_run:
        for number, member in enumerate(members):
            print(f"{number}  {_command(member)}")
        return 0
    failed = []
    for number, member in enumerate(members, start=1):
        print(f"run {number} of {len(members)}: {member.name}", flush=True)
        code = _finish(member, asked.protocol)
        if code in _STOPPED:
            print(f"stopped in {member.folder}; rerun the same command to continue")
            return code
        if code == _BAD_INPUT:
            return code  # its line has been printed, and the others are alike
        if code:
            failed.append(f"{member.name} (exit code {code})")
    if asked.only is None:
        _compare(members, workdir)
    if failed:
        print(f"failed: {', '.join(failed)}; rerun the same command", file=sys.stderr)
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ssljax sweep",
        allow_abbrev=False,
        description="Run a grid of settings and seeds, one run after the other, "
        "evaluate each, and compare them. What is done is not done again: rerun the "
        "same command to continue. All other options are those of ssljax pretrain.",
    )
    parser.add_argument("recipe", metavar="RECIPE")
    parser.add_argument("--workdir", metavar="DIR", type=Path, required=True)
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE,VALUE",
        nargs="+",
        action="extend",
        default=[],
        help="settings to try: optimizer.learning-rate=0.1,0.3",
    )
    parser.add_argument(
        "--seeds", type=int, default=1, help="seeds 0 to N - 1 of each setting"
    )
    parser.add_argument(
        "--protocol",
        nargs="+",
        choices=PROTOCOLS,
        help="protocols of ssljax evaluate; its default where none is named",
    )
    parser.add_argument(
        "--only",
        type=int,
        metavar="I",
        help="run one of the grid, counted from 0, as a task of a SLURM array does; "
        "the same command without --only compares them in the end",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the commands and write nothing"
    )
    return parser


def grid(
    recipe: str,
    workdir: Path,
    *,
    settings: Sequence[str],
    seeds: int,
    others: Sequence[str] = (),
) -> list[Member]:
    """Return the runs of a grid; every config is checked before any run starts.

    Args:
        recipe: as for ``ssljax pretrain``.
        workdir: their folders are made in it.
        settings: words ``KEY=VALUE,VALUE``.
        seeds: number of seeds, from 0 on.
        others: further words for ``ssljax pretrain``.

    Raises:
        ConfigError: for settings that cannot be used.
    """
    if seeds < 1:
        raise ConfigError(f"--seeds is {seeds}; allowed: 1 and more")
    for word in others:
        if word.split("=")[0] in _OWN:
            raise ConfigError(f"{word} is set by the sweep; use --seeds or --set")
    axes = [_axis(word) for word in settings]
    keys = [key for key, _ in axes]
    if len(set(keys)) < len(keys):
        raise ConfigError(f"--set has a key twice: {', '.join(keys)}; join its values")
    members = []
    for values in itertools.product(*(values for _, values in axes)):
        chosen = list(zip(keys, values, strict=True))
        flags = [word for key, value in chosen for word in (f"--{key}", value)]
        for seed in range(seeds):
            parts = [f"{key.rpartition('.')[2]}={value}" for key, value in chosen]
            name = "_".join([*parts, f"seed={seed}"]).replace("/", "-")
            words = [recipe, *others, *flags, "--seed", str(seed)]
            words += ["--workdir", str(workdir / name)]
            asked = asked_for(words)
            members.append(Member(workdir / name, tuple(words), asked.config))
    names = [member.name for member in members]
    if len(set(names)) < len(names):
        raise ConfigError("two runs of the grid are the same; a value is listed twice")
    return members


def _axis(word: str) -> tuple[str, list[str]]:
    key, equals, values = word.partition("=")
    listed = [value for value in values.split(",") if value]
    if not equals or not listed or not key:
        raise ConfigError(
            f"--set {word!r} names no values; write KEY=VALUE,VALUE, such as "
            "optimizer.learning-rate=0.1,0.3"
        )
    return key.lstrip("-").replace("_", "-"), listed


def _check_folder(member: Member) -> None:
    """Refuse a run of other settings in the folder, before any run starts."""
    from ssljax import methods
    from ssljax.runs.folder import RunFolder

    folder = RunFolder(member.folder)
    config = folder.continued(methods.resolve(member.config))
    extend = "--extend" in member.words
    folder.check_claim(config, fill_gaps=methods.resolve, extend=extend)


def _finish(member: Member, protocols: Sequence[str] | None) -> int:
    """Train and evaluate what is not done yet; return the exit code."""
    if _is_done(member, protocols):
        return 0
    code = _ssljax("pretrain", *member.words)
    if code == 0:
        # What was not named is replaced where there are no labels.
        named = ["--protocol", *protocols] if protocols else []
        code = _ssljax("evaluate", str(member.folder), *named)
    return code


def _is_done(member: Member, protocols: Sequence[str] | None) -> bool:
    """Whether the last step was evaluated by all protocols, or by the default ones."""
    from ssljax.runs.folder import RunFolder

    folder = RunFolder(member.folder)
    last = next(reversed(folder.load_metrics([])), {})
    kept = folder.load_evaluation([])
    done = {row.kind for row in kept.rows}
    return (
        last.get("epoch", 0) > member.config.epochs - 1e-6
        and kept.step == last.get("step")
        and (set(protocols) <= done if protocols else bool(done))
    )


def _ssljax(*words: str) -> int:
    # A process of its own: memory and compiled programs end with the run.
    code = subprocess.run([sys.executable, "-m", "ssljax", *words]).returncode
    return 128 - code if code < 0 else code  # as a shell reports a signal


def _compare(members: Sequence[Member], workdir: Path) -> None:
    from ssljax.reports.comparison_page import compare

    begun = [m.folder for m in members if (m.folder / "metrics.jsonl").exists()]
    if begun:
        print()
        print(compare(begun, out=workdir))
        print(f"\n{workdir / 'comparison.html'}")


def _command(member: Member) -> str:
    return shlex.join(["ssljax", "pretrain", *member.words])
