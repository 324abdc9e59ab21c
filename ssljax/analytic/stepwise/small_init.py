"""From a small random start to the smallest solution: the linear network as a whole."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_modes,
    check_moment,
    check_positive_modes,
    check_rank,
    check_shape,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.stepwise.axes import ordered_axes
from ssljax.analytic.stepwise.modes import aligned_singular_values
from ssljax.analytic.stepwise.moments import descending_eigh


class AlignedStart(NamedTuple):
    """The aligned start that a small random one behaves like."""

    rotation: jax.Array
    """``[D, D]``, the embedding's axes in their order of learning, in columns."""
    singular_values: jax.Array
    """``[D]``, sizes of the modes at the start."""
    gamma: jax.Array
    """``[D]``, the largest eigenvalues of the cross moment, descending."""
    directions: jax.Array
    """``[M, D]``, their eigenvectors in columns; of equal eigenvalues those that the
    start picks."""


class ErrorExponents(NamedTuple):
    """Powers of the initial scale with which a prediction's errors vanish."""

    weights: jax.Array
    """Of the largest error of W in time; eigenvalues of C have twice this power."""
    subspace: jax.Array
    """Of the final distance of the learned subspace; norms have twice this power."""


@in_float64
def aligned_start(
    w0: ArrayLike, gamma_matrix: ArrayLike, scale: float | jax.Array
) -> AlignedStart:
    """Return the aligned start whose trajectory a small random start follows.

    Every column ``W v_j`` grows at its own rate until the modes before it have
    saturated; what it has along their axes is then frozen while the rest grows on.
    This orthogonalisation in order is a QR decomposition of ``w0 V``. Columns of equal
    eigenvalues grow and saturate together, along the singular vectors of what is left
    for them: `ordered_axes`.

    Args:
        w0: weights before scaling, ``[D, M]``, D <= M.
        gamma_matrix: cross moment of the data, ``[M, M]``; under `jax.jit`, where its
            eigenvalues cannot be compared, it is taken to have distinct ones.
        scale: factor on ``w0``, > 0; the start is ``scale * w0``.

    Returns:
        Rotation, singular values (``scale * diag(R)`` where the eigenvalues are
        distinct), eigenvalues and eigenvectors.

    Raises:
        ValueError: for other shapes or a cross moment that is not symmetric.

    Source: Simon et al., ICML 2023, result 4.6; equal eigenvalues derived.

    >>> start = aligned_start(2.0 * jnp.eye(2), jnp.diag(jnp.array([3.0, 1.0])), 0.5)
    >>> start.singular_values.tolist()
    [1.0, 1.0]
    """
    moment = check_moment("gamma_matrix", gamma_matrix)
    w0 = check_shape("w0", w0, "D", moment.shape[0])
    check_rank(w0.shape[0], moment.shape[0])
    return _start_along(w0, *descending_eigh(moment), scale)


def _start_along(
    w0: jax.Array, gamma: jax.Array, vectors: jax.Array, scale: float | jax.Array
) -> AlignedStart:
    """Return the aligned start, given the cross moment's eigenvectors."""
    axes, sizes, turns = ordered_axes(w0 @ vectors, gamma)
    return AlignedStart(axes, scale * sizes, gamma[: len(w0)], vectors @ turns)


@in_float64
def small_init_prediction(
    w0: ArrayLike, gamma_matrix: ArrayLike, scale: float | jax.Array
) -> Callable[[jax.Array], jax.Array]:
    """Predict the weights of a linear network from a small random start.

    Exact as ``scale`` goes to zero; `error_exponents` says how fast. Small gaps in the
    spectrum make it slow, but equal eigenvalues do not: see `aligned_start`.

    Args:
        w0: weights before scaling, ``[D, M]``, D <= M.
        gamma_matrix: cross moment of the data, ``[M, M]``; under `jax.jit` it is taken
            to have distinct eigenvalues.
        scale: factor on ``w0``, > 0; the start is ``scale * w0``.

    Returns:
        ``solution(t)``: W at times ``t`` (``[times]``, learning rate x step),
        ``[times, D, M]``.

    Raises:
        ValueError: for other shapes or a cross moment that is not symmetric.

    Source: Simon et al., ICML 2023, result 4.6.

    >>> gamma = jnp.diag(jnp.array([4.0, 1.0]))
    >>> solution = small_init_prediction(jnp.eye(2), gamma, 1e-4)
    >>> solution(jnp.array([1.0, 20.0])).round(4).tolist()
    [[[0.5, 0.0], [0.0, 0.0055]], [[0.5, 0.0], [0.0, 1.0]]]
    """
    start = aligned_start(w0, gamma_matrix, scale)

    def solution(t: jax.Array) -> jax.Array:
        s = aligned_singular_values(start.singular_values, start.gamma, t)
        return jnp.einsum("dj,tj,mj->tdm", start.rotation, s, start.directions)

    return solution


@in_float64
def expected_overlap(
    w0: ArrayLike, gamma_matrix: ArrayLike, scale: float | jax.Array
) -> jax.Array:
    """Return how much of the learned subspace lies in leading eigenvectors.

    What mode k > d has grown along axis j of the embedding is frozen once mode j has
    saturated, at ``scale R_jk (gamma_j s_j^2)^(-gamma_k / (2 gamma_j))``: small for
    small scales, but not where gamma_k is close to gamma_j or the start's own share
    R_jj happens to be small.

    Args:
        w0: weights before scaling, ``[D, M]``, D < M.
        gamma_matrix: cross moment of the data, ``[M, M]``, with D positive eigenvalues.
        scale: factor on ``w0``, > 0.

    Returns:
        Overlap in [0, 1] as in `subspace_overlap`, to first order in ``1 - overlap``.

    Raises:
        ValueError: for other shapes or a cross moment that is not symmetric.

    Source: derived, from the mechanism of Simon et al., ICML 2023, result 4.6.

    >>> gamma = jnp.diag(jnp.array([1.0, 0.5]))
    >>> float(1.0 - expected_overlap(jnp.ones((1, 2)), gamma, 1e-4)) < 2e-4
    True
    """
    moment = check_moment("gamma_matrix", gamma_matrix)
    w0 = check_shape("w0", w0, "D", moment.shape[0])
    d = w0.shape[0]
    check_rank(d, moment.shape[0] - 1)
    gamma, vectors = descending_eigh(moment)
    start = _start_along(w0, gamma, vectors, scale)
    leaked = scale * start.rotation.T @ w0 @ vectors[:, d:]
    wait = jnp.log(start.gamma * start.singular_values**2)
    growth = jnp.exp(-gamma[None, d:] / (2.0 * start.gamma)[:, None] * wait[:, None])
    defect = jnp.sum(start.gamma[:, None] * (leaked * growth) ** 2) / d
    return jnp.maximum(1.0 - defect, 0.0)


@in_float64
def error_exponents(gamma: ArrayLike, d: int, *, power: float = 0.0) -> ErrorExponents:
    """Return how fast the prediction becomes exact as the start shrinks.

    Args:
        gamma: all eigenvalues of the cross moment, ``[M]``, in any order.
        d: dimension of the embedding, below M, with ``gamma_d > 0``.
        power: of a preconditioner ``Gamma^-power`` on the inputs, which narrows gaps.

    Returns:
        The errors vanish as these powers of ``scale``: for the weights ``min_j (1 -
        g_{j+1} / g_j)`` over the d learned modes with the rates ``g = gamma^(1 -
        power)``, for the subspace the term of j = d. Modes that are not positive
        count as zero. Equal ones make them 0, though a block of learned modes that are
        exactly equal costs `small_init_prediction` nothing.

    Raises:
        ValueError: for other shapes or a d that is not 1 to M - 1.

    >>> found = error_exponents(jnp.array([1.0, 0.6, 0.3, 0.21, -0.5]), 3)
    >>> round(float(found.weights), 6), round(float(found.subspace), 6)
    (0.3, 0.3)
    """
    gamma = check_modes("gamma", gamma)
    check_rank(d, gamma.shape[0] - 1)
    rates = jnp.maximum(jnp.sort(gamma)[::-1][: d + 1], 0.0) ** (1.0 - power)
    check_positive_modes("gamma", rates, d)
    gaps = 1.0 - rates[1:] / rates[:-1]
    return ErrorExponents(gaps.min(), gaps[-1])


@in_float64
def minimum_norm_solution(gamma_matrix: ArrayLike, d: int) -> jax.Array:
    """Return the weights of least norm among all that bring the loss to zero.

    Args:
        gamma_matrix: cross moment of the data, ``[M, M]``, with at least d positive
            eigenvalues.
        d: dimension of the embedding.

    Returns:
        ``diag(gamma_1..gamma_d)^-1/2 V_d^T``, ``[d, M]``, up to a rotation the end of
        a small start. ``||W||_F^2 = sum_{j <= d} 1 / gamma_j``.

    Raises:
        ValueError: for other shapes or fewer than d positive eigenvalues.

    Source: Simon et al., ICML 2023, proposition 4.3.

    >>> w = minimum_norm_solution(jnp.diag(jnp.array([1.0, 4.0, 2.0])), 2)
    >>> round(float((w**2).sum()), 6)  # 1/4 + 1/2
    0.75
    """
    moment = check_moment("gamma_matrix", gamma_matrix)
    check_rank(d, moment.shape[0])
    gamma, vectors = descending_eigh(moment)
    check_positive_modes("gamma_matrix", gamma, d)
    return vectors[:, :d].T / jnp.sqrt(gamma[:d])[:, None]


@in_float64
def curvatures(gamma: ArrayLike, d: int) -> jax.Array:
    """Return the eigenvalues of the loss's Hessian at the minimum-norm solution.

    The largest, ``8 gamma_1``, makes gradient descent stable below a learning rate of
    ``1 / (4 gamma_1)``.

    Args:
        gamma: all eigenvalues of the cross moment, ``[M]``, in any order.
        d: dimension of the embedding; the d largest must be positive.

    Returns:
        ``[d M]``, descending: ``8 gamma_j``, ``4 (gamma_i + gamma_j)`` once per pair of
        learned modes, and zeros.

    Raises:
        ValueError: for other shapes.

    >>> curvatures(jnp.array([2.0, 1.0]), 2).tolist()
    [16.0, 12.0, 8.0, 0.0]
    """
    gamma = check_modes("gamma", gamma)
    check_rank(d, gamma.shape[0])
    top = jnp.sort(gamma)[::-1][:d]
    first, second = jnp.triu_indices(d)
    stiff = 4.0 * (top[first] + top[second])
    flat = jnp.zeros(d * gamma.shape[0] - stiff.shape[0])
    return jnp.sort(jnp.concatenate([stiff, flat]))[::-1]
