"""Modes of a linear network with a learned linear predictor and a moving target."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_choice,
    check_modes,
    check_not_negative,
    check_positive,
    check_shape,
)
from ssljax.analytic.ode import integrate
from ssljax.analytic.precision import in_float64
from ssljax.analytic.solution import Solution, as_numbers

QUANTITIES = ("predictor", "online", "target")
_NAMES = ("predictor eigenvalue", "online singular value", "target singular value")


@in_float64
def learned_predictor_velocity(
    predictor: ArrayLike,
    online: ArrayLike,
    target: ArrayLike | None = None,
    *,
    signal: ArrayLike = 1.0,
    noise: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
    predictor_rate: ArrayLike = 1.0,
    target_rate: ArrayLike | None = None,
) -> tuple[jax.Array, ...]:
    """Return the rates of change of predictor, online and target network, per mode.

    With the online singular value w, the target's a and the predictor's eigenvalue p:
    ``dp/dt = predictor_rate w r - weight_decay p``, ``dw/dt = p r - weight_decay w``
    and ``da/dt = target_rate (w - a)``, where ``r = x a - (x + noise^2) p w`` is what
    is left to predict and x is the signal.

    Args:
        predictor: eigenvalues p, ``[modes]``.
        online: singular values w of the online network, ``[modes]``.
        target: singular values a of the target network, ``[modes]``; None where the
            target is the online network.
        signal: variance of the clean inputs along each mode, > 0, a number or
            ``[modes]``.
        noise: standard deviation of the augmentations' noise along each mode.
        weight_decay: per unit of time, of predictor and online network.
        predictor_rate: learning rate of the predictor over that of the network.
        target_rate: rate of the moving average per unit of time: for a decay ``m`` per
            step, ``(1 - m) / learning rate``. Needed with a target.

    Returns:
        ``dp/dt, dw/dt`` and, with a target, ``da/dt``, each ``[modes]``.

    Raises:
        ValueError: for vectors of other lengths, or a target without its rate.

    Source: Tian, Chen and Ganguli, "Understanding self-supervised learning dynamics
    without contrastive pairs", ICML 2021, lemma 1, for networks with one common
    eigenbasis. The paper sets the signal to 1.

    >>> p, w = jnp.array([0.5]), jnp.array([0.5])
    >>> [x.tolist() for x in learned_predictor_velocity(p, w)]  # w (w - p w)
    [[0.125], [0.125]]
    """
    p = check_modes("predictor", predictor)
    w = check_modes("online", online, like=p)
    if (target is None) != (target_rate is None):
        raise ValueError("target and target_rate are given together or not at all")
    a = w if target is None else check_modes("target", target, like=p)
    x, decay = jnp.asarray(signal, float), jnp.asarray(weight_decay, float)
    left = x * a - (x + jnp.asarray(noise, float) ** 2) * p * w
    rates = (
        jnp.asarray(predictor_rate, float) * w * left - decay * p,
        p * left - decay * w,
    )
    if target_rate is None:
        return rates
    return (*rates, jnp.asarray(target_rate, float) * (w - a))


@in_float64
def solve_learned_predictor(
    start: ArrayLike,
    *,
    predictor: ArrayLike,
    target: ArrayLike | None = None,
    signal: ArrayLike = 1.0,
    noise: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
    predictor_rate: ArrayLike = 1.0,
    target_rate: ArrayLike | None = None,
    of: str = "predictor",
    adjoint: str = "auto",
) -> Solution:
    """Solve for predictor, online and target network, mode by mode.

    Args:
        start: singular values of the online network at time 0, ``[modes]``.
        predictor: eigenvalues of the predictor at time 0, ``[modes]``.
        target: singular values of the target at time 0, ``[modes]``; None takes those
            of the online network.
        signal: see `learned_predictor_velocity`, as the four that follow.
        noise: standard deviation of the augmentations' noise.
        weight_decay: per unit of time.
        predictor_rate: learning rate of the predictor over that of the network.
        target_rate: of the moving average per unit of time; None where the target is
            the online network itself.
        of: what the solution gives, ``"predictor"``, ``"online"`` or ``"target"``.
        adjoint: derivatives to support: see `ssljax.analytic.integrate`.

    Returns:
        ``solution(t)``: eigenvalues of the predictor, or the singular values asked for,
        ``[times, modes]``. The three equations of a mode are integrated together.

    Raises:
        ValueError: for vectors of other lengths, a negative decay or rate, a target
            without a rate, or an unknown quantity.

    Source: Tian, Chen and Ganguli, ICML 2021, lemma 1, whose networks share one
    eigenbasis here.

    >>> solution = solve_learned_predictor(
    ...     jnp.array([0.5]), predictor=jnp.array([0.5]), weight_decay=0.1)
    >>> [round(float(x), 4) for x in solution(jnp.array([0.0, 100.0]))[:, 0]]
    [0.5, 0.8873]
    """
    start = check_modes("start", start)
    predictor = check_modes("predictor", predictor, like=start)
    check_choice("of", of, QUANTITIES)
    numbers = {
        "signal": signal,
        "noise": noise,
        "weight_decay": weight_decay,
        "predictor_rate": predictor_rate,
    }
    check_rates(numbers)
    params = {"start": start, "predictor": predictor, **as_numbers(numbers)}
    if target_rate is not None:
        check_positive("target_rate", target_rate)
        a = start if target is None else check_modes("target", target, like=start)
        params |= {"target": a, **as_numbers({"target_rate": target_rate})}
    elif target is not None or of == "target":
        raise ValueError("a target needs target_rate, the rate of its moving average")
    return Solution(
        params=params,
        law=_learned_law,
        settings=(("of", of), ("adjoint", adjoint)),
        title="learned predictor",
        quantity=_NAMES[QUANTITIES.index(of)],
    )


def check_rates(numbers: Mapping[str, Any]) -> None:
    """Raise unless signal and predictor_rate are > 0, noise and decay >= 0."""
    for name, value in numbers.items():
        if name in ("signal", "predictor_rate"):
            check_positive(name, value)
        else:
            check_not_negative(name, value)


def _learned_law(params: dict, t: jax.Array, *, of: str, adjoint: str) -> jax.Array:
    state = (params["predictor"], params["start"])
    if "target" in params:
        state = (*state, params["target"])
    numbers = {
        name: x
        for name, x in params.items()
        if name not in ("start", "predictor", "target")
    }
    # Recorded whole, so that one program gives all three quantities.
    values = integrate(
        lambda state: learned_predictor_velocity(*state, **numbers),
        state,
        t,
        # A second derivative is ten thousand times less exact than the value.
        rtol=1e-11,
        atol=1e-14,
        estimate_error=False,
        adjoint=adjoint,
    ).values
    return values[QUANTITIES.index(of)]


@in_float64
def imbalance(
    w: ArrayLike, predictor: ArrayLike, *, predictor_rate: ArrayLike = 1.0
) -> jax.Array:
    """Return ``W W^T - W_p^T W_p / predictor_rate``, which only weight decay changes.

    The gradient flow of any loss of the prediction ``W_p W x`` keeps this matrix, and
    weight decay makes it fade as ``exp(-2 weight_decay t)``, whatever the target.

    Args:
        w: weights of the online network, ``[D, M]``.
        predictor: weights of the predictor, ``[D, D]``, which multiply from the left.
        predictor_rate: learning rate of the predictor over that of the network.

    Returns:
        Symmetric ``[D, D]``.

    Raises:
        ValueError: for matrices that do not fit.

    Source: Tian, Chen and Ganguli, ICML 2021, theorem 1.

    >>> imbalance(2.0 * jnp.eye(2), jnp.eye(2)).tolist()
    [[3.0, 0.0], [0.0, 3.0]]
    """
    w = check_shape("w", w, "D", "M")
    p = check_shape("predictor", predictor, w.shape[0], w.shape[0])
    return w @ w.T - p.T @ p / jnp.asarray(predictor_rate, float)


@in_float64
def undecayed_limits(
    start: ArrayLike,
    *,
    predictor: ArrayLike,
    signal: ArrayLike = 1.0,
    noise: ArrayLike = 0.0,
    predictor_rate: ArrayLike = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """Return where a mode ends without weight decay and without a moving target.

    The flow keeps ``k = predictor_rate w^2 - p^2``. It ends at the predictor ``x / (x +
    noise^2)`` that regression would find, but for a predictor that starts so far above
    it that the network is gone before the predictor has come down: ``-k > (x / (x +
    noise^2))^2``, or that starts negative with k < 0. Collapse without weight decay.

    Args:
        start: singular values of the online network at time 0, ``[modes]``, not 0.
        predictor: eigenvalues of the predictor at time 0, ``[modes]``.
        signal: see `learned_predictor_velocity`, as the two that follow.
        noise: standard deviation of the augmentations' noise.
        predictor_rate: learning rate of the predictor over that of the network.

    Returns:
        The predictor's eigenvalues and the sizes of the online singular values, each
        ``[modes]``.

    Raises:
        ValueError: for vectors of other lengths or a negative rate or noise.

    Source: derived, from lemma 1 of Tian, Chen and Ganguli, ICML 2021.

    >>> p, w = undecayed_limits(jnp.array([0.5, 0.5]), predictor=jnp.array([0.5, 2.0]))
    >>> p.round(4).tolist(), w.round(4).tolist()
    ([1.0, 1.9365], [1.0, 0.0])
    """
    w = check_modes("start", start)
    p = check_modes("predictor", predictor, like=w)
    check_rates({"signal": signal, "noise": noise, "predictor_rate": predictor_rate})
    x, rate = jnp.asarray(signal, float), jnp.asarray(predictor_rate, float)
    best = x / (x + jnp.asarray(noise, float) ** 2)
    kept = rate * w**2 - p**2
    gone = (kept < 0.0) & ((p < 0.0) | (-kept > best**2))
    left = jnp.where(gone, 1.0, (best**2 + kept) / rate)
    stuck = jnp.sign(p) * jnp.sqrt(jnp.where(gone, -kept, 1.0))
    return jnp.where(gone, stuck, best), jnp.where(gone, 0.0, jnp.sqrt(left))
