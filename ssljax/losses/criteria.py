"""The two criteria behind contrastive and non-contrastive losses, on one view.

Garrido et al. write embeddings as columns, ``K`` of shape ``[M, N]``: M dimensions, N
samples. Here rows are samples, ``z = K^T`` of shape ``[N, D]`` with ``D = M``. So the
columns of ``K`` are the rows of ``z``, and ``K^T K`` is the Gram matrix ``z z^T``.
"""

import jax
import jax.numpy as jnp

from ssljax.losses.numerics import (
    Embeddings,
    Scalar,
    at_least_float32,
    matmul,
    off_diagonal_square_sum,
)


def sample_contrastive(z: Embeddings) -> Scalar:
    """Compute criterion ``L_c``: squared products between different samples.

    It differs from `dimension_contrastive` by norms only, for every ``z``:

        L_nc + sum_j |column j of z|^4 = L_c + sum_i |row i of z|^4

    so they have the same minimisers where the norms of rows *and* columns are fixed, to
    ``a`` and ``b``: then ``L_nc = L_c + N a^4 - D b^4``, with ``N a^2 = D b^2``.

    Args:
        z: embeddings of one view, ``[N, D]``, any float type; taken as they are,
            neither centred nor normalised.

    Returns:
        Scalar, float32 or wider: ``sum_{i != j} <z_i, z_j>^2`` over the rows, the
        squared off-diagonal entries of ``z z^T`` (``K^T K`` in the paper). Unit rows
        give at least ``max(0, N^2 / D - N)``.

    Raises:
        ValueError: if ``z`` is not [N, D].

    Source: Garrido et al., "On the duality between contrastive and non-contrastive
    self-supervised learning", ICLR 2023, section 3 and theorem 3.3.

    >>> float(sample_contrastive(jnp.array([[1.0, 0.0], [1.0, 1.0]])))  # 2 * 1^2
    2.0
    """
    z = _checked(z)
    return off_diagonal_square_sum(matmul(z, z.T))


def dimension_contrastive(z: Embeddings) -> Scalar:
    """Compute criterion ``L_nc``: squared products between different dimensions.

    It equals ``sample_contrastive(z.T)``; see there for how the two are related.

    Args:
        z: embeddings of one view, ``[N, D]``, any float type; taken as they are. On
            columns that are centred it is VICReg's covariance term times
            ``D (N - 1)^2``.

    Returns:
        Scalar, float32 or wider: ``sum_{j != k} <column j, column k>^2``, the squared
        off-diagonal entries of ``z^T z`` (``K K^T`` in the paper).

    Raises:
        ValueError: if ``z`` is not [N, D].

    Source: Garrido et al., "On the duality between contrastive and non-contrastive
    self-supervised learning", ICLR 2023, section 3 and theorem 3.3.

    >>> float(dimension_contrastive(jnp.array([[2.0, 0.0], [1.0, 1.0]])))  # 2 * 1^2
    2.0
    """
    z = _checked(z)
    return off_diagonal_square_sum(matmul(z.T, z))


def _checked(z: Embeddings) -> jax.Array:
    z = jnp.asarray(z)
    if z.ndim != 2 or 0 in z.shape:
        raise ValueError(
            f"embeddings must be one [N, D] array, got shape {list(z.shape)}"
        )
    return at_least_float32(z)
