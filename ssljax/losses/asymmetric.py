"""Losses between a prediction and a target, without any repulsion.

The asymmetry around them prevents collapse: predictor, stop-gradient, moving target.
`negative_cosine` and `normalized_mse` contain none of it. Gradients flow through both
arguments, and a method that wants a constant target passes
``jax.lax.stop_gradient(z)``. The other four take the predictor as a constant matrix
that multiplies from the right, and contain the stop-gradients that define them.
"""

import jax
import jax.numpy as jnp

from ssljax.losses.numerics import (
    Embeddings,
    Predictor,
    Scalar,
    at_least_float32,
    l2_normalize,
    matmul,
    paired,
)

_EPS = 1e-12  # smallest squared norm that a prediction is divided by


def negative_cosine(p: Embeddings, z: Embeddings) -> Scalar:
    """Compute SimSiam's loss, minus the mean cosine of prediction and target.

    Args:
        p: predictions, ``[N, D]``, any float type.
        z: targets, ``[N, D]``; row i belongs to ``p[i]``. Gradients flow through it:
            the stop-gradient is the caller's.

    Returns:
        Scalar, float32 or wider, in [-1, 1]: ``-mean_i cos(p_i, z_i)``. One direction;
        SimSiam averages two. A zero row counts as cosine 0.

    Raises:
        ValueError: if the shapes are not equal and [N, D].

    Source: Chen and He, "Exploring simple Siamese representation learning", CVPR 2021,
    equation 1.

    >>> negative_cosine(jnp.array([[3.0, 0.0]]), jnp.array([[4.0, 0.0]])).item()
    -1.0
    """
    p, z = paired(p, z, least=1)
    return -jnp.mean(jnp.sum(l2_normalize(p) * l2_normalize(z), axis=1))


def normalized_mse(p: Embeddings, z: Embeddings) -> Scalar:
    """Compute BYOL's loss, the squared distance of normalised prediction and target.

    Args:
        p: predictions, ``[N, D]``, any float type.
        z: targets, ``[N, D]``; row i belongs to ``p[i]``. Gradients flow through it:
            the stop-gradient is the caller's.

    Returns:
        Scalar, float32 or wider, in [0, 4]: ``mean_i |p_i/|p_i| - z_i/|z_i||^2``, which
        is ``2 - 2 cos``. One direction; BYOL sums two. The norms are
        ``sqrt(max(|p_i|^2, 1e-12))``, so that a zero row stays at the origin, at
        distance 1 from the sphere.

    Raises:
        ValueError: if the shapes are not equal and [N, D].

    Source: Grill et al., "Bootstrap your own latent", NeurIPS 2020, equation 2.

    >>> normalized_mse(jnp.array([[3.0, 0.0]]), jnp.array([[0.0, 4.0]])).item()
    2.0
    """
    p, z = paired(p, z, least=1)
    # The difference itself, not 2 - 2 cos, which cancels where the two agree.
    return jnp.mean(jnp.sum((l2_normalize(p) - l2_normalize(z)) ** 2, axis=1))


def asymmetric_euclidean(
    z1: Embeddings, z2: Embeddings, predictor: Predictor
) -> Scalar:
    """Compute the Euclidean loss with a closed-form linear predictor.

    In the predictor's eigenbasis the modes are independent. Each learns at the rate
    ``lambda (1 - lambda)``, so small eigenvalues are recruited late. Compare
    `isoloss_euclidean`.

    Args:
        z1: embeddings of the online branch, ``[N, D]``, any float type.
        z2: embeddings of the target branch, ``[N, D]``; row i belongs to ``z1[i]``. No
            gradient flows through it.
        predictor: the matrix ``W`` in ``p = z1 W``, ``[D, D]``, symmetric, e.g. from
            `ssljax.models.heads.direct_predictor`. No gradient flows through it.

    Returns:
        Scalar, float32 or wider: ``mean_i 1/2 |z1_i W - z2_i|^2``, summed over
        dimensions. One direction; the paper sums two, and its code leaves out the 1/2.

    Raises:
        ValueError: if the embeddings are not two equal [N, D] or the predictor is not
            [D, D].

    Source: Halvagal, Laborieux and Zenke, "Implicit variance regularization in
    non-contrastive SSL", NeurIPS 2023.

    >>> z = jnp.array([[3.0, 4.0]])
    >>> asymmetric_euclidean(z, z, 2 * jnp.eye(2)).item()  # 1/2 |2 z - z|^2
    12.5
    """
    z1, z2 = paired(z1, z2, least=1)
    p = matmul(z1, _constant(predictor, z1.shape[1]))
    return 0.5 * jnp.mean(jnp.sum((p - jax.lax.stop_gradient(z2)) ** 2, axis=1))


def asymmetric_cosine(z1: Embeddings, z2: Embeddings, predictor: Predictor) -> Scalar:
    """Compute the cosine loss with a closed-form linear predictor.

    A mode grows while it is below a weighted mean of the others, at a rate proportional
    to its own eigenvalue. The scales of predictor and embeddings do not matter. Compare
    `isoloss_cosine`.

    Args:
        z1: embeddings of the online branch, ``[N, D]``, any float type.
        z2: embeddings of the target branch, ``[N, D]``; row i belongs to ``z1[i]``. No
            gradient flows through it.
        predictor: the matrix ``W`` in ``p = z1 W``, ``[D, D]``, symmetric. No gradient
            flows through it.

    Returns:
        Scalar, float32 or wider, in [-1, 1]: ``-mean_i cos(z1_i W, z2_i)``. One
        direction; the paper sums two, and its code has ``2 - 2 cos``. Predictions and
        targets shorter than 1e-6 count as in `negative_cosine`.

    Raises:
        ValueError: if the embeddings are not two equal [N, D] or the predictor is not
            [D, D].

    Source: Halvagal, Laborieux and Zenke, "Implicit variance regularization in
    non-contrastive SSL", NeurIPS 2023.

    >>> z = jnp.array([[3.0, 4.0]])
    >>> round(asymmetric_cosine(z, z, 2 * jnp.eye(2)).item(), 4)
    -1.0
    """
    z1, z2 = paired(z1, z2, least=1)
    p = matmul(z1, _constant(predictor, z1.shape[1]))
    return negative_cosine(p, jax.lax.stop_gradient(z2))


def isoloss_euclidean(z1: Embeddings, z2: Embeddings, predictor: Predictor) -> Scalar:
    """Compute the Euclidean IsoLoss: all modes learn at the same rate.

    The value equals `asymmetric_euclidean`. The gradient with respect to ``z1`` equals
    that loss's gradient with respect to the prediction, ``(z1 W - z2) / N``, without
    the factor ``W`` that slows small modes.

    Args:
        z1: embeddings of the online branch, ``[N, D]``, any float type.
        z2: embeddings of the target branch, ``[N, D]``; row i belongs to ``z1[i]``. No
            gradient flows through it.
        predictor: the matrix ``W`` in ``p = z1 W``, ``[D, D]``, symmetric. No gradient
            flows through it.

    Returns:
        Scalar, float32 or wider: ``mean_i 1/2 |z1_i - sg(z2_i + z1_i - z1_i W)|^2``
        with ``sg`` the stop-gradient. One direction; the paper sums two, and its code
        leaves out the 1/2.

    Raises:
        ValueError: if the embeddings are not two equal [N, D] or the predictor is not
            [D, D].

    Source: Halvagal, Laborieux and Zenke, "Implicit variance regularization in
    non-contrastive SSL", NeurIPS 2023 (IsoLoss).

    >>> z = jnp.array([[3.0, 4.0]])
    >>> jax.grad(isoloss_euclidean)(z, z, 2 * jnp.eye(2)).tolist()  # 2 z - z
    [[3.0, 4.0]]
    """
    z1, z2 = paired(z1, z2, least=1)
    p = matmul(z1, _constant(predictor, z1.shape[1]))
    # z1 minus itself is exactly zero and carries the gradient. The published order,
    # z1 - (z2 + z1 - p), would round the residual to the precision of z1.
    residual = (z1 - jax.lax.stop_gradient(z1)) + jax.lax.stop_gradient(p - z2)
    return 0.5 * jnp.mean(jnp.sum(residual**2, axis=1))


def isoloss_cosine(z1: Embeddings, z2: Embeddings, predictor: Predictor) -> Scalar:
    """Compute the cosine IsoLoss: the cosine gradient without the eigenvalue factor.

    The gradient with respect to ``z1`` equals the gradient of `asymmetric_cosine` with
    respect to the prediction. Unlike that loss it depends on the predictor's scale:
    ``c W`` gives ``1/c`` of the gradient.

    Args:
        z1: embeddings of the online branch, ``[N, D]``, any float type.
        z2: embeddings of the target branch, ``[N, D]``; row i belongs to ``z1[i]``. No
            gradient flows through it.
        predictor: the matrix ``W`` in ``p = z1 W``, ``[D, D]``, symmetric. No gradient
            flows through it.

    Returns:
        Scalar, float32 or wider: the mean over i, with ``p = z1 W`` and the
        stop-gradient ``sg``, of
        ``-z1 . sg(z2 / (|p| |z2|)) + 1/2 sg(p . z2 / (|p|^3 |z2|)) z1 W z1``. Not a
        similarity: equal views and ``W = c I`` give ``-1 / (2 c)``. One direction; the
        paper sums two, and its code has twice this. ``|p|`` and ``|z2|`` are at least
        1e-6; a prediction below that keeps only the first term, which pulls it along
        ``z2`` with at most ``1e6 / N``.

    Raises:
        ValueError: if the embeddings are not two equal [N, D] or the predictor is not
            [D, D].

    Source: Halvagal, Laborieux and Zenke, "Implicit variance regularization in
    non-contrastive SSL", NeurIPS 2023 (IsoLoss).

    >>> z = jnp.array([[3.0, 4.0]])
    >>> round(isoloss_cosine(z, z, jnp.eye(2)).item(), 4)
    -0.5
    """
    z1, z2 = paired(z1, z2, least=1)
    p = matmul(z1, _constant(predictor, z1.shape[1]))
    fixed = jax.lax.stop_gradient(p)
    target = l2_normalize(jax.lax.stop_gradient(z2), eps=_EPS)
    squared_norm = jnp.sum(fixed**2, axis=1)  # [N]
    inverse_norm = jax.lax.rsqrt(jnp.maximum(squared_norm, _EPS))
    cosine = inverse_norm * jnp.sum(fixed * target, axis=1)
    pull = inverse_norm * jnp.sum(z1 * target, axis=1)
    # Below the floor the norm is constant, so the cosine has no such term either.
    curb = jnp.where(squared_norm > _EPS, cosine * inverse_norm**2, 0.0)
    # p is not held fixed here: for a symmetric predictor, half of z1 W z1 has the
    # gradient p. The paper's |W^(1/2) z1|^2 is the same number but needs a root.
    return jnp.mean(0.5 * curb * jnp.sum(z1 * p, axis=1) - pull)


def _constant(predictor: Predictor, width: int) -> jax.Array:
    """Check and widen the predictor, and stop its gradient."""
    predictor = jnp.asarray(predictor)
    if predictor.shape != (width, width):
        raise ValueError(
            f"the predictor of [N, {width}] embeddings must be [{width}, {width}], "
            f"got shape {list(predictor.shape)}"
        )
    return jax.lax.stop_gradient(at_least_float32(predictor))
