"""Checks before a run that take steps: does it fit, and does reading keep pace?"""

import math
import os
import time
from collections.abc import Callable
from dataclasses import replace

import jax

from ssljax.benchmark.table import shown
from ssljax.benchmark.timing import Laps, spread
from ssljax.benchmark.trainer import start_on
from ssljax.config.checks import ConfigError
from ssljax.data import DataError
from ssljax.data.source import MEMORY_LIMIT
from ssljax.runs import errors, processes
from ssljax.runs.feed import Feed
from ssljax.runs.folder import RunFolder
from ssljax.runs.preflight import Preflight
from ssljax.runs.surroundings import neighbours, room_of_a_device
from ssljax.runs.verdicts import Check
from ssljax.runs.waiting import Waiting

ENOUGH = 0.95
"""Part of the step's images per second that reading must reach."""


def check_pace(found: Preflight, *, steps: int) -> None:
    """Compile the step, time it and the reading of images, and add the checks.

    Every process must call this, after checks that all of them passed.

    Args:
        found: of `ssljax.runs.preflight.preflight`; gets the checks.
        steps: number of steps and at least of batches to time.
    """
    setup, source = found.setup, found.source
    assert setup is not None and source is not None, "the checks have passed"
    reads: list[float] = []

    def read() -> str:
        reads.append(read_rate(Feed(setup, source, found.mesh), batches=steps))
        return "batches can be read"

    # Of every process alone, so that none waits in a step for one that cannot read.
    streamed = source.images is None
    able = not streamed or _explained(found, "reading", read)
    if not all(processes.gather(able)):
        return
    # Steps are not fed here, and workers would hold the one batch in shared memory.
    config = setup.config
    alone = replace(setup, config=replace(config, data=replace(config.data, workers=0)))
    room = room_of_a_device()

    def step() -> str:
        laps = Laps("imports")
        trainer = start_on(alone, source, laps, room=room or math.inf)
        seconds.append(spread(trainer.seconds(steps)).median)
        peak, how = trainer.peak_memory()
        how = how.partition(":")[0]
        return f"{shown(peak, 'B')} on a device, {how}" if peak else how

    seconds: list[float] = []
    if not _explained(found, "memory", step):
        return
    slowest = max(processes.gather(seconds[0]))
    rate = config.batch_size / slowest
    text = f"{shown(slowest, 's')}, {shown(rate, 'images/s')}"
    found.checks.append(Check("step", text))
    if streamed:
        needed = rate / jax.process_count()
        workers, cores = config.data.workers, (os.cpu_count() or 1) // neighbours()
        found.checks = [c for c in found.checks if c.name != "reading"]
        small = source.size * math.prod(source.image_shape) <= MEMORY_LIMIT
        found.checks.append(
            judged(reads[0], needed, workers=workers, cores=cores, small=small)
        )


def _explained(found: Preflight, name: str, check: Callable[[], str | Check]) -> bool:
    """Add a check as `Preflight.add` does, and explain what the machine does to it."""

    def explained() -> str | Check:
        try:
            return check()
        except Exception as error:
            line = errors.explain(error, RunFolder("."))
            if line is None or isinstance(error, DataError):
                raise
            raise ConfigError(line.partition(", then rerun")[0]) from error

    return found.add(name, explained)


def read_rate(feed: Feed, *, batches: int) -> float:
    """Return the images per second that this process reads, without any step.

    Workers start together, so that their first batches arrive together. Between the
    first batches of two rounds lies the time of whole rounds.

    Args:
        feed: of a streamed set.
        batches: read at least this many.
    """
    config = feed.setup.config
    rounds = max(1, config.data.workers)
    count = rounds * math.ceil(batches / rounds)
    with Waiting(feed.inputs(0, count + 1), lambda: False) as waiting:
        jax.block_until_ready(waiting.next())
        start = time.perf_counter()
        for _ in range(count):
            jax.block_until_ready(waiting.next())
        seconds = time.perf_counter() - start
    return count * config.batch_size / jax.process_count() / seconds


def judged(
    reads: float, needed: float, *, workers: int, cores: int, small: bool = False
) -> Check:
    """Compare reading with the step, both in images per second and process.

    Args:
        reads: of one process.
        needed: by the step, of one process.
        workers: processes that read.
        cores: of this machine, for one process.
        small: whether the images would fit in memory.

    >>> judged(100.0, 400.0, workers=2, cores=16).fix
    'use --data.workers 8'
    """
    value = f"{shown(reads, 'images/s')}, the step takes {shown(needed, 'images/s')}"
    if reads >= ENOUGH * needed:
        return Check("reading", value)
    value += f": input wait {100 * (1 - reads / needed):.0f} %"
    more = math.ceil(max(1, workers) * needed / reads)
    if small:
        fix = "use --data.store memory"
    elif more <= cores:
        fix = f"use --data.workers {more}"
    else:
        fix = "store smaller copies with `ssljax data prepare NAME --out DIR`"
        if workers < cores:
            fix = f"use --data.workers {cores}, or {fix}"
    return Check("reading", value, "slow", fix)
