"""`ssljax pretrain RECIPE`: train, resume, or print the plan of a run."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Protocol

from ssljax.commands.parse import parse, value_of
from ssljax.config import Config, MethodConfig
from ssljax.config.checks import ConfigError
from ssljax.config.serialize import flatten
from ssljax.recipes import RECIPES, load_recipe

_USAGE = "ssljax pretrain RECIPE --workdir DIR [--KEY VALUE ...] [--dry-run] [--smoke]"


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    if words and words[0] in ("-h", "--help"):
        print(_help_without_recipe())
        return 0
    asked = asked_for(words)
    if asked.dry_run or asked.workdir is None:
        return _dry_run(asked)
    from ssljax.runs.pretrain import pretrain

    run = pretrain(
        asked.config,
        asked.workdir,
        command=["ssljax", "pretrain", *words],
        extend=asked.extend,
    )
    print(f"done: {run.steps} steps, {run.workdir}")
    print(f"next: ssljax evaluate {run.workdir} && ssljax report {run.workdir}")
    return 0


def asked_for(words: list[str]) -> "Asked":
    """Return what the words after ``ssljax pretrain`` ask for, checked.

    Raises:
        ConfigError: the one line for words that cannot be used.
    """
    # The recipe comes first, because the settings depend on it.
    if not words or words[0].startswith("-"):
        raise ConfigError(
            f"the recipe comes first: {_USAGE} (`ssljax list recipes` prints names)"
        )
    recipe = words[0]
    base = with_options(load_recipe(recipe, smoke="--smoke" in words), words)
    asked = _parse(recipe, base, words)
    if asked.workdir is None and not asked.dry_run:
        raise ConfigError("--workdir is not set; name the run folder: --workdir DIR")
    return asked


class Asked(Protocol):
    """What `asked_for` returns."""

    config: Config
    workdir: Path | None
    dry_run: bool
    extend: bool


def _parse(recipe: str, base: Config, words: list[str]) -> Asked:
    import tyro

    @dataclass(frozen=True)
    class Pretrain:
        """Pretrain an encoder, or resume the run in the run folder."""

        recipe: Annotated[str, tyro.conf.Positional]
        """A name from `ssljax list recipes`, or a Python file with a config()."""
        config: Annotated[Config, tyro.conf.arg(name="")]
        workdir: Path | None = None
        """Run folder; rerun the same command to resume from its last checkpoint."""
        dry_run: bool = False
        """Print the settings, steps and memory of the run, and write nothing."""
        smoke: bool = False
        """Shrink the run to minutes on a CPU: tiny network, few images."""
        extend: bool = False
        """Resume with more epochs than planned; the schedules stretch over all."""

    if recipe in RECIPES and {"-h", "--help"} & set(words):
        # Before tyro's text, which would join the lines of this one.
        print(RECIPES[recipe].describe(), end="\n\n")
    return parse(
        Pretrain,
        words,
        command="ssljax pretrain",
        help_command="ssljax pretrain RECIPE --help",
        default=Pretrain(recipe=recipe, config=base),
    )


def with_options(config: Config, words: list[str]) -> Config:
    """Add the method's default options, so that each of them becomes a flag."""
    from ssljax import methods

    name = value_of(words, "--method.name")
    if name is not None and name != config.method.name:
        # Another method: its own heads and options, not the recipe's.
        methods.get(name)
        config = replace(config, method=MethodConfig(name))
    options = methods.get(config.method.name).options | config.method.options
    return replace(config, method=replace(config.method, options=options))


def _dry_run(asked: Asked) -> int:
    from ssljax import methods
    from ssljax.runs.describe import describe
    from ssljax.runs.extending import effect_of_extending
    from ssljax.runs.folder import RunFolder
    from ssljax.runs.setup import load_split, prepare
    from ssljax.runs.writers import check_loggers

    config = methods.resolve(asked.config)
    folder = None if asked.workdir is None else RunFolder(asked.workdir)
    if folder is not None:
        config = folder.continued(config)
    source = load_split(config, train=True)
    setup = prepare(config, source)
    # What the run itself would refuse.
    log = config.log
    check_loggers(folder, tensorboard=log.tensorboard, wandb=log.wandb)
    if folder is not None:
        folder.check_claim(setup.config, fill_gaps=methods.resolve, extend=asked.extend)
    for name, value in flatten(setup.config).items():
        print(f"{name} = {value!r}")
    print()
    for name, value in describe(setup, source):
        print(f"{name:>24}  {value}")
    if folder is not None and folder.config.exists():
        if effect := effect_of_extending(folder, setup):
            print(f"\n{effect}")
    return 0


def _help_without_recipe() -> str:
    """Return the usage, with the names of all recipes by data set."""
    by_dataset: dict[str, list[str]] = {}
    for name in RECIPES:
        dataset, _, method = name.partition("/")
        by_dataset.setdefault(dataset, []).append(method)
    lines = [
        f"usage: {_USAGE}",
        "",
        "Pretrain an encoder, or resume the run in DIR.",
        "",
        "RECIPE is DATASET/METHOD from the list below, `folder` for your own images,",
        "or a Python file with a function config() that returns a Config.",
        "",
        "  --workdir DIR  run folder; rerun the same command to resume",
        "  --dry-run      print the settings, steps and memory, and write nothing",
        "  --smoke        shrink the run to minutes on a CPU",
        "  --extend       resume with more epochs than the run was planned for",
        "",
        "`ssljax pretrain RECIPE --help` lists every setting with its value, and",
        "`ssljax list recipes` the epochs, expected result, time and source of each.",
        "",
    ]
    for dataset, methods in by_dataset.items():
        lines += _wrapped(
            f"{dataset + '/' if methods != [''] else dataset:<13}", methods
        )
    return "\n".join(lines)


def _wrapped(heading: str, words: list[str]) -> list[str]:
    import textwrap

    return textwrap.wrap(
        " ".join(words) or "your own images: --data.path DIR",
        width=80,
        initial_indent=f"  {heading}",
        subsequent_indent=" " * (2 + len(heading)),
    )
