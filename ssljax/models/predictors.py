"""Closed-form linear predictors, computed from the covariance of the embeddings.

The predictor is a matrix ``W`` that multiplies from the right, ``p = z W``. It is
recomputed at every step from a running covariance, see `update_covariance`. Predictors
that are trained are in `ssljax.models.linear_heads`.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp

from ssljax.losses.numerics import at_least_float32, matmul, require_not_negative
from ssljax.models.top_eigenvalue import largest_eigenvalue, nonzero

CONVENTIONS = ("fmi", "luckmatters")


def direct_predictor(
    covariance: jax.Array,
    *,
    exponent: float = 0.5,
    epsilon: float = 0.0,
    convention: str = "fmi",
) -> jax.Array:
    """Compute the closed-form predictor, a power of the embedding covariance.

    With ``C = U diag(s) U^T`` and ``r = max(s, 0) / max(s)``, the predictor is
    ``W = U diag(lambda) U^T``. Two implementations differ in ``lambda``:

    - "fmi" (fmi-basel/implicit-var-reg): ``(r + epsilon)^exponent``;
    - "luckmatters" (facebookresearch/luckmatters): ``max(r^exponent + epsilon, 1e-4)``,
      except for exponent 1, which is ``C + epsilon I``, neither normalised nor clipped.

    DirectPred is ``exponent=0.5`` (luckmatters' recipe has ``epsilon=0.01``).
    DirectCopy is ``exponent=1, epsilon=0.25``, in "fmi" ``C / |C|_2 + epsilon I``; it
    needs no eigenvectors. In "fmi" half the exponent gives the square root of ``W``.

    Guards: ``C`` is divided by its largest entry and symmetrised before the
    decomposition, so that no scale overflows or underflows. Negative eigenvalues count
    as 0. If all entries are zero or subnormal, all ``r`` are 0 and ``W`` is
    ``lambda(0) I``. Rounding fills a null space, with about 4e-4 for exponent 0.5 in
    float32. NaN and infinity in ``C`` are passed on, so that the loss reports them.

    Args:
        covariance: second moment or covariance ``C`` of the embeddings, ``[D, D]``,
            positive semi-definite up to rounding, see `update_covariance`.
        exponent: power of the eigenvalues, > 0; a number, not an array.
        epsilon: regulariser, >= 0. Under a Euclidean loss ``epsilon > 0`` in "fmi" puts
            all eigenvalues above 1 at isotropy, and the embeddings keep shrinking.
        convention: "fmi" or "luckmatters".

    Returns:
        ``W``, ``[D, D]``, float32 or wider, exactly symmetric. No gradient flows
        through it, because the eigenvectors' gradient is infinite at isotropy.

    Raises:
        ValueError: for a matrix that is not square, an unknown convention, or an
            exponent or epsilon out of its range.

    Source: Tian, Chen and Ganguli, "Understanding self-supervised learning dynamics
    without contrastive pairs", ICML 2021 (DirectPred); Wang et al., "Towards
    demystifying representation learning with non-contrastive self-supervision", 2021
    (DirectCopy); Halvagal, Laborieux and Zenke, "Implicit variance regularization in
    non-contrastive SSL", NeurIPS 2023.

    >>> w = direct_predictor(jnp.diag(jnp.array([8.0, 2.0])))
    >>> [round(float(x), 4) for x in jnp.diagonal(w)]  # sqrt(1), sqrt(1 / 4)
    [1.0, 0.5]
    """
    if convention not in CONVENTIONS:
        raise ValueError(
            f"convention must be one of {', '.join(CONVENTIONS)}, got {convention!r}"
        )
    if not exponent > 0:
        raise ValueError(f"exponent must be positive, got {exponent}")
    require_not_negative("epsilon", epsilon)
    c = jax.lax.stop_gradient(at_least_float32(jnp.asarray(covariance)))
    if c.ndim != 2 or c.shape[0] != c.shape[1]:
        raise ValueError(f"the covariance must be [D, D], got shape {list(c.shape)}")
    identity = jnp.eye(c.shape[0], dtype=c.dtype)
    if exponent == 1 and convention == "luckmatters":
        # Halved before the sum, which could overflow; without the barrier XLA would
        # compute 0.5 (C + C^T) all the same.
        half = jax.lax.optimization_barrier(0.5 * c)
        return jax.lax.stop_gradient(half + half.T + epsilon * identity)

    size = jnp.max(jnp.abs(c))
    # NaN <= x is False, so NaN does not count as zero.
    empty = size <= jnp.finfo(c.dtype).tiny
    c = jnp.where(empty, 0.0, c) / jnp.where(empty, 1.0, size)
    c = 0.5 * (c + c.T)
    if exponent == 1:
        # DirectCopy: no eigenvectors, so none of the cost of `eigh`.
        copied = c / nonzero(largest_eigenvalue(c)) + epsilon * identity
        return jax.lax.stop_gradient(copied)
    s, u = jnp.linalg.eigh(c)
    ratio = jnp.maximum(s, 0.0) / nonzero(s[-1])
    if convention == "fmi":
        eigenvalues = (ratio + epsilon) ** exponent
    else:
        eigenvalues = jnp.maximum(ratio**exponent + epsilon, 1e-4)
    w = matmul(u * eigenvalues[None, :], u.T)
    # The product is symmetric only up to rounding.
    return jax.lax.stop_gradient(0.5 * (w + w.T))


def direct_predictors(
    covariances: Sequence[jax.Array],
    *,
    exponent: float = 0.5,
    epsilon: float = 0.0,
    convention: str = "fmi",
) -> list[jax.Array]:
    """Compute `direct_predictor` of several matrices, on accelerators in one call.

    cuSOLVER and the TPU decompose a batch of matrices in little more time than one
    (see docs/performance.md). On a CPU they follow each other, and DirectCopy, which
    decomposes nothing, takes them one by one everywhere.

    Args:
        covariances: ``[D, D]`` each.
        exponent: as for `direct_predictor`, and so the rest.
        epsilon: regulariser.
        convention: "fmi" or "luckmatters".

    Returns:
        A predictor ``[D, D]`` for each.

    >>> first, second = direct_predictors([jnp.eye(2), jnp.diag(jnp.array([1.0, 4.0]))])
    >>> [round(float(x), 4) for x in jnp.diagonal(second)]
    [0.5, 1.0]
    """
    one = partial(
        direct_predictor, exponent=exponent, epsilon=epsilon, convention=convention
    )

    def in_turn(*each: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(one(c) for c in each)

    def at_once(*each: jax.Array) -> tuple[jax.Array, ...]:
        return tuple(jax.vmap(one)(jnp.stack(each)))

    if exponent == 1 or len(covariances) == 1:
        return list(in_turn(*covariances))
    made = jax.lax.platform_dependent(*covariances, cpu=in_turn, default=at_once)
    return list(made)


def update_covariance(
    previous: jax.Array, z: jax.Array, *, momentum: float, center: bool = False
) -> jax.Array:
    """Update the running second moment of the embeddings, for `direct_predictor`.

    Start from zeros. As in both implementations this start is not corrected for: a
    normalised predictor does not depend on it. The published order is to update first
    and to predict with the result.

    Args:
        previous: the moment so far, ``[D, D]``.
        z: projector outputs of the global batch, ``[N, D]``, any float type.
            implicit-var-reg updates once per view, luckmatters once with both views'
            rows stacked. Under ``pmap`` or ``shard_map`` gather them first.
        momentum: weight of the past, in [0, 1]: 0.998 with a moving target and 0.5
            without (implicit-var-reg), 0.3 (luckmatters).
        center: subtract the batch mean (luckmatters' ``dyn_zero_mean``); off in both.

    Returns:
        ``momentum previous + (1 - momentum) z^T z / N``, ``[D, D]``, float32 or wider.
        No gradient flows through it.

    Raises:
        ValueError: for a batch that is empty or not [N, D], a moment of another width
            or a momentum out of its range.

    Source: Halvagal, Laborieux and Zenke, "Implicit variance regularization in
    non-contrastive SSL", NeurIPS 2023; Tian, Chen and Ganguli, "Understanding
    self-supervised learning dynamics without contrastive pairs", ICML 2021.

    >>> z = jnp.array([[1.0], [3.0]])
    >>> c = update_covariance(jnp.zeros((1, 1)), z, momentum=0.5)
    >>> round(c.item(), 4)  # half of (1 + 9) / 2
    2.5
    """
    previous, z = jnp.asarray(previous), jnp.asarray(z)
    if z.ndim != 2 or min(z.shape) < 1 or previous.shape != (z.shape[1],) * 2:
        raise ValueError(
            "embeddings must be [N, D] and their moment [D, D], "
            f"got {list(z.shape)} and {list(previous.shape)}"
        )
    require_not_negative("momentum", momentum)
    require_not_negative("1 - momentum", 1 - momentum)
    rows, past = (jax.lax.stop_gradient(at_least_float32(x)) for x in (z, previous))
    if center:
        rows = rows - rows.mean(axis=0, keepdims=True)
    # Divided before the product, whose sum of N squares may overflow.
    rows = rows * z.shape[0] ** -0.5
    return momentum * past + (1 - momentum) * matmul(rows.T, rows)
