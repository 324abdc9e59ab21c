"""The identity between the two criteria, its gradient, and the constants left over."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.curves import logistic_curve
from ssljax.analytic.inputs import (
    check_finite,
    check_not_negative,
    check_positive,
    check_shape,
    check_spectrum,
    check_whole,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.solution import Solution, as_numbers


@in_float64
def fourth_powers(z: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Return sums of the fourth powers of the norms of the rows, and of the columns.

    Args:
        z: embeddings, ``[N, D]``.

    Returns:
        ``sum_i |row i|^4`` and ``sum_j |column j|^4``, the only terms in which the two
        criteria differ.

    Raises:
        ValueError: if ``z`` is not [N, D] and finite.

    Source: Garrido et al., "On the duality between contrastive and non-contrastive
    self-supervised learning", ICLR 2023, theorem 3.3.

    >>> [float(v) for v in fourth_powers(jnp.array([[1.0, 1.0], [0.0, 2.0]]))]
    [20.0, 26.0]
    """
    squares = _embeddings(z) ** 2
    return jnp.sum(squares.sum(axis=1) ** 2), jnp.sum(squares.sum(axis=0) ** 2)


@in_float64
def criterion_gap(z: ArrayLike) -> jax.Array:
    """Return ``L_nc - L_c`` by the norms alone, exact for every embedding.

    Args:
        z: embeddings, ``[N, D]``.

    Returns:
        ``sum_i |row i|^4 - sum_j |column j|^4``, since both criteria are
        ``||z^T z||_F^2 = ||z z^T||_F^2`` less a diagonal.

    Raises:
        ValueError: if ``z`` is not [N, D] and finite.

    Source: Garrido et al., ICLR 2023, theorem 3.3.

    >>> float(criterion_gap(jnp.array([[1.0, 1.0], [0.0, 2.0]])))
    -6.0
    """
    rows, columns = fourth_powers(z)
    return rows - columns


@in_float64
def criterion_gradients(z: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Return the gradients of ``L_c`` and of ``L_nc`` in closed form.

    Args:
        z: embeddings, ``[N, D]``.

    Returns:
        ``4 (z z^T - R) z`` and ``4 z (z^T z - C)``, ``[N, D]`` both, with the squared
        norms of the rows in the diagonal R and of the columns in C. They differ by
        ``4 (R z - z C)``: by radial parts only.

    Raises:
        ValueError: if ``z`` is not [N, D] and finite.

    Source: derived here from Garrido et al., ICLR 2023, definitions of the criteria.

    >>> of_samples, of_dimensions = criterion_gradients(jnp.array([[1.0, 2.0]]))
    >>> of_samples.tolist(), of_dimensions.tolist()
    ([[0.0, 0.0]], [[16.0, 8.0]])
    """
    z = _embeddings(z)
    cube = z @ z.T @ z
    rows, columns = (jnp.sum(z**2, axis=k, keepdims=True) for k in (1, 0))
    return 4.0 * (cube - rows * z), 4.0 * (cube - z * columns)


@in_float64
def double_normalize(z: ArrayLike, *, iterations: int = 1000) -> jax.Array:
    """Scale to unit rows and to columns of equal norm, by turns.

    Unit rows make ``||z||_F^2 = N``, so the columns' squared norm must be N / D: both
    can be *unit* for N = D only.

    Args:
        z: embeddings, ``[N, D]``, without a zero row or column.
        iterations: rounds of scaling >= 0, linearly convergent for entries other than
            zero.

    Returns:
        ``[N, D]``, the signs of ``z`` kept: Sinkhorn's scaling of the squared entries.

    Raises:
        ValueError: if ``z`` is not [N, D] and finite, or has a row or column of zeros.

    Source: Garrido et al., ICLR 2023, double normalisation; Sinkhorn and Knopp, 1967.

    >>> z = double_normalize(jnp.array([[3.0, 1.0], [1.0, 1.0], [1.0, 2.0]]))
    >>> jnp.sum(z**2, axis=0).round(9).tolist(), jnp.sum(z**2, axis=1).round(9).tolist()
    ([1.5, 1.5], [1.0, 1.0, 1.0])
    """
    z = _embeddings(z)
    squares, (n, d) = z**2, z.shape
    check_positive("the norm of a row", squares.sum(axis=1))
    check_positive("the norm of a column", squares.sum(axis=0))

    # Factors of rows and columns instead of entries, whose roots have no derivative at
    # an entry of zero.
    def scale(_: int, factors: tuple[jax.Array, jax.Array]) -> tuple:
        columns = (n / d) / (factors[0] @ squares)
        return 1.0 / (squares @ columns), columns

    ones = (jnp.ones(n), jnp.ones(d))
    steps = check_whole("iterations", iterations, 0)
    rows, columns = jax.lax.fori_loop(0, steps, scale, ones)
    return z * jnp.sqrt(rows)[:, None] * jnp.sqrt(columns)[None, :]


@in_float64
def normalized_gap(n: int, d: int, *, row_norm: ArrayLike = 1.0) -> jax.Array:
    """Return ``L_nc - L_c`` where all rows, and all columns, have one norm.

    Args:
        n: samples N.
        d: dimensions D.
        row_norm: ``a``, of every row; that of the columns follows, ``a sqrt(N / D)``.

    Returns:
        ``N a^4 - D b^4 = a^4 (N - N^2 / D)``. The constant ``N - M`` that is printed
        would need unit rows *and* unit columns, which N = D alone allows, where both
        constants are zero. For N and D apart it has the wrong sign.

    Raises:
        ValueError: if a size is not whole and positive, or the norm negative.

    Source: Garrido et al., ICLR 2023, double normalisation, corrected.

    >>> float(normalized_gap(48, 32)), float(normalized_gap(40, 40))
    (-24.0, 0.0)
    """
    check_sizes(n, d)
    check_not_negative("row_norm", row_norm)
    return jnp.asarray(row_norm, jnp.float64) ** 4 * (n - n**2 / d)


def soft_gap(n: int, d: int, *, square: float = 1.0) -> float:
    """Return the gap where squared norms are pulled to one value.

    With ``sum_i (|row i|^2 - c)^2`` added to ``L_c`` and ``sum_j (|column j|^2 - c)^2``
    to ``L_nc``, the criteria become ``||z z^T - c I||_F^2`` and
    ``||z^T z - c I||_F^2``, which have one gradient, for N and D apart as well.

    Args:
        n: samples N.
        d: dimensions D.
        square: ``c``, the squared norm.

    Returns:
        The first minus the second, ``c^2 (N - D)``.

    Raises:
        ValueError: if a size is not whole and positive, or the square negative.

    Source: derived here from Garrido et al., ICLR 2023, theorem 3.3.

    >>> soft_gap(48, 32)
    16.0
    """
    check_sizes(n, d)
    check_not_negative("square", square)
    return square**2 * float(n - d)


@in_float64
def solve_soft_norm_flow(
    start: ArrayLike, *, square: float | jax.Array = 1.0
) -> Solution:
    """Solve for the spectrum under a criterion with norms pulled to one value.

    The two criteria of `soft_gap` have one and the same flow; it keeps the singular
    vectors of ``z``, and every mode is a logistic curve.

    Args:
        start: singular values of the embeddings at time 0, ``[modes]``, not negative.
        square: ``c``, the squared norm that rows, or columns, are pulled to; >= 0.

    Returns:
        ``solution(t)``: *squared* singular values, ``[times, modes]``: ``c s / (s + (c
        - s) exp(-8 c t))`` with s those at the start. A mode that starts at zero stays
        there.

    Raises:
        ValueError: if the start is not ``[modes]``, finite and >= 0, or the square is
            negative.

    Source: derived here from Garrido et al., ICLR 2023, theorem 3.3.

    >>> solution = solve_soft_norm_flow(jnp.array([0.5, 2.0, 0.0]))
    >>> solution(jnp.array([0.0, 5.0])).round(6).tolist()
    [[0.25, 4.0, 0.0], [1.0, 1.0, 0.0]]
    """
    start = check_spectrum("start", start)
    check_not_negative("square", square)
    return Solution(
        params={"start": start, **as_numbers({"square": square})},
        law=_soft_norm_law,
        title="squared singular values under soft norms",
        quantity="squared singular value",
    )


def _soft_norm_law(params: dict, t: jax.Array) -> jax.Array:
    squares = params["start"][None, :] ** 2
    return logistic_curve(squares, t[:, None], 8.0 * params["square"], -8.0)


def check_sizes(n: int, d: int) -> None:
    """Raise unless there are samples and dimensions."""
    check_whole("n", n, 1)
    check_whole("d", d, 1)


def _embeddings(z: ArrayLike) -> jax.Array:
    array = check_shape("z", z, "N", "D")
    check_finite("z", array)
    return array
