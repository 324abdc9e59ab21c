"""Modes of a linear network under the two cosine losses, coupled through averages."""

import jax
import jax.numpy as jnp

from ssljax.analytic.implicit_variance.averages import sphere_averages
from ssljax.analytic.inputs import (
    check_choice,
    check_finite,
    check_positive,
    check_rate,
    check_spectrum,
    check_whole,
)
from ssljax.analytic.ode import integrate
from ssljax.analytic.precision import in_float64
from ssljax.analytic.solution import Solution, as_numbers

LOSSES = ("cosine", "isoloss_cosine")
STOP_GRADIENTS = ("target", "prediction", "none")


@in_float64
def cosine_velocity(
    variances: jax.Array,
    *,
    loss: str = "cosine",
    alpha: float | jax.Array = 1.0,
    stop_gradient: str = "target",
    predictor: bool = True,
    target_noise: float | jax.Array = 0.0,
    weight_decay: float | jax.Array = 0.0,
) -> jax.Array:
    """Return the rate of change of the variances under a cosine loss.

    With a predictor a mode grows while it is below a weighted mean of the others,
    ``2 lambda_m sum_k lambda_k (lambda_k - lambda_m) K_mk``; IsoLoss drops
    ``lambda_m``. With the stop-gradient on the wrong side, ``2 sum_k (lambda_m -
    lambda_k) K'_mk``: the largest mode takes all. Without one, both at once.

    Args:
        variances: eigenvalues of ``W W^T``, ``[modes]``, > 0.
        loss: ``"cosine"`` or ``"isoloss_cosine"``.
        alpha: exponent of the predictor, ``lambda = s^alpha``.
        stop_gradient: which branch is held fixed, ``"target"``, ``"prediction"`` or
            ``"none"``.
        predictor: False puts the identity in its place. What is left is an effect of
            the noise, here to second order in it; needs three modes.
        target_noise: standard deviation of the noise on the target's view. With a
            predictor its effect is of second order and left out.
        weight_decay: per unit of time.

    Returns:
        ``ds/dt``, ``[modes]``, time being learning rate x step.

    Raises:
        ValueError: for an unknown name, IsoLoss with another stop-gradient, no
            predictor with another stop-gradient or loss, too few modes, a variance or
            an alpha that is not positive, and a negative noise or weight decay.

    Source: Halvagal, Laborieux and Zenke, NeurIPS 2023; white inputs.

    >>> rate = cosine_velocity(jnp.array([0.3, 1.5]))
    >>> bool(rate[0] > 0), bool(abs(rate.sum()) < 1e-12)  # the trace is conserved
    (True, True)
    """
    check_choice("loss", loss, LOSSES)
    check_choice("stop_gradient", stop_gradient, STOP_GRADIENTS)
    s = check_spectrum("variances", variances, least=2 if predictor else 3)
    check_positive("variances", s)
    _check_numbers(alpha, target_noise, weight_decay)
    if loss != "cosine" and stop_gradient != "target":
        raise ValueError(
            f"{loss} has its stop-gradient on the target, got {stop_gradient!r}"
        )
    if not predictor:
        if loss != "cosine" or stop_gradient != "target":
            raise ValueError("without a predictor: cosine, stop-gradient on the target")
        average = sphere_averages(s, s, prediction_power=0, target_power=6)
        rate = target_noise**2 * jnp.sum((s[None, :] - s[:, None]) * average, axis=1)
        return 2.0 * (rate - weight_decay * s)
    x = s**alpha
    above = x[None, :] - x[:, None]  # [m, k]: how far k is above m
    rate = -weight_decay * s
    if stop_gradient != "prediction":
        own = x if loss == "cosine" else jnp.ones_like(x)
        rate += own * jnp.sum(x[None, :] * above * sphere_averages(s, x), axis=1)
    if stop_gradient != "target":
        average = sphere_averages(s, x, prediction_power=1, target_power=3)
        rate -= jnp.sum(above * average, axis=1)
    return 2.0 * rate


@in_float64
def solve_cosine(
    start: jax.Array,
    *,
    loss: str = "cosine",
    alpha: float | jax.Array = 1.0,
    stop_gradient: str = "target",
    predictor: bool = True,
    target_noise: float | jax.Array = 0.0,
    weight_decay: float | jax.Array = 0.0,
    adjoint: str = "auto",
) -> Solution:
    """Solve for the representation's variances under a cosine loss.

    Args:
        start: eigenvalues of ``W W^T`` at time 0, ``[modes]``, > 0.
        loss: see `cosine_velocity`, as all that follow but the last.
        alpha: exponent of the predictor.
        stop_gradient: ``"target"``, ``"prediction"`` or ``"none"``.
        predictor: False puts the identity in its place.
        target_noise: standard deviation of the noise on the target's view.
        weight_decay: per unit of time.
        adjoint: derivatives to support: see `ssljax.analytic.integrate`.

    Returns:
        ``solution(t)``: eigenvalues of ``W W^T``, ``[times, modes]``. The modes are
        coupled and integrated.

    Raises:
        ValueError: see `cosine_velocity`, and for a variance of 0.

    Source: Halvagal, Laborieux and Zenke, NeurIPS 2023; white inputs.

    >>> solution = solve_cosine(jnp.array([0.3, 1.5]))
    >>> [round(float(x), 4) for x in solution(5.0)]
    [0.8388, 0.9612]
    """
    start = check_spectrum("start", start, least=2 if predictor else 3)
    check_positive("start", start)
    numbers = {
        "alpha": alpha,
        "target_noise": target_noise,
        "weight_decay": weight_decay,
    }
    settings = {
        "loss": loss,
        "stop_gradient": stop_gradient,
        "predictor": predictor,
        "adjoint": adjoint,
    }
    # Refuses unknown names, too few modes and impossible numbers now rather than at
    # the first call.
    _check_numbers(**numbers)
    jax.eval_shape(lambda s: _growth_rates(jnp.log(s), numbers, settings), start)
    return Solution(
        params={"start": start, **as_numbers(numbers)},
        law=_cosine_law,
        settings=tuple(settings.items()),
        title=f"variances under {loss}",
        quantity="variance",
    )


def _cosine_law(params: dict, t: jax.Array, *, adjoint: str, **settings) -> jax.Array:
    start = params["start"]
    numbers = {name: x for name, x in params.items() if name != "start"}
    return integrate(
        lambda logs: _growth_rates(logs, numbers, settings),
        jnp.log(start),
        t,
        record=jnp.exp,
        rtol=1e-10,
        atol=1e-10,
        estimate_error=False,
        adjoint=adjoint,
    ).values


def _growth_rates(logs: jax.Array, numbers: dict, settings: dict) -> jax.Array:
    """Return ``d log s / dt``: in logarithms a mode that dies cannot turn negative."""
    s = jnp.exp(jnp.maximum(logs, -600.0))
    given = {name: x for name, x in settings.items() if name != "adjoint"}
    return cosine_velocity(s, **given, **numbers) / s


@in_float64
def isotropic_variance(
    variances: jax.Array, *, loss: str = "cosine", alpha: float | jax.Array = 1.0
) -> jax.Array:
    """Return the variance that all modes have in the end.

    The cosine loss conserves ``sum s``, its IsoLoss ``sum s^(1 + alpha)``.

    Args:
        variances: eigenvalues of ``W W^T``, ``[modes]`` or ``[times, modes]``.
        loss: ``"cosine"`` or ``"isoloss_cosine"``.
        alpha: exponent of the predictor.

    Returns:
        The mean of that power, in units of a variance: a scalar, or ``[times]``.

    Raises:
        ValueError: for a loss of another name, variances of another shape, negative or
            not finite, or an alpha that is not positive.

    Source: follows from Halvagal, Laborieux and Zenke, NeurIPS 2023.

    >>> s = jnp.array([0.3, 1.5])
    >>> round(float(isotropic_variance(s)), 4)
    0.9
    >>> round(float(isotropic_variance(s, loss="isoloss_cosine")), 4)
    1.0817
    """
    check_choice("loss", loss, LOSSES)
    check_positive("alpha", alpha)
    check_finite("alpha", alpha)
    s = jnp.asarray(variances, jnp.float64)
    if s.ndim not in (1, 2) or s.size == 0:
        raise ValueError(
            f"variances must be [modes] or [times, modes], got shape {list(s.shape)}"
        )
    check_rate("variances", s)
    power = 1.0 if loss == "cosine" else 1.0 + alpha
    return jnp.mean(s**power, axis=-1) ** (1.0 / power)


@in_float64
def isotropic_rate(
    variance: float | jax.Array,
    modes: int,
    *,
    loss: str = "cosine",
    alpha: float | jax.Array = 1.0,
) -> jax.Array:
    """Return the rate at which small differences between the modes decay.

    Args:
        variance: the common variance, > 0.
        modes: their number.
        loss: ``"cosine"`` or ``"isoloss_cosine"``.
        alpha: exponent of the predictor.

    Returns:
        ``2 alpha / ((modes + 2) s)``, divided by ``s^alpha`` for IsoLoss, per unit of
        time (learning rate x step).

    Raises:
        ValueError: for a loss of another name, a variance or an alpha that is not
            positive, or less than two modes.

    Source: follows from Halvagal, Laborieux and Zenke, NeurIPS 2023.

    >>> float(isotropic_rate(0.5, 2))
    1.0
    """
    check_choice("loss", loss, LOSSES)
    modes = check_whole("modes", modes, 2)
    for name, value in (("variance", variance), ("alpha", alpha)):
        check_positive(name, value)
        check_finite(name, value)
    rate = 2.0 * alpha / ((modes + 2) * jnp.asarray(variance, jnp.float64))
    return rate if loss == "cosine" else rate / variance**alpha


def _check_numbers(
    alpha: float | jax.Array,
    target_noise: float | jax.Array,
    weight_decay: float | jax.Array,
) -> None:
    check_positive("alpha", alpha)
    check_finite("alpha", alpha)
    check_rate("target_noise", target_noise)
    check_rate("weight_decay", weight_decay)
