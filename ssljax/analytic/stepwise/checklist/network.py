"""The linear network of the stepwise checklist, trained on the library's own losses."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import stepwise
from ssljax.analytic.comparison import convergence_slope
from ssljax.analytic.simulate import gradient_descent

Loss = Callable[[jax.Array], jax.Array]
# NumPy around a simulation, JAX within.
Values = Any
SPECTRUM = (1.0, 0.6, 0.35, 0.21, 0.1, 0.05, -0.2, -0.5)


# One program each instead of one per operation. No loss is called in them.
cross_moment = jax.jit(stepwise.cross_moment)
second_moment = jax.jit(stepwise.second_moment)
pairs_with_moments = jax.jit(stepwise.pairs_with_moments)
aligned_start = jax.jit(stepwise.aligned_start)
aligned_eigenvalues = jax.jit(stepwise.aligned_eigenvalues)
critical_times = jax.jit(stepwise.critical_times)
critical_steps = jax.jit(stepwise.critical_steps)


def normal(seed: int, *shape: int) -> Values:
    """Return standard normal numbers."""
    return np.random.default_rng(seed).normal(size=shape)


def rotation(seed: int, size: int) -> Values:
    """Return a random orthogonal matrix."""
    return np.linalg.qr(normal(seed, size, size))[0]


def noisy_pairs(seed: int, n: int, m: int) -> tuple[Values, Values]:
    """Return pairs in general position: a shared part of unequal spread, and noise."""
    shared = normal(seed, n, m) * np.linspace(1.5, 0.3, m) + 0.2
    return shared + 0.4 * normal(seed + 1, n, m), shared + 0.4 * normal(seed + 2, n, m)


def rotated_pairs(seed: int, gamma: Values) -> tuple[Values, Values, Values]:
    """Return pairs whose cross moment has these eigenvalues, and its eigenvectors."""
    basis = rotation(seed, len(gamma))
    x1, x2 = pairs_with_moments(np.asarray(gamma), basis=basis)
    return np.asarray(x1), np.asarray(x2), basis


def barlow_twins(x1: Values, x2: Values, weight: Values = 1.0) -> Loss:
    """Return linearised Barlow Twins of ``W x`` as a function of W."""
    return lambda w: losses.linearized_barlow_twins(
        x1 @ w.T, x2 @ w.T, off_diagonal_weight=weight
    )


def spectrum(moment: Values) -> Callable[[jax.Array], jax.Array]:
    """Return the eigenvalues of ``W moment W^T`` from the largest down."""
    return lambda w: jnp.linalg.eigvalsh(w @ moment @ w.T)[::-1]


def expected_leaks(w0: Values, moment: Values, scale: float) -> Values:
    """Return what of later modes is frozen along the axes of earlier ones.

    Column k of ``W V`` grows at the rate 4 gamma_k until mode j < k saturates; what it
    has along j's axis by then stays. To first order these are the errors of the
    prediction from a small start.

    Args:
        w0: weights before scaling, ``[d, M]``.
        moment: cross moment, ``[M, M]``, with distinct eigenvalues.
        scale: factor on ``w0``.

    Returns:
        ``[d, M]``, zero for ``k <= j``.
    """
    start = aligned_start(w0, moment, scale)
    gamma, vectors = (x[..., ::-1] for x in np.linalg.eigh(np.asarray(moment)))
    first, sizes = gamma[: len(w0)], np.asarray(start.singular_values)
    wait = np.log(first * sizes**2)
    growth = np.exp(-gamma[None, :] / (2.0 * first)[:, None] * wait[:, None])
    return np.triu(scale * np.asarray(start.rotation).T @ w0 @ vectors * growth, k=1)


def largest(values: Values) -> float:
    """Return the largest absolute value."""
    return float(np.abs(np.asarray(values)).max())


def relative(a: Values, b: Values) -> float:
    """Return the distance of two arrays over the size of the second."""
    a, b = np.asarray(a), np.asarray(b)
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def descent_slope(
    loss: Loss,
    w0: Values,
    solution: Callable[[Values], Values],
    *,
    rates: Sequence[float],
    total_time: float,
    record: Callable[[jax.Array], jax.Array] | None = None,
    transform: Callable | None = None,
) -> float:
    """Return the order at which gradient descent approaches a solution of the flow."""
    steps = round(total_time / min(rates))

    # All rates make the same number of steps, so that one program serves them all.
    def path(rate: jax.Array) -> jax.Array:
        return gradient_descent(
            loss, w0, steps, rate, record=record, transform=transform
        ).values

    paths = np.asarray(jax.vmap(path)(jnp.asarray(rates)))
    gaps = []
    for rate, values in zip(rates, paths, strict=True):
        kept = round(total_time / rate) + 1
        expected = np.asarray(solution(jnp.asarray(rate * np.arange(steps + 1))))
        gaps.append(largest(values[:kept] - expected[:kept]))
    return convergence_slope(rates, gaps)
