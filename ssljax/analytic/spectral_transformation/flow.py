"""Spectra along gradient flow: of plain alignment, and of the trace loss."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.curves import mean_growth
from ssljax.analytic.inputs import (
    check_not_negative,
    check_positive,
    check_spectrum,
    check_whole,
)
from ssljax.analytic.ode import integrate
from ssljax.analytic.precision import in_float64
from ssljax.analytic.solution import Solution, as_numbers
from ssljax.analytic.spectral_transformation.iter_norm import iter_norm_spectrum


@in_float64
def solve_alignment_flow(
    start: ArrayLike, noise: ArrayLike, *, power: float | jax.Array
) -> Solution:
    """Solve for the spectrum of an encoder that aligns after ``g = lambda^-power``.

    The loss is ``mean |t1 - t2|^2`` without normalisation of rows, t the spectral
    transformation of each view; the encoder's singular vectors are those of the noise.
    Every mode then moves alone, ``d lambda / dt = -8 v (1 - 2 p) lambda^(1 - 2 p)``.

    Args:
        start: eigenvalues of the embedding's covariance at time 0, ``[modes]``,
            positive.
        noise: ``v``, the variance in which the two views differ, per input direction,
            ``[modes]``: the input's variance times one minus its correlation.
        power: p of ``g``: 0 leaves the views alone, 1/2 is whitening.

    Returns:
        ``solution(t)``: eigenvalues, ``[times, modes]``: ``(lambda^(2p) - 16 p (1 - 2p)
        v t)^(1/2p)``, for p = 0 a decay at rate ``8 v``. Below p = 1/2 a mode is gone
        at its `collapse_time`, and stays at 0. Smooth in all arguments until then.

    Raises:
        ValueError: if the two arrays are not of one length, for a start that is not
            positive, or a negative noise or power.

    Source: derived here for the spectral transformation of Weng et al., ICLR 2024.

    >>> solution = solve_alignment_flow(
    ...     jnp.array([1.0, 1.0]), jnp.array([0.1, 0.5]), power=0.25)
    >>> solution(jnp.array([0.0, 1.0])).round(4).tolist()
    [[1.0, 1.0], [0.64, 0.0]]
    """
    start, noise = _start_and_noise(start, noise, power)
    return Solution(
        params={"start": start, "noise": noise, **as_numbers({"power": power})},
        law=_alignment_law,
        title="spectrum under alignment",
    )


def _alignment_law(params: dict, t: jax.Array) -> jax.Array:
    start, noise = params["start"][None, :], params["noise"][None, :]
    double = 2.0 * params["power"]
    # With 2 p = q the closed form is start (1 - q z)^(1 / q): a limit at q = 0, which
    # this form goes through smoothly.
    z = 8.0 * (1.0 - double) * noise * t[:, None] * start**-double
    alive = double * z < 1.0
    z = jnp.where(alive, z, 0.0)
    return jnp.where(alive, start * jnp.exp(-z * mean_growth(double * z)), 0.0)


def _start_and_noise(
    start: ArrayLike, noise: ArrayLike, power: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    start = check_spectrum("start", start)
    check_positive("start", start)
    check_not_negative("power", power)
    return start, check_spectrum("noise", noise, like=start)


@in_float64
def collapse_time(
    start: ArrayLike, noise: ArrayLike, *, power: float | jax.Array
) -> jax.Array:
    """Time at which each mode of `solve_alignment_flow` is gone.

    Args:
        start: eigenvalues at time 0, ``[modes]``, positive.
        noise: variance in which the views differ, ``[modes]``.
        power: p of ``g = lambda^-p``.

    Returns:
        ``lambda^(2p) / (16 p (1 - 2p) v)``, ``[modes]``, learning rate x step; infinite
        for p = 0, which only decays, from 1/2 on, and without noise.

    Raises:
        ValueError: see `solve_alignment_flow`.

    Source: derived here for the spectral transformation of Weng et al., ICLR 2024.

    >>> collapse_time(jnp.array([1.0]), jnp.array([0.5]), power=0.25).tolist()
    [1.0]
    """
    start, noise = _start_and_noise(start, noise, power)
    rate = 16.0 * power * (1.0 - 2.0 * power) * noise
    ends = rate > 0.0
    time = start ** (2.0 * power) / jnp.where(ends, rate, 1.0)
    return jnp.where(ends, time, jnp.inf)


@in_float64
def solve_trace_flow(
    start: ArrayLike,
    *,
    iterations: int,
    observations: int,
    spread: bool = False,
    adjoint: str = "auto",
) -> Solution:
    """Solve for the spectrum of an embedding that descends on the trace loss.

    No encoder: the ``[N, D]`` entries move. Eigenvectors along the axes, or spread
    evenly over them, stay where they are, and the eigenvalues follow
    ``d lambda / dt = -4 lambda / (m - 1) dTL / d lambda`` at a constant sum.

    Args:
        start: eigenvalues of the covariance at time 0, ``[modes]``, positive.
        iterations: Newton steps T >= 0.
        observations: m: samples for axis "batch", channels for axis "channel".
        spread: squared entries of the eigenvectors are all 1/n; False: 0 and 1.
        adjoint: derivatives to support: see `ssljax.analytic.integrate`.

    Returns:
        ``solution(t)``: eigenvalues, ``[times, modes]``. Integrated: n variables in the
        place of N x D.

    Raises:
        ValueError: if the start is not ``[modes]`` or not positive, or a count is not
            whole.

    Source: derived here for the loss of Weng et al., ICLR 2024.

    >>> solution = solve_trace_flow(jnp.array([0.9, 0.1]), iterations=1, observations=9)
    >>> solution(jnp.array([0.0, 100.0])).round(6).tolist()
    [[0.9, 0.1], [0.5, 0.5]]
    """
    start = check_spectrum("start", start)
    check_positive("start", start)
    check_whole("observations", observations, 2)
    check_whole("iterations", iterations, 0)
    settings = {
        "iterations": iterations,
        "observations": observations,
        "spread": bool(spread),
        "adjoint": adjoint,
    }
    return Solution(
        params={"start": start},
        law=_trace_law,
        settings=tuple(settings.items()),
        title="spectrum under the trace loss",
    )


def _trace_law(
    params: dict,
    t: jax.Array,
    *,
    iterations: int,
    observations: int,
    spread: bool,
    adjoint: str,
) -> jax.Array:
    # An array, so that other counts do not compile again.
    pace = jnp.asarray(4.0 / (observations - 1))

    # `trace_loss_of_spectrum` without its matrix of eigenvectors.
    def loss(values: jax.Array) -> jax.Array:
        h = iter_norm_spectrum(values / jnp.sum(values), iterations)
        if spread:
            return h.size * (1.0 - jnp.mean(h)) ** 2
        return jnp.sum((1.0 - h) ** 2)

    # In the logarithm, so that a small eigenvalue cannot be stepped below zero.
    return integrate(
        lambda logs: -pace * jax.grad(loss)(jnp.exp(logs)),
        jnp.log(params["start"]),
        t,
        record=jnp.exp,
        estimate_error=False,
        adjoint=adjoint,
    ).values
