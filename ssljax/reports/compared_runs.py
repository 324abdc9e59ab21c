"""Read the runs of a comparison, and group those that differ in their seed alone."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssljax.config.checks import ConfigError
from ssljax.config.paths import url_of
from ssljax.config.resuming import INCIDENTAL
from ssljax.config.serialize import flatten
from ssljax.methods import resolve
from ssljax.reports.html import flatten_values
from ssljax.runs import files
from ssljax.runs.folder import RunFolder
from ssljax.runs.records import Evaluation


@dataclass(frozen=True)
class ComparedRun:
    """What a comparison knows of a run.

    Attributes:
        name: the folder as it was given.
        seed: of the run, None if not recorded.
        settings: those that decide the training, by dotted key.
        metrics: the logged records.
        evaluation: the table of ``ssljax evaluate``.
        alarms: how many were raised.
    """

    name: str
    seed: int | None
    settings: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    evaluation: Evaluation
    alarms: int = 0

    @property
    def step(self) -> int | None:
        """The last step that was logged."""
        steps = [record["step"] for record in self.metrics if "step" in record]
        return max(steps, default=None)


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone.

    Attributes:
        label: the method, and the settings that tell it from other groups of it.
        runs: by seed.
        differing: the settings that are not the same in all groups.
    """

    label: str
    runs: tuple[ComparedRun, ...]
    differing: Mapping[str, Any] = field(default_factory=dict)


def read_runs(
    workdirs: Sequence[str | Path], notes: list[str] | None = None
) -> list[ComparedRun]:
    """Read run folders.

    Args:
        workdirs: the folders; one that is named twice counts once.
        notes: receives a sentence about every file that is damaged.

    Raises:
        ConfigError: if there is none, or one holds no run.
    """
    if isinstance(workdirs, str | os.PathLike):
        workdirs = [workdirs]
    found: dict[Path, ComparedRun] = {}
    notes = [] if notes is None else notes
    for workdir in workdirs:
        folder = RunFolder(workdir)
        place = folder.path.resolve()
        if place not in found:
            found[place] = _read(url_of(workdir) or str(workdir), folder, notes)
    if not found:
        raise ConfigError("no run to compare; name one or more run folders")
    return list(found.values())


def _read(name: str, folder: RunFolder, notes: list[str]) -> ComparedRun:
    try:
        settings = flatten(resolve(folder.load_config()))
    except ConfigError:
        # A setting of a newer version must not cost the comparison.
        settings = flatten_values(files.read_object(folder.config, []))
        if not settings:
            raise
    seed = settings.get("seed")
    return ComparedRun(
        name=name,
        seed=seed if isinstance(seed, int) else None,
        settings={
            key: value
            for key, value in settings.items()
            if key != "seed" and not key.startswith(INCIDENTAL)
        },
        metrics=folder.load_metrics(notes),
        evaluation=folder.load_evaluation(notes),
        alarms=len(folder.load_alarms(notes)),
    )


def group_runs(runs: Sequence[ComparedRun]) -> list[Group]:
    """Group runs by everything but the seed, in the order in which they come.

    >>> def run(name, **settings):
    ...     return ComparedRun(name, 0, settings, [], Evaluation())
    >>> groups = group_runs([run("a", x=1), run("b", x=2), run("c", x=1)])
    >>> [(group.label, [run.name for run in group.runs]) for group in groups]
    [('x=1', ['a', 'c']), ('x=2', ['b'])]
    """
    together: dict[str, list[ComparedRun]] = {}
    for run in runs:
        together.setdefault(_identity(run), []).append(run)
    members = [tuple(sorted(g, key=_by_seed)) for g in together.values()]
    differing = [_differing(group[0].settings, members) for group in members]
    labels = _labels([group[0].settings.get("method.name") for group in members])
    named = []
    for group, label, own in zip(members, labels, differing, strict=True):
        # Within one method, what else tells the groups apart.
        same = [g for g, other in zip(members, labels, strict=True) if other == label]
        apart = _differing(group[0].settings, same)
        parts = [label] if label else []
        parts += [
            f"{_last(key, apart)}={_short(value)}" for key, value in apart.items()
        ]
        named.append(Group(", ".join(parts) or "run", group, own))
    return named


def _identity(run: ComparedRun) -> str:
    return repr(sorted((key, repr(value)) for key, value in run.settings.items()))


def _by_seed(run: ComparedRun) -> tuple[bool, int, str]:
    return run.seed is None, run.seed or 0, run.name


def _differing(
    settings: Mapping[str, Any], groups: Sequence[Sequence[ComparedRun]]
) -> dict[str, Any]:
    """Return the settings of one group that are not the same in all groups."""
    others = [group[0].settings for group in groups]
    keys = sorted({key for other in others for key in other})
    return {
        key: settings.get(key)
        for key in keys
        if len({repr(other.get(key)) for other in others}) > 1
    }


def _labels(methods: Sequence[Any]) -> list[str]:
    return ["" if method is None else str(method) for method in methods]


def _last(key: str, among: Mapping[str, Any]) -> str:
    """Return the last part of a key, all of it where two keys end alike."""
    ends = Counter(each.rpartition(".")[2] for each in among)
    last = key.rpartition(".")[2]
    return last if ends[last] == 1 else key


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
