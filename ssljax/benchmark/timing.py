"""Clocks of a benchmark: laps since the process started, and times of steps."""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

_COMPILED = "/jax/core/compile/backend_compile_duration"
_CACHE_HIT = "/jax/compilation_cache/cache_hits"


@dataclass(frozen=True)
class Spread:
    """Median of repeated measurements, with the tenth and the ninetieth percentile."""

    median: float
    low: float
    high: float
    count: int


def spread(values: Iterable[float]) -> Spread:
    """Return median and spread of measurements.

    Args:
        values: one or more numbers.

    Raises:
        ValueError: if there are none.

    >>> spread(range(11))
    Spread(median=5.0, low=1.0, high=9.0, count=11)
    """
    found = np.asarray(list(values), np.float64)
    if not found.size:
        raise ValueError("no measurement; measure at least one")
    low, median, high = np.percentile(found, (10, 50, 90)).tolist()
    return Spread(median, low, high, found.size)


class Laps:
    """Seconds of one part of a start after another, from the start of the process.

    Args:
        first: name of the part that ends now.
    """

    def __init__(self, first: str):
        self.parts = {first: process_age()}
        self._since = time.perf_counter()

    def lap(self, name: str) -> float:
        """End the part ``name``; return its seconds."""
        now = time.perf_counter()
        self.parts[name] = now - self._since
        self._since = now
        return self.parts[name]

    @property
    def total(self) -> float:
        """Seconds from the start of the process to the end of the last part."""
        return sum(self.parts.values())


def process_age() -> float:
    """Return the seconds since this process started, 0 where the system hides it."""
    try:
        # The name of the program, in brackets, may contain spaces.
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        up = float(Path("/proc/uptime").read_text().split()[0])
        return max(0.0, up - int(fields[19]) / os.sysconf("SC_CLK_TCK"))
    except (OSError, ValueError, IndexError):
        return 0.0


class Compilations:
    """Count the programs that XLA compiles while the context is open.

    >>> with Compilations() as found:
    ...     _ = jax.jit(lambda x: 3 * x)(2.0)
    >>> found.count > 0
    True
    """

    def __init__(self) -> None:
        self.count = self.cached = 0

    def __enter__(self) -> "Compilations":
        jax.monitoring.register_event_duration_secs_listener(self._timed)
        jax.monitoring.register_event_listener(self._seen)
        return self

    def __exit__(self, *error: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._timed)
        jax.monitoring.unregister_event_listener(self._seen)

    def _timed(self, event: str, duration_secs: float, **_: Any) -> None:
        self.count += event == _COMPILED

    def _seen(self, event: str, **_: Any) -> None:
        self.cached += event == _CACHE_HIT


def step_seconds(
    step: Callable[..., Any], state: Any, inputs: Sequence[Any], *, steps: int
) -> tuple[list[float], Any]:
    """Time steps on the same inputs, which are on the device already.

    The next step is queued before the last one is waited for, as in training, so that
    the times are those of the device and contain no gap in which the host prepares.

    Args:
        step: ``step(state, *inputs)``, which returns the next state and the metrics.
        state: the state to start from; donated.
        inputs: the other arguments.
        steps: number of times to return.

    Returns:
        Seconds between the ends of consecutive steps, ``[steps]``, and the state.
    """
    state, last = step(state, *inputs)
    jax.block_until_ready(last)
    # Two steps under way before the first time, or that one would contain a launch.
    state, last = step(state, *inputs)
    ends = []
    for _ in range(steps + 1):
        state, metrics = step(state, *inputs)
        jax.block_until_ready(last)
        ends.append(time.perf_counter())
        last = metrics
    jax.block_until_ready(last)
    return np.diff(ends).tolist(), state


def total_seconds(
    step: Callable[..., Any], state: Any, inputs: Iterable[Sequence[Any]]
) -> tuple[float, float, int, Any]:
    """Time steps on a stream of inputs, without waiting for the device in between.

    The clock starts when the first inputs are there, so that the start of worker
    processes does not count.

    Args:
        step: as for `step_seconds`.
        state: likewise; donated.
        inputs: the arguments of each step.

    Returns:
        Seconds until the last step has ended, seconds of them in which the host waited
        for inputs, the number of steps, and the state.

    Raises:
        ValueError: if there is no input.
    """
    stream = iter(inputs)
    following = next(stream, None)
    if following is None:
        raise ValueError("no inputs to time; pass at least one step's")
    jax.block_until_ready(state)
    steps, waited = 0, 0.0
    start = time.perf_counter()
    while following is not None:
        state, _ = step(state, *following)
        steps += 1
        before = time.perf_counter()
        following = next(stream, None)
        waited += time.perf_counter() - before
    jax.block_until_ready(state)
    return time.perf_counter() - start, waited, steps, state
