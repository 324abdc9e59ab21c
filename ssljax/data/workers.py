"""Processes that read images: deaf to the terminal's signals, gone with their parent.

A signal to the whole process group, as a terminal or a scheduler sends it, is for the
run, which then saves its state. Workers that it ended would break the run first.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator

# Ctrl-C, the request to end, a closed terminal, SLURM's warning before a time limit.
SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")
    if hasattr(signal, name)
)
_NAME = "grain-process-prefetch"  # as grain names its processes


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Hold signals back in this thread, so that processes started here begin deaf.

    A new process takes seconds to reach `prepare_worker`, and inherits the mask of the
    thread that starts it. The process itself still hears signals in its other threads.

    >>> with held_back():
    ...     signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    True
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        # It frees shared memory when all others are dead, so it must outlive a signal.
        # Starting it unblocks two signals, hence it is started before the others.
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def prepare_worker(index: int = 0, count: int = 1) -> None:
    """Ignore signals to the group, and end when the parent does, however it ends.

    Args:
        index: of this worker, which changes nothing.
        count: number of workers, which changes nothing.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # The kernel's own PR_SET_PDEATHSIG would fire when the parent's thread that started
    # this process ends, while the parent lives on.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def kill_workers() -> int:
    """Kill the reading processes of this process, and return how many there were.

    >>> kill_workers()
    0
    """
    found = [
        child
        for child in multiprocessing.active_children()
        if child.name.startswith(_NAME)
    ]
    for child in found:
        child.kill()
    return len(found)
