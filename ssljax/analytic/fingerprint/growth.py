"""Growth of a small mode and equalisation, as functions that can be differentiated."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ssljax.analytic.fingerprint.loss_program import checked_program
from ssljax.analytic.fingerprint.model import (
    Loss,
    TwoViews,
    compiled_once,
    differentiable_rates,
    gaussian_views,
    log_rates,
    require_finite,
)
from ssljax.analytic.fingerprint.splitting import SPLIT, WIDE_SPLIT, split_mean
from ssljax.analytic.inputs import check_between, check_positive, check_whole
from ssljax.analytic.precision import being_traced, in_float64
from ssljax.analytic.program import open_stop_gradients

LogRates = Callable[[jax.Array, jax.Array], jax.Array]


@in_float64
def growth_rate(
    loss: Loss,
    *,
    correlation: Any = 0.8,
    level: Any = 1e-4,
    reference: Any = 1.0,
    others: Any = None,
    modes: int = 16,
    samples: int | None = None,
    basis: str = "spread",
    seed: int = 0,
    views: TwoViews | None = None,
) -> jax.Array:
    """Compute the growth rate of one mode while the others are held.

    Args:
        loss: pure scalar function of two embeddings ``[N, M]``; hyper-parameters that
            it closes over may be traced.
        correlation: of the two views in that mode, in [-1, 1].
        level: its eigenvalue as a multiple of ``reference``, > 0.
        reference: eigenvalue of the others, > 0.
        others: their correlation; None takes that of the mode.
        modes: number M of modes and channels, >= 2, see `gaussian_views`.
        samples: number of pairs; None takes about 256.
        basis: "spread" or "axes".
        seed: of the inputs.
        views: inputs of one's own; modes, samples, basis and seed are then ignored.

    Returns:
        ``d log lambda / dt`` of the mode, a number per unit of learning rate x step,
        averaged over the signs of its amplitude. Pure: `jax.grad`, `jax.jvp`,
        `jax.jit` and `jax.vmap` work, by all numbers above and by what the loss closes
        over. Derivatives go through the loss's stop-gradients. Of a loss that
        decomposes a matrix itself, the value is off by about 1e-9, and 1e-7 where it is
        differentiated or compiled.

    Raises:
        ValueError: for numbers out of range, a loss that computes below float64, a rate
            that is not finite, or as `gaussian_views` does.

    >>> from ssljax import losses
    >>> rate = growth_rate(losses.linearized_barlow_twins, correlation=0.5)
    >>> round(float(rate), 3)  # 8 rho (1 - rho lambda)
    4.0
    >>> def of_temperature(temperature):
    ...     def loss(z1, z2):
    ...         return losses.nt_xent(z1, z2, temperature=temperature)
    ...     return growth_rate(loss, modes=4, samples=32)
    >>> bool(jax.grad(of_temperature)(0.5) < 0)
    True
    """
    views = _checked_views(views, modes, samples, basis, seed)
    others = correlation if others is None else others
    check_positive("level", level)
    check_positive("reference", reference)
    check_between("correlation", correlation, -1, 1)
    check_between("others", others, -1, 1)
    program = checked_program(loss, views.source.shape)
    numbers = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float64), (level, reference, correlation, others)
    )
    if being_traced():
        width = WIDE_SPLIT if program.decomposed_in_full else None
        rates = _with_split(differentiable_rates(loss, views), width)
        return mode_rate(rates, *numbers, modes=views.source.shape[1])
    rates = _with_split(
        _plain_rates(loss, views), SPLIT if program.decomposed else None
    )

    def rate(numbers: tuple) -> jax.Array:
        return mode_rate(rates, *numbers, modes=views.source.shape[1])

    return require_finite(compiled_once(rate)(numbers), [level, 1.0])


@in_float64
def equalisation_rate(
    loss: Loss, level: Any, *, correlation: Any = 0.8, views: TwoViews
) -> jax.Array:
    """Compute the rate at which small differences between modes of one size decay.

    Args:
        loss: pure scalar function of two embeddings, see `growth_rate`.
        level: eigenvalue of all modes, > 0.
        correlation: of the two views, in [-1, 1].
        views: the inputs, of at least two modes.

    Returns:
        The mean over the modes, negative where differences grow; pure as `growth_rate`
        is, and exact but for losses that decompose a matrix (1e-7).

    Raises:
        ValueError: for numbers out of range, a loss that computes below float64, or a
            gradient that is not finite.

    >>> from ssljax import losses
    >>> rate = equalisation_rate(
    ...     losses.linearized_barlow_twins, 1.25, views=gaussian_views(4)
    ... )
    >>> round(float(rate), 4)  # 8 rho
    6.4
    """
    views = TwoViews(*map(jnp.asarray, views))
    modes = check_whole("modes", views.source.shape[1], 2)
    check_positive("level", level)
    check_between("correlation", correlation, -1, 1)
    program = checked_program(loss, views.source.shape)
    width = WIDE_SPLIT if program.decomposed_in_full else None
    rates = _with_split(open_stop_gradients(_plain_rates(loss, views)), width)

    def mean(numbers: tuple) -> jax.Array:
        level, correlation = numbers
        logs = jnp.full(modes, jnp.log(level))
        even = jnp.full(modes, correlation)
        tilted = jax.vmap(lambda mode: equalisation_of_mode(rates, logs, even, mode))
        return jnp.mean(tilted(jnp.eye(modes)))

    numbers = tuple(jnp.asarray(x, jnp.float64) for x in (level, correlation))
    if being_traced():
        return mean(numbers)
    return require_finite(compiled_once(mean)(numbers), [level])


def mode_rate(
    rates: LogRates,
    level: jax.Array,
    reference: jax.Array,
    correlation: jax.Array,
    others: jax.Array,
    *,
    modes: int,
) -> jax.Array:
    """Return the log-rate of the first mode, averaged over its amplitude's signs.

    On a finite sample a loss can depend on the sign, with a slope that would pass for a
    force ~ 1 / amplitude on small modes.
    """
    first = jnp.arange(modes) == 0
    sizes = jnp.sqrt(reference * jnp.where(first, level, 1.0))
    correlations = jnp.where(first, correlation, others)
    signs = jnp.where(first[None, :], jnp.array([1.0, -1.0])[:, None], 1.0)
    found = jax.vmap(lambda sign: rates(sign * sizes, correlations))(signs)
    return jnp.mean(found[:, 0])


def equalisation_of_mode(
    rates: LogRates, logs: jax.Array, correlations: jax.Array, mode: jax.Array
) -> jax.Array:
    """Return how fast one mode's small difference from the others decays.

    Args:
        rates: ``d log lambda / dt`` of (amplitudes, correlations), ``[M]``, which is
            differentiated in full.
        logs: log eigenvalues, ``[M]``.
        correlations: ``[M]``.
        mode: 1 for the mode, 0 for the others, ``[M]``.
    """
    others = (1.0 - mode) / (len(mode) - 1)

    def lead(logs: jax.Array) -> jax.Array:
        found = rates(jnp.exp(0.5 * logs), correlations)
        return jnp.sum((others - mode) * found)

    return jnp.sum(mode * jax.grad(lead)(logs))


def _with_split(rates: Callable, width: Any) -> LogRates:
    def of(amplitudes: jax.Array, correlation: jax.Array) -> jax.Array:
        if width is None:
            return rates(amplitudes, correlation)
        return split_mean(lambda a: rates(a, correlation), amplitudes, width)

    return of


def _plain_rates(loss: Loss, views: TwoViews) -> LogRates:
    return lambda amplitudes, correlation: log_rates(
        loss, views, amplitudes, correlation
    )


def _checked_views(
    views: TwoViews | None, modes: int, samples: int | None, basis: str, seed: int
) -> TwoViews:
    if views is None:
        check_whole("modes", modes, 2)
        views = gaussian_views(modes, samples=samples, basis=basis, seed=seed)
    views = TwoViews(*map(jnp.asarray, views))
    check_whole("modes", views.source.shape[1], 2)
    return views
