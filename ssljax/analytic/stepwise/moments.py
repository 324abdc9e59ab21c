"""Second moments of positive pairs, and pairs that have given ones exactly."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ssljax.analytic.curves import root
from ssljax.analytic.inputs import check_pairs, check_rates, check_shape
from ssljax.analytic.precision import in_float64, known


@in_float64
def cross_moment(x1: ArrayLike, x2: ArrayLike) -> jax.Array:
    """Return the views' cross moment, whose eigenvectors are learned.

    Args:
        x1: inputs of the first view, ``[N, M]``.
        x2: inputs of the second view, ``[N, M]``; row i is ``x1[i]``'s partner.

    Returns:
        ``Gamma = (x1^T x2 + x2^T x1) / (2 N)``, ``[M, M]``. Nothing is centred, and a
        finite number of pairs makes it indefinite.

    Raises:
        ValueError: for other shapes, or numbers that are not finite.

    Source: Simon et al., "On the stepwise nature of self-supervised learning", ICML
    2023, section 4.

    >>> cross_moment(jnp.eye(2), jnp.eye(2)).tolist()
    [[0.5, 0.0], [0.0, 0.5]]
    """
    x1, x2 = check_pairs(x1, x2)
    moment = x1.T @ x2 / x1.shape[0]
    return 0.5 * (moment + moment.T)


@in_float64
def second_moment(x1: ArrayLike, x2: ArrayLike) -> jax.Array:
    """Return the views' own moment, ``Sigma = (x1^T x1 + x2^T x2) / (2 N)``.

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
    x1, x2 = check_pairs(x1, x2)
    return (x1.T @ x1 + x2.T @ x2) / (2 * x1.shape[0])


@in_float64
def pairs_with_moments(
    gamma: ArrayLike, sigma: ArrayLike | None = None, *, basis: ArrayLike | None = None
) -> tuple[jax.Array, jax.Array]:
    """Return a few pairs whose moments are exactly those wanted.

    Args:
        gamma: eigenvalues of the cross moment, ``[M]``, of any sign.
        sigma: eigenvalues of the second moment, ``[M]``, none below ``|gamma|``; None
            takes ``|gamma|``, views that are equal or opposite.
        basis: common eigenvectors in columns, ``[M, M]``; None takes the axes.

    Returns:
        ``x1, x2``, each ``[2 M, M]``: one pair per eigenvector and the same pair with
        the opposite sign, so that both views have mean zero.

    Raises:
        ValueError: for other shapes, numbers that are not finite, or a ``sigma`` below
            ``|gamma|``.

    >>> x1, x2 = pairs_with_moments(jnp.array([2.0, -1.0]))
    >>> cross_moment(x1, x2).round(9).tolist()
    [[2.0, 0.0], [0.0, -1.0]]
    """
    gamma = check_rates("gamma", gamma)
    modes = gamma.shape[0]
    if sigma is None:
        sigma = jnp.where(gamma < 0, -gamma, gamma)
    else:
        sigma = check_rates("sigma", sigma, like=gamma)
    if known(sigma) and known(gamma) and np.any(np.asarray(sigma) < np.abs(gamma)):
        raise ValueError("sigma must be at least |gamma| in every mode")
    if basis is None:
        basis = jnp.eye(modes)
    basis = check_shape("basis", basis, modes, modes)
    # Products and mean squares of two numbers fix their sum and their difference.
    total, gap = root(2 * (sigma + gamma)), root(2 * (sigma - gamma))
    first, second = (
        jnp.sqrt(modes) * size[:, None] * basis.T
        for size in ((total + gap) / 2, (total - gap) / 2)
    )
    return jnp.concatenate([first, -first]), jnp.concatenate([second, -second])
