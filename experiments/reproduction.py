"""Reproductions of papers: what their scripts share.

A reproduction trains the arms of a paper's experiment once per seed, with
`ssljax.pretrain` unless it says otherwise, measures every run, and writes one JSON
file: the claims of the paper with the numbers that speak for or against them, the arms
with mean and standard deviation over seeds, the runs, and the stamp of the command.
Repeating a command resumes it: a run that is finished and measured is only read.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from ssljax import methods, pretrain
from ssljax.config import Config
from ssljax.config.serialize import to_json
from ssljax.recipes import load_recipe
from ssljax.reports.style import plain_numbers, step_axis
from ssljax.runs.environment import Launch, this_launch
from ssljax.runs.files import write_json
from ssljax.runs.folder import RunFolder

RESULTS = Path(__file__).resolve().parent / "results"
Row = dict[str, Any]
TOY: Mapping[str, Any] = {
    "data.name": "shapes",
    "data.examples": 64,
    "data.test_examples": 64,
    "data.image_size": 8,
    "model.arch": "resnet_tiny",
    "model.width": 0.125,
    "model.dtype": "float32",
    "epochs": 2.0,
    "batch_size": 32,
    "checkpoint.every_epochs": 1.0,
}
"""Settings of the size that tests run."""
MEASURED_AFTER: Mapping[str, Any] = {
    "probe.enabled": False,
    "monitor.every_epochs": 0.0,
    "checkpoint.keep": 1000,
}
"""Settings of runs whose checkpoints are measured, in one program for all arms."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What distinguishes one size of an experiment from another."""

    settings: dict[str, Any]
    """Flat settings that replace the recipe's, such as ``{"data.examples": 4000}``."""
    seeds: int = 1
    tuned: str = "nothing"
    notes: tuple[str, ...] = ()
    """What the verdicts do not say, written after the runs."""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and the number that decides about it here."""

    claim: str
    measured: str
    """What the number is, in words."""
    value: float
    reproduced_if: str
    verdict: str
    """reproduced, partly or not."""


def judged(
    claim: str, measured: str, value: float, *, full: float, part: float
) -> Claim:
    """Return a claim with its verdict: ``value`` should be at least ``full``.

    Args:
        claim: what the paper says.
        measured: what ``value`` is.
        value: the number measured.
        full: reproduced from here on.
        part: partly reproduced from here on.

    >>> judged("a bird can fly", "metres", 0.5, full=1.0, part=0.1).verdict
    'partly'
    """
    verdict = "reproduced" if value >= full else "partly" if value >= part else "not"
    return Claim(claim, measured, float(value), f"at least {full:g}", verdict)


def replaced(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return a config with settings by their flat names.

    >>> replaced(Config(), {"epochs": 3.0, "data.examples": 10}).data.examples
    10
    """
    for name, value in settings.items():
        section, _, key = name.rpartition(".")
        if section:
            value = replace(getattr(config, section), **{key: value})
        config = replace(config, **{section or key: value})
    return config


def digest(config: Config) -> str:
    """Return twelve hexadecimal digits that identify a complete config."""
    text = to_json(methods.resolve(config))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def pretrained(config: Config, folder: Path, command: Sequence[str]) -> None:
    """Train a run with `ssljax.pretrain`."""
    pretrain(config, folder, command=command, quiet=True)


Train = Callable[[Config, Path, Sequence[str]], None]


def run_or_read(
    config: Config,
    folder: Path,
    measure: Callable[[Path], Row],
    *,
    command: Sequence[str],
    train: Train = pretrained,
) -> Row:
    """Train and measure one run, or read what an earlier call measured.

    Args:
        config: settings of the run.
        folder: run folder; the row is kept beside it, as ``FOLDER.json``.
        measure: takes the run folder and returns numbers.
        command: recorded in the run folder as the command that was run.
        train: trains the run in its folder, as `pretrained` does.

    Returns:
        The numbers of ``measure``, with ``config_digest``, ``seconds``, those of
        training and measuring, and ``commit``, that of the code that trained.
    """
    kept, mark = folder.with_name(f"{folder.name}.json"), digest(config)
    row: Row = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
    if row.get("config_digest") != mark:
        start = time.perf_counter()
        train(config, folder, command)
        row = measure(folder) | {"config_digest": mark}
        row["seconds"] = round(time.perf_counter() - start, 1)
        write_json(kept, row)
    launches = RunFolder(folder).load_environment().launches
    return row | {"commit": launches[0].commit}


def over_seeds(rows: Sequence[Row], keys: Sequence[str], *, by: str) -> list[Row]:
    """Return a row per value of ``by``: mean and standard deviation of each key.

    Standard deviations are those of a sample (divisor n - 1), and None for one seed.

    >>> over_seeds([{"arm": "a", "x": 1.0}, {"arm": "a", "x": 3.0}], ["x"], by="arm")
    [{'arm': 'a', 'seeds': 2, 'x': 2.0, 'x_sd': 1.4142}]
    """
    found = []
    for name in dict.fromkeys(row[by] for row in rows):
        mine = [row for row in rows if row[by] == name]
        summary: Row = {by: name, "seeds": len(mine)}
        for key in keys:
            values = [row[key] for row in mine if row.get(key) is not None]
            if values:
                summary[key] = round(float(np.mean(values)), 4)
                several = len(values) > 1
                sd = round(float(np.std(values, ddof=1)), 4) if several else None
                summary[f"{key}_sd"] = sd
        found.append(summary)
    return found


def mean_curves(curves: Sequence[Row]) -> Row:
    """Return the mean over runs of all lists, at the steps that every run has.

    A run that was stopped has a checkpoint more than the others.

    >>> mean_curves([{"steps": [1, 4], "x": [9.0, 2.0]}, {"steps": [4], "x": [4.0]}])
    {'steps': [4], 'x': [3.0]}
    """
    shared = sorted(set.intersection(*(set(curve["steps"]) for curve in curves)))
    found: Row = {"steps": shared}
    for key in curves[0].keys() - {"steps"}:
        at = [dict(zip(c["steps"], c[key], strict=True)) for c in curves]
        found[key] = np.mean([[one[s] for s in shared] for one in at], axis=0).tolist()
    return found


def write_record(
    path: Path,
    made: Launch,
    *,
    recipe: str,
    settings: Mapping[str, Any],
    claims: Sequence[Claim],
    arms: Sequence[Row],
    runs: Sequence[Row],
    curves: Mapping[str, Any],
    notes: Sequence[str] = (),
) -> None:
    """Write a reproduction's JSON file.

    Args:
        path: the file.
        made: the stamp, taken when the command started.
        recipe: the recipe whose settings the runs replace; they are recorded, so that
            the page of results can say when it has changed since.
        settings: of all runs: size, data set, network, epochs, what was tuned.
        claims: the verdicts.
        arms: means over seeds.
        runs: numbers of every run, with its config's digest; lists are left out.
        curves: lists for the figures, by arm.
        notes: sentences about what the verdicts do not say.
    """
    flat = [
        {key: value for key, value in row.items() if not isinstance(value, list | dict)}
        for row in runs
    ]
    record = {
        "made": asdict(made),
        "configs": {recipe: asdict(methods.resolve(load_recipe(recipe)))},
        "settings": {"recipe": recipe, **settings},
        "claims": [asdict(claim) for claim in claims],
        "arms": list(arms),
        "runs": flat,
        "curves": dict(curves),
        "notes": list(notes),
    }
    write_json(path, record)


def draw_curves(
    axes: Any, curves: Mapping[str, Row], key: str, *, label: str, log: bool = False
) -> None:
    """Draw one line per arm over training steps.

    Args:
        axes: of matplotlib.
        curves: by arm, ``steps`` and lists.
        key: the list to draw.
        label: of the vertical axis.
        log: use a logarithmic axis.
    """
    for index, (arm, curve) in enumerate(curves.items()):
        if key in curve:
            axes.plot(
                curve["steps"],
                curve[key],
                color=f"C{index}",
                label=arm.replace("_", " "),
            )
    axes.set_ylabel(label)
    if log:
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    step_axis(axes)


AnySize = TypeVar("AnySize", bound=Size)


@dataclass(frozen=True, kw_only=True)
class Experiment(Generic[AnySize]):
    """A paper's experiment: its arms, what is measured, and what is claimed."""

    paper: str
    """Name of the record, ``PAPER_SIZE.json``, and of the figure."""
    recipe: str
    sizes: Mapping[str, AnySize]
    arms_of: Callable[[AnySize], Collection[str]]
    config_of: Callable[[str, AnySize, int], Config]
    """Takes an arm, the size and a seed."""
    measure: Callable[[Path], Row]
    """Takes a run folder. ``over_time`` of the row has ``steps`` and lists."""
    keys: Sequence[str]
    """Numbers of a row that are averaged over seeds."""
    line: Callable[[Row], str]
    """What is printed of a row."""
    claims_of: Callable[[Sequence[Row], Sequence[Row], AnySize], list[Claim]]
    """Takes the means over seeds and the rows, both with ``arm``."""
    draw: Callable[[Path, dict[str, Row]], None]
    train: Train = pretrained
    """Trains a run in a folder."""
    averaged: Sequence[str] = ()
    """Lists of a row that are averaged over seeds, beside those of ``over_time``."""


def run_experiment(experiment: Experiment[AnySize], doc: str | None) -> int:
    """Read the command line, train and measure all arms, write record and figure.

    Args:
        experiment: what to run.
        doc: docstring of the script; its first line describes the command.
    """
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--size", choices=list(experiment.sizes), default="cpu")
    parser.add_argument("--arms", nargs="+", help="some of them; the claims need all")
    parser.add_argument("--seeds", type=int, help="runs of each arm")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--json", type=Path, help="the record; by default in results/")
    arguments = parser.parse_args()
    size, out = experiment.sizes[arguments.size], arguments.out
    known = experiment.arms_of(size)
    chosen = arguments.arms or list(known)
    if unknown := set(chosen) - set(known):
        parser.error(f"unknown arms {sorted(unknown)}; allowed: {', '.join(known)}")
    command = ["python", *sys.argv]
    made = this_launch(command)
    rows = []
    width = max(map(len, known))
    for seed in range(arguments.seeds or size.seeds):
        for arm in chosen:
            config = experiment.config_of(arm, size, seed)
            folder = out / f"{arm}_{seed}"
            row = run_or_read(
                config,
                folder,
                experiment.measure,
                command=command,
                train=experiment.train,
            )
            rows.append({"arm": arm, "seed": seed, **row})
            print(
                f"{arm:<{width}} seed {seed}  {experiment.line(row)}  "
                f"{row['seconds']:.0f} s",
                flush=True,
            )
    arms = over_seeds(rows, experiment.keys, by="arm")
    curves: dict[str, Row] = {}
    for arm in chosen:
        mine = [row for row in rows if row["arm"] == arm]
        curves[arm] = mean_curves([row["over_time"] for row in mine])
        for key in experiment.averaged:
            curves[arm][key] = np.mean([row[key] for row in mine], axis=0).tolist()
    complete = set(chosen) == set(known)
    claims = experiment.claims_of(arms, rows, size) if complete else []
    for claim in claims:
        print(f"{claim.verdict:<10} {claim.claim}: {claim.measured} {claim.value:.3g}")
    name = f"{experiment.paper}_{arguments.size}"
    experiment.draw(out / f"{name}.png", curves)
    write_record(
        arguments.json or RESULTS / f"{name}.json",
        made,
        recipe=experiment.recipe,
        settings={"size": arguments.size, "tuned": size.tuned, **size.settings},
        claims=claims,
        arms=arms,
        runs=rows,
        curves=curves,
        notes=size.notes,
    )
    return 0
