"""How far the two criteria can be apart, and the smallest values that they reach."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.duality.identity import check_sizes
from ssljax.analytic.inputs import (
    check_choice,
    check_not_negative,
    check_positive,
    check_whole,
)
from ssljax.analytic.precision import in_float64


def fourth_power_bounds(
    n: int, d: int, *, of: str = "columns", norm: float = 1.0
) -> tuple[float, float]:
    """Return the range of one side's fourth powers while the other's norms hold.

    Args:
        n: samples N.
        d: dimensions D.
        of: "columns", for rows of equal norm; "rows", for columns of equal norm.
        norm: ``a``, the norm that is held.

    Returns:
        ``N^2 a^4 / D`` and ``N^2 a^4`` for the columns, ``D^2 a^4 / N`` and ``D^2 a^4``
        for the rows. The lower end is reached wherever *these* norms are equal too, at
        any rank, so it is not a sign of collapse. The upper end is one column, or row,
        alone.

    Raises:
        ValueError: for an unknown side, a size that is not whole and positive, or a
            negative norm.

    Source: Garrido et al., "On the duality between contrastive and non-contrastive
    self-supervised learning", ICLR 2023, lemma 3.4.

    >>> fourth_power_bounds(8, 4)
    (16.0, 64.0)
    """
    check_sizes(n, d)
    check_choice("of", of, ("columns", "rows"))
    check_not_negative("norm", norm)
    held, free = (n, d) if of == "columns" else (d, n)
    return held**2 * norm**4 / free, held**2 * norm**4


def criterion_gap_bounds(n: int, d: int, *, unit: str = "rows") -> tuple[float, float]:
    """Return the range of ``L_c - L_nc`` for unit rows, its negative for columns.

    Args:
        n: samples N.
        d: dimensions D.
        unit: "rows" or "columns".

    Returns:
        ``N^2/D - N`` and ``N^2 - N`` for unit rows, ``D^2/N - D`` and ``D^2 - D`` for
        unit columns.

    Raises:
        ValueError: for another side or a size that is not whole and positive.

    Source: Garrido et al., ICLR 2023, corollary 3.4.1.

    >>> criterion_gap_bounds(8, 4), criterion_gap_bounds(8, 4, unit="columns")
    ((8.0, 56.0), (-2.0, 12.0))
    """
    check_choice("unit", unit, ("rows", "columns"))
    held = n if unit == "rows" else d
    low, high = fourth_power_bounds(n, d, of="columns" if unit == "rows" else "rows")
    return low - held, high - held


def welch_bound(n: int, d: int) -> float:
    """Return the smallest ``L_c`` of unit rows.

    Args:
        n: samples N.
        d: dimensions D.

    Returns:
        ``max(0, N^2/D - N)``. From N = D on it is reached by tight frames only,
        ``z^T z = N/D I``, where ``L_nc = 0`` as well; up to N = D by orthonormal rows.
        The converse fails: ``L_nc = 0`` leaves the columns' norms free.
        ``welch_bound(d, n)`` is the smallest ``L_nc`` of unit columns.

    Raises:
        ValueError: if a size is not whole and positive.

    Source: Welch, "Lower bounds on the maximum cross correlation of signals", 1974;
    Garrido et al., ICLR 2023, corollary 3.4.1.

    >>> welch_bound(32, 8), welch_bound(24, 32)
    (96.0, 0.0)
    """
    check_sizes(n, d)
    return max(0.0, n**2 / d - n)


def repulsion_optimum(n: int, d: int) -> tuple[float, float]:
    """Return mean and mean square of the cosines of samples that repel most.

    Args:
        n: samples N, at least 2.
        d: dimensions D.

    Returns:
        ``-1/(N - 1)``, of rows that sum to zero, and ``(N/D - 1)/(N - 1)``, of a tight
        frame: exact for embeddings that are both, as minimisers of the cosine repulsion
        nearly are for N >= 2 D. Up to N = D + 1 these are the simplex, with the mean
        square ``1/(N - 1)^2``. For many samples 0 and 1/D: those of random directions.

    Raises:
        ValueError: for fewer than two samples or a size that is not whole and positive.

    Source: Garrido et al., ICLR 2023, proposition 3.1; the finite values are derived
    here.

    >>> mean, square = repulsion_optimum(32, 8)
    >>> round(1 / mean), round(square * 31, 12)
    (-31, 3.0)
    """
    check_sizes(n, d)
    check_whole("n", n, 2)
    if n <= d + 1:
        return -1.0 / (n - 1), 1.0 / (n - 1) ** 2
    return -1.0 / (n - 1), (n / d - 1.0) / (n - 1)


@in_float64
def largest_coding_rate(n: int, d: int, *, eps_squared: ArrayLike = 0.2) -> jax.Array:
    """Return the largest coding rate of unit rows.

    Args:
        n: samples N.
        d: dimensions D.
        eps_squared: squared distortion of the coding, > 0.

    Returns:
        ``k/2 log(1 + D max(N/D, 1) / (N eps_squared))`` with ``k = min(N, D)``: the
        trace is fixed, so equal eigenvalues are best. These are the minimisers of
        ``L_c``, tight frames or orthonormal rows.

    Raises:
        ValueError: if a size is not whole and positive, or the distortion not positive.

    Source: Yu et al., "Learning diverse and discriminative representations via the
    principle of maximal coding rate reduction", NeurIPS 2020.

    >>> round(float(largest_coding_rate(32, 8, eps_squared=1.0)), 6)  # 4 log 2
    2.772589
    """
    check_sizes(n, d)
    check_positive("eps_squared", eps_squared)
    eigenvalue = max(n / d, 1.0)
    scaled = d * eigenvalue / (n * jnp.asarray(eps_squared, jnp.float64))
    return 0.5 * min(n, d) * jnp.log1p(scaled)


def ctr_weights(d: int, *, temperature: float) -> dict[str, float]:
    """Return the weights that make `losses.vicreg_ctr` the decoupled loss.

    For rows of norm ``sqrt(D - 1)`` and ``centering="none"``, with these weights, it is
    ``2 dcl(z1, z2, pairs="within_view") + 2 / temperature``: the repulsion is one and
    the same, and the mean squared difference is the attraction.

    Args:
        d: dimensions D, at least 2.
        temperature: of both losses, > 0.

    Returns:
        Keywords of `ssljax.losses.vicreg_ctr`: the temperature and the three weights.

    Raises:
        ValueError: for fewer than two dimensions or a temperature that is not positive.

    Source: derived here from Garrido et al., ICLR 2023, equation 13, and Yeh et al.,
    "Decoupled contrastive learning", ECCV 2022.

    >>> ctr_weights(5, temperature=0.5)["invariance_weight"]
    2.5
    """
    check_whole("d", d, 2)
    check_positive("temperature", temperature)
    return {
        "temperature": temperature,
        # The loss averages over D entries of rows that are sqrt(D - 1) long.
        "invariance_weight": d / ((d - 1) * temperature),
        "variance_weight": 0.0,
        "covariance_weight": 1.0,
    }
