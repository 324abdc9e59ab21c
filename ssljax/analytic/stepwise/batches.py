"""Batches of a few pairs: the mean drift of descent on them, and its noise."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_choice,
    check_modes,
    check_positive,
    check_rates,
    check_spectrum,
)
from ssljax.analytic.ode import integrate
from ssljax.analytic.precision import in_float64
from ssljax.analytic.solution import Solution, as_numbers


@in_float64
def batch_velocity(
    singular_values: ArrayLike,
    *,
    gamma: ArrayLike,
    sigma: ArrayLike,
    batch_size: ArrayLike,
) -> jax.Array:
    """Return the mean rate of aligned singular values under fresh batches.

    The loss is a square of the batch's cross moment, so its mean over batches exceeds
    the loss of the mean by the moment's variance, ``((tr S)^2 + |S|^2 + (tr C)^2 +
    |C|^2) / (2 B)`` for normal pairs, ``S = W Sigma W^T``. With ``c = gamma s^2`` and
    ``v = sigma s^2``: ``ds/dt = 4 gamma s (1 - c) - 2 s / B (sigma (v + sum v) + gamma
    (c + sum c))``. The sums couple the modes: those that are learned slow the others.

    Args:
        singular_values: s, ``[modes]``.
        gamma: eigenvalues of the cross moment, ``[modes]``.
        sigma: eigenvalues of both views' own moment, ``[modes]``, >= 0; those of gamma
            for equal views.
        batch_size: B, number of jointly normal pairs drawn for every step, > 0.

    Returns:
        ``ds/dt``, ``[modes]``, exact at any B for learning rates near zero.

    Raises:
        ValueError: for vectors of other lengths or numbers out of their range.

    Source: derived (fourth moments of normal inputs), for the loss of Simon et al.,
    ICML 2023.

    >>> found = batch_velocity([1.0], gamma=[1.0], sigma=[1.0], batch_size=8)
    >>> found.tolist()  # beyond the plateau 1 / (1 + 2 / 8)
    [-1.0]
    """
    gamma = check_rates("gamma", gamma)
    sigma = check_spectrum("sigma", sigma, like=gamma)
    s = check_modes("singular_values", singular_values, like=gamma)
    check_positive("batch_size", batch_size)
    c, v = gamma * s**2, sigma * s**2
    pull = sigma * (v + jnp.sum(v)) + gamma * (c + jnp.sum(c))
    return 4.0 * gamma * s * (1.0 - c) - 2.0 * s * pull / batch_size


@in_float64
def solve_batches(
    start: ArrayLike,
    *,
    gamma: ArrayLike,
    sigma: ArrayLike,
    batch_size: ArrayLike,
    learning_rate: ArrayLike,
    of: str = "mean",
    adjoint: str = "auto",
) -> Solution:
    """Solve for the mean or variance of aligned singular values under fresh batches.

    A second-order expansion in the noise. ``A_jk h`` is the variance of entry (j, k) of
    W in the aligned axes and ``X_jk h`` its covariance with entry (k, j), h the rate of
    descent. With ``l = c_j + c_k - 1`` and the variance of the batch's moment, ``N_jk =
    (sigma_j sigma_k + gamma_j gamma_k) (1 + delta_jk) / (2 B)``:

    ``dA_jk/dt = -8 gamma_k (l A_jk + gamma_j s_j s_k X_jk) + 16 s_j^2 l^2 N_jk``;
    ``dX_jk/dt = -4 l (gamma_j + gamma_k) X_jk - 4 gamma_j gamma_k s_j s_k (A_jk + A_kj)
    + 16 s_j s_k l^2 N_jk``; the mean is ``s + h m``, ``ds/dt = F`` of `batch_velocity`,
    ``dm/dt = F' m - F' F / 2 - 4 gamma_j sum_k (gamma_k s_j A_jk + gamma_k s_k X_jk +
    gamma_j s_j A_kj)``. The variance of a mode itself solves ``dA_jj/dt = 2 F' A_jj +
    Q_j``, with the exact variance Q of the batch's gradient. To first order in 1 / B
    that is ``16 s^2 (2 c - 1)^2 N_jj``: a mode has no noise where it is half learned.

    Args:
        start: singular values at time 0, ``[modes]``, not negative, as many as
            dimensions of the embedding.
        gamma: see `batch_velocity`, as the two that follow.
        sigma: of both views.
        batch_size: B.
        learning_rate: h of gradient descent, > 0.
        of: "mean" or "variance" over runs.
        adjoint: derivatives to support: see `ssljax.analytic.integrate`.

    Returns:
        ``solution(t)``, ``[times, modes]``, of ``u_j^T W v_j`` after ``t / h`` steps
        from ``W = sum_j start_j u_j v_j^T``. The mean's error is of the order of
        ``h^2`` and ``h / B^2``, the variance's of a relative order h and ``1 / B^2``.

    Raises:
        ValueError: see `batch_velocity`; for a negative start or another ``of``.

    Source: derived; the expansion is that of Li, Tai and E, "Stochastic modified
    equations and adaptive stochastic gradient algorithms", ICML 2017.

    >>> numbers = {"gamma": [1.0], "sigma": [1.0], "batch_size": 16}
    >>> solution = solve_batches([0.1], learning_rate=0.01, of="variance", **numbers)
    >>> round(float(solution(9.0)[0]), 6)  # nearly 2 h / B
    0.001358
    """
    check_choice("of", of, ("mean", "variance"))
    gamma = check_rates("gamma", gamma)
    start = check_spectrum("start", start, like=gamma)
    sigma = check_spectrum("sigma", sigma, like=gamma)
    check_positive("batch_size", batch_size)
    check_positive("learning_rate", learning_rate)
    numbers = {"batch_size": batch_size, "learning_rate": learning_rate}
    return Solution(
        params={"start": start, "gamma": gamma, "sigma": sigma, **as_numbers(numbers)},
        law=_batches_law,
        settings=(("of", of), ("adjoint", adjoint)),
        title=f"linearised Barlow Twins, batches: {of}",
        quantity="singular value" if of == "mean" else "variance",
    )


def _batches_law(params: dict, t: jax.Array, *, of: str, adjoint: str) -> jax.Array:
    start, gamma, sigma = params["start"], params["gamma"], params["sigma"]
    size, h = params["batch_size"], params["learning_rate"]
    one = jnp.eye(start.shape[0])
    noise = (jnp.outer(sigma, sigma) + jnp.outer(gamma, gamma)) / (2.0 * size)

    def drift(s: jax.Array) -> jax.Array:
        return batch_velocity(s, gamma=gamma, sigma=sigma, batch_size=size)

    def velocity(state: dict) -> dict:
        s, variance, cross = state["s"], state["variance"], state["cross"]
        products, pairs = jnp.outer(s, s), jnp.outer(gamma * s, gamma * s)
        c = gamma * s**2
        level = c[:, None] + c[None, :] - 1.0
        kicks = 16.0 * level**2 * noise
        spread = state["spread"] * (1.0 - one) + one * variance[None, :]
        both = cross * (1.0 - one) + one * variance[None, :]
        # What noise makes of the drift's second derivatives.
        bent = jnp.sum(
            gamma[None, :] * (s[:, None] * spread + s[None, :] * both)
            + (gamma * s)[:, None] * spread.T,
            axis=1,
        )
        force = drift(s)
        _, along = jax.jvp(drift, (s,), (state["m"] - 0.5 * force,))
        # Of each mode's drift by itself.
        v = sigma * s**2
        pull = sigma * (5.0 * v + jnp.sum(v)) + gamma * (5.0 * c + jnp.sum(c))
        slope = 4.0 * gamma * (1.0 - 3.0 * c) - 2.0 * pull / size
        return {
            "s": force,
            "m": along - 4.0 * gamma * bent,
            "variance": 2.0 * slope * variance
            + _gradient_variance(s, gamma, sigma, size),
            "spread": s[:, None] ** 2 * kicks
            - 8.0 * (gamma[None, :] * level * spread + pairs * both),
            "cross": products * kicks
            - 4.0 * level * (gamma[:, None] + gamma[None, :]) * both
            - 4.0 * pairs * (spread + spread.T),
        }

    none = jnp.zeros_like(start)
    square = jnp.zeros_like(one)
    state = {"s": start, "m": none, "variance": none, "spread": square, "cross": square}

    def record(state: dict) -> jax.Array:
        mean = state["s"] + h * state["m"]
        return mean if of == "mean" else h * state["variance"]

    return integrate(
        velocity,
        state,
        t,
        record=record,
        rtol=1e-9,
        atol=1e-12,
        estimate_error=False,
        adjoint=adjoint,
    ).values


def _gradient_variance(
    s: jax.Array, gamma: jax.Array, sigma: jax.Array, size: jax.Array
) -> jax.Array:
    """Return the variance over batches of the loss's slope along every mode.

    The sum and difference of the views are independent, with variances alpha and beta
    over two. Given mode j in the batch, its products with the other modes are normal,
    and what is left are moments of two chi-squared variables.
    """
    alpha, beta = (sigma + gamma) / 2.0, (sigma - gamma) / 2.0
    s2 = s**2
    others = 1.0 - jnp.eye(s.shape[0])
    # Means of the squared products with the other modes, per chi-squared variable.
    of_alpha, of_beta = others @ (s2 * alpha) / size, others @ (s2 * beta) / size
    level = 2.0 * gamma * s2 - 1.0
    first, second = level + of_alpha, level - of_beta
    a2, b2 = 2.0 * alpha**2 / size, 2.0 * beta**2 / size
    a3, b3 = 8.0 * alpha**3 / size**2, 8.0 * beta**3 / size**2
    a4, b4 = (x**2 * (3.0 + 12.0 / size) for x in (a2, b2))
    own = (
        first**2 * a2
        + second**2 * b2
        + 2.0 * s2 * (first * a3 - second * b3)
        + s2**2 * (a4 + b4 + 4.0 * a2 * b2 - a2**2 - b2**2)
    )
    # The variance of the squared products about these means.
    rest = (
        jnp.outer(alpha**2 + a2, alpha**2)
        + 2.0 * jnp.outer(alpha * beta, alpha * beta)
        + jnp.outer(beta**2 + b2, beta**2)
    )
    return 16.0 * s2 * (own + 2.0 / size**2 * (others * rest) @ s2**2)
