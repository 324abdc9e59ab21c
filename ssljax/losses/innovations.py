"""Whiten few samples by the Cholesky factor of their covariance, without forming it.

Row i of the factor's inverse predicts channel i from the channels before it, and
divides what is left over by its deviation. Samples span all predictions, so that what
is not yet predicted is a matrix ``[n, n]``, updated as in a Kalman filter: in n^2 D
operations instead of D^3.
"""

import jax
import jax.numpy as jnp

from ssljax.losses.matrix_functions import null_bound
from ssljax.losses.numerics import Number, matmul
from ssljax.losses.symmetric_products import gram

_BLOCK = 64  # channels that are factorised together


def whiten_few(
    x: jax.Array, scale: Number, eps: Number, floor: float | jax.Array
) -> jax.Array:
    """Multiply rows by ``L^-T``, where ``L L^T = scale x^T x / (n - 1) + eps I``.

    A singular matrix is shifted as in `matrix_functions.cholesky`, and with fewer
    centred samples than channels it is singular unless eps shifts it.

    Args:
        x: centred rows, ``[n, D]``, with n < D.
        scale: factor of the covariance, >= 0.
        eps: added to its diagonal, >= 0.
        floor: variance below which everything is rounding.

    Returns:
        The whitened rows, ``[n, D]``.
    """
    weight = scale / (x.shape[0] - 1)
    constant, weight_now, eps_now = jax.lax.stop_gradient((x, weight, eps))
    diagonal = weight_now * jnp.sum(constant**2, axis=0) + eps_now
    bound = null_bound(diagonal, floor)
    singular = True
    if not isinstance(eps, int | float) or eps > 0:
        _, pivots = _innovations(constant, weight_now, eps_now)
        # Written so that the NaN of a failed factorisation counts as singular.
        singular = ~(jnp.min(pivots) > bound)
    shift = jnp.where(singular, jnp.where(bound > 0, 4.0 * bound, 1.0), 0.0)
    return _innovations(x, weight, eps + shift)[0]


def _innovations(
    x: jax.Array, weight: Number, noise: Number
) -> tuple[jax.Array, jax.Array]:
    """Return the rows times ``L^-T``, and the squared diagonal of ``L``.

    ``L L^T = weight x^T x + noise I``. With u the channels before the next one, in the
    matrix ``S = (I + weight / noise u u^T)^-1``, the block of channels b leaves

        V V^T = noise I + weight b^T S b,  S b V^-T

    as its rows of the factor and as its whitened rows, and the next S is S minus weight
    times the whitened rows squared.
    """
    n, d = x.shape
    width = min(_BLOCK, d)
    count = -(-d // width)
    # Channels of zeros at the end change nothing before them.
    padded = jnp.pad(x, ((0, 0), (0, count * width - d)))
    blocks = padded.reshape(n, count, width).swapaxes(0, 1)
    identity = jnp.eye(width, dtype=x.dtype)

    def step(left: jax.Array, block: jax.Array):
        rest = matmul(left, block)
        moment = weight * matmul(block.T, rest)
        # cholesky symmetrises its argument.
        lower = jnp.linalg.cholesky(moment + noise * identity)
        white = jax.scipy.linalg.solve_triangular(lower, rest.T, lower=True).T
        return left - weight * gram(white), (white, jnp.diagonal(lower) ** 2)

    start = jnp.eye(n, dtype=x.dtype)
    _, (white, pivots) = jax.lax.scan(step, start, blocks)
    white = white.swapaxes(0, 1).reshape(n, count * width)
    return white[:, :d], pivots.reshape(-1)[:d]
