"""Modes of a linear network under the two cosine losses, coupled through averages."""

import functools
import math

import jax
import jax.numpy as jnp

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
def sphere_averages(
    variances: jax.Array,
    eigenvalues: jax.Array,
    *,
    prediction_power: int = 3,
    target_power: int = 1,
) -> jax.Array:
    """Compute ``E[z_m^2 z_k^2 / (|D z|^p |z|^q)]`` over ``z ~ N(0, diag(s))``.

    Feynman's formula joins the two norms into one quadratic form at the price of an
    integral, a Gamma integral takes it into the exponent, and what is left of the
    Gaussian average is elementary. The trapezoidal rule in the logarithms of the two
    variables converges exponentially, whatever the number of modes: to about 1e-6 while
    the eigenvalues lie within a factor of 10^4.

    Args:
        variances: s, ``[modes]``, > 0.
        eigenvalues: the diagonal of D, ``[modes]``, > 0.
        prediction_power: p, >= 0.
        target_power: q, >= 1. Where ``p + q - 4 >= modes`` the average is infinite.

    Returns:
        Symmetric ``[modes, modes]``.

    Raises:
        ValueError: if the two vectors differ in length, a number in them is not
            positive, a power is not such a whole number, or the average is infinite.

    Source: follows from Halvagal, Laborieux and Zenke, NeurIPS 2023; the powers (3, 1)
    are those of their cosine loss.

    >>> k = sphere_averages(jnp.ones(4), jnp.ones(4))  # E[u_m^2 u_k^2] on the sphere
    >>> round(float(k[0, 0]) * 24, 5), round(float(k[0, 1]) * 24, 5)
    (3.0, 1.0)
    """
    s = check_spectrum("variances", variances)
    eigenvalues = check_spectrum("eigenvalues", eigenvalues, like=s)
    check_positive("variances", s)
    check_positive("eigenvalues", eigenvalues)
    modes = s.shape[0]
    p = check_whole("prediction_power", prediction_power, 0)
    q = check_whole("target_power", target_power, 1)
    if p + q - 4 >= modes:
        raise ValueError(f"the average over {modes} modes is infinite for {p} and {q}")
    return _averages(p, q, s, eigenvalues)


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
    start = check_spectrum("start", start)
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
        rtol=1e-8,
        atol=1e-8,
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


@jax.custom_jvp
def _ends(form: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the smallest and the largest along the last axis, as constants.

    A stop-gradient would be opened in a flow that is differentiated in full.
    """
    return jnp.min(form, axis=-1), jnp.max(form, axis=-1)


@_ends.defjvp
def _ends_jvp(primals, tangents):  # type: ignore[no-untyped-def]
    ends = _ends(*primals)
    return ends, tuple(jnp.zeros_like(x) for x in ends)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _averages(p: int, q: int, s: jax.Array, x: jax.Array) -> jax.Array:
    modes, power = s.shape[0], (p + q) / 2.0
    # Where the nodes lie does not change the integral: no gradient goes through it.
    # Only ratios of x matter for where the nodes have to be.
    unit = jnp.sqrt(jnp.sum(x**2 * s) / jnp.sum(s))
    if p == 0:
        share, weight = jnp.zeros(1), jnp.ones(1) / math.gamma(power)
        form = s[None, :]
    else:
        squares = (x / unit)[None, :] ** 2
        spread = -jnp.log(jnp.clip(_ends(squares)[0][0], 1e-16, 1.0))
        logit = jnp.linspace(-48.0 / p, 40.0 / q + spread, 64)
        share, rest = jax.nn.sigmoid(logit), jax.nn.sigmoid(-logit)
        weight = (logit[1] - logit[0]) * share ** (p / 2) * rest ** (q / 2)
        weight = weight / (math.gamma(p / 2) * math.gamma(q / 2))
        form = s[None, :] * (share[:, None] * squares + rest[:, None])  # [nodes, modes]
    # From where the first mode has not yet decayed to where the last has.
    smallest, largest = _ends(form)
    low = -jnp.log(largest) - 40.0 / (p + q)
    high = -jnp.log(jnp.maximum(smallest, 1e-14 * largest))
    step = (high + max(36.0 / (modes + 4 - p - q), 6.0) - low) / 47
    rho = jnp.exp(low[:, None] + step[:, None] * jnp.arange(48.0)[None, :])
    decay = 1.0 + 2.0 * rho[:, :, None] * form[:, None, :]  # [nodes, radii, modes]
    volume = jnp.exp(-0.5 * jnp.sum(jnp.log(decay), axis=2))
    mass = (weight * step)[:, None] * rho**power * volume
    second = (s[None, None, :] / decay).reshape(-1, modes)
    average = second.T @ (mass.reshape(-1, 1) * second)
    return unit**-p * average * (1.0 + 2.0 * jnp.eye(modes))
