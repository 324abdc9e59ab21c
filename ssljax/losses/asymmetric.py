"""Losses between a prediction and a target, without any repulsion.

What keeps them from collapsing is the asymmetry around them (predictor, stop-gradient,
moving target). None of that is here: gradients flow through both arguments. A method
that wants a constant target passes ``jax.lax.stop_gradient(z)``.
"""

import jax
import jax.numpy as jnp

from ssljax.losses._numerics import l2_normalize, paired


def negative_cosine(p: jax.Array, z: jax.Array) -> jax.Array:
    """SimSiam's loss: minus the mean cosine similarity of prediction and target.

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


def normalized_mse(p: jax.Array, z: jax.Array) -> jax.Array:
    """BYOL's loss: squared distance of the L2-normalised prediction and target.

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
