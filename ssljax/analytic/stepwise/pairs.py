"""Second moments of positive pairs, and pairs that have given ones exactly."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ssljax.analytic.precision import in_float64, known


@in_float64
def cross_moment(x1: ArrayLike, x2: ArrayLike) -> jax.Array:
    """Second moment across the views, the matrix whose eigenvectors are learned.

    Args:
        x1: inputs of the first view, ``[N, M]``.
        x2: inputs of the second view, ``[N, M]``; row i is ``x1[i]``'s partner.

    Returns:
        ``Gamma = (x1^T x2 + x2^T x1) / (2 N)``, ``[M, M]``. Nothing is centred, and a
        finite number of pairs makes it indefinite.

    Raises:
        ValueError: for other shapes.

    Source: Simon et al., "On the stepwise nature of self-supervised learning", ICML
    2023, section 4.

    >>> cross_moment(jnp.eye(2), jnp.eye(2)).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    x1, x2 = require_pairs(x1, x2)
    moment = x1.T @ x2 / x1.shape[0]
    return 0.5 * (moment + moment.T)


@in_float64
def second_moment(x1: ArrayLike, x2: ArrayLike) -> jax.Array:
    """Second moment within the views, ``Sigma = (x1^T x1 + x2^T x2) / (2 N)``.

    Args:
        x1: inputs of the first view, ``[N, M]``.
        x2: inputs of the second view, ``[N, M]``.

    Returns:
        ``[M, M]``; it exceeds the `cross_moment` by the spread of the augmentations.

    Raises:
        ValueError: for other shapes.

    >>> second_moment(jnp.eye(2), 3 * jnp.eye(2)).tolist()
    [[2.5, 0.0], [0.0, 2.5]]
    """
    x1, x2 = require_pairs(x1, x2)
    return (x1.T @ x1 + x2.T @ x2) / (2 * x1.shape[0])


@in_float64
def pairs_with_moments(
    gamma: ArrayLike, sigma: ArrayLike | None = None, *, basis: ArrayLike | None = None
) -> tuple[jax.Array, jax.Array]:
    """A few pairs whose moments are exactly the wanted ones, without sampling error.

    Args:
        gamma: eigenvalues of the cross moment, ``[M]``, of any sign.
        sigma: eigenvalues of the second moment, ``[M]``, none below ``|gamma|``; None
            takes ``|gamma|``, views that are equal or opposite.
        basis: common eigenvectors in columns, ``[M, M]``; None takes the axes.

    Returns:
        ``x1, x2``, each ``[2 M, M]``: one pair per eigenvector and the same pair with
        the opposite sign, so that both views have mean zero.

    Raises:
        ValueError: for other shapes or a ``sigma`` below ``|gamma|``.

    >>> x1, x2 = pairs_with_moments(jnp.array([2.0, -1.0]))
    >>> cross_moment(x1, x2).round(9).tolist()
    [[2.0, 0.0], [0.0, -1.0]]
    """
    gamma = require_modes("gamma", gamma)
    sigma = jnp.abs(gamma) if sigma is None else require_modes("sigma", sigma, gamma)
    if known(sigma) and known(gamma) and not bool((sigma >= jnp.abs(gamma)).all()):
        raise ValueError("sigma must be at least |gamma| in every mode")
    modes = gamma.shape[0]
    basis = jnp.eye(modes) if basis is None else jnp.asarray(basis, float)
    # Products and mean squares of two numbers fix their sum and their difference.
    total, gap = jnp.sqrt(2 * (sigma + gamma)), jnp.sqrt(2 * (sigma - gamma))
    first, second = (
        jnp.sqrt(modes) * size[:, None] * basis.T
        for size in ((total + gap) / 2, (total - gap) / 2)
    )
    return jnp.concatenate([first, -first]), jnp.concatenate([second, -second])


def require_modes(
    name: str, values: ArrayLike, like: jax.Array | None = None
) -> jax.Array:
    """A vector over modes, as long as another one where that is given."""
    values = jnp.asarray(values, float)
    if values.ndim != 1 or values.shape[0] < 1:
        raise ValueError(f"{name} must be [modes], got shape {list(values.shape)}")
    if like is not None and values.shape != like.shape:
        raise ValueError(
            f"{name} must have one entry for each of {like.shape[0]} modes, "
            f"got {values.shape[0]}"
        )
    return values


def require_positive(name: str, values: ArrayLike) -> None:
    """Numbers above zero, as far as they are known."""
    if known(values) and not np.all(np.asarray(values) > 0):
        raise ValueError(f"{name} must be positive")


def require_times(t: ArrayLike) -> jax.Array:
    """A vector of times."""
    t = jnp.asarray(t, float)
    if t.ndim != 1:
        raise ValueError(f"t must be [times], got shape {list(t.shape)}")
    return t


def require_moment(name: str, moment: ArrayLike) -> jax.Array:
    """A symmetric matrix; a traced one is trusted to be."""
    moment = jnp.asarray(moment, float)
    if moment.ndim != 2 or moment.shape[0] != moment.shape[1]:
        raise ValueError(f"{name} must be [M, M], got shape {list(moment.shape)}")
    require_symmetric(name, moment, "; see cross_moment")
    return 0.5 * (moment + moment.T)


def require_symmetric(name: str, matrix: jax.Array, hint: str = "") -> None:
    """A matrix that equals its transpose but for float32's rounding, if it is known."""
    if known(matrix):
        # In NumPy: inside of `jax.jit` JAX traces what it computes from known numbers.
        seen = np.asarray(matrix)
        if np.abs(seen - seen.T).max() > 1e-6 * np.abs(seen).max():
            raise ValueError(f"{name} must be symmetric{hint}")


def require_rank(d: int, modes: int) -> None:
    """A dimension of the embedding that the modes can fill."""
    if not 1 <= d <= modes:
        raise ValueError(f"the embedding needs 1 to {modes} dimensions, got {d}")


def descending_eigh(moment: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues from the largest down, and eigenvectors in columns."""
    values, vectors = jnp.linalg.eigh(moment)
    return values[::-1], vectors[:, ::-1]


def require_pairs(x1: ArrayLike, x2: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Two views of the same samples."""
    x1, x2 = jnp.asarray(x1, float), jnp.asarray(x2, float)
    if x1.ndim != 2 or x1.shape != x2.shape:
        raise ValueError(
            "pairs must be two [N, M] arrays of the same shape, "
            f"got {list(x1.shape)} and {list(x2.shape)}"
        )
    return x1, x2
