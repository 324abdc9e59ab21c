"""Spectra along gradient flow: of plain alignment, and of the trace loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_modes,
    check_not_negative,
    check_times,
    check_whole,
)
from ssljax.analytic.precision import in_float64, known
from ssljax.analytic.simulate import integrate
from ssljax.analytic.spectral_transformation.trace import trace_loss_of_spectrum


@in_float64
def solve_alignment_flow(
    spectrum: ArrayLike, noise: ArrayLike, *, power: float | jax.Array
) -> Callable[[ArrayLike], jax.Array]:
    """Solve for the spectrum of an encoder that aligns after ``g = lambda^-power``.

    The loss is ``mean |t1 - t2|^2`` without normalisation of rows, t the spectral
    transformation of each view; the encoder's singular vectors are those of the noise.
    Every mode then moves alone, ``d lambda / dt = -8 v (1 - 2 p) lambda^(1 - 2 p)``.

    Args:
        spectrum: eigenvalues of the embedding's covariance at the start, ``[modes]``.
        noise: ``v``, the variance in which the two views differ, per input direction,
            ``[modes]``: the input's variance times one minus its correlation.
        power: p of ``g``: 0 leaves the views alone, 1/2 is whitening.

    Returns:
        ``solution(t)``: eigenvalues ``[times, modes]`` at ``[times]`` (learning rate x
        step): ``(lambda^(2p) - 16 p (1 - 2p) v t)^(1/2p)``, for p = 0 a decay at rate
        ``8 v``. Below p = 1/2 a mode is gone at its `collapse_time`, and stays at 0.

    Raises:
        ValueError: if the two arrays are not of one length, for a negative noise or
            power, or times that are not ``[times]``.

    Source: derived here for the spectral transformation of Weng et al., ICLR 2024.

    >>> solution = solve_alignment_flow(
    ...     jnp.array([1.0, 1.0]), jnp.array([0.1, 0.5]), power=0.25)
    >>> solution(jnp.array([0.0, 1.0])).round(4).tolist()
    [[1.0, 1.0], [0.64, 0.0]]
    """
    spectrum = check_modes("spectrum", spectrum)
    noise = check_modes("noise", noise, like=spectrum)
    check_not_negative("noise", noise)
    check_not_negative("power", power)

    def solution(t: ArrayLike) -> jax.Array:
        t = check_times("t", t)[:, None]
        start, v = spectrum[None, :], noise[None, :]
        # A traced power is taken not to be 0, where the formula is a limit.
        if known(power) and power == 0:
            return start * jnp.exp(-8.0 * v * t)
        left = start ** (2.0 * power) - 16.0 * power * (1.0 - 2.0 * power) * v * t
        alive = left > 0.0
        return jnp.where(alive, jnp.where(alive, left, 1.0) ** (0.5 / power), 0.0)

    return solution


@in_float64
def collapse_time(
    spectrum: ArrayLike, noise: ArrayLike, *, power: float | jax.Array
) -> jax.Array:
    """Time at which each mode of `solve_alignment_flow` is gone.

    Args:
        spectrum: eigenvalues at the start, ``[modes]``.
        noise: variance in which the views differ, ``[modes]``.
        power: p of ``g = lambda^-p``.

    Returns:
        ``lambda^(2p) / (16 p (1 - 2p) v)``, ``[modes]``, learning rate x step; infinite
        for p = 0, which only decays, and from 1/2 on.

    Raises:
        ValueError: if the two arrays are not of one length, or for a negative noise or
            power.

    Source: derived here for the spectral transformation of Weng et al., ICLR 2024.

    >>> collapse_time(jnp.array([1.0]), jnp.array([0.5]), power=0.25).tolist()
    [1.0]
    """
    spectrum = check_modes("spectrum", spectrum)
    noise = check_modes("noise", noise, like=spectrum)
    check_not_negative("noise", noise)
    check_not_negative("power", power)
    rate = 16.0 * power * (1.0 - 2.0 * power) * noise
    ends = rate > 0.0
    time = spectrum ** (2.0 * power) / jnp.where(ends, rate, 1.0)
    return jnp.where(ends, time, jnp.inf)


@in_float64
def solve_trace_flow(
    spectrum: ArrayLike, *, iterations: int, observations: int, spread: bool = False
) -> Callable[[ArrayLike], jax.Array]:
    """Solve for the spectrum of an embedding that descends on the trace loss.

    No encoder: the ``[N, D]`` entries move. Eigenvectors along the axes, or spread
    evenly over them, stay where they are, and the eigenvalues follow
    ``d lambda / dt = -4 lambda / (m - 1) dTL / d lambda`` at a constant sum.

    Args:
        spectrum: eigenvalues of the covariance at the start, ``[modes]``, positive.
        iterations: Newton steps T >= 0.
        observations: m: samples for axis "batch", channels for axis "channel".
        spread: squared entries of the eigenvectors are all 1/n; False: 0 and 1.

    Returns:
        ``solution(t)``: eigenvalues ``[times, modes]`` at ascending ``[times]``
        (learning rate x step). Integrated: n variables in the place of N x D.

    Raises:
        ValueError: if the spectrum is not ``[modes]`` or a count not whole.

    Source: derived here for the loss of Weng et al., ICLR 2024.

    >>> solution = solve_trace_flow(jnp.array([0.9, 0.1]), iterations=1, observations=9)
    >>> solution(jnp.array([0.0, 100.0])).round(6).tolist()
    [[0.9, 0.1], [0.5, 0.5]]
    """
    spectrum = check_modes("spectrum", spectrum)
    n, m = spectrum.size, check_whole("observations", observations, 2)
    vectors = jnp.full((n, n), n**-0.5) if spread else jnp.eye(n)
    check_whole("iterations", iterations, 0)

    # In the logarithm, so that a small eigenvalue cannot be stepped below zero.
    def velocity(logs: jax.Array) -> jax.Array:
        def loss(values: jax.Array) -> jax.Array:
            return trace_loss_of_spectrum(values / jnp.sum(values), vectors, iterations)

        return -4.0 / (m - 1) * jax.grad(loss)(jnp.exp(logs))

    def solution(t: ArrayLike) -> jax.Array:
        path = integrate(
            velocity, jnp.log(spectrum), jnp.asarray(t), estimate_error=False
        )
        return jnp.exp(path.values)

    return solution
