"""The two-view linear model: from any loss of two views to the rates of eigenvalues."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.fingerprint.basis import spread_basis
from ssljax.analytic.fingerprint.loss_program import checked_program
from ssljax.analytic.fingerprint.splitting import (
    WIDE_SPLIT,
    coincide,
    split_factors,
    split_mean,
)
from ssljax.analytic.inputs import (
    check_between,
    check_choice,
    check_modes,
    check_positive,
    check_whole,
)
from ssljax.analytic.precision import being_traced, in_float64, known
from ssljax.analytic.program import open_stop_gradients
from ssljax.analytic.text import short

Loss = Callable[[jax.Array, jax.Array], jax.Array]
BASES = ("spread", "axes")
# Largest number of entries in an array of inputs: half a GiB.
_MOST_NUMBERS = 2**26


class TwoViews(NamedTuple):
    """White inputs of two views, mode by mode, and where the modes lie in channels.

    Mode i of the inputs is ``sqrt((1 + rho_i) / 2) source_i +- sqrt((1 - rho_i) / 2)
    noise_i``: of variance 1 in both views and of correlation rho_i between them.
    """

    source: jax.Array
    """``[N, M]``: the part shared by the views; white together with ``noise``."""
    noise: jax.Array
    """``[N, M]``: the part in which the views differ."""
    basis: jax.Array
    """``[M, M]``, orthogonal: channels in rows, modes in columns."""

    def __repr__(self) -> str:
        return short(self)

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
    modes: int = 16,
    *,
    samples: int | None = None,
    basis: str = "spread",
    seed: int = 0,
) -> TwoViews:
    """Draw Gaussian inputs with exact means and covariances in all modes.

    Every draw comes with its shifts along the modes and with minus all of them, and the
    whole is whitened: odd moments vanish, a loss of second moments has no sampling
    error, and modes of equal size move alike under any loss that rotations leave alone.

    Args:
        modes: number M of modes and of channels.
        samples: number N of pairs, a multiple of ``2 modes`` and at least ``8 modes``;
            None takes about 256, or ``8 modes`` for more than 32 modes.
        basis: "spread" gives every mode a share of every channel, and of their mean, as
            in a network where no channel is special: the same share where M is a power
            of two, see `spread_basis`; "axes" makes every mode a channel. A loss that
            rotations leave alone is the same for both.
        seed: of the draw.

    Returns:
        The `TwoViews`.

    Raises:
        ValueError: for an unknown basis, samples that do not divide or are too few, or
            inputs of more than half a GiB.

    >>> views = gaussian_views(4, samples=32)
    >>> np.allclose(views.source.T @ views.source / 32, np.eye(4))
    True
    """
    check_choice("basis", basis, BASES)
    modes = check_whole("modes", modes, 1)
    if samples is None:
        samples = 2 * modes * max(4, 128 // modes)
    samples = check_whole("samples", samples, 1)
    if samples % (2 * modes) or samples < 8 * modes:
        raise ValueError(
            f"samples must be a multiple of {2 * modes} and at least {8 * modes} for "
            f"{modes} modes, got {samples}"
        )
    if samples * modes > _MOST_NUMBERS:
        raise ValueError(
            f"{samples} pairs of {modes} modes take more than half a GiB; use at most "
            f"{int((_MOST_NUMBERS / 8) ** 0.5)} modes"
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
        turns the eigenvectors; among equal eigenvalues those of the given modes. A
        loss that decomposes a matrix itself (`jnp.linalg.eigh`) is evaluated at
        spectra split either way where eigenvalues are equal, which is off by about
        1e-9, and by 1e-7 where JAX differentiates or compiles. Can be differentiated,
        compiled and mapped, by the loss's hyper-parameters too: derivatives go through
        its stop-gradients. Traced values are not checked.

    Raises:
        ValueError: for a spectrum that is not [M] and positive, another number of
            modes than in ``views``, correlations out of range, a loss that computes
            below float64, and rates that are not finite.

    >>> from ssljax import losses
    >>> rates = eigenvalue_rates(
    ...     losses.linearized_barlow_twins, np.array([0.5, 1, 2.5, 4]), correlation=0.5
    ... )  # 8 rho lambda (1 - rho lambda)
    >>> np.round(rates, 6).tolist()
    [1.5, 2.0, -2.5, -16.0]
    """
    spectrum = check_modes("spectrum", spectrum)
    check_positive("spectrum", spectrum)
    modes = len(spectrum)
    if views is None:
        views = gaussian_views(modes)
    if views.source.shape[1] != modes:
        raise ValueError(
            f"the views have {views.source.shape[1]} modes, the spectrum {modes}"
        )
    return compiled_rates(loss, views)(spectrum, correlation)


def compiled_rates(loss: Loss, views: TwoViews) -> Callable[..., jax.Array]:
    """Compile ``d lambda / dt`` of (spectrum, correlation) for many spectra."""
    views = TwoViews(*map(jnp.asarray, views))
    modes = views.source.shape[1]
    program = checked_program(loss, views.source.shape)

    def rates(amplitudes: jax.Array, correlation: jax.Array) -> jax.Array:
        return log_rates(loss, views, amplitudes, correlation)

    compiled = compiled_once(rates)

    def of(spectrum: jax.Array, correlation: jax.Array) -> jax.Array:
        spectrum = jnp.asarray(spectrum, jnp.float64)
        correlation = per_mode(correlation, modes)
        amplitudes = jnp.sqrt(spectrum)
        if being_traced():
            in_full = differentiable_rates(loss, views)
            if not program.decomposed_in_full:
                return spectrum * in_full(amplitudes, correlation)
            width = jnp.where(coincide(spectrum), WIDE_SPLIT, 0.0)
            return spectrum * split_mean(
                lambda a: in_full(a, correlation), amplitudes, width
            )
        found = compiled(amplitudes, correlation)
        equal = program.decomposed and bool(coincide(spectrum))
        if equal or (program.decomposed and not jnp.isfinite(found).all()):
            first, second = amplitudes[None, :] * split_factors(modes)
            found = compiled(first, correlation) + compiled(second, correlation)
            found = 0.5 * found
        return spectrum * require_finite(found, spectrum)

    return of


def compiled_once(function: Callable) -> Callable:
    """Compile a function that is run a few times only.

    On a CPU, optimising takes longer than it saves.
    """
    cpu = jax.default_backend() == "cpu"
    options = {"xla_backend_optimization_level": 0} if cpu else None
    return jax.jit(function, compiler_options=options)


def differentiable_rates(loss: Loss, views: TwoViews) -> Callable[..., jax.Array]:
    """Return `log_rates` of (amplitudes, correlation), to be differentiated in full.

    Derivatives go through the loss's stop-gradients, which belong to the descent and
    not to the question how its rates change. Values are the same. Where nothing is
    traced but a `jax.vmap`, and nothing can be differentiated, they are left alone.
    """

    def rates(amplitudes: jax.Array, correlation: jax.Array) -> jax.Array:
        return log_rates(loss, views, amplitudes, correlation)

    return open_stop_gradients(rates) if being_traced(but_for_vmap=True) else rates


def require_finite(rates: jax.Array, spectrum: Any) -> jax.Array:
    """Return rates, and raise for known ones that are not finite."""
    if known(rates) and not np.isfinite(np.asarray(rates)).all():
        low, high = np.min(np.asarray(spectrum)), np.max(np.asarray(spectrum))
        raise ValueError(
            f"the loss has no finite gradient at eigenvalues from {low:.3g} to "
            f"{high:.3g}"
        )
    return rates


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
