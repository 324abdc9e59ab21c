"""The trace loss as a function of the spectrum: its floor, its pull and its limits."""

import math

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_at_least,
    check_between,
    check_finite,
    check_fractions,
    check_modes,
    check_not_negative,
    check_positive,
    check_shape,
    check_whole,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.spectral_transformation.iter_norm import iter_norm_spectrum


@in_float64
def trace_loss_of_spectrum(
    fractions: ArrayLike, vectors: ArrayLike, iterations: int
) -> jax.Array:
    """Compute the trace loss after iterative normalisation from eigenvalues.

    Args:
        fractions: eigenvalues of the covariance over its trace, ``[n]``, sum 1.
        vectors: its eigenvectors in columns, ``[n, n]``.
        iterations: Newton steps T >= 0.

    Returns:
        ``sum_j (1 - sum_i U_ji^2 h_T(x_i))^2``, convex in the fractions for every U,
        with its minimum at equal ones (T >= 1) and only there.

    Raises:
        ValueError: for shapes that do not fit, fractions that are not in [0, 1], or T
            that is not a whole number >= 0.

    Source: Weng et al., "Modulate your spectrum in self-supervised learning", ICLR
    2024, trace loss; convexity and minimum are proved here by Jensen's inequality.

    >>> equal = jnp.full(4, 0.25)
    >>> float(trace_loss_of_spectrum(equal, jnp.eye(4), 0))
    2.25
    """
    x = check_modes("fractions", fractions)
    vectors = check_shape("vectors", vectors, x.size, x.size)
    check_fractions("fractions", x)
    check_finite("vectors", vectors)
    variances = jnp.sum(vectors**2 * iter_norm_spectrum(x, iterations)[None, :], axis=1)
    return jnp.sum((1.0 - variances) ** 2)


@in_float64
def trace_loss_floor(n: int, iterations: int, *, rank: int | None = None) -> jax.Array:
    """Return the smallest value that the trace loss of one view can have.

    Args:
        n: side of the covariance: the batch for axis "channel", the width for "batch".
        iterations: Newton steps T >= 0.
        rank: rank that the covariance can reach, one less than the number of
            observations where that is below n; None is n.

    Returns:
        ``n (1 - r h_T(1/r) / n)^2`` with r the rank, thus ``n (1 - h_T(1/n))^2`` at
        full rank. A logged value below it is a bug.

    Raises:
        ValueError: if a count is not whole and positive or the rank exceeds n.

    Source: Weng et al., ICLR 2024; the bound is derived here.

    >>> round(float(trace_loss_floor(256, 4)), 3)
    209.6
    """
    n = check_whole("n", n, 1)
    rank = n if rank is None else check_whole("rank", rank, 1)
    check_at_least("rank", rank, 1, n)
    total = rank * iter_norm_spectrum(jnp.asarray(1.0 / rank), iterations)
    return n * (1.0 - total / n) ** 2


@in_float64
def intl_floor(
    n: int,
    iterations: int,
    *,
    trace_weight: float | None = None,
    teacher: bool = False,
) -> jax.Array:
    """Return the smallest value of the whole INTL loss, where the views agree besides.

    Args:
        n: side of the covariance, as in `trace_loss_floor`.
        iterations: Newton steps T >= 0.
        trace_weight: weight of the trace loss, >= 0; None is the paper's
            ``0.01 (log2(n) - 3)``.
        teacher: the version with a moving-average teacher, where one view of a pair
            pays a trace loss instead of both.

    Returns:
        ``2 weight floor``, with a teacher ``weight floor``.

    Raises:
        ValueError: as `trace_loss_floor`, or for a negative weight, with which the
            loss has no such floor.

    Source: Weng et al., ICLR 2024; derived here.

    >>> round(float(intl_floor(256, 4)), 2), round(float(intl_floor(64, 4)), 4)
    (20.96, 1.7305)
    """
    weight = default_trace_weight(n) if trace_weight is None else trace_weight
    check_not_negative("trace_weight", weight)
    return (1.0 if teacher else 2.0) * weight * trace_loss_floor(n, iterations)


def default_trace_weight(n: int) -> float:
    """Return the paper's weight of the trace loss; zero at n = 8 and negative below.

    >>> round(default_trace_weight(256), 12)
    0.05
    """
    return 0.01 * (math.log2(check_whole("n", n, 1)) - 3.0)


@in_float64
def reviving_trace_weight(
    n: int,
    iterations: int,
    *,
    dead_correlation: ArrayLike = 0.0,
    alignment: ArrayLike = 0.0,
) -> jax.Array:
    """Return the weight of the trace loss from which a dead direction grows again.

    All other eigenvalues are taken as equal, and the dead eigenvector as spread evenly
    over the axes, which is the worst case. Alignment shrinks a direction that is
    noisier than the rest; the trace loss pulls at it by the curvature of ``h_T``.

    Args:
        n: side of the covariance, >= 2.
        iterations: Newton steps T >= 1.
        dead_correlation: correlation of the two views along the dead direction, in
            [-1, 1].
        alignment: present value of ``2 - 2 cos`` between the views, in [0, 4].

    Returns:
        ``((1 - rho) - M / 2) / (2 H (1 - H/n)) * h'(0) / (h'(0) - h'(x))`` with
        ``x = 1 / (n - 1)`` and ``H = (n - 1) h_T(x)``. Good to a few per cent for
        n >= 32, where rows are long enough to have nearly equal norms.

    Raises:
        ValueError: if n or T is not a whole number, or anything out of range.

    Source: derived here for the loss of Weng et al., ICLR 2024.

    >>> round(float(reviving_trace_weight(256, 4)), 3)
    0.232
    """
    n, iterations = check_whole("n", n, 2), check_whole("iterations", iterations, 1)
    check_between("dead_correlation", dead_correlation, -1, 1)
    check_between("alignment", alignment, 0, 4)
    share = 1.0 / (n - 1)
    height = (n - 1) * iter_norm_spectrum(jnp.asarray(share), iterations)
    at_zero, at_equal = (_slope(x, iterations) for x in (0.0, share))
    noise = (1.0 - dead_correlation) - alignment / 2.0
    pull = 2.0 * height * (1.0 - height / n) * (1.0 - at_equal / at_zero)
    return jnp.asarray(noise / pull)


@in_float64
def equalizing_rate(
    n: int,
    iterations: int,
    *,
    observations: int,
    total_variance: ArrayLike = 1.0,
    spread: bool = False,
) -> jax.Array:
    """Return the rate at which the trace loss brings close eigenvalues together.

    Args:
        n: side of the covariance.
        iterations: Newton steps T >= 0.
        observations: number of them: samples for axis "batch", channels for "channel".
        total_variance: trace of the covariance, which descent conserves, > 0.
        spread: the eigenvectors lie evenly over the axes; False: along them.

    Returns:
        Rate in 1 / (learning rate x step). It vanishes where ``h_T`` is flat at 1/n, as
        it is for ``(9/4)^T`` far above n: the spectrum then stays as it is.

    Raises:
        ValueError: if a count is not whole or too small, or the variance not positive.

    Source: derived here for the loss of Weng et al., ICLR 2024.

    >>> weak, strong = (equalizing_rate(8, t, observations=256) for t in (7, 4))
    >>> bool(weak < 1e-9 * strong)
    True
    """
    n = check_whole("n", n, 2)
    observations = check_whole("observations", observations, 2)
    check_whole("iterations", iterations, 0)
    check_positive("total_variance", total_variance)
    short = 1.0 - iter_norm_spectrum(jnp.asarray(1.0 / n), iterations)
    curvature = -2.0 * short * jax.grad(_slope)(1.0 / n, iterations)
    if not spread:
        curvature += 2.0 * _slope(1.0 / n, iterations) ** 2
    return 4.0 * curvature / (n * (observations - 1) * total_variance)


def _slope(x: ArrayLike, iterations: int) -> jax.Array:
    """Return the derivative of ``h_T``."""
    x = jnp.asarray(x, jnp.float64)
    return jax.grad(lambda v: iter_norm_spectrum(v, iterations))(x)
