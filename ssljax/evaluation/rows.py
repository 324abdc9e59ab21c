"""Spread the rows of a large array over the devices of this process."""

import mmap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

SMALL = 2**26
"""Features of fewer bytes stay on one device: exchanging sums would take longer."""

_BLOCK = 16_384  # rows looked at together on the host


class Rows(NamedTuple):
    """Features and labels on the devices, filled up to a multiple of their number."""

    x: jax.Array
    """``[N', F]``; the rows added are zero."""
    y: jax.Array
    """int32 ``[N']``."""
    used: np.ndarray
    """bool ``[N']``: the rows asked for."""
    real: np.ndarray
    """bool ``[N']``: all rows but those added."""


def mesh_of(devices: Sequence[Any] | None = None) -> Mesh:
    """Return a mesh of one axis, ``rows``, of these or all devices of this process."""
    return Mesh(np.array(devices or jax.local_devices()), ("rows",))


def over_devices(
    x: np.ndarray,
    y: np.ndarray,
    used: np.ndarray,
    *,
    devices: Sequence[Any] | None = None,
) -> Rows:
    """Put rows on the devices, a share on each where there are many bytes of them.

    Args:
        x: features float32 ``[N, F]``.
        y: classes ``[N]``.
        used: bool ``[N]``.
        devices: devices to use; None takes all of this process for large ``x``, and one
            for small.

    >>> rows = over_devices(np.ones((3, 2), np.float32), np.zeros(3), np.ones(3, bool))
    >>> rows.x.shape, rows.used.tolist()
    ((3, 2), [True, True, True])
    """
    if devices is None:
        devices = jax.local_devices()[: 1 if x.nbytes < SMALL else None]
    place = NamedSharding(mesh_of(devices), P("rows"))
    size = len(x) + -len(x) % len(devices)
    real = filled(np.ones(len(x), bool), size)
    labels = filled(y.astype(np.int32), size)
    placed = jax.device_put((filled(x, size), labels), place)
    return Rows(placed[0], placed[1], filled(used, size), real)


def filled(rows: np.ndarray, size: int) -> np.ndarray:
    """Return rows filled up with zeros to ``size``, so that no batch compiles again.

    >>> filled(np.ones((1, 2)), 2).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    rows = np.asarray(rows)
    if len(rows) == size:
        return rows
    return np.pad(rows, [(0, size - len(rows))] + [(0, 0)] * (rows.ndim - 1))


def in_blocks(x: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield blocks of rows with their places, each forgotten before the next.

    Args:
        x: features ``[N, F]`` in memory or mapped from a file.

    >>> [(rows.start, rows.stop) for rows, _ in in_blocks(np.zeros((20_000, 1)))]
    [(0, 16384), (16384, 20000)]
    """
    for rows in blocks(len(x)):
        yield rows, x[rows]
        give_back(x)


def give_back(x: np.ndarray) -> None:
    """Let the system forget what it has read of a mapped file; it reads it again.

    Otherwise all of the file counts as memory of this process until it is short of it.
    """
    found: Any = x
    while isinstance(found, np.ndarray):
        # Of a file opened for writing, changes could be lost.
        if isinstance(found, np.memmap) and found.mode != "r":
            return
        found = found.base
    if isinstance(found, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        found.madvise(mmap.MADV_DONTNEED)


def blocks(count: int) -> list[slice]:
    """Cut rows into blocks, because features may fill half of the memory.

    >>> blocks(20_000)
    [slice(0, 16384, None), slice(16384, 20000, None)]
    """
    return [slice(i, min(i + _BLOCK, count)) for i in range(0, count, _BLOCK)]
