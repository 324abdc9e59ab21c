"""The stepwise embedding of many pairs, from a kernel function instead of a matrix.

`kernel_embedding` takes the kernel of all views as a matrix, which 20,000 pairs make
12.8 GB. Here ARPACK's Arnoldi method, through SciPy, finds the leading eigenvectors of
``P K`` (see `eigensolver`) from products with ``K``, whose blocks are stored in float32
or computed again. It cannot be differentiated or compiled; `kernel_embedding` can.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

from ssljax.analytic.inputs import (
    check_at_least,
    check_choice,
    check_positive,
    check_positive_modes,
)
from ssljax.analytic.precision import being_traced
from ssljax.analytic.stepwise.blocks import STORAGES, BlockKernel, Kernel
from ssljax.analytic.stepwise.definite import check_kernel

__all__ = ["KernelEmbedding", "kernel_embedding_of"]

# Below this share of the largest, an eigenvalue is the storage's rounding.
_ROUNDING = {"float64": 1e-12, "none": 1e-12, "float32": 1e-7}
# Eigenvalues beyond the wanted ones that are computed along.
_SPARE, _RESTARTS = 3, 100
# SciPy's annotations do not cover how either is called.
_operator: Any = LinearOperator
_eigs: Any = eigs


@dataclass(frozen=True)
class KernelEmbedding:
    """An embedding of any points, with how well it solves the eigenvalue problem.

    Called with points ``[tests, ...]`` it returns their embeddings ``[tests, dim]``,
    computed in blocks.
    """

    gamma: np.ndarray
    """Eigenvalues of the contrastive kernel, ``[dim]``, descending."""
    coefficients: np.ndarray
    """``c``, ``[2n, dim]``: the embedding of x is ``c^T K(all views, x)``."""
    views: np.ndarray
    """Embeddings of the first, then of the second views, ``[2n, dim]``."""
    residual: float
    """The largest ``|K P e - gamma e| / (gamma_1 |e|)`` of the embedding's columns."""
    products: int
    """Columns that the kernel was multiplied with."""
    kernel: BlockKernel
    """The kernel of the views; its ``storage`` is how the blocks were kept."""
    block: int

    def __call__(self, x: Any) -> np.ndarray:
        """Embed points ``[tests, ...]`` of the views' shape."""
        x = np.asarray(x)
        if x.ndim == 0 or x.shape[1:] != self.kernel.points.shape[1:]:
            shape = ", ".join(map(str, self.kernel.points.shape[1:]))
            raise ValueError(f"x must be [tests, {shape}], got shape {list(x.shape)}")
        found = np.zeros((len(x), len(self.gamma)))
        with jax.enable_x64(True):
            for start in range(0, len(x), self.block):
                here = slice(start, start + self.block)
                for there, part in self.kernel.rows(x[here]):
                    found[here] += part @ self.coefficients[there]
        return found

    def __repr__(self) -> str:
        return (
            f"KernelEmbedding({len(self.coefficients) // 2} pairs, dim "
            f"{len(self.gamma)}, residual {self.residual:.1e}, {self.products} "
            f"products, storage {self.kernel.storage})"
        )


def kernel_embedding_of(
    kernel: Kernel,
    x: Any,
    x_other: Any,
    dim: int,
    *,
    block: int = 2048,
    memory: float = 4e9,
    storage: str | None = None,
    tolerance: float = 1e-10,
) -> KernelEmbedding:
    """Return the embedding that training from a small start ends at, of many pairs.

    Args:
        kernel: ``kernel(a, b)``, the kernel ``[A, B]`` of float64 points ``[A, ...]``
            and ``[B, ...]``, e.g. ``jax.jit(relu_ntk)``; it runs with x64 on.
        x: first views, ``[n, ...]``.
        x_other: second views, ``[n, ...]``.
        dim: dimension of the embedding.
        block: points on either side of a block.
        memory: bytes for the blocks of the kernel. At n = 20,000 float64 takes 6.7e9
            and float32 half of that.
        storage: "float64", "float32", or "none" for blocks that are computed again for
            each of about 100 products; None takes the first that fits in ``memory``.
        tolerance: of the eigenvalues' Arnoldi iteration.

    Returns:
        The embedding, `kernel_embedding`'s up to signs and the storage's rounding, with
        its residual. On the views themselves the cross moment is the identity.

    Raises:
        ValueError: for shapes that do not fit, a kernel that is not finite, symmetric
            or positive semi-definite or has fewer than ``dim`` positive eigenvalues, an
            iteration that does not settle, or a call inside of a JAX transformation.

    Source: Simon et al. 2023, proposition 5.1; Lehoucq, Sorensen and Yang, "ARPACK
    users' guide", 1998.

    >>> x = np.array([[2.0, 0.0], [0.0, 1.0]])
    >>> embed = kernel_embedding_of(lambda a, b: a @ b.T, x, x, 1)
    >>> embed(x).round(6).tolist()  # the first point alone, of mean square 1
    [[1.414214], [0.0]]
    """
    if being_traced():
        raise ValueError("kernel_embedding_of works on known numbers, not inside jit")
    x, x_other = np.asarray(x), np.asarray(x_other)
    if x.ndim == 0 or x.shape != x_other.shape or len(x) == 0:
        raise ValueError(
            f"x and x_other must both be [n, ...], "
            f"got {list(x.shape)} and {list(x_other.shape)}"
        )
    check_at_least("dim", dim, 1, len(x))
    check_at_least("block", block, 1)
    check_positive("memory", memory)
    check_positive("tolerance", tolerance)
    if storage is not None:
        check_choice("storage", storage, STORAGES)
    points = np.concatenate([x, x_other])
    with jax.enable_x64(True):
        matrix = BlockKernel(
            kernel, points, block=block, memory=memory, storage=storage
        )
        check_kernel("the kernel", matrix)
        gamma, image = _modes(matrix, dim, tolerance)
        # a = P K a / gamma is free of what lies in the null space of the kernel.
        c = _pair(image) / gamma[None, :] ** 1.5
        views = matrix @ c
        error = matrix @ _pair(views) - gamma[None, :] * views
    largest = np.argmax(np.abs(views), axis=0)
    sign = np.sign(views[largest, np.arange(dim)])[None, :]
    lengths = np.linalg.norm(error, axis=0) / np.linalg.norm(views, axis=0)
    residual = float(lengths.max() / gamma[0])
    return KernelEmbedding(
        gamma, sign * c, sign * views, residual, matrix.products, matrix, block
    )


def _modes(
    matrix: BlockKernel, dim: int, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``gamma`` and ``K a`` of the leading eigenvectors of ``P K``."""
    size = len(matrix)
    if size <= 2 * (dim + _SPARE) + 20:
        # A Krylov space would be the whole space.
        gamma, _, image = _ritz(matrix, np.eye(size), dim)
        return gamma, image

    def arnoldi(found: np.ndarray, image: np.ndarray, **options: Any) -> Any:
        def multiply(vector: np.ndarray) -> np.ndarray:
            ahead = _pair(matrix @ vector.ravel())
            # What was found is taken out, in the kernel's inner product.
            return ahead - found @ (image.T @ ahead)

        operator = _operator((size, size), matvec=multiply, dtype=np.float64)
        try:
            values, vectors = _eigs(operator, which="LR", maxiter=_RESTARTS, **options)
        except ArpackNoConvergence:
            raise ValueError(
                f"the {dim} leading eigenvalues did not settle in {matrix.products} "
                "products with the kernel; use another dim or a larger tolerance"
            ) from None
        # P K has real eigenvalues: the kernel's root makes it symmetric.
        return values.real, vectors.real

    rng = np.random.default_rng(0)
    start = rng.normal(size=size)
    none = np.zeros((size, 0))
    _, spanned = arnoldi(none, none, k=dim + _SPARE, tol=tolerance, v0=start)
    gamma, a, image = _ritz(matrix, spanned, dim)
    for _ in range(dim):
        # A Krylov space of one vector may hold only one eigenvector of a repeated
        # eigenvalue. A larger eigenvalue among what is left shows that.
        start = rng.normal(size=size)
        left, _ = arnoldi(a, image, k=1, tol=1e-3, v0=start)
        if left[0] <= (1.0 + 1e-6) * gamma[-1]:
            break
        _, more = arnoldi(a, image, k=dim, tol=tolerance, v0=start)
        gamma, a, image = _ritz(matrix, np.concatenate([a, more], axis=1), dim)
    return gamma, image


def _ritz(
    matrix: BlockKernel, spanned: np.ndarray, dim: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ``gamma``, ``a`` and ``K a`` of the best vectors in a space.

    They are orthonormal in the kernel's inner product, which ARPACK knows nothing of.
    """
    image = matrix @ spanned
    lengths = np.sqrt(np.maximum(np.sum(spanned * image, axis=0), 0.0))
    scale = np.where(lengths > 0, lengths, 1.0)[None, :]
    spanned, image = spanned / scale, image / scale
    inner, axes = np.linalg.eigh(spanned.T @ image)
    # Directions that the kernel does not see are dropped.
    seen = inner > 1e-13 * inner[-1]
    whiten = axes[:, seen] / np.sqrt(inner[seen])[None, :]
    small = image.T @ _pair(image)
    gamma, turn = np.linalg.eigh(whiten.T @ small @ whiten)
    gamma, turn = gamma[::-1][:dim], (whiten @ turn)[:, ::-1][:, :dim]
    rounding = _ROUNDING[matrix.storage]
    found: Any = gamma
    check_positive_modes("the contrastive kernel", found, dim, rounding=rounding)
    return gamma, spanned @ turn, image @ turn


def _pair(views: np.ndarray) -> np.ndarray:
    """Multiply with ``P``: every view's partner, over 2n."""
    half = len(views) // 2
    return np.concatenate([views[half:], views[:half]]) / len(views)
