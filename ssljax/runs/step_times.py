"""Time every step without making the loop wait for one."""

import queue
import threading
import time
from typing import Any

import jax
import numpy as np

_PERCENTILES = (50, 90, 99)


class StepTimes:
    """Wait for the results of steps in a thread, and note when each was done.

    The loop queues steps long before they end. A step lasts from when it was queued, or
    the one before it ended, to its own end, so neither input nor monitoring counts.

    >>> times = StepTimes()
    >>> times.add(time.perf_counter(), jax.numpy.ones(2))
    >>> times.close(patience=60)
    >>> sorted(times.take())
    ['step_seconds_p50', 'step_seconds_p90', 'step_seconds_p99']
    >>> times.take()
    {}
    """

    def __init__(self) -> None:
        self._queued: queue.SimpleQueue[tuple[float, Any] | None] = queue.SimpleQueue()
        self._noted = threading.Condition()
        self._seconds: list[float] = []
        self._open = 0  # steps that were added and are not noted yet
        self._thread: threading.Thread | None = None

    def add(self, queued: float, result: Any) -> None:
        """Time a step.

        Args:
            queued: `time.perf_counter` when the step was queued.
            result: arrays that the step computes, such as its metrics.
        """
        if self._thread is None:
            # A daemon: a device that never answers must not keep the process.
            self._thread = threading.Thread(
                target=self._wait, name="step times", daemon=True
            )
            self._thread.start()
        with self._noted:
            self._open += 1
        self._queued.put((queued, result))

    def take(self, patience: float = 1.0) -> dict[str, float]:
        """Return percentiles of the seconds of the steps since the last call.

        Call it when all steps but the newest are done.

        Args:
            patience: seconds to wait at most, until the thread has noted them too.
        """
        with self._noted:
            self._noted.wait_for(lambda: self._open <= 1, patience)
            seconds, self._seconds = self._seconds, []
        if not seconds:
            return {}
        found = np.percentile(seconds, _PERCENTILES).tolist()
        return {
            f"step_seconds_p{percent}": value
            for percent, value in zip(_PERCENTILES, found, strict=True)
        }

    def close(self, patience: float = 1.0) -> None:
        """Wait for the steps that were added, at most ``patience`` seconds."""
        if self._thread is not None:
            self._queued.put(None)
            self._thread.join(patience)

    def _wait(self) -> None:
        last = 0.0
        while (item := self._queued.get()) is not None:
            queued, result = item
            try:
                jax.block_until_ready(result)
                ended = time.perf_counter()
            except Exception:
                ended = None  # the loop meets the same error, and explains it
            del item, result  # else they would live until the next step
            with self._noted:
                self._open -= 1
                if ended is not None:
                    self._seconds.append(ended - max(queued, last))
                    last = ended
                self._noted.notify()
