"""Orthogonal matrices that spread every mode over all channels."""

import functools

import numpy as np

# Sign changes tried on a basis without a bent function.
_TRIES = 256


def spread_basis(modes: int) -> np.ndarray:
    """Return an orthogonal matrix that spreads each mode over all channels.

    For a power of two all entries have one size: a Hadamard matrix with the signs of
    its rows changed by a bent function. Without them one mode would be the mean of the
    channels, which some losses subtract.

    For other numbers, where such a matrix mostly does not exist or is not known in
    closed form, it is the discrete Hartley matrix ``cas(2 pi j k / M) / sqrt(M)`` with
    signs of the rows that keep every mode away from the channels' mean. What is lost:
    a channel's share of a mode lies between 0 and 2 / M and is 1 / M on average only,
    so that channels differ in variance where modes do, and a loss that looks at single
    channels (VICReg's hinge, Barlow Twins' standardisation) moves modes of one size
    and one correlation at slightly different rates. Losses that do not depend on the
    embedding's rotation are unaffected.

    Args:
        modes: number M of modes and channels, >= 1.

    Returns:
        ``[M, M]``, channels in rows, modes in columns.

    >>> basis = spread_basis(10)
    >>> np.allclose(basis.T @ basis, np.eye(10))
    True
    """
    bits = modes.bit_length() - 1
    if modes != 2**bits:
        return _hartley(modes).copy()
    matrix = np.ones((1, 1))
    for _ in range(bits):
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    digits = (np.arange(modes)[:, None] >> np.arange(bits)) & 1
    pairs = digits[:, 0 : bits - 1 : 2] * digits[:, 1:bits:2]
    return (-1.0) ** pairs.sum(axis=1)[:, None] * matrix / np.sqrt(modes)


@functools.lru_cache(maxsize=8)
def _hartley(modes: int) -> np.ndarray:
    """Return the Hartley matrix with the flattest of many choices of row signs."""
    angle = 2.0 * np.pi * np.outer(np.arange(modes), np.arange(modes)) / modes
    matrix = (np.cos(angle) + np.sin(angle)) / np.sqrt(modes)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (_TRIES, modes))
    # Each mode's share of the channels' mean, in units of 1 / M; ideally 1 for all.
    shares = (signs @ matrix) ** 2
    best = np.argmin(np.ptp(shares, axis=1))
    return signs[best][:, None] * matrix
