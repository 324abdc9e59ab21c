"""From a small random start to the smallest solution: the linear network as a whole."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_between,
    check_finite,
    check_moment,
    check_positive,
    check_positive_modes,
    check_rank,
    check_rates,
    check_shape,
    check_whole,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.solution import Solution, as_numbers
from ssljax.analytic.stepwise.axes import ordered_axes
from ssljax.analytic.stepwise.modes import aligned_singular_values
from ssljax.analytic.stepwise.symmetric import descending_eigh, scaled_modes
from ssljax.analytic.text import short


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

    def __repr__(self) -> str:
        return short(self)


class ErrorExponents(NamedTuple):
    """Powers of the initial scale with which a prediction's errors vanish."""

    weights: jax.Array
    """Of the largest error of W in time; eigenvalues of C have twice this power."""
    subspace: jax.Array
    """Of the final distance of the learned subspace; norms have twice this power."""

    def __repr__(self) -> str:
        return short(self)


@in_float64
def aligned_start(
    start: ArrayLike, gamma_matrix: ArrayLike, scale: float | jax.Array
) -> AlignedStart:
    """Return the aligned start whose trajectory a small random start follows.

    Every column ``W v_j`` grows at its own rate until the modes before it have
    saturated; what it has along their axes is then frozen while the rest grows on.
    This orthogonalisation in order is a QR decomposition of ``start V``. Columns of
    equal eigenvalues grow and saturate together, along the singular vectors of what is
    left for them: `ordered_axes`.

    Args:
        start: weights at time 0 before scaling, ``[D, M]``, D <= M.
        gamma_matrix: cross moment of the data, ``[M, M]``. Where JAX traces it, as
            `jax.jit` and derivatives in it do, its D largest eigenvalues cannot be
            compared and are taken to be distinct.
        scale: factor on ``start``, > 0; training starts at ``scale * start``.

    Returns:
        Rotation, singular values (``scale * diag(R)`` where the eigenvalues are
        distinct), eigenvalues and eigenvectors.

    Raises:
        ValueError: for other shapes, numbers that are not finite, a cross moment that
            is not symmetric, or a scale that is not positive.

    Source: Simon et al., ICML 2023, result 4.6; equal eigenvalues derived.

    >>> aligned = aligned_start(2.0 * jnp.eye(2), jnp.diag(jnp.array([3.0, 1.0])), 0.5)
    >>> aligned.singular_values.tolist()
    [1.0, 1.0]
    """
    start, moment = _weights_and_moment(start, gamma_matrix, scale, spare=0)
    values, vectors = descending_eigh(moment)
    return _start_along(start, values, vectors, scale)


def _weights_and_moment(
    start: ArrayLike, gamma_matrix: ArrayLike, scale: float | jax.Array, *, spare: int
) -> tuple[jax.Array, jax.Array]:
    """Return weights and a moment with so many more inputs than embedded dimensions."""
    moment = check_moment("gamma_matrix", gamma_matrix)
    start = check_shape("start", start, "D", moment.shape[0])
    check_finite("start", start)
    check_rank(start.shape[0], moment.shape[0] - spare)
    check_positive("scale", scale)
    return start, moment


def _start_along(
    start: jax.Array, gamma: jax.Array, vectors: jax.Array, scale: float | jax.Array
) -> AlignedStart:
    """Return the aligned start, given the cross moment's eigenvectors."""
    axes, sizes, turns = ordered_axes(start @ vectors, gamma)
    return AlignedStart(axes, scale * sizes, gamma[: len(start)], vectors @ turns)


@in_float64
def small_init_prediction(
    start: ArrayLike, gamma_matrix: ArrayLike, scale: float | jax.Array
) -> Solution:
    """Predict the weights of a linear network from a small random start.

    Exact as ``scale`` goes to zero; `error_exponents` says how fast. Small gaps in the
    spectrum make it slow, but equal eigenvalues do not: see `aligned_start`.

    Args:
        start: weights at time 0 before scaling, ``[D, M]``, D <= M.
        gamma_matrix: cross moment of the data, ``[M, M]``; where JAX traces it, its D
            largest eigenvalues are taken to be distinct.
        scale: factor on ``start``, > 0; training starts at ``scale * start``.

    Returns:
        ``solution(t)``: W, ``[times, D, M]``.

    Raises:
        ValueError: see `aligned_start`.

    Source: Simon et al., ICML 2023, result 4.6.

    >>> gamma = jnp.diag(jnp.array([4.0, 1.0]))
    >>> solution = small_init_prediction(jnp.eye(2), gamma, 1e-4)
    >>> solution(jnp.array([1.0, 20.0])).round(4).tolist()
    [[[0.5, 0.0], [0.0, 0.0055]], [[0.5, 0.0], [0.0, 1.0]]]
    """
    start, moment = _weights_and_moment(start, gamma_matrix, scale, spare=0)
    return Solution(
        params={"start": start, "gamma_matrix": moment, **as_numbers({"scale": scale})},
        law=_small_init_law,
        title="weights from a small start",
        quantity="weight",
    )


def _small_init_law(params: dict, t: jax.Array) -> jax.Array:
    gamma, vectors = descending_eigh(params["gamma_matrix"])
    found = _start_along(params["start"], gamma, vectors, params["scale"])
    s = aligned_singular_values(found.singular_values, found.gamma, t)
    return jnp.einsum("dj,tj,mj->tdm", found.rotation, s, found.directions)


@in_float64
def expected_overlap(
    start: ArrayLike, gamma_matrix: ArrayLike, scale: float | jax.Array
) -> jax.Array:
    """Return how much of the learned subspace lies in leading eigenvectors.

    What mode k > d has grown along axis j of the embedding is frozen once mode j has
    saturated, at ``scale R_jk (gamma_j s_j^2)^(-gamma_k / (2 gamma_j))``: small for
    small scales, but not where gamma_k is close to gamma_j or the start's own share
    R_jj happens to be small.

    Args:
        start: weights at time 0 before scaling, ``[D, M]``, D < M.
        gamma_matrix: cross moment of the data, ``[M, M]``, with D positive eigenvalues.
        scale: factor on ``start``, > 0.

    Returns:
        Overlap in [0, 1] as in `subspace_overlap`, to first order in ``1 - overlap``.

    Raises:
        ValueError: see `aligned_start`, and for fewer than D positive eigenvalues.

    Source: derived, from the mechanism of Simon et al., ICML 2023, result 4.6.

    >>> gamma = jnp.diag(jnp.array([1.0, 0.5]))
    >>> float(1.0 - expected_overlap(jnp.ones((1, 2)), gamma, 1e-4)) < 2e-4
    True
    """
    start, moment = _weights_and_moment(start, gamma_matrix, scale, spare=1)
    d = start.shape[0]
    gamma, vectors = descending_eigh(moment)
    check_positive_modes("gamma_matrix", gamma, d)
    found = _start_along(start, gamma, vectors, scale)
    leaked = scale * found.rotation.T @ start @ vectors[:, d:]
    wait = jnp.log(found.gamma * found.singular_values**2)
    growth = jnp.exp(-gamma[None, d:] / (2.0 * found.gamma)[:, None] * wait[:, None])
    defect = jnp.sum(found.gamma[:, None] * (leaked * growth) ** 2) / d
    return jnp.maximum(1.0 - defect, 0.0)


@in_float64
def error_exponents(gamma: ArrayLike, d: int, *, power: float = 0.0) -> ErrorExponents:
    """Return how fast the prediction becomes exact as the start shrinks.

    Args:
        gamma: all eigenvalues of the cross moment, ``[M]``, in any order.
        d: dimension of the embedding, below M, with ``gamma_d > 0``.
        power: of a preconditioner ``Gamma^-power`` on the inputs, which narrows gaps;
            0 to 1.

    Returns:
        The errors vanish as these powers of ``scale``: for the weights ``min_j (1 -
        g_{j+1} / g_j)`` over the d learned modes with the rates ``g = gamma^(1 -
        power)``, for the subspace the term of j = d. Modes that are not positive
        count as zero. Equal ones make them 0, though a block of learned modes that are
        exactly equal costs `small_init_prediction` nothing.

    Raises:
        ValueError: for other shapes, numbers that are not finite, a d that is not 1 to
            M - 1, fewer than d positive eigenvalues, or a power that is not 0 to 1.

    >>> found = error_exponents(jnp.array([1.0, 0.6, 0.3, 0.21, -0.5]), 3)
    >>> round(float(found.weights), 6), round(float(found.subspace), 6)
    (0.3, 0.3)
    """
    gamma = check_rates("gamma", gamma)
    check_rank(check_whole("d", d, 1), gamma.shape[0] - 1)
    check_between("power", power, 0, 1)
    top = jnp.sort(gamma)[::-1][: d + 1]
    check_positive_modes("gamma", top, d)
    rates = jnp.where(top > 0, jnp.where(top > 0, top, 1.0) ** (1.0 - power), 0.0)
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
        a small start. ``||W||_F^2 = sum_{j <= d} 1 / gamma_j``. Derivatives are exact
        where the d eigenvalues are distinct, and those of ``W^T W`` in any case.

    Raises:
        ValueError: for other shapes or fewer than d positive eigenvalues.

    Source: Simon et al., ICML 2023, proposition 4.3.

    >>> w = minimum_norm_solution(jnp.diag(jnp.array([1.0, 4.0, 2.0])), 2)
    >>> round(float((w**2).sum()), 6)  # 1/4 + 1/2
    0.75
    """
    moment = check_moment("gamma_matrix", gamma_matrix)
    check_rank(check_whole("d", d, 1), moment.shape[0])
    check_positive_modes("gamma_matrix", descending_eigh(moment)[0], d)
    return scaled_modes(moment, d, jax.lax.rsqrt)


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
        ValueError: for other shapes, numbers that are not finite, or fewer than d
            positive eigenvalues.

    >>> curvatures(jnp.array([2.0, 1.0]), 2).tolist()
    [16.0, 12.0, 8.0, 0.0]
    """
    gamma = check_rates("gamma", gamma)
    check_rank(check_whole("d", d, 1), gamma.shape[0])
    top = jnp.sort(gamma)[::-1][:d]
    check_positive_modes("gamma", top, d)
    first, second = jnp.triu_indices(d)
    stiff = 4.0 * (top[first] + top[second])
    flat = jnp.zeros(d * gamma.shape[0] - stiff.shape[0])
    return jnp.sort(jnp.concatenate([stiff, flat]))[::-1]
