"""A learned predictor under the cosine loss: exact modes, and weight decay as a clock.

The cosine loss does not see the scale of predictor, network or target, so that its
gradient is orthogonal to the weights and falls as one over their scale. Under weight
decay both scales shrink as ``exp(-decay t)`` and the gradient grows by as much: the
decaying flow is the flow without decay, run on the clock ``(exp(2 decay t) - 1) / (2
decay)``. No amount of weight decay collapses a mode before another.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.implicit_variance.cosine import sphere_averages
from ssljax.analytic.inputs import (
    check_choice,
    check_modes,
    check_not_negative,
    check_positive,
)
from ssljax.analytic.ode import integrate
from ssljax.analytic.precision import in_float64
from ssljax.analytic.solution import Solution, as_numbers

QUANTITIES = ("predictor", "variance")


@in_float64
def cosine_predictor_velocity(
    predictor: ArrayLike,
    variances: ArrayLike,
    *,
    weight_decay: ArrayLike = 0.0,
    predictor_rate: ArrayLike = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """Return the rates of predictor and variances under the cosine loss.

    ``dp_j/dt = predictor_rate f_j - decay p_j`` and ``ds_j/dt = 2 p_j f_j - 2 decay
    s_j``, with the force ``f_j = sum_k p_k (p_k - p_j) E[z_j^2 z_k^2 / (|P z|^3 |z|)]``
    over normally distributed embeddings z of variances s. The force obeys ``sum_j p_j
    f_j = 0``.

    Args:
        predictor: eigenvalues p, ``[modes]``, > 0.
        variances: eigenvalues s of ``W W^T``, ``[modes]``, > 0; white inputs.
        weight_decay: per unit of time, of predictor and network.
        predictor_rate: learning rate of the predictor over that of the network.

    Returns:
        ``dp/dt`` and ``ds/dt``, each ``[modes]``, time being learning rate x step. The
        two views are equal: noise is left out.

    Raises:
        ValueError: for vectors of other lengths or less than two modes.

    Source: derived. Bao, "Feature normalization prevents collapse of non-contrastive
    learning dynamics", 2023 (arXiv 2309.16109) puts constants in the place of both
    norms; see `sixth_order_rate`.

    >>> rates, _ = cosine_predictor_velocity([0.5, 1.0], [0.25, 1.0])
    >>> bool(rates[0] > 0), bool(abs(rates @ jnp.array([0.5, 1.0])) < 1e-12)
    (True, True)
    """
    s = check_modes("variances", variances, least=2)
    p = check_modes("predictor", predictor, like=s)
    apart = p[None, :] - p[:, None]  # [j, k]: how far k is above j
    force = jnp.sum(p[None, :] * apart * sphere_averages(s, p), axis=1)
    decay = jnp.asarray(weight_decay, float)
    return (
        jnp.asarray(predictor_rate, float) * force - decay * p,
        2.0 * p * force - 2.0 * decay * s,
    )


@in_float64
def solve_cosine_predictor(
    start: ArrayLike,
    *,
    predictor: ArrayLike,
    weight_decay: ArrayLike = 0.0,
    predictor_rate: ArrayLike = 1.0,
    of: str = "predictor",
    adjoint: str = "auto",
) -> Solution:
    """Solve for a learned predictor and its variances under the cosine loss.

    Args:
        start: eigenvalues of ``W W^T`` at time 0, ``[modes]``, > 0.
        predictor: eigenvalues of the predictor at time 0, ``[modes]``, > 0.
        weight_decay: per unit of time, >= 0.
        predictor_rate: learning rate of the predictor over that of the network, > 0.
        of: what the solution gives, ``"predictor"`` or ``"variance"``.
        adjoint: derivatives to support: see `ssljax.analytic.integrate`.

    Returns:
        ``solution(t)``, ``[times, modes]``. The modes are coupled and integrated on the
        clock of `decay_clock`, on which weight decay does not appear.

    Raises:
        ValueError: for vectors of other lengths or numbers out of their range.

    Source: derived: see `cosine_predictor_velocity`.

    >>> solution = solve_cosine_predictor([0.04, 1.0], predictor=[0.2, 1.0],
    ...                                   weight_decay=0.5)
    >>> p = solution(4.0)  # small, but equal
    >>> round(float(p[0] / p[1]), 4), round(float(jnp.sum(p**2)), 4)
    (1.0, 0.019)
    """
    start = check_modes("start", start, least=2)
    predictor = check_modes("predictor", predictor, like=start)
    check_positive("start", start)
    check_positive("predictor", predictor)
    check_not_negative("weight_decay", weight_decay)
    check_positive("predictor_rate", predictor_rate)
    check_choice("of", of, QUANTITIES)
    numbers = {"weight_decay": weight_decay, "predictor_rate": predictor_rate}
    return Solution(
        params={"start": start, "predictor": predictor, **as_numbers(numbers)},
        law=_cosine_law,
        settings=(("of", of), ("adjoint", adjoint)),
        title="learned predictor, cosine loss",
        quantity="predictor eigenvalue" if of == "predictor" else "variance",
    )


def _cosine_law(params: dict, t: jax.Array, *, of: str, adjoint: str) -> jax.Array:
    rate, decay = params["predictor_rate"], params["weight_decay"]

    # In logarithms a mode that is nearly gone cannot turn negative.
    def velocity(logs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        p, s = jnp.exp(logs[0]), jnp.exp(logs[1])
        rates = cosine_predictor_velocity(p, s, predictor_rate=rate)
        return rates[0] / p, rates[1] / s

    index = QUANTITIES.index(of)
    values = integrate(
        velocity,
        (jnp.log(params["predictor"]), jnp.log(params["start"])),
        decay_clock(t, decay),
        rtol=1e-10,
        atol=1e-11,
        estimate_error=False,
        adjoint=adjoint,
    ).values
    return jnp.exp(values[index] - (index + 1) * decay * t[:, None])


@in_float64
def decay_clock(t: ArrayLike, weight_decay: ArrayLike) -> jax.Array:
    """Return the rescaled time that removes weight decay from a cosine loss's flow.

    For any data and network, if the loss sees neither the predictor's nor the network's
    scale: the weights of the decaying flow at time t are ``exp(-decay t)`` times those
    of the flow without decay at the clock's time.

    Args:
        t: times >= 0 of any shape, learning rate x step.
        weight_decay: per unit of time, >= 0.

    Returns:
        ``(exp(2 decay t) - 1) / (2 decay)``, t itself without decay.

    Raises:
        ValueError: for a negative time or decay.

    Source: derived, from the scale invariance of the loss.

    >>> float(decay_clock(2.0, 0.0)), round(float(decay_clock(2.0, 0.5)), 4)
    (2.0, 6.3891)
    """
    check_not_negative("t", t)
    check_not_negative("weight_decay", weight_decay)
    t = jnp.asarray(t, float)
    twice = 2.0 * jnp.asarray(weight_decay, float) * t
    # expm1(y) / y by its series where the division would lose the derivative.
    small = twice < 1e-4
    safe = jnp.where(small, 1.0, twice)
    series = 1.0 + twice / 2.0 + twice**2 / 6.0 + twice**3 / 24.0
    return t * jnp.where(small, series, jnp.expm1(safe) / safe)
