"""Wait for input or for the compiler in such a way that a signal ends the wait.

Python runs signal handlers in the main thread only, between two instructions. So
whatever may block for minutes blocks in another thread, and the main thread looks for
signals.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, TimeoutError
from typing import Any, TypeVar

from ssljax.data.workers import kill_workers

T = TypeVar("T")
_LOOK = 0.1  # seconds between two looks for a signal
_PATIENCE = 3.0  # seconds for workers to finish the batch that they are reading


class Stopped(Exception):
    """The wait was ended by a request to stop."""


def wait_for(future: "Future[T]", stop: Callable[[], bool]) -> T:
    """Return the result of a future, or raise `Stopped` once ``stop()`` is true.

    >>> done: Future[int] = Future()
    >>> done.set_result(3)
    >>> wait_for(done, lambda: False)
    3
    """
    while not stop():
        try:
            return future.result(_LOOK)
        except TimeoutError:
            if future.done():  # then it is the error of the future itself
                raise
    raise Stopped


class Waiting:
    """An iterator whose `next` can be stopped; use as a context manager.

    One item is asked for at a time, so nothing is read that would not be read without.

    Args:
        items: runs in a thread from the first `next` on.
        stop: returns whether to stop waiting.
        ready: whether the items never have to be waited for, so that a thread would
            only cost time.

    >>> with Waiting(iter([1, 2]), lambda: False) as waiting:
    ...     waiting.next(), waiting.next()
    (1, 2)
    """

    def __init__(
        self, items: Iterator[Any], stop: Callable[[], bool], *, ready: bool = False
    ):
        self._items, self._stop = items, stop
        self._asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[Any, Exception | None]] = (
            queue.SimpleQueue()
        )
        # A daemon: a read that never returns must not keep the process.
        self._thread: threading.Thread | None = None
        if not ready:
            self._thread = threading.Thread(
                target=self._serve, name="input", daemon=True
            )
            self._thread.start()

    def __enter__(self) -> "Waiting":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def next(self) -> Any:
        """Return the next item.

        Raises:
            Stopped: a stop was requested, also where the items ended in an error since:
                the signal may have reached what they depend on.
        """
        if self._thread is None:
            return next(self._items)
        self._asked.put(True)
        while not self._stop():
            try:
                item, error = self._answers.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if error is None:
                return item
            if self._stop():
                break
            raise error
        raise Stopped

    def close(self) -> None:
        """Close the iterator; kill worker processes that are still reading."""
        if self._thread is None:
            return
        self._asked.put(False)
        self._thread.join(_PATIENCE)
        if self._thread.is_alive() and kill_workers():
            self._thread.join(_PATIENCE)

    def _serve(self) -> None:
        while self._asked.get():
            try:
                self._answers.put((next(self._items), None))
            except Exception as error:
                self._answers.put((None, error))
        close = getattr(self._items, "close", None)
        if close is not None:
            close()
        # Otherwise the last batches would live on in shared memory.
        del self._items
