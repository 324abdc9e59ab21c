"""Stop on a signal with a checkpoint (exit code 75), and on Ctrl-C without fail."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

import jax

# The usual request, SLURM's `--signal=USR1@300`, and a terminal that is closed.
REQUESTS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGUSR1", "SIGHUP")
    if hasattr(signal, name)
)


class Preempted(RuntimeError):
    """The run stopped on a signal and saved its state; the message is one line."""


class Preemption:
    """Context manager that records a request to stop instead of ending the process.

    SIGTERM, SIGUSR1 and SIGHUP are requests. With several processes JAX's own service
    listens for SIGTERM: a signal to any of them reaches all, and they agree on the step
    to stop after. The other two signals are passed on to it.

    Ctrl-C raises `KeyboardInterrupt` as always. Python drops that exception where it
    is raised inside of a destructor or of a library's callback; then `due` raises it
    again.

    >>> with Preemption() as preemption:
    ...     preemption.due(1)
    False
    """

    def __init__(self) -> None:
        self._signal: int | None = None
        self._interrupted = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "Preemption":
        # Python delivers signals to the main thread only.
        if threading.current_thread() is not threading.main_thread():
            return self
        several = jax.process_count() > 1
        for number in REQUESTS:
            # `nohup` and some schedulers ignore SIGHUP on purpose.
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            if not several:
                self._handle(number, self._request)
            elif number != signal.SIGTERM:
                self._handle(number, self._pass_on)
        # A notebook or a shell may have a handler of its own, or ignore the signal.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
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

    @property
    def reason(self) -> str:
        """What stopped the run, in words."""
        if self._signal is None:
            return "stopped on request"
        return f"stopped by {signal.Signals(self._signal).name}"

    def requested(self) -> bool:
        """Return whether this process may stop at once, in the middle of a wait.

        Several processes have to agree on a step first, so there it never may.
        """
        return self._signal is not None

    def due(self, step: int) -> bool:
        """Return whether to stop after this step.

        Every process must call this after every step.

        Raises:
            KeyboardInterrupt: one that was raised before and was lost.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        if jax.process_count() == 1:
            return self.requested()
        from jax.experimental import multihost_utils

        return multihost_utils.reached_preemption_sync_point(step)

    def _handle(self, number: int, handler: Any) -> None:
        self._previous[number] = signal.signal(number, handler)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def _request(self, number: int, frame: FrameType | None) -> None:
        self._signal = number

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
