"""Stop on SIGTERM with a checkpoint (exit code 75), and on Ctrl-C without fail."""

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

    Ctrl-C raises `KeyboardInterrupt` as always. Python drops that exception where it
    is raised inside of a destructor or of a library's callback; then `due` raises it
    again.

    >>> with Preemption() as preemption:
    ...     preemption.due(1)
    False
    """

    def __init__(self) -> None:
        self._requested = False
        self._interrupted = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Preemption":
        # Python delivers signals to the main thread only.
        main = threading.current_thread() is threading.main_thread()
        if main and jax.process_count() == 1:
            self._handle(signal.SIGTERM, self._request)
        # A notebook or a shell may have a handler of its own, or ignore the signal.
        if main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._handle(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler or signal.SIG_DFL)
        self._previous.clear()

    def due(self, step: int) -> bool:
        """Return whether to stop after this step.

        Every process must call this after every step.

        Raises:
            KeyboardInterrupt: one that was raised before and was lost.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        if jax.process_count() == 1:
            return self._requested
        from jax.experimental import multihost_utils

        return multihost_utils.reached_preemption_sync_point(step)

    def _handle(self, number: int, handler: Any) -> None:
        self._previous[number] = signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def _request(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
