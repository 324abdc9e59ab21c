"""The linear network of the stepwise checklist, trained on the library's own losses."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic.comparison import convergence_slope
from ssljax.analytic.simulate import gradient_descent
from ssljax.analytic.stepwise import pairs_with_moments

Loss = Callable[[jax.Array], jax.Array]
SPECTRUM = (1.0, 0.6, 0.35, 0.21, 0.1, 0.05, -0.2, -0.5)


def normal(seed: int, *shape: int) -> jax.Array:
    """Standard normal numbers."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def rotation(seed: int, size: int) -> jax.Array:
    """A random orthogonal matrix."""
    return jnp.linalg.qr(normal(seed, size, size))[0]


def noisy_pairs(seed: int, n: int, m: int) -> tuple[jax.Array, jax.Array]:
    """Pairs in general position: a shared part of unequal spread, and noise."""
    shared = normal(seed, n, m) * jnp.linspace(1.5, 0.3, m)[None, :] + 0.2
    return shared + 0.4 * normal(seed + 1, n, m), shared + 0.4 * normal(seed + 2, n, m)


def rotated_pairs(
    seed: int, gamma: Sequence[float] | jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Pairs whose cross moment has these eigenvalues, and its eigenvectors."""
    basis = rotation(seed, len(gamma))
    return *pairs_with_moments(jnp.asarray(gamma), basis=basis), basis


def barlow_twins(x1: jax.Array, x2: jax.Array, weight: float = 1.0) -> Loss:
    """Linearised Barlow Twins of ``W x`` as a function of W."""
    return lambda w: losses.linearized_barlow_twins(
        x1 @ w.T, x2 @ w.T, off_diagonal_weight=weight
    )


def spectrum(moment: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """Eigenvalues of ``W moment W^T`` from the largest down."""
    return lambda w: jnp.linalg.eigvalsh(w @ moment @ w.T)[::-1]


def relative(a: jax.Array, b: jax.Array) -> jax.Array:
    """Distance of two arrays over the size of the second."""
    return jnp.linalg.norm(a - b) / jnp.linalg.norm(b)


def descent_slope(
    loss: Loss,
    w0: jax.Array,
    solution: Callable[[jax.Array], jax.Array],
    *,
    rates: Sequence[float],
    total_time: float,
    record: Callable[[jax.Array], jax.Array] | None = None,
    transform: Callable | None = None,
) -> float:
    """Order at which gradient descent approaches a solution of the flow."""
    steps = round(total_time / min(rates))

    # All rates make the same number of steps, so that one program serves them all.
    def path(rate: jax.Array) -> jax.Array:
        return gradient_descent(
            loss, w0, steps, rate, record=record, transform=transform
        ).values

    gaps = []
    for rate, values in zip(rates, jax.vmap(path)(jnp.asarray(rates)), strict=True):
        kept = round(total_time / rate) + 1
        expected = solution(rate * jnp.arange(kept))
        gaps.append(float(jnp.abs(values[:kept] - expected).max()))
    return convergence_slope(rates, gaps)
