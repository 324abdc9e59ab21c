"""Stop on SIGTERM: finish the step, save, and exit with code 75."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import jax


class Preempted(RuntimeError):
    """The run stopped on SIGTERM and saved its state; the message is one line."""


class Preemption:
    """Context manager that records a SIGTERM instead of ending the process.

    With several processes JAX's own service does this: a signal to any of them reaches
    all, and they agree on the step to stop after.

    >>> with Preemption() as preemption:
    ...     preemption.due(1)
    False
    """

    def __init__(self) -> None:
        self._requested = False
        self._previous: Any = None
        self._listening = False

    def __enter__(self) -> "Preemption":
        # Python delivers signals to the main thread only.
        main = threading.current_thread() is threading.main_thread()
        if jax.process_count() == 1 and main:
            self._previous = signal.signal(signal.SIGTERM, self._request)
            self._listening = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._listening:
            signal.signal(signal.SIGTERM, self._previous or signal.SIG_DFL)
            self._listening = False

    def due(self, step: int) -> bool:
        """Return whether to stop after this step.

        Every process must call this after every step.
        """
        if jax.process_count() == 1:
            return self._requested
        from jax.experimental import multihost_utils

        return multihost_utils.reached_preemption_sync_point(step)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
