"""Which axes of the embedding the modes of a small start are learned along."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.precision import known

# Eigenvalues this close, as a share, part by less than rounding while they are learned.
_EQUAL = 1e-8


def ordered_axes(
    columns: jax.Array, gamma: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the embedding's axes in the order of learning.

    A mode keeps the axis that it has saturated along, and later ones have what is left:
    for distinct eigenvalues a QR decomposition. A block A of columns with one positive
    eigenvalue, less what is taken, obeys ``dA/dt = 4 gamma (I - gamma A A^T) A``, which
    keeps its singular vectors: it is learned along those of the start, and where fewer
    axes are left than it has columns, along combinations of all of them.

    Args:
        columns: ``w0 V`` for eigenvectors V, ``[D, K]``, D <= K.
        gamma: their eigenvalues, ``[K]``, descending; distinct where they are traced.

    Returns:
        Axes ``[D, D]`` in columns; sizes ``[D]``, not negative; and ``[K, D]``, which
        combination of eigenvectors each axis takes, in columns.

    >>> gamma = jnp.array([1.0, 1.0])
    >>> axes, sizes, turns = ordered_axes(jnp.array([[3.0, 4.0]]), gamma)
    >>> float(sizes[0]), [round(float(x), 3) for x in turns[:, 0]]
    (5.0, [0.6, 0.8])
    """
    d, modes = columns.shape
    blocks = equal_blocks(gamma)
    if all(stop - start == 1 for start, stop in blocks if start < d):
        q, r = jnp.linalg.qr(columns[:, :d])
        size = jnp.diagonal(r)
        sign = jnp.where(size < 0, -1.0, 1.0)
        return q * sign[None, :], size * sign, jnp.eye(modes, d)
    axes, sizes, turns = jnp.zeros((d, 0)), [], []
    for start, stop in blocks:
        left = d - axes.shape[1]
        if not left:
            break
        rest = columns[:, start:stop]
        for _ in range(2):  # once leaves rounding of the size of what was taken
            rest = rest - axes @ (axes.T @ rest)
        u, s, vt = jnp.linalg.svd(rest, full_matrices=False)
        taken = min(left, stop - start)
        # Of the two signs the one that puts the larger part of the pair forward.
        largest = jnp.argmax(jnp.abs(vt), axis=1)
        sign = jnp.sign(jnp.take_along_axis(vt, largest[:, None], axis=1))[:, 0]
        axes = jnp.concatenate([axes, (u * sign[None, :])[:, :taken]], axis=1)
        sizes.append(s[:taken])
        turn = (vt * sign[:, None])[:taken].T
        turns.append(jnp.pad(turn, ((start, modes - stop), (0, 0))))
    return axes, jnp.concatenate(sizes), jnp.concatenate(turns, axis=1)


def equal_blocks(gamma: jax.Array) -> list[tuple[int, int]]:
    """Return runs of equal positive eigenvalues, first and one past the last.

    >>> equal_blocks(jnp.array([2.0, 1.0, 1.0, 0.0, 0.0]))
    [(0, 1), (1, 3), (3, 4), (4, 5)]
    """
    count = gamma.shape[0]
    if not known(gamma):
        return [(i, i + 1) for i in range(count)]
    values = np.asarray(gamma)
    rounding = 64 * np.finfo(values.dtype).eps * np.abs(values).max()
    gap = values[:-1] - values[1:]
    joined = (values[1:] > rounding) & (gap <= _EQUAL * values[:-1] + rounding)
    edges = [0, *(np.flatnonzero(~joined) + 1).tolist(), count]
    return list(zip(edges[:-1], edges[1:], strict=True))
