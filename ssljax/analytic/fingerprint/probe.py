"""How the rates of a loss are scanned: many spectra through one compiled program."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.fingerprint.loss_program import checked_program
from ssljax.analytic.fingerprint.model import Loss, TwoViews
from ssljax.analytic.fingerprint.splitting import coincide, split_factors

# Rates of spectra, and the part of each that may be rounding.
Rates = Callable[..., tuple[np.ndarray, np.ndarray]]

LEVELS = np.logspace(-4, 1, 16)
_SCALES = np.logspace(-6, 4, 24)
_BATCH = len(_SCALES)  # spectra per compiled call
SMALL = 1e-4
SMALLER = 1e-5
# Shares below which a rate is rounding: of the largest rate, or of the pulls of single
# samples, which cancel; the inverse roots of whitening have condition 1 / SMALL.
NOISE = 1e-7
# A change of level this small hardly changes a force, but does change its rounding.
NEARBY = 1.0 + 1e-6


def log_rates_and_rounding(
    loss: Loss, views: TwoViews, amplitudes: jax.Array, correlation: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return `log_rates` as a sum over samples, and how much may be rounding.

    Every sample pulls an amplitude its own way. Where the pulls cancel, the remainder
    is rounding and not a force; as a share of their sizes it does not depend on the
    loss's unit.

    Args:
        loss: pure scalar function of two embeddings ``[N, M]``.
        views: the inputs.
        amplitudes: ``[M]``, of either sign; the eigenvalues are their squares.
        correlation: of the views per mode, ``[M]``.

    Returns:
        ``d log lambda / dt`` and its floor, ``[M]`` each.
    """
    pulls = jax.grad(loss, argnums=(0, 1))(*views.embeddings(amplitudes, correlation))
    inputs = views.embeddings(jnp.ones_like(amplitudes), correlation)
    terms = [
        (pull @ views.basis) * (x @ views.basis)
        for pull, x in zip(pulls, inputs, strict=True)
    ]
    total, size = (sum(jnp.sum(f(x), axis=0) for x in terms) for f in (jnp.array, abs))
    return -2.0 * total / amplitudes, 2.0 * NOISE * size / jnp.abs(amplitudes)


def mapped(loss: Loss, views: TwoViews) -> Rates:
    """Return a function from many spectra to rates, by one compiled program.

    Where a loss decomposes a matrix itself, spectra with equal eigenvalues are split
    either way, and so is any other whose gradient is not finite: see `splitting`.

    Args:
        loss: pure scalar function of two embeddings ``[N, M]``.
        views: the inputs.

    Returns:
        A function of spectra, correlations and signs of the amplitudes, ``[S, M]``
        each, to rates and their floors. It raises a `ValueError` for a gradient that is
        not finite.

    Raises:
        ValueError: for a loss that computes below float64.
    """
    program = checked_program(loss, views.source.shape)
    factors = np.asarray(split_factors(views.source.shape[1]))

    @jax.jit
    def batch(
        amplitudes: jax.Array, correlation: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        return jax.lax.map(
            lambda case: log_rates_and_rounding(loss, views, *case),
            (amplitudes, correlation),
        )

    def evaluated(amplitudes: np.ndarray, correlations: np.ndarray) -> np.ndarray:
        """Return rates and floors, ``[2, S, M]``."""
        parts = []
        for start in range(0, len(amplitudes), _BATCH):
            part = slice(start, start + _BATCH)
            fill = ((0, _BATCH - len(amplitudes[part])), (0, 0))
            padded = (np.pad(x[part], fill, "edge") for x in (amplitudes, correlations))
            parts.append(np.asarray(batch(*map(jnp.asarray, padded))))
        return np.concatenate(parts, axis=1)[:, : len(amplitudes)]

    def split(amplitudes: np.ndarray, correlations: np.ndarray) -> np.ndarray:
        both = [evaluated(amplitudes * f[None, :], correlations) for f in factors]
        return np.mean(both, axis=0)

    def rates(
        spectra: np.ndarray, correlations: np.ndarray, signs: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        amplitudes = np.sqrt(spectra) * (1.0 if signs is None else signs)
        equal = np.zeros(len(spectra), bool)
        if program.decomposed:
            equal = np.array(coincide(jnp.asarray(spectra)))
        found = np.zeros((2, *spectra.shape))
        if not equal.all():
            found[:, ~equal] = evaluated(amplitudes[~equal], correlations[~equal])
            equal |= ~np.isfinite(found[0]).all(axis=1)
        if equal.any():
            found[:, equal] = split(amplitudes[equal], correlations[equal])
        wrong = ~np.isfinite(found[0]).all(axis=1)
        if wrong.any():
            values = spectra[wrong][0]
            raise ValueError(
                "the loss has no finite gradient at eigenvalues "
                f"from {values.min():.3g} to {values.max():.3g}"
            )
        return found[0], found[1]

    return rates


def resting_levels(
    isotropic: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], cases: int = 1
) -> np.ndarray:
    """Find where the rate of an isotropic spectrum falls through zero.

    Args:
        isotropic: rates and their floors, ``[cases, L]`` each, at levels of that shape.
        cases: number of losses, or of settings of one.

    Returns:
        Levels ``[cases]``, NaN without a fixed point.
    """
    levels, found = np.tile(_SCALES, (cases, 1)), np.full(cases, np.nan)
    searching = np.full(cases, True)
    for turn in range(3):
        rates, rounding = isotropic(levels)
        # If a loss ignores scale, its rates are rounding errors of either sign.
        rates = np.where(np.abs(rates) > rounding, rates, 0.0)
        for case in np.flatnonzero(searching):
            place = _fall(levels[case], rates[case], strict=turn == 0)
            searching[case] = place is not None
            if place is not None:
                found[case] = place[0]
                levels[case] = np.geomspace(*place[1:], _BATCH)
        if not searching.any():
            break
    return found


def _fall(
    levels: np.ndarray, rates: np.ndarray, *, strict: bool = False
) -> tuple[float, float, float] | None:
    """Find where a curve first falls through zero, and the levels beside it.

    Strict: from above to below, not merely down to zero.
    """
    after = rates[1:] < 0 if strict else rates[1:] <= 0
    falls = np.flatnonzero((rates[:-1] > 0) & after)
    if not len(falls):
        return None
    i = int(falls[0])
    low, high = levels[i], levels[i + 1]
    part = rates[i] / (rates[i] - rates[i + 1])
    return float(low * (high / low) ** part), float(low), float(high)


def probe(
    rates: Rates,
    reference: float,
    even: np.ndarray,
    cases: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return rates of the first mode at (level, correlation), others held.

    Both signs of its amplitude are averaged: on a finite sample a loss can depend on
    the sign, with a slope that would pass for a force ~ 1 / amplitude on small modes.
    """
    spectra = np.full((len(cases), len(even)), reference)
    spectra[:, 0] *= cases[:, 0]
    correlations = np.tile(even, (len(cases), 1))
    correlations[:, 0] = cases[:, 1]
    signs = np.ones_like(spectra)
    signs[:, 0] = -1.0
    both = rates(
        np.concatenate([spectra, spectra]),
        np.concatenate([correlations, correlations]),
        np.concatenate([np.ones_like(signs), signs]),
    )
    found, rounding = (x[:, 0].reshape(2, -1).mean(axis=0) for x in both)
    return found, rounding


def is_force(found: np.ndarray, nearby: np.ndarray, rounding: np.ndarray) -> bool:
    """Return whether rates exceed rounding and, where large, are smooth."""
    size = np.abs(found)
    if not (size > rounding).any():
        return False
    large = size > 0.1 * size.max()
    smooth = np.abs(found - nearby)[large] < 0.1 * size[large]
    return bool(smooth.mean() > 0.5)


def equalisation_of(
    rates: Rates,
    reference: float,
    even: np.ndarray,
    *,
    step: float = 1e-4,
) -> float:
    """Return the mean decay rate of one mode's difference from the others."""
    modes = len(even)
    tilted = np.arange(min(modes, _BATCH // 2))
    tilt = np.eye(modes)[tilted]
    spectra = reference * np.exp(step * np.concatenate([tilt, -tilt]))
    found, _ = rates(spectra, np.tile(even, (len(spectra), 1)))
    slopes = (found[: len(tilted)] - found[len(tilted) :]) / (2.0 * step)
    own = slopes[tilted, tilted]
    others = (slopes.sum(axis=1) - own) / (modes - 1)
    return float(np.mean(others - own))


def threshold(uncorrelated: float, equal_views: float, floor: float) -> float:
    """Find the root of a small mode's rate, which is linear in its correlation."""
    if max(abs(uncorrelated), abs(equal_views)) < floor:
        return float("nan")
    slope = equal_views - uncorrelated
    if slope <= floor:
        return float("-inf") if equal_views > 0 else float("inf")
    root = -uncorrelated / slope
    # A loss of distances only has its root at 1, up to rounding.
    if root > 1.0 + 1e-6:
        return float("inf")
    return float(root) if root > -1 else float("-inf")


def plateau(
    weak: Callable[[np.ndarray], np.ndarray], rates: np.ndarray, floor: float
) -> float:
    """Find where a curve over `LEVELS` first falls through zero."""
    if np.abs(rates).max() < floor:
        return float("nan")
    if rates[0] < -floor:
        return 0.0
    place = _fall(LEVELS, rates)
    if place is None:
        return float("nan")
    closer = np.geomspace(place[1], place[2], _BATCH // 2)
    place = _fall(closer, weak(closer)) or place
    return place[0]
