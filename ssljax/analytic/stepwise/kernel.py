"""What stepwise self-supervised learning converges to for a kernel, and when.

A model that is linear in its parameters, a wide network among them, is its kernel.
Under `losses.linearized_barlow_twins` and from a small start it learns the leading
eigenvectors of the contrastive kernel, one after the other.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.curves import logistic_curve
from ssljax.analytic.inputs import (
    check_at_least,
    check_finite,
    check_positive_modes,
    check_rates,
    check_shape,
    check_spectrum,
    check_symmetric,
    check_whole,
)
from ssljax.analytic.precision import in_float64, known
from ssljax.analytic.solution import Solution
from ssljax.analytic.stepwise.axes import ordered_axes
from ssljax.analytic.stepwise.definite import check_kernel
from ssljax.analytic.stepwise.eigensolver import leading_modes, pair
from ssljax.analytic.stepwise.embedding import KernelEmbedding
from ssljax.analytic.stepwise.symmetric import matrix_root
from ssljax.analytic.text import short

__all__ = [
    "KernelEmbedding",
    "KernelModes",
    "KernelStart",
    "contrastive_kernel",
    "kernel_embedding",
    "kernel_modes",
    "kernel_start",
    "kernel_steps",
]


class KernelModes(NamedTuple):
    """Leading eigenpairs of a contrastive kernel."""

    gamma: jax.Array
    """Eigenvalues, ``[dim]``, descending."""
    coefficients: jax.Array
    """``c``, ``[2n, dim]``: the embedding of x is ``c^T K(all views, x)``; its norm in
    the kernel's Hilbert space is ``1 / gamma_j`` per dimension."""

    def __repr__(self) -> str:
        return short(self)


class KernelStart(NamedTuple):
    """Where a small start lies in the modes that will be learned."""

    gamma: jax.Array
    """Eigenvalues of the contrastive kernel, ``[modes]``, descending."""
    scale: jax.Array
    """``s_j(0)``, the size of mode j at the start, ``[modes]``."""
    rotation: jax.Array
    """``U``, ``[D, modes]``: mode j is learned along column j, so that training ends at
    ``embed(...) @ U.T``."""
    critical_times: jax.Array
    """When the modes' steps happen, learning rate x step, ``[modes]``."""

    def __repr__(self) -> str:
        return short(self)


@in_float64
def contrastive_kernel(k_xx: Any, k_xxp: Any, k_xpxp: Any) -> jax.Array:
    """Return the matrix whose leading eigenvectors self-supervision learns.

    Args:
        k_xx: kernel of the first views among themselves, ``[n, n]``.
        k_xxp: kernel of first (rows) and second views, ``K(X, X')``, ``[n, n]``.
        k_xpxp: kernel of the second views among themselves, ``[n, n]``.

    Returns:
        ``K^(1/2) P K^(1/2)``, ``[2n, 2n]``, with the kernel ``K`` of all 2n views and
        ``P = [[0, I], [I, 0]] / 2n``. Its non-zero eigenvalues are those of the views'
        cross moment in feature space; where K has full rank, n of them are negative.

    Raises:
        ValueError: unless all three are ``[n, n]`` and finite, the first and last
            symmetric, and the kernel of all views has no clearly negative eigenvalue.

    Source: Simon et al., "On the stepwise nature of self-supervised learning", ICML
    2023, section 5.

    >>> one = jnp.eye(1)
    >>> contrastive_kernel(one, one, one).round(6).tolist()  # two equal views
    [[0.5, 0.5], [0.5, 0.5]]
    """
    root = matrix_root(_all_views(k_xx, k_xxp, k_xpxp))
    return root @ pair(root)


@in_float64
def kernel_modes(k_xx: Any, k_xxp: Any, k_xpxp: Any, dim: int) -> KernelModes:
    """Return the contrastive kernel's leading eigenpairs, in view coefficients.

    Args:
        k_xx: ``[n, n]``, as for `contrastive_kernel`.
        k_xxp: ``K(X, X')``, ``[n, n]``.
        k_xpxp: ``[n, n]``.
        dim: number of modes, at most the number of positive eigenvalues.

    Returns:
        The modes. A large kernel is only ever multiplied with, so that n = 2,000 pairs
        take seconds; for kernels that do not fit in memory see `kernel_embedding_of`.
        Derivatives with respect to the kernel are exact for the
        eigenvalues and for ``K c c^T K``, also where some of the ``dim`` eigenvalues
        coincide, and for ``c`` where they are distinct. Modes are only as well defined
        as the gap to the next eigenvalue is wide.

    Raises:
        ValueError: as `contrastive_kernel`, or for fewer than ``dim`` positive
            eigenvalues of the contrastive kernel.

    Source: Simon et al. 2023, proposition 5.1.

    >>> k = jnp.diag(jnp.array([4.0, 2.0]))
    >>> kernel_modes(k, 0.5 * k, k, 2).gamma.round(9).tolist()  # (1 + 0.5) k / (2 * 2)
    [1.5, 0.75]
    """
    kernel = _all_views(k_xx, k_xxp, k_xpxp)
    # No more eigenvalues than pairs can be positive.
    check_at_least("dim", dim, 1, len(kernel) // 2)
    check_whole("dim", dim, 1)
    gamma, c = leading_modes(kernel, dim)
    check_positive_modes("the contrastive kernel", gamma, dim, rounding=1e-13)
    return KernelModes(gamma, c)


@in_float64
def kernel_embedding(k_xx: Any, k_xxp: Any, k_xpxp: Any, dim: int) -> KernelEmbedding:
    """Return the embedding that training from a small start ends at.

    Args:
        k_xx: kernel of the first views among themselves, ``[n, n]``.
        k_xxp: kernel of first (rows) and second views, ``K(X, X')``, ``[n, n]``.
        k_xpxp: kernel of the second views among themselves, ``[n, n]``.
        dim: dimension of the embedding.

    Returns:
        ``embed(k_test_x, k_test_xp)``: embeddings ``[tests, dim]`` of points whose
        kernels with the first and second views are both ``[tests, n]``. On the views
        themselves the cross moment is the identity, at the smallest norm in the
        kernel's Hilbert space. Training ends there up to one rotation of all
        embeddings, for which see `kernel_start`.

    Raises:
        ValueError: as `kernel_modes`, or for other shapes of the test kernels.

    Source: Simon et al. 2023, proposition 5.1; with two equal views, whitened kernel
    PCA.

    >>> k = jnp.diag(jnp.array([4.0, 1.0]))
    >>> embed = kernel_embedding(k, k, k, 1)
    >>> embed(k, k).round(6).tolist()  # the first point alone, of mean square 1
    [[1.414214], [0.0]]
    """
    return KernelEmbedding(kernel_modes(k_xx, k_xxp, k_xpxp, dim).coefficients)


@in_float64
def kernel_start(
    k_xx: Any, k_xxp: Any, k_xpxp: Any, f_x: Any, f_xp: Any
) -> KernelStart:
    """Return each mode's size and direction at a small start, and its time.

    Args:
        k_xx: ``[n, n]``, as for `contrastive_kernel`.
        k_xxp: ``K(X, X')``, ``[n, n]``.
        k_xpxp: ``[n, n]``.
        f_x: embeddings of the first views at the start, ``[n, D]``.
        f_xp: embeddings of the second views at the start, ``[n, D]``.

    Returns:
        The start of the D leading modes, from a QR decomposition: an earlier mode keeps
        the directions of the embedding that it occupies, and a later one has what is
        left. Modes of equal eigenvalues are learned in combinations, whose sizes and
        times these are; ``rotation`` is where they end. Exact in the limit of a small
        start, if the D-th eigenvalue is not also the next one's.

    Raises:
        ValueError: as `kernel_modes`, or unless both embeddings are ``[n, D]``.

    Source: Simon et al. 2023, result 4.6 and proposition 5.1.

    >>> k = jnp.diag(jnp.array([4.0, 2.0]))
    >>> start = kernel_start(k, k, k, 0.1 * k, 0.1 * k)
    >>> start.gamma.round(6).tolist(), start.scale.round(6).tolist()
    ([2.0, 1.0], [0.2, 0.141421])
    """
    first = check_shape("f_x", f_x, len(k_xx), "D")
    second = check_shape("f_xp", f_xp, *first.shape)
    check_finite("f_x", first)
    check_finite("f_xp", second)
    gamma, c = kernel_modes(k_xx, k_xxp, k_xpxp, first.shape[1])
    a = c * jnp.sqrt(gamma)[None, :]
    columns = jnp.concatenate([first, second]).T @ a
    axes, scale, turns = ordered_axes(columns, gamma)
    times = -jnp.log(scale**2 * gamma) / (8.0 * gamma)
    return KernelStart(gamma, scale, axes @ turns.T, times)


@in_float64
def kernel_steps(start: KernelStart) -> Solution:
    """Solve for the eigenvalues of the embeddings' cross moment.

    Args:
        start: what `kernel_start` returns, or any ``gamma`` and ``scale`` in its place.

    Returns:
        ``solution(t)``: eigenvalues, ``[times, modes]``. Their start is ``gamma
        scale^2``.

    Raises:
        ValueError: for other shapes, numbers that are not finite, or a negative scale.

    Source: Simon et al. 2023, proposition 4.1: each mode is a logistic curve,
    ``d lambda / dt = 8 gamma lambda (1 - lambda)``.

    >>> one = jnp.ones(1)
    >>> start = KernelStart(one, 1e-3 * one, jnp.eye(1), one)
    >>> kernel_steps(start)(jnp.array([0.0, 9.0])).round(6).tolist()
    [[1e-06], [1.0]]
    """
    gamma = check_rates("gamma", start.gamma)
    scale = check_spectrum("scale", start.scale, like=gamma)
    return Solution(
        params={"start": gamma * scale**2, "gamma": gamma},
        law=_steps_law,
        title="eigenvalues of the embeddings' cross moment",
    )


def _steps_law(params: dict, t: jax.Array) -> jax.Array:
    rate = 8.0 * params["gamma"][None, :]
    return logistic_curve(params["start"][None, :], t[:, None], rate, -rate)


def _all_views(k_xx: Any, k_xxp: Any, k_xpxp: Any) -> jax.Array:
    """Return the kernel of both views together, symmetric also in rounding."""
    first = check_shape("k_xx", k_xx, "n", "n")
    cross = check_shape("k_xxp", k_xxp, *first.shape)
    second = check_shape("k_xpxp", k_xpxp, *first.shape)
    for name, block in (("k_xx", first), ("k_xxp", cross), ("k_xpxp", second)):
        check_finite(name, block)
    check_symmetric("k_xx", first)
    check_symmetric("k_xpxp", second)
    kernel = jnp.block([[first, cross], [cross.T, second]])
    kernel = 0.5 * (kernel + kernel.T)
    if known(kernel):
        check_kernel("the kernel of all views", np.asarray(kernel))
    return kernel
