"""INTL: iterative normalisation with a trace loss, and its form with an EMA teacher."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssljax.losses.asymmetric import negative_cosine
from ssljax.losses.numerics import Embeddings, Number, Scalar, checked_views
from ssljax.losses.spectral_transforms import (
    iterative_normalization,
    observations,
)


def trace_loss(t: Embeddings, *, axis: str = "channel") -> Scalar:
    """Compute the squared distance of an embedding's variances from one.

    On the output of `iterative_normalization` it is smallest where all eigenvalues of
    the embedding are equal: ``n (1 - h_T(1/n))^2``, with n the side of the covariance.

    Args:
        t: transformed embeddings, ``[N, D]``, any float type.
        axis: "batch" takes the variance of every channel over the samples, "channel"
            that of every sample over its channels.

    Returns:
        Scalar, float32 or wider: ``sum_j (variance_j - 1)^2`` over the D channels or
        the N samples, a sum and not a mean; variances over one less than their number.

    Raises:
        ValueError: for other shapes, an unknown axis or fewer than two observations.

    Source: Weng et al., "Modulate your spectrum in self-supervised learning", ICLR
    2024, trace loss.

    >>> float(trace_loss(jnp.zeros((3, 5)), axis="batch"))
    5.0
    """
    x, _ = observations(t, axis)
    variance = jnp.sum(x**2, axis=0) / (x.shape[0] - 1)
    return jnp.sum((variance - 1.0) ** 2)


def intl(
    views: Sequence[Embeddings],
    *,
    iterations: int = 4,
    axis: str = "channel",
    trace_weight: Number | None = None,
) -> Scalar:
    """Compute INTL: agreement of iteratively normalised views, equal eigenvalues.

    Every view is normalised on its own, ``t_v = iterative_normalization(view_v)``, and
    compared with the anchor ``t_0``. Gradients flow through all of them.

    Args:
        views: two or more embeddings ``[N, D]`` of the same samples, any float type;
            the first is the anchor. N must be the global batch.
        iterations: Newton steps of the normalisation, >= 0.
        axis: "batch" or "channel", as in `spectral_transform`.
        trace_weight: weight of the trace loss; None is the paper's
            ``0.01 (log2(n) - 3)``, n = N for axis "channel" and n = D for "batch". That
            is 0 at n = 8 and negative below.

    Returns:
        Scalar, float32 or wider: the mean over the views v >= 1 of
        ``2 - 2 mean_i cos(t_v,i, t_0,i) + trace_weight (trace_v + trace_0)``. A zero
        row counts as cosine 0.

    Raises:
        ValueError: for fewer than two views, other or different shapes, an unknown
            axis, fewer than two samples ("batch") or channels ("channel") or negative
            iterations.

    Source: Weng et al., "Modulate your spectrum in self-supervised learning", ICLR
    2024, INTL.

    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> loss = intl([z, z], iterations=7, axis="batch", trace_weight=1.0)
    >>> round(float(loss), 4)
    0.0
    """
    anchor, *others = checked_views(views)
    weight = _trace_weight(trace_weight, anchor, axis)
    anchor = iterative_normalization(anchor, iterations=iterations, axis=axis)
    loss = weight * trace_loss(anchor, axis=axis)
    return _add_views(loss, anchor, others, weight, iterations, axis)


def intl_ema(
    teacher_view: Embeddings,
    student_views: Sequence[Embeddings],
    *,
    iterations: int = 4,
    axis: str = "channel",
    trace_weight: Number | None = None,
) -> Scalar:
    """Compute INTL with a moving-average teacher as a constant target.

    The teacher's embedding is constant here (no gradient) and has no trace loss; the
    caller computes the moving average of its weights. Not symmetrised: in the paper
    the students never see the teacher's view.

    Args:
        teacher_view: the teacher's embeddings, ``[N, D]``, any float type.
        student_views: one or more embeddings ``[N, D]`` by the student of the same
            samples. N must be the global batch.
        iterations: Newton steps of the normalisation, >= 0.
        axis: "batch" or "channel", as in `spectral_transform`.
        trace_weight: weight of the trace loss; None as in `intl`.

    Returns:
        Scalar, float32 or wider: the mean over the students q_v of
        ``2 - 2 mean_i cos(q_v,i, k_i) + trace_weight trace_v``, with ``q_v`` and ``k``
        the normalised views.

    Raises:
        ValueError: without a student view, for other or different shapes, an unknown
            axis, fewer than two samples ("batch") or channels ("channel") or negative
            iterations.

    Source: Weng et al., "Modulate your spectrum in self-supervised learning", ICLR
    2024, INTL with an exponential moving average and multi-crop.

    >>> z = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    >>> loss = intl_ema(z, [z], iterations=7, axis="batch", trace_weight=1.0)
    >>> round(float(loss), 4)
    0.0
    """
    teacher, *students = checked_views([teacher_view, *student_views])
    weight = _trace_weight(trace_weight, teacher, axis)
    target = iterative_normalization(
        jax.lax.stop_gradient(teacher), iterations=iterations, axis=axis
    )
    loss = jnp.zeros((), target.dtype)
    return _add_views(loss, target, students, weight, iterations, axis)


def _add_views(
    loss: jax.Array,
    target: jax.Array,
    views: Sequence[jax.Array],
    weight: float | jax.Array,
    iterations: int,
    axis: str,
) -> jax.Array:
    """Add the mean over views of their distance to the target and trace loss."""
    for view in views:
        t = iterative_normalization(view, iterations=iterations, axis=axis)
        term = 2.0 + 2.0 * negative_cosine(t, target)
        loss += (term + weight * trace_loss(t, axis=axis)) / len(views)
    return loss


def _trace_weight(
    weight: float | jax.Array | None, view: jax.Array, axis: str
) -> float | jax.Array:
    if weight is not None:
        return weight
    side = view.shape[0] if axis == "channel" else view.shape[1]
    return 0.01 * (math.log2(side) - 3.0)
