"""Measure a recipe: the numbers of one benchmark, in the order of its table."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jax

from ssljax.benchmark.ceilings import Ceilings, measure_ceilings
from ssljax.benchmark.images import load_or_imitate
from ssljax.benchmark.operations import Profile
from ssljax.benchmark.table import Row, row
from ssljax.benchmark.timing import Compilations, Laps, Spread, spread
from ssljax.benchmark.trainer import Trainer
from ssljax.runs.monitor import Monitor

_PATIENCE = 60.0  # seconds of a first evaluation above which it is not repeated


@dataclass(frozen=True)
class Speed:
    """Times of steps, and what was compiled while they were measured."""

    step: Spread
    """Seconds on the device, inputs excluded."""
    end_to_end: float
    """Seconds per step from the data set on."""
    waited: float
    """Seconds per step in which the host waited for inputs."""
    recompiles: int


def measure_speed(trainer: Trainer, *, steps: int) -> Speed:
    """Time steps without and with input.

    Args:
        trainer: as from `ssljax.benchmark.trainer.start`.
        steps: number of steps to time, of each kind.
    """
    # The first stream of a data set may compile something small, or start workers.
    trainer.end_to_end(1)
    with Compilations() as found:
        times = trainer.seconds(steps)
        seconds, waited = trainer.end_to_end(steps)
    return Speed(spread(times), seconds, waited, found.count)


def measure(
    trainer: Trainer,
    laps: Laps,
    *,
    steps: int,
    profile: Path | None = None,
    ceilings: bool = True,
) -> tuple[list[Row], Profile | None]:
    """Measure everything about a started run.

    Args:
        trainer: as from `ssljax.benchmark.trainer.start`.
        laps: its start.
        steps: number of steps to time.
        profile: folder for a trace; None for no trace.
        ceilings: measure what the device reaches at best, too.

    Returns:
        The rows of the table, and where the time of a step goes.
    """
    rows = [*_start_rows(trainer, laps)]
    speed = measure_speed(trainer, steps=steps)
    rows += _speed_rows(trainer, speed, steps)
    # Before anything else allocates: this peak is of training.
    peak, how = trainer.peak_memory()
    rows.append(row("peak_memory", "peak memory", peak, "B", how))
    traced = None
    if profile is not None:
        traced = trainer.profile(profile, steps=max(1, min(steps, 5)))
    rows += _monitor_rows(trainer, speed)
    rows += _work_rows(trainer, speed)
    if ceilings:
        device = trainer.mesh.devices.flat[0]
        found = measure_ceilings(trainer.config.model.dtype, device=device)
        rows += _ceiling_rows(trainer, speed, found)
    return rows, traced


def _start_rows(trainer: Trainer, laps: Laps) -> Iterator[Row]:
    parts = ", ".join(f"{name} {value:.1f}" for name, value in laps.parts.items())
    yield row("time_to_first_step", "time to first step", laps.total, "s", parts)
    for name, value in laps.parts.items():
        if name in ("trace", "compile"):
            cached = name == "compile" and trainer.program.from_cache
            note = "from JAX's compilation cache" if cached else ""
            yield row(f"{name}_time", f"{name} time", value, "s", note)
    if hasattr(os, "getloadavg"):
        note = f"processes that want to run, of the last minute; {os.cpu_count()} CPUs"
        yield row(
            "load_average", "load of the machine", os.getloadavg()[0], "ratio", note
        )


def _speed_rows(trainer: Trainer, speed: Speed, steps: int) -> Iterator[Row]:
    config = trainer.config
    batch, step = config.batch_size, speed.step
    resident = "indices sent, images on the device"
    kind = resident if trainer.feed.resident else "images read and sent"
    if trainer.synthetic:
        kind += "; noise, not decoded: the data set is not prepared"
    yield row("step_time", "step time", step, "s", f"{steps} steps, input excluded")
    rates = Spread(batch / step.median, batch / step.high, batch / step.low, steps)
    note = f"batch {batch} on {trainer.device_count} x {_device(trainer)}"
    yield row("images_per_second", "images/s, input excluded", rates, "images/s", note)
    rate = batch / speed.end_to_end
    yield row("images_per_second_end_to_end", "end to end", rate, "images/s", kind)
    share = min(1.0, speed.waited / speed.end_to_end)
    note = "of the host, per step; the device may be busy meanwhile"
    yield row("input_wait", "input wait", share, "share", note)
    count = float(speed.recompiles)
    yield row("recompiles", "recompiles", count, "count", f"in {2 * steps} steps")


def _monitor_rows(trainer: Trainer, speed: Speed) -> Iterator[Row]:
    config, setup = trainer.config, trainer.setup
    settings = config.monitor
    if not settings.every_epochs:
        off = "the monitor is off"
        yield row("panel_time", "spectrum panel", None, "s", off)
        yield row("evaluation_time", "kNN evaluation", None, "s", off)
        return
    test, bank = _evaluation_images(trainer)
    monitor = Monitor(setup, trainer.source, test, trainer.mesh, bank=bank)
    jax.block_until_ready(trainer.state)
    monitor.measure(trainer.state, knn=False)  # compiles
    panel = monitor.measure(trainer.state, knn=False)["monitor_seconds"]
    every = max(1, round(settings.every_epochs * setup.steps_per_epoch))
    share = panel / (panel + every * speed.end_to_end)
    images = min(settings.examples, trainer.source.size)
    yield row("panel_time", "spectrum panel", panel, "s", f"two views of {images}")
    note = f"of training, one panel in {every} steps"
    yield row("panel_share", "panel cost", share, "share", note)
    if test is None:
        note = "no labelled test images"
        yield row("evaluation_time", "kNN evaluation", None, "s", note)
        return
    seconds, accuracy = _knn_seconds(monitor, trainer)
    again = seconds < _PATIENCE
    if accuracy is None:
        note = "kNN is off, or no labels"
        yield row("evaluation_time", "kNN evaluation", None, "s", note)
        return
    if again:
        seconds, _ = _knn_seconds(monitor, trainer)
    images = sum(source.size for source in monitor.knn_sets)
    note = f"{images:,} images" + ("" if again else ", compilation included")
    yield row("evaluation_time", "kNN evaluation", seconds, "s", note)


def _knn_seconds(monitor: Monitor, trainer: Trainer) -> tuple[float, float | None]:
    start = time.perf_counter()
    accuracy = monitor.knn_accuracy(trainer.state)
    return time.perf_counter() - start, accuracy


def _evaluation_images(trainer: Trainer):
    """Return the monitor's test images and its neighbours, as `pretrain` takes them."""
    config, source = trainer.config, trainer.source
    if not config.monitor.knn or not source.labelled:
        return None, None
    test, _ = load_or_imitate(config, train=False, image_shape=source.image_shape)
    bank = None
    if config.data.labelled_split is not None:
        bank, _ = load_or_imitate(config, train=True, labelled=True)
    return test, bank


def _work_rows(trainer: Trainer, speed: Speed) -> Iterator[Row]:
    program, seconds = trainer.program, speed.step.median
    flops = program.matrix_flops
    note = "of convolutions and matrix products"
    yield row("matrix_flops", "FLOPs of a step", flops, "FLOP", note)
    note = "all operations, counted by XLA" if program.xla_flops else _PARTS
    yield row("xla_flops", "FLOPs by XLA", program.xla_flops, "FLOP", note)
    rate = flops / seconds
    yield row("flops_per_second", "achieved FLOP/s", rate, "FLOP/s", "matrix FLOPs")
    moved = program.xla_bytes
    rate = None if moved is None else moved / seconds
    note = "bytes accessed, counted by XLA" if moved else _PARTS
    yield row("bytes_per_second", "achieved bytes/s", rate, "B/s", note)


_PARTS = "only for devices.engine jit, without devices.microbatch"


def _ceiling_rows(trainer: Trainer, speed: Speed, best: Ceilings) -> Iterator[Row]:
    seconds, count = speed.step.median, trainer.device_count
    note = f"measured, {best.dtype} {best.matmul_size} x {best.matmul_size}"
    yield row("matmul_ceiling", "matmul ceiling", best.matmul, "FLOP/s", note)
    share = trainer.program.matrix_flops / seconds / count / best.matmul
    yield row("matmul_share", "share of matmul ceiling", share, "share")
    note = f"measured, {best.copy_bytes / 2**20:.0f} MiB read and written"
    yield row("copy_ceiling", "copy ceiling", best.copy, "B/s", note)
    moved = trainer.program.xla_bytes
    share = None if moved is None else moved / seconds / count / best.copy
    note = "above 100 % where caches serve" if moved else _PARTS
    yield row("copy_share", "share of copy ceiling", share, "share", note)


def _device(trainer: Trainer) -> str:
    return trainer.mesh.devices.flat[0].device_kind
