"""How the rates of a loss are scanned: many spectra through one compiled program."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic._fingerprint_model import Loss, TwoViews, log_rates

Rates = Callable[..., np.ndarray]

LEVELS = np.logspace(-4, 1, 16)
_SCALES = np.logspace(-6, 4, 24)
_BATCH = len(_SCALES)  # spectra per compiled call
SMALL = 1e-4
SMALLER = 1e-5
# Below, a rate is rounding: the inverse roots of whitening have condition 1 / SMALL.
NO_FORCE = 1e-6
NOISE = 1e-7


def mapped(loss: Loss, views: TwoViews) -> Rates:
    """Rates of many spectra by one compiled program: it takes most of the time."""

    @jax.jit
    def batch(amplitudes: jax.Array, correlation: jax.Array) -> jax.Array:
        return jax.lax.map(
            lambda case: log_rates(loss, views, *case), (amplitudes, correlation)
        )

    def rates(
        spectra: np.ndarray, correlations: np.ndarray, signs: np.ndarray | None = None
    ) -> np.ndarray:
        amplitudes = np.sqrt(spectra) * (1.0 if signs is None else signs)
        parts = []
        for start in range(0, len(amplitudes), _BATCH):
            part = slice(start, start + _BATCH)
            fill = ((0, _BATCH - len(amplitudes[part])), (0, 0))
            padded = (np.pad(x[part], fill, "edge") for x in (amplitudes, correlations))
            parts.append(np.asarray(batch(*map(jnp.asarray, padded))))
        return np.concatenate(parts)[: len(amplitudes)]

    return rates


def resting_level(isotropic: Callable[[np.ndarray], np.ndarray]) -> float:
    """Where the rate of an isotropic spectrum falls through zero."""
    levels, found = _SCALES, float("nan")
    for _ in range(3):
        rates = isotropic(levels)
        # A loss without a scale has rates that are rounding, of either sign.
        rates = np.where(np.abs(rates) > NOISE, rates, 0.0)
        place = _fall(levels, rates, strict=levels is _SCALES)
        if place is None:
            break
        found, low, high = place
        levels = np.geomspace(low, high, _BATCH)
    return found


def _fall(
    levels: np.ndarray, rates: np.ndarray, *, strict: bool = False
) -> tuple[float, float, float] | None:
    """First fall of a curve through zero and the levels on either side of it.

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
) -> np.ndarray:
    """Rates of the first mode at (level, correlation), the others at the reference.

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
    return both[:, 0].reshape(2, -1).mean(axis=0)


def equalisation_of(
    rates: Rates,
    reference: float,
    even: np.ndarray,
    *,
    step: float = 1e-4,
) -> float:
    """Mean decay rate of the difference between one mode and the others."""
    modes = len(even)
    tilted = np.arange(min(modes, _BATCH // 2))
    tilt = np.eye(modes)[tilted]
    spectra = reference * np.exp(step * np.concatenate([tilt, -tilt]))
    found = rates(spectra, np.tile(even, (len(spectra), 1)))
    slopes = (found[: len(tilted)] - found[len(tilted) :]) / (2.0 * step)
    own = slopes[tilted, tilted]
    others = (slopes.sum(axis=1) - own) / (modes - 1)
    return float(np.mean(others - own))


def threshold(uncorrelated: float, equal_views: float, floor: float) -> float:
    """Root of the rate of a small mode, which is linear in its correlation."""
    if max(abs(uncorrelated), abs(equal_views)) < floor:
        return float("nan")
    slope = equal_views - uncorrelated
    if slope <= floor:
        return float("-inf") if equal_views > 0 else float("inf")
    root = -uncorrelated / slope
    if root > 1:
        return float("inf")
    return float(root) if root > -1 else float("-inf")


def plateau(
    weak: Callable[[np.ndarray], np.ndarray], rates: np.ndarray, floor: float
) -> float:
    """First fall through zero of a curve over `LEVELS`, looked at once more closely."""
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
