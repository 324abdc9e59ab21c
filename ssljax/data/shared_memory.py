"""The shared memory through which worker processes hand over their batches.

A container has 64 MB of it unless told otherwise. A worker that writes beyond that is
killed by a bus error, without a message.
"""

import os

from ssljax.data.source import DataError

PLACE = "/dev/shm"


def needed_bytes(batch_bytes: int, *, workers: int) -> int:
    """Return the shared memory that batches in flight take, if reading keeps up.

    Measured with grain 0.2.18 as four batches per worker and three more. A worker
    writes one and has another in its queue, two more wait at the reader's side. The
    three are the one in use, the one being placed and the one placed ahead.

    Args:
        batch_bytes: of one batch of this process.
        workers: number of worker processes; none need no shared memory.

    >>> needed_bytes(10, workers=4)
    190
    >>> needed_bytes(10, workers=0)
    0
    """
    return (4 * workers + 3) * batch_bytes if workers else 0


def free_bytes() -> int | None:
    """Return the free shared memory, None where it is not a file system."""
    try:
        found = os.statvfs(PLACE)
    except (OSError, AttributeError):
        return None
    return found.f_bavail * found.f_frsize


def check_shared_memory(batch_bytes: int, *, workers: int) -> None:
    """Refuse worker processes for whose batches there is not enough shared memory.

    Args:
        batch_bytes: of one batch of this process.
        workers: number of worker processes.

    Raises:
        DataError: if what they need is not free.

    >>> check_shared_memory(2**60, workers=0)
    """
    free, needed = free_bytes(), needed_bytes(batch_bytes, workers=workers)
    if free is None or needed <= free:
        return
    fit = max(0, (free // batch_bytes - 3) // 4)
    raise DataError(
        f"data.workers {workers} need {_mib(needed)} MiB of shared memory, but {PLACE} "
        f"has {_mib(free)} MiB free; start the container with --shm-size "
        f"{_mib(needed)}m, or use --data.workers {fit}"
    )


def _mib(count: int) -> str:
    return str(-(-count // 2**20))
