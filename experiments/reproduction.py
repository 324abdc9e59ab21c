"""Reproductions of papers: what their scripts share.

A reproduction trains the arms of a paper's experiment with `ssljax.pretrain`, once per
seed, measures every run, and writes one JSON file: the claims of the paper with the
numbers that speak for or against them, the arms with mean and standard deviation over
seeds, the runs, and the stamp of the command. Repeating a command resumes it: a run
that is finished and measured is only read.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax import methods, pretrain
from ssljax.config import Config
from ssljax.config.serialize import to_json
from ssljax.data import Source
from ssljax.data.preprocess import for_evaluation, normalize
from ssljax.evaluation import linear_probe
from ssljax.evaluation.spectrum import rank_measures
from ssljax.models import MLP, Network
from ssljax.recipes import load_recipe
from ssljax.reports.style import plain_numbers, step_axis
from ssljax.runs.checkpoint import Checkpoints
from ssljax.runs.encoder import Restored, restore
from ssljax.runs.environment import Launch
from ssljax.runs.files import write_json
from ssljax.runs.folder import RunFolder
from ssljax.runs.setup import load_split
from ssljax.training import devices

Row = dict[str, Any]
EIGENVALUES = 64
"""How many of an embedding's eigenvalues a record keeps."""


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


def run_or_read(
    config: Config,
    folder: Path,
    measure: Callable[[Path], Row],
    *,
    command: Sequence[str],
) -> Row:
    """Train and measure one run, or read what an earlier call measured.

    Args:
        config: settings of the run.
        folder: run folder; the row is kept beside it, as ``FOLDER.json``.
        measure: takes the run folder and returns numbers.
        command: recorded in the run folder as the command that was run.

    Returns:
        The numbers of ``measure``, with ``config_digest``, ``seconds``, those of
        training and measuring, and ``commit``, that of the code that trained.
    """
    kept, mark = folder.with_name(f"{folder.name}.json"), digest(config)
    row: Row = json.loads(kept.read_text("utf-8")) if kept.is_file() else {}
    if row.get("config_digest") != mark:
        start = time.perf_counter()
        pretrain(config, folder, command=command, quiet=True)
        row = measure(folder) | {"config_digest": mark}
        row["seconds"] = round(time.perf_counter() - start, 1)
        write_json(kept, row)
    launches = RunFolder(folder).load_environment().launches
    return row | {"commit": launches[0].commit}


@partial(jax.jit, static_argnames=("network", "mean", "std", "size"))
def _project(network, variables, images, *, mean, std, size):
    x = normalize(for_evaluation(images, size=size), mean, std)
    return network.apply(variables, x, train=False, method="project")


def embedded(run: Restored, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Return features ``[N, F]`` and projections ``[N, D]`` of images, frozen.

    Args:
        run: from `ssljax.runs.encoder.restore`.
        source: images in memory.
    """
    setup, state = run.setup, run.state
    # Without the predictor all arms are one program, which is compiled once.
    network = Network(setup.network.encoder, setup.network.projector, MLP(()))
    params = {k: v for k, v in state.params.items() if k != "predictor"}
    stats = {k: v for k, v in state.batch_stats.items() if k != "predictor"}
    variables = {"params": params, "batch_stats": stats}
    assert source.images is not None
    size = min(500, source.size)
    parts = [
        _project(
            network,
            variables,
            source.images[start : start + size],
            mean=setup.mean,
            std=setup.std,
            size=setup.view_size,
        )
        for start in range(0, source.size - size + 1, size)
    ]
    h, z = zip(*parts, strict=True)
    return np.concatenate(h), np.concatenate(z)


_rank_measures = jax.jit(rank_measures, static_argnames="top")


def spectra(states: Sequence[Restored]) -> Row:
    """Measure the projections z of the test images at several checkpoints.

    Returns:
        ``steps``, and a list over them of ``rank_z``, the effective rank (entropy of
        the singular values), ``participation_z`` and ``eigenvalues_z``, those of the
        covariance.
    """
    test = load_split(states[-1].config, train=False)
    row: Row = {"steps": [state.step for state in states]}
    found = [_rank_measures(embedded(s, test)[1], top=EIGENVALUES) for s in states]
    row["rank_z"] = [float(one["effective_rank"]) for one in found]
    row["participation_z"] = [float(one["participation_ratio"]) for one in found]
    row["eigenvalues_z"] = [one["eigenvalues"].tolist() for one in found]
    return row


def probes(run: Restored) -> Row:
    """Fit linear probes on a run's features h and projections z.

    Returns:
        ``probe_h``, ``probe_z``: accuracies on the test images in percent; ``rank_h``:
        effective rank of h.
    """
    train, test = (load_split(run.config, train=one) for one in (True, False))
    row: Row = {}
    of_train, of_test = embedded(run, train), embedded(run, test)
    assert train.labels is not None and test.labels is not None
    for name, x, y in zip("hz", of_train, of_test, strict=True):
        fitted = linear_probe(
            x,
            train.labels[: len(x)],
            y,
            test.labels[: len(y)],
            num_classes=train.num_classes or 0,
            l2_grid=(1e-3, 1e-2, 1e-1),
            max_iterations=100,
        )
        row[f"probe_{name}"] = round(100 * fitted.accuracy, 2)
    row["rank_h"] = float(_rank_measures(of_test[0], top=1)["effective_rank"])
    return row


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


def checkpoints(folder: Path) -> list[Restored]:
    """Return a run's states at every checkpoint that it kept, oldest first."""
    last = restore(folder)
    path = RunFolder(folder).checkpoints
    place = devices.replicated(devices.make_mesh(count=1, batch_size=1))
    wanted = devices.abstract(last.state, place)
    kept = Checkpoints(path, keep=1, read_only=True)
    try:
        states = {step: kept.restore_step(step, wanted)[0] for step in kept.steps()}
    finally:
        kept.close()
    return [replace(last, state=state, step=step) for step, state in states.items()]


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
