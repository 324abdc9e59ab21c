"""The two-view linear model: from any loss of two views to the rates of eigenvalues."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.inputs import (
    check_between,
    check_choice,
    check_modes,
    check_positive,
)
from ssljax.analytic.precision import (
    being_traced,
    in_float64,
    refuse_narrow_jit,
)

Loss = Callable[[jax.Array, jax.Array], jax.Array]
BASES = ("spread", "axes")


class TwoViews(NamedTuple):
    """White inputs of two views, mode by mode, and where the modes lie in channels.

    Mode i of the inputs is ``sqrt((1 + rho_i) / 2) source_i +- sqrt((1 - rho_i) / 2)
    noise_i``: of variance 1 in both views and of correlation rho_i between them.
    """

    source: jax.Array
    """``[N, M]``: the part shared by the views; white together with ``noise``."""
    noise: jax.Array
    """``[N, M]``: what they do not share."""
    basis: jax.Array
    """``[M, M]``, orthogonal: channels in rows, modes in columns."""

    def embeddings(
        self, amplitudes: jax.Array, correlation: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Return both views ``[N, M]`` under ``W = basis diag(amplitudes)``."""
        shared = jnp.sqrt(0.5 * (1.0 + correlation))[None, :] * self.source
        own = jnp.sqrt(0.5 * (1.0 - correlation))[None, :] * self.noise
        weights = (self.basis * amplitudes[None, :]).T
        return (shared + own) @ weights, (shared - own) @ weights


@in_float64
def gaussian_views(
    modes: int = 16, *, samples: int = 256, basis: str = "spread", seed: int = 0
) -> TwoViews:
    """Draw Gaussian inputs with exact means and covariances in all modes.

    Every draw comes with its shifts along the modes and with minus all of them, and the
    whole is whitened: odd moments vanish, a loss of second moments has no sampling
    error, and modes of equal size move alike under any loss that rotations leave alone.

    Args:
        modes: number M of modes and of channels; a power of two for "spread".
        samples: number N of pairs, a multiple of ``2 modes`` and at least ``8 modes``.
        basis: "spread" gives every mode the same share of every channel, and of their
            mean, as in a network where no channel is special; "axes" makes every mode
            a channel. A loss that rotations leave alone is the same for both.
        seed: of the draw.

    Returns:
        The `TwoViews`.

    Raises:
        ValueError: for an unknown basis, a number of modes that is not a power of two,
            or samples that do not divide or are too few.

    >>> views = gaussian_views(4, samples=32)
    >>> np.allclose(views.source.T @ views.source / 32, np.eye(4))
    True
    """
    check_choice("basis", basis, BASES)
    if samples % (2 * modes) or samples < 8 * modes:
        raise ValueError(
            f"samples must be a multiple of {2 * modes} and at least {8 * modes} for "
            f"{modes} modes, got {samples}"
        )
    draws = np.random.default_rng(seed).normal(size=(samples // (2 * modes), 2, modes))
    half = np.concatenate([np.roll(draws, k, axis=2) for k in range(modes)])
    half = half.reshape(samples // 2, 2 * modes)
    values, vectors = np.linalg.eigh(2.0 * half.T @ half / samples)
    half = half @ (vectors / np.sqrt(values)) @ vectors.T
    both = np.concatenate([half, -half])
    matrix = np.eye(modes) if basis == "axes" else spread_basis(modes)
    return TwoViews(
        jnp.asarray(both[:, :modes]), jnp.asarray(both[:, modes:]), jnp.asarray(matrix)
    )


def spread_basis(modes: int) -> np.ndarray:
    """Return an orthogonal matrix whose entries all have one size.

    A Hadamard matrix with the signs of its rows changed by a bent function: without
    them one mode would be the mean of the channels, which some losses subtract.
    """
    bits = modes.bit_length() - 1
    if modes != 2**bits:
        raise ValueError(f"modes must be a power of two to be spread, got {modes}")
    matrix = np.ones((1, 1))
    for _ in range(bits):
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    digits = (np.arange(modes)[:, None] >> np.arange(bits)) & 1
    pairs = digits[:, 0 : bits - 1 : 2] * digits[:, 1:bits:2]
    return (-1.0) ** pairs.sum(axis=1)[:, None] * matrix / np.sqrt(modes)


def log_rates(
    loss: Loss, views: TwoViews, amplitudes: jax.Array, correlation: jax.Array
) -> jax.Array:
    """Return ``d log lambda_i / dt``, ``[M]``, at ``lambda = amplitudes^2``.

    Under ``dW/dt = -dL/dW`` an eigenvalue of ``W W^T`` moves at ``2 a_i (basis^T dW/dt)
    _ii`` to first order, and that diagonal is minus the derivative by the amplitude.
    """

    def of_amplitudes(a: jax.Array) -> jax.Array:
        return loss(*views.embeddings(a, correlation))

    return -2.0 * jax.grad(of_amplitudes)(amplitudes) / amplitudes


@in_float64
def eigenvalue_rates(
    loss: Loss,
    spectrum: Any,
    *,
    correlation: Any = 0.8,
    views: TwoViews | None = None,
) -> jax.Array:
    """Compute the rates at which gradient flow moves the eigenvalues.

    The network is linear and its inputs are white, ``z = x W^T`` with ``dW/dt =
    -dL/dW``; ``jax.grad`` goes through the loss as it is, stop-gradients included.

    Args:
        loss: pure scalar function of two embeddings ``[N, M]``.
        spectrum: eigenvalues ``[M]`` of the embedding covariance, positive.
        correlation: of the two views per mode, in [-1, 1], ``[M]`` or one for all.
        views: the inputs; None draws ``gaussian_views(M)``.

    Returns:
        ``d lambda / dt``, ``[M]``, in squared units of the embedding per unit of
        learning rate x step. Exact derivatives of the eigenvalues, also where a loss
        turns the eigenvectors; among equal eigenvalues those of the given modes. Can
        be differentiated, compiled and mapped; traced values are not checked.

    Raises:
        ValueError: for a spectrum that is not [M] and positive, another number of
            modes than in ``views``, or correlations out of range, and inside of
            `jax.grad` or `jax.jit` while float64 is off.

    >>> from ssljax import losses
    >>> rates = eigenvalue_rates(
    ...     losses.linearized_barlow_twins, np.array([0.5, 1, 2.5, 4]), correlation=0.5
    ... )  # 8 rho lambda (1 - rho lambda)
    >>> np.round(rates, 6).tolist()
    [1.5, 2.0, -2.5, -16.0]
    """
    refuse_narrow_jit("eigenvalue_rates")
    spectrum = check_modes("spectrum", spectrum)
    check_positive("spectrum", spectrum)
    modes = len(spectrum)
    if views is None:
        views = gaussian_views(modes, samples=2 * modes * max(4, 128 // modes))
    if views.source.shape[1] != modes:
        raise ValueError(
            f"the views have {views.source.shape[1]} modes, the spectrum {modes}"
        )
    return compiled_rates(loss, views)(spectrum, correlation)


def compiled_rates(loss: Loss, views: TwoViews) -> Callable[..., jax.Array]:
    """Compile ``d lambda / dt`` of (spectrum, correlation) for many spectra."""
    views = TwoViews(*map(jnp.asarray, views))
    modes = views.source.shape[1]

    def rates(spectrum: jax.Array, correlation: jax.Array) -> jax.Array:
        return spectrum * log_rates(loss, views, jnp.sqrt(spectrum), correlation)

    # Run a few times only: on a CPU, optimising takes longer than it saves.
    cpu = jax.default_backend() == "cpu"
    options = {"xla_backend_optimization_level": 0} if cpu else None
    compiled = jax.jit(rates, compiler_options=options)

    def of(spectrum: jax.Array, correlation: jax.Array) -> jax.Array:
        # A part of a larger program has no say in how that is compiled.
        function = rates if being_traced() else compiled
        return function(
            jnp.asarray(spectrum, jnp.float64), per_mode(correlation, modes)
        )

    return of


def per_mode(correlation: Any, modes: int) -> jax.Array:
    """Return one correlation for every mode, ``[M]``."""
    correlation = jnp.asarray(correlation, jnp.float64)
    if correlation.shape not in ((), (modes,)):
        raise ValueError(
            f"correlation must be one number or [{modes}], "
            f"got shape {list(correlation.shape)}"
        )
    check_between("correlation", correlation, -1, 1)
    return jnp.broadcast_to(correlation, (modes,))
