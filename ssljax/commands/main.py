"""The `ssljax` command."""

import contextlib
import difflib
import io
import re
import sys
import traceback
import types
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from ssljax.config import Config, MethodConfig
from ssljax.config.checks import ConfigError, nearest
from ssljax.config.serialize import flatten

BAD_INPUT = 2
FAILED = 1
AGAIN = 75  # EX_TEMPFAIL: the same command goes on from the last checkpoint
# By name, since importing the classes would import JAX for every command.
_STOPPED = {"TrainingFailed": FAILED, "Preempted": AGAIN, "ProcessLost": AGAIN}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; a setting that cannot be used is one line and exit code 2."""
    code = _run(list(sys.argv[1:] if arguments is None else arguments))
    if code and "ssljax.runs.processes" in sys.modules:
        from ssljax.runs import processes

        # The others may hang in a computation that this process has left.
        processes.leave_if_several(code)
    return code


def _run(words: list[str]) -> int:
    try:
        if not words or words[0] in ("-h", "--help"):
            print(_USAGE, end="")
            return 0 if words else BAD_INPUT
        if words[0] == "--version":
            from ssljax import __version__

            print(__version__)
            return 0
        if words[0] not in COMMANDS:
            raise ConfigError(
                f"unknown command {words[0]!r}; allowed: {', '.join(COMMANDS)}"
                f"{nearest(words[0], COMMANDS)}"
            )
        return COMMANDS[words[0]](words[1:]) or 0
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint")
        return 130
    except (ConfigError, ValueError, FileNotFoundError) as error:
        if not _is_ours(error):
            raise
        print(f"ssljax: {error}", file=sys.stderr)
        return BAD_INPUT
    except RuntimeError as error:
        code = _STOPPED.get(type(error).__name__)
        if code is None:
            raise
        print(f"ssljax: {error}", file=sys.stderr)
        return code


def _is_ours(error: Exception) -> bool:
    """Refusals made by this package, not errors from the libraries below it."""
    if isinstance(error, ConfigError):
        return True
    return type(error).__name__ == "DataError" or (
        isinstance(error, FileNotFoundError) and "ssljax" in str(error)
    )


def _pretrain(words: list[str]) -> int:
    import tyro

    recipe = _recipe_argument(words)
    smoke = "--smoke" in words
    base = _resolved(load_recipe(recipe, smoke=smoke), words)

    @dataclass(frozen=True)
    class Pretrain:
        """Pretrain an encoder, or go on where the run folder stopped."""

        recipe: Annotated[str, tyro.conf.Positional]
        """A file of experiments/configs/."""
        config: Annotated[Config, tyro.conf.arg(name="")]
        workdir: Path | None = None
        """Run folder; the same command on the same folder resumes the run."""
        dry_run: bool = False
        """Print what would be done and touch nothing."""
        smoke: bool = False
        """Shrink the run to minutes on a CPU: tiny network, few images."""

    asked = _parse(
        Pretrain,
        words,
        command="ssljax pretrain",
        default=Pretrain(recipe=recipe, config=base),
    )
    if asked.dry_run:
        return _dry_run(asked.config)
    if asked.workdir is None:
        raise ConfigError("--workdir is not set; name the run folder: --workdir DIR")
    if re.match(r"\w+:/", str(asked.workdir)):
        raise ConfigError(
            f"--workdir is {str(asked.workdir)!r}; allowed: a path (mount the bucket)"
        )
    from ssljax.runs.pretrain import pretrain

    run = pretrain(asked.config, asked.workdir, command=["ssljax", "pretrain", *words])
    print(f"done: {run.steps} steps, {run.workdir}")
    print(f"next: ssljax evaluate {run.workdir} && ssljax report {run.workdir}")
    return 0


def _dry_run(config: Config) -> int:
    from ssljax import methods
    from ssljax.runs.describe import describe
    from ssljax.runs.setup import load_split, prepare
    from ssljax.training import devices

    config = methods.resolve(config)
    source = load_split(config, train=True)
    setup = prepare(config, source)
    devices.make_mesh(
        count=config.devices.count,
        batch_size=config.batch_size,
        microbatch=config.devices.microbatch,
    )
    for name, value in flatten(setup.config).items():
        print(f"{name} = {value!r}")
    print()
    for name, value in describe(setup, source):
        print(f"{name:>24}  {value}")
    return 0


@dataclass(frozen=True)
class _Evaluate:
    """Evaluate the frozen encoder of a run, beside two baselines."""

    workdir: Path
    protocol: list[Literal["knn", "linear", "spectrum"]] = field(
        default_factory=lambda: ["knn", "linear"]
    )
    """Which protocols; unlabelled data sets have `spectrum` only."""


def _evaluate(words: list[str]) -> int:
    import tyro

    asked = _parse(_positional(tyro, _Evaluate), words, command="ssljax evaluate")
    from ssljax.runs.evaluate import evaluate

    print(evaluate(asked.workdir, protocols=tuple(asked.protocol)))
    return 0


@dataclass(frozen=True)
class _Report:
    """Write report.html and its figures into a run folder."""

    workdir: Path


def _report(words: list[str]) -> int:
    import tyro

    asked = _parse(_positional(tyro, _Report), words, command="ssljax report")
    from ssljax.reports.report import report

    print(report(asked.workdir))
    return 0


@dataclass(frozen=True)
class _Replay:
    """Run a failed step again and name the gradients that are not finite."""

    workdir: Path


def _replay(words: list[str]) -> int:
    import tyro

    asked = _parse(_positional(tyro, _Replay), words, command="ssljax replay")
    from ssljax.runs.replay import replay

    for name, value in replay(asked.workdir).items():
        print(f"{name} = {value}")
    return 0


@dataclass(frozen=True)
class _DataPrepare:
    """Download a TFDS data set and write it in the form that training reads."""

    name: str
    data_dir: str | None = None


def _data(words: list[str]) -> int:
    import tyro

    from ssljax.data import catalogue as preparation

    if words == ["list"]:
        for entry in preparation.catalogue():
            here = "here" if entry.present else "not here"
            print(
                f"{entry.name:<24} {here:<9} {entry.image_size:<10} "
                f"{entry.classes or '-':>5} classes  {entry.splits}  {entry.how}"
            )
        return 0
    if words[:1] == ["prepare"]:
        asked = _parse(
            _positional(tyro, _DataPrepare), words[1:], command="ssljax data prepare"
        )
        print(preparation.prepare(asked.name, asked.data_dir))
        return 0
    raise ConfigError("ssljax data needs one of: list, prepare NAME")


def _list(words: list[str]) -> int:
    from ssljax.methods import METHODS

    if words != ["methods"]:
        raise ConfigError("ssljax list needs: methods")
    rows = [("name", "family", "loss", "paper")]
    rows += [(n, m.family, m.loss_name, m.paper) for n, m in METHODS.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        cells = (c.ljust(w) for c, w in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
    return 0


def _theory(words: list[str]) -> int:
    from ssljax.commands import theory

    return theory.run(words, _parse)


COMMANDS = {
    "pretrain": _pretrain,
    "evaluate": _evaluate,
    "report": _report,
    "theory": _theory,
    "data": _data,
    "list": _list,
    "replay": _replay,
}

_USAGE = """usage: ssljax COMMAND ...

  pretrain RECIPE --workdir DIR [--KEY VALUE ...] [--dry-run] [--smoke]
  evaluate DIR [--protocol knn linear spectrum]
  report DIR
  theory list | theory NAME [--items N ...] [--out DIR] [--json FILE] | theory all
  data list | data prepare NAME
  list methods
  replay DIR

`ssljax COMMAND --help` lists every setting.
"""


def load_recipe(path: str, *, smoke: bool = False) -> Config:
    """The config of a recipe file: what its ``config()`` (or ``smoke()``) returns.

    Raises:
        ConfigError: no such file, no such function, or a setting that is not allowed.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"no recipe {path!r}; see experiments/configs/")
    module = types.ModuleType("ssljax_recipe")
    module.__file__ = str(file)
    try:
        # Not imported, since that would leave a __pycache__ beside the recipe.
        source = file.read_text("utf-8")
        exec(compile(source, str(file), "exec", dont_inherit=True), vars(module))
        make = getattr(module, "config", None)
        if make is None:
            raise ConfigError(f"{path} has no function config() that returns a Config")
        own_smoke = getattr(module, "smoke", None)
        config = own_smoke() if smoke and own_smoke else make()
    except TypeError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error
    except ConfigError:
        raise
    except Exception as error:
        line = _line_of(error, str(file))
        told = " ".join(str(error).split())
        raise ConfigError(f"{path}{line}: {type(error).__name__}: {told}") from error
    if not isinstance(config, Config):
        raise ConfigError(f"{path}: config() must return a Config, got {config!r}")
    return shrink(config) if smoke and own_smoke is None else config


def shrink(config: Config) -> Config:
    """A recipe at the scale of a CPU: tiny network and heads, few images, minutes."""
    from ssljax import methods

    method = methods.resolve(config).method
    data, augment = config.data, config.augment
    largest = augment.sizes[0] if augment.sizes else augment.size or data.image_size
    if largest is not None and largest > 64:
        # Images of 32 pixels, with room to crop where the recipe leaves some.
        small = lambda side: side and max(8, round(side * 32 / largest))  # noqa: E731
        sizes = augment.sizes and tuple(map(small, augment.sizes))
        data = replace(data, image_size=small(data.image_size))
        augment = replace(augment, size=small(augment.size), sizes=sizes)
    return replace(
        config,
        data=replace(data, examples=4000, test_examples=1000),
        augment=augment,
        model=replace(config.model, arch="resnet_tiny", dtype="float32"),
        method=replace(
            config.method,
            projector=_narrowed(method.projector),
            predictor=_narrowed(method.predictor),
        ),
        monitor=replace(config.monitor, every_epochs=1, knn_k=20, knn_examples=4000),
        optimizer=replace(
            config.optimizer, warmup_epochs=min(config.optimizer.warmup_epochs, 1)
        ),
        epochs=5,
        batch_size=min(config.batch_size, 128),
    )


def _narrowed(layers: str | None, *, widest: int = 256) -> str | None:
    """Layer widths cut down; ``none``, ``classes`` and linear kinds stay."""
    parts = (layers or "none").split("-")
    if not all(part.isdigit() for part in parts):
        return layers
    return "-".join(str(min(int(part), widest)) for part in parts)


def _line_of(error: Exception, file: str) -> str:
    """Where in a recipe an error came from, as `` line 3``."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f" line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    return f" line {lines[-1]}" if lines else ""


def _explain(error: TypeError) -> str:
    match = re.search(r"(\w+)\.__init__\(\) got an unexpected .*'(\w+)'", str(error))
    if not match:
        return str(error)
    from ssljax import config

    known = getattr(config, match[1], Config).__dataclass_fields__
    return f"unknown key {match[2]!r} in {match[1]}{nearest(match[2], known)}"


def _recipe_argument(words: list[str]) -> str:
    """The recipe comes first, because the other options depend on it."""
    if words and words[0] in ("-h", "--help"):
        raise ConfigError(
            "name a recipe first: ssljax pretrain experiments/configs/RECIPE.py --help"
        )
    if not words or words[0].startswith("-"):
        raise ConfigError(
            "the recipe comes first: ssljax pretrain experiments/configs/RECIPE.py "
            "--workdir DIR"
        )
    return words[0]


def _resolved(config: Config, words: list[str]) -> Config:
    """Fill the method's options in, so that each of them is a flag."""
    from ssljax import methods

    name = _value_of(words, "--method.name")
    if name is not None and name != config.method.name:
        # Another method: its own heads and options, not the recipe's.
        methods.get(name)
        config = replace(config, method=MethodConfig(name))
    options = methods.get(config.method.name).options | config.method.options
    return replace(config, method=replace(config.method, options=options))


def _value_of(words: list[str], flag: str) -> str | None:
    found = None  # the last one wins, as it does for the parser
    for position, word in enumerate(words):
        if word == flag and position + 1 < len(words):
            found = words[position + 1]
        elif word.startswith(flag + "="):
            found = word.removeprefix(flag + "=")
    return found


def _positional(tyro: Any, cls: type) -> Any:
    """Arguments without a default are positional."""
    return tyro.conf.PositionalRequiredArgs[cls]


def _parse(
    kind: Any,
    words: list[str],
    *,
    command: str,
    flags: Sequence[str] = ("protocol", "data_dir"),
    **options: Any,
) -> Any:
    """`tyro.cli`, with its boxed complaint folded into one line."""
    import tyro

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=words, prog=command, **options)
    except SystemExit as stop:
        if not stop.code:
            raise
        default = options.get("default")
        flags = [
            f"--{key.removeprefix('config.')}".replace("_", "-")
            for key in (flatten(default) if default else flags)
        ]
        raise ConfigError(_one_line(said.getvalue(), command, words, flags)) from None


def _nearest_flag(flag: str, flags: list[str]) -> str:
    """The nearest flag; one typed without its group may belong to several."""
    if flag in ("True", "False"):
        return "; a switch takes no value: --probe.enabled or --probe.no-enabled"
    if flag.startswith("--no-") and "--" + flag.removeprefix("--no-") in flags:
        group, _, name = flag.removeprefix("--no-").rpartition(".")
        return f"; did you mean '--{group}.no-{name}'?"
    if "." in flag:
        return nearest(flag, flags)
    ends: dict[str, list[str]] = {}
    for known in flags:
        ends.setdefault(known.removeprefix("--").rpartition(".")[2], []).append(known)
    match = difflib.get_close_matches(flag.removeprefix("--"), ends, n=1, cutoff=0.6)
    if not match:
        return nearest(flag, flags)
    return f"; did you mean {' or '.join(map(repr, ends[match[0]]))}?"


def _one_line(boxed: str, command: str, words: list[str], flags: list[str]) -> str:
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
        tail = _nearest_flag(flag.split("=")[0], flags)
        return f"unknown option {flag!r}{tail} ({command} ... --help lists them all)"
    bad = re.search(r"(--[\w.-]+)", text)
    value = _value_of(words, bad[1].rstrip(".'")) if bad else None
    return f"{text}" + (f" (given: {value!r})" if value is not None else "")
