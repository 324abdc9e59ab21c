"""Kernels of many views, held in blocks and only ever multiplied with."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

__all__ = ["BlockKernel", "STORAGES"]

STORAGES = ("float64", "float32", "none")
Kernel = Callable[[Any, Any], Any]


class BlockKernel:
    """The symmetric kernel matrix of some points, as an operator.

    Only blocks on and above the diagonal are computed. They are kept in float64 where
    that fits, else in float32, else computed again for every product. Products are
    always sums in float64, so that the operator is symmetric to their rounding whatever
    the storage; float32 changes the kernel by 6e-8 of each entry.

    Attributes:
        points: inputs, ``[N, ...]``.
        storage: "float64", "float32" or "none".
        products: columns that were multiplied so far.

    >>> points = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    >>> kernel = BlockKernel(lambda a, b: a @ b.T, points, block=2)
    >>> (kernel @ np.eye(3)).tolist()
    [[1.0, 1.0, 0.0], [1.0, 2.0, 2.0], [0.0, 2.0, 4.0]]
    """

    def __init__(
        self,
        kernel: Kernel,
        points: Any,
        *,
        block: int = 2048,
        memory: float = 4e9,
        storage: str | None = None,
    ) -> None:
        """Compute the blocks.

        Args:
            kernel: ``kernel(a, b)`` of points ``[A, ...]`` and ``[B, ...]`` is
                ``[A, B]``. Called with at most ``block`` points on either side.
            points: ``[N, ...]``.
            block: rows and columns of a block.
            memory: bytes for stored blocks, from which the storage follows.
            storage: one of `STORAGES` in its place; None decides by ``memory``.

        Raises:
            ValueError: where a block has another shape, is not finite, or the kernel is
                not symmetric.
        """
        self.points = points
        self.products = 0
        self._kernel, self._block = kernel, block
        size = len(points)
        if storage is None:
            # With the diagonal's blocks, which are stored whole.
            entries = size * (size + min(block, size)) / 2
            fits = [8 * entries <= memory, 4 * entries <= memory, True]
            storage = STORAGES[fits.index(True)]
        self.storage = storage
        self._stored: dict[tuple[int, int], np.ndarray] = {}
        for i, j in self._places():
            # Without storage one block shows whether the kernel fits at all.
            if storage != "none" or i == j == 0:
                found = self._computed(i, j)
                if storage != "none":
                    self._stored[i, j] = found.astype(storage)

    def __len__(self) -> int:
        return len(self.points)

    def __matmul__(self, columns: np.ndarray) -> np.ndarray:
        """Multiply with ``[N]`` or ``[N, columns]``, in float64."""
        self.products += 1 if columns.ndim == 1 else columns.shape[1]
        found = np.zeros(columns.shape)
        for i, j in self._places():
            here, there = self._slice(i), self._slice(j)
            part = self._stored.get((i, j))
            part = self._computed(i, j) if part is None else part.astype(np.float64)
            found[here] += part @ columns[there]
            if i != j:
                found[there] += part.T @ columns[here]
        return found

    def rows(self, points: Any) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the kernel of other points with these, by blocks of columns."""
        for j in range(-(-len(self) // self._block)):
            there = self._slice(j)
            yield there, _checked(self._kernel, points, self.points[there])

    def _places(self) -> Iterator[tuple[int, int]]:
        count = -(-len(self) // self._block)
        return ((i, j) for i in range(count) for j in range(i, count))

    def _slice(self, i: int) -> slice:
        return slice(i * self._block, min((i + 1) * self._block, len(self)))

    def _computed(self, i: int, j: int) -> np.ndarray:
        here, there = self.points[self._slice(i)], self.points[self._slice(j)]
        found = _checked(self._kernel, here, there)
        if i == j:
            gap = np.abs(found - found.T).max()
            if gap > 1e-6 * np.abs(found).max():
                raise ValueError(
                    "the kernel must be symmetric; among the same points it differs "
                    f"from its transpose by {gap:.3g}"
                )
            found = 0.5 * (found + found.T)
        return found


def _checked(kernel: Kernel, a: Any, b: Any) -> np.ndarray:
    """Return one block in float64, and raise for a wrong shape or NaN."""
    found = np.asarray(kernel(a, b), np.float64)
    if found.shape != (len(a), len(b)):
        raise ValueError(
            f"the kernel of {len(a)} and {len(b)} points must be "
            f"[{len(a)}, {len(b)}], got shape {list(found.shape)}"
        )
    # A sum is finite only if all of its terms are.
    if not np.isfinite(found.sum()):
        raise ValueError("the kernel must be finite, got NaN or infinity")
    return found
