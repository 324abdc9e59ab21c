"""The order of the examples: the batch of a step is a function of (seed, step).

Nothing about the order is stored: a run that resumes at step k asks for the batches
from step k on, on any number of processes.
"""

from functools import lru_cache

import numpy as np


def steps_per_epoch(size: int, batch_size: int) -> int:
    """Return the number of whole batches per epoch; the incomplete last one is dropped.

    Args:
        size: number of examples, >= 1.
        batch_size: examples per global batch, 1 to ``size``.

    Returns:
        ``size // batch_size``.

    Raises:
        ValueError: if there is not even one whole batch, or a number is not positive.

    >>> steps_per_epoch(10, 4)
    2
    """
    if size < 1 or batch_size < 1:
        raise ValueError(
            f"size and batch_size must be at least 1, got {size} and {batch_size}"
        )
    if batch_size > size:
        raise ValueError(
            f"batch_size {batch_size} exceeds the {size} examples of the data set; "
            f"use a batch_size of at most {size}, or more examples"
        )
    return size // batch_size


def batch_indices(seed: int, step: int, *, size: int, batch_size: int) -> np.ndarray:
    """Return the indices of the global batch at one step.

    Every epoch is a new permutation of ``0..size-1`` cut into whole batches, so an
    example appears at most once per epoch.

    Args:
        seed: seed of the order, >= 0.
        step: step of the run counted from 0.
        size: number of examples.
        batch_size: examples per global batch, at most ``size``.

    Returns:
        int32 ``[batch_size]``.

    Raises:
        ValueError: if ``batch_size > size``, or ``seed`` or ``step`` is negative.

    >>> batch_indices(0, 7, size=10, batch_size=5).shape
    (5,)
    """
    if seed < 0 or step < 0:
        raise ValueError(f"seed and step must be >= 0, got {seed} and {step}")
    epoch, position = divmod(step, steps_per_epoch(size, batch_size))
    start = position * batch_size
    return permutation(seed, epoch, size=size)[start : start + batch_size].copy()


def process_share(
    indices: np.ndarray, *, process_index: int, process_count: int, parts: int = 1
) -> np.ndarray:
    """Return the part of a global batch that one process loads.

    Args:
        indices: global batch, ``[batch, ...]``.
        process_index: this process, 0 to ``process_count - 1``.
        process_count: number of processes; must divide every part.
        parts: number of equal parts that are processed one after the other; the
            processes share each of them.

    Returns:
        ``[batch / process_count, ...]``; of each part, the shares concatenate to it.

    Raises:
        ValueError: if the batch does not divide evenly or the process does not exist.

    >>> process_share(np.arange(6), process_index=1, process_count=3)
    array([2, 3])
    >>> process_share(np.arange(8), process_index=1, process_count=2, parts=2)
    array([2, 3, 6, 7])
    """
    if not 0 <= process_index < process_count:
        raise ValueError(
            f"process_index must be 0 to {process_count - 1}, got {process_index}"
        )
    if len(indices) % (parts * process_count):
        of = "" if parts == 1 else f" in {parts} parts"
        raise ValueError(
            f"batch_size {len(indices)}{of} does not divide over {process_count} "
            f"processes; use a multiple of {parts * process_count}"
        )
    rest = indices.shape[1:]
    mine = indices.reshape(parts, process_count, -1, *rest)[:, process_index]
    return mine.reshape(len(indices) // process_count, *rest)


@lru_cache(maxsize=2)
def permutation(seed: int, epoch: int, *, size: int) -> np.ndarray:
    """Return the order of one epoch: a permutation of ``0..size-1``, int32, read-only.

    It sorts raw Philox words instead of calling ``Generator.permutation``: numpy
    guarantees that the raw stream never changes, but not a Generator's methods, and a
    resumed run must see the same order under a later numpy.

    >>> sorted(permutation(3, 0, size=4).tolist())
    [0, 1, 2, 3]
    """
    # As a key, not as a seed: distinct (seed, epoch) pairs give distinct streams.
    key = np.array([seed, epoch], dtype=np.uint64)
    words = np.random.Philox(key=key).random_raw(size)
    order = np.argsort(words, kind="stable").astype(np.int32)
    order.flags.writeable = False
    return order
