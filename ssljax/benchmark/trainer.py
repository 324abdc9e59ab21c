"""A run's own data, step and state, started once and ready to be timed."""

import contextlib
import math
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax

from ssljax.benchmark.flops import matrix_flops
from ssljax.benchmark.images import load_or_imitate
from ssljax.benchmark.operations import Profile, read_trace
from ssljax.benchmark.timing import (
    Compilations,
    Laps,
    step_seconds,
    total_seconds,
)
from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.data import Source
from ssljax.runs.describe import LESS
from ssljax.runs.feed import Feed
from ssljax.runs.setup import prepare
from ssljax.training import devices
from ssljax.training.state import Setup, TrainState, creator
from ssljax.training.step import batch_shapes, train_step


@dataclass(frozen=True)
class Program:
    """What the compiler says about the step, for all devices together."""

    matrix_flops: float
    """Of convolutions and matrix products as written, see `matrix_flops`."""
    xla_flops: float | None
    """XLA's count of all operations of the compiled program."""
    xla_bytes: float | None
    """XLA's count of the bytes that its operations read and write."""
    memory: float | None
    """Bytes per device of arguments, results and temporaries."""
    text: str | None
    """The compiled program, None where the step is not one program of jit."""
    from_cache: bool
    """Whether JAX's compilation cache had it."""


@dataclass
class Trainer:
    """A started run; `seconds` and `end_to_end` train it further."""

    setup: Setup
    source: Source
    synthetic: bool
    """Whether the images are noise, because the data set is not prepared."""
    mesh: Any
    feed: Feed
    step: Any
    state: TrainState
    inputs: tuple[Any, ...]
    """Of the first step, on the devices."""
    program: Program
    done: int = field(default=1)
    """Steps whose inputs have been used."""

    @property
    def config(self) -> Config:
        """The run's settings."""
        return self.setup.config

    @property
    def device_count(self) -> int:
        """Number of devices that share a step."""
        return self.mesh.devices.size

    def seconds(self, steps: int) -> list[float]:
        """Return the times of steps on inputs that are on the devices already."""
        times, self.state = step_seconds(
            self.step, self.state, self.inputs, steps=steps
        )
        return times

    def end_to_end(self, steps: int) -> tuple[float, float]:
        """Return seconds per step with input, and those of them spent waiting."""
        stream = self.feed.inputs(self.done, self.done + steps)
        self.done += steps
        seconds, waited, count, self.state = total_seconds(
            self.step, self.state, stream
        )
        return seconds / count, waited / count

    def peak_memory(self) -> tuple[float | None, str]:
        """Return the peak bytes on the first device, and how they are known."""
        with contextlib.suppress(Exception):  # not every backend has statistics
            stats = self.mesh.devices.flat[0].memory_stats()
            if stats and "peak_bytes_in_use" in stats:
                return float(stats["peak_bytes_in_use"]), "in use, by the device"
        if self.program.memory is not None:
            return self.program.memory, "planned by the compiler: memory_analysis()"
        return None, "neither the device nor the compiler reports it"

    def profile(self, folder: Path, *, steps: int) -> Profile | None:
        """Trace some steps into a folder; return where their time went.

        Args:
            folder: gets the trace, for TensorBoard or Perfetto.
            steps: number of steps.

        Returns:
            None where the step is not one program of jit.
        """
        folder.mkdir(parents=True, exist_ok=True)
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # its events would crowd out the device's
        jax.block_until_ready(self.state)
        jax.profiler.start_trace(folder, profiler_options=options)
        try:
            for _ in range(steps):
                self.state, _ = self.step(self.state, *self.inputs)
            jax.block_until_ready(self.state)
        finally:
            jax.profiler.stop_trace()
        if self.program.text is None:
            return None
        return read_trace(folder, self.program.text, steps=steps)


def start(config: Config, laps: Laps) -> Trainer:
    """Load the images, set up, compile and take the first step.

    Args:
        config: with every default filled in, see `ssljax.methods.resolve`.
        laps: gets the seconds of every part.

    Raises:
        ConfigError: if settings, images and devices do not fit together.
    """
    source, synthetic = load_or_imitate(config, train=True)
    laps.lap("images")
    setup = prepare(config, source)
    laps.lap("setup")
    return start_on(setup, source, laps, synthetic=synthetic)


def start_on(
    setup: Setup,
    source: Source,
    laps: Laps,
    *,
    synthetic: bool = False,
    room: float = math.inf,
) -> Trainer:
    """Compile and take the first step of a run that is set up.

    Args:
        setup: static parts of the run.
        source: the training images.
        laps: gets the seconds of every part.
        synthetic: whether the images are noise.
        room: bytes of a device; a step that is planned with more is not run.

    Raises:
        ConfigError: if images and devices do not fit together, or memory is too small.
    """
    config = setup.config
    mesh = devices.make_mesh(
        count=config.devices.count,
        batch_size=config.batch_size,
        microbatch=config.devices.microbatch,
    )
    state = jax.block_until_ready(
        creator(setup, out_shardings=devices.replicated(mesh))()
    )
    laps.lap("initial state")
    feed = Feed(setup, source, mesh)
    step = feed.compile()
    inputs = jax.block_until_ready(next(iter(feed.inputs(0, 1))))
    laps.lap("first batch")
    program = _compile(setup, step, state, inputs, mesh.devices.size, laps)
    if program.memory is not None and program.memory > room:
        raise ConfigError(
            f"a step needs {program.memory / 2**20:,.0f} MiB on a device, which has "
            f"{room / 2**20:,.0f}; {LESS}"
        )
    state, _ = jax.block_until_ready(step(state, *inputs))
    whole = program.text is not None
    laps.lap("first step" if whole else "compile and first step")
    return Trainer(setup, source, synthetic, mesh, feed, step, state, inputs, program)


def _compile(
    setup: Setup, step: Any, state: Any, inputs: Any, count: int, laps: Laps
) -> Program:
    if not hasattr(step, "trace"):
        # In microbatches, or under pmap; its work is that of the step under jit.
        batch = batch_shapes(setup)
        whole = jax.jit(partial(train_step, setup=setup)).trace(state, batch)
        laps.lap("trace")
        return Program(matrix_flops(whole.jaxpr), None, None, None, None, False)
    with Compilations() as found:
        traced = step.trace(state, *inputs)
        lowered = traced.lower()
        laps.lap("trace")
        # The call of the step then finds this program.
        compiled = lowered.compile()
        laps.lap("compile")
    cost, memory = _first(compiled.cost_analysis()), compiled.memory_analysis()
    total = None
    if memory is not None:
        total = (
            memory.argument_size_in_bytes
            + memory.output_size_in_bytes
            + memory.temp_size_in_bytes
            - memory.alias_size_in_bytes
        )
    flops, moved = cost.get("flops"), cost.get("bytes accessed")
    return Program(
        matrix_flops(traced.jaxpr),
        None if flops is None else flops * count,
        None if moved is None else moved * count,
        total,
        compiled.as_text(),
        found.cached > 0,
    )


def _first(cost: Any) -> dict[str, float]:
    """Return the cost of one device; backends differ in whether they list it."""
    if isinstance(cost, list | tuple):
        cost = cost[0] if cost else None
    return dict(cost or {})
