"""One benchmark from a config to its tables and its JSON record."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from ssljax import methods
from ssljax.benchmark.measure import measure
from ssljax.benchmark.operations import Profile
from ssljax.benchmark.table import Row, as_objects, cells, row
from ssljax.benchmark.timing import Laps
from ssljax.benchmark.trainer import Trainer, start
from ssljax.config import Config
from ssljax.config.serialize import flatten
from ssljax.runs.environment import this_launch

Table = list[tuple[str, ...]]


@dataclass(frozen=True)
class Result:
    """What a benchmark found."""

    title: str
    """Method, encoder, image size and device, in one line."""
    tables: list[tuple[str, Table]]
    """Headings, and rows of cells."""
    record: dict[str, Any]
    """For the JSON file."""


def benchmark(
    config: Config,
    *,
    steps: int,
    against: bool = False,
    profile: Path | None = None,
    threads: int | None = None,
    words: Sequence[str] = (),
) -> Result:
    """Measure a recipe on this machine's devices.

    Args:
        config: the recipe.
        steps: number of steps to time.
        against: run the same work in PyTorch as well.
        profile: folder for a trace of the profiler; None for none.
        threads: CPU threads of PyTorch; None leaves its choice.
        words: the command, for the record of the environment.

    Raises:
        ConfigError: if the settings cannot be used, or PyTorch cannot do the same work.
    """
    laps = Laps("imports")
    config = methods.resolve(config)
    if against:
        from ssljax.benchmark.pytorch import twin

        # Before anything is compiled.
        twin.check_config(config)
    trainer = start(config, laps)
    rows, traced = measure(trainer, laps, steps=steps, profile=profile)
    tables: list[tuple[str, Table]] = [("", list(cells(rows)))]
    record: dict[str, Any] = {"rows": as_objects(rows)}
    if profile is not None:
        found = _profile_rows(traced)
        heading = f"where a step's time goes (trace in {profile})"
        tables.append((heading, list(cells(found))))
        record["operations"] = as_objects(found)
        record["slowest_operations"] = traced.slowest if traced else ()
    if against:
        from ssljax.benchmark.compare import compare

        compared, about = compare(trainer, steps=steps, threads=threads)
        heading = f"against PyTorch {about['torch']}, {about['loss']}"
        tables.append((heading, list(cells(compared))))
        record["against"] = {"rows": as_objects(compared), **about}
    record["config"] = flatten(trainer.config)
    record["environment"] = this_launch(words).as_object()
    return Result(_title(trainer), tables, record)


def _title(trainer: Trainer) -> str:
    config, setup = trainer.config, trainer.setup
    views = " + ".join(map(str, setup.view_sizes))
    device = jax.local_devices()[0].device_kind
    images = "synthetic images" if trainer.synthetic else config.data.name
    return (
        f"{config.method.name}, {config.model.arch} x {config.model.width:g}, "
        f"{config.model.dtype}, batch {config.batch_size}, views {views} px, "
        f"{images}, {trainer.device_count} x {device}"
    )


def _profile_rows(traced: Profile | None) -> list[Row]:
    if traced is None:
        note = "only for devices.engine jit, without devices.microbatch"
        return [row("busy", "device busy", None, "share", note)]
    rows = [
        Row(
            kind,
            kind,
            seconds,
            "s",
            f"{100 * seconds / traced.total:.3g} % of {traced.total * 1e3:.3g} ms",
        )
        for kind, seconds in traced.seconds.items()
    ]
    note = "share of the time in which an operation ran"
    return [*rows, row("busy", "device busy", traced.busy, "share", note)]
