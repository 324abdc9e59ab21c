"""The spectral fingerprint of a loss: what it does to each eigenvalue of an embedding.

By automatic differentiation alone, on the two-view linear model, for any pure loss.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic._fingerprint_losses import FINGERPRINTED
from ssljax.analytic._fingerprint_model import (
    Loss,
    TwoViews,
    eigenvalue_rates,
    gaussian_views,
    log_rates,
)
from ssljax.analytic.precision import in_float64

__all__ = [
    "FINGERPRINTED",
    "Fingerprint",
    "TwoViews",
    "eigenvalue_rates",
    "equalisation_rate",
    "fingerprints",
    "gaussian_views",
    "spectral_fingerprint",
]

LEVELS = np.logspace(-4, 1, 16)
_SCALES = np.logspace(-6, 4, 24)
_BATCH = len(_SCALES)
_SMALL = 1e-4
_SMALLER = 1e-5
# Below, a rate is rounding: the inverse roots of whitening have condition 1 / _SMALL.
_NO_FORCE = 1e-6
_NOISE = 1e-7
# Share of the largest rate that counts as none: eps in a standardisation sees a scale.
_NEGLIGIBLE = 1e-3


class Fingerprint(NamedTuple):
    """How a loss moves one mode of the embedding, the others held at ``reference``."""

    correlation: float
    """Of the two views, in all modes but the weak one."""
    scale: float
    """Eigenvalue at which an isotropic spectrum rests, NaN where there is none."""
    drift: float
    """``d log lambda / dt`` of the isotropic spectrum at the reference: 0 at rest and
    where the loss sees no scale, negative where everything shrinks."""
    reference: float
    """Eigenvalue of the other modes: ``scale``, or 1."""
    growth: float
    """``d log lambda / dt`` of a mode at 1e-4 of the reference."""
    exponent: float
    """``q`` of ``growth ~ lambda^q`` for small lambda; 0: small modes are recruited at
    once, above 0: the later the smaller; NaN where there is no force."""
    threshold: float
    """Correlation above which a small mode grows; -inf: all do, inf: none does, NaN:
    it is not moved."""
    plateau: float
    """Where a mode of half the correlation comes to rest, as a multiple of
    ``reference``; 0 where it dies out and NaN where it has no rest below 10."""
    equalisation: float
    """Rate at which small differences between the modes decay at the reference;
    negative where they grow."""
    levels: np.ndarray
    """``[L]``: eigenvalues of the probed mode, as multiples of ``reference``."""
    rates: np.ndarray
    """``[L, 2]``: its ``d log lambda / dt``, of the others' correlation and half it."""

    @property
    def force(self) -> float:
        """Largest rate met, of either sign."""
        return float(np.abs(self.rates).max())

    @property
    def verdict(self) -> str:
        """In a few words, from the numbers."""
        if self.force < _NO_FORCE:
            return "no force"
        if self.drift < -_NEGLIGIBLE * self.force:
            return "collapse: all modes shrink"
        if not self.growth > 0:
            return "collapse: small modes shrink"
        late = f", late (rate ~ lambda^{self.exponent:.2g})"
        late = late if self.exponent > 0.05 else ""
        if self.threshold > 0.05:
            return f"recruits correlation > {self.threshold:.2f}{late}"
        return f"recruits all{late}"

    @property
    def size(self) -> str:
        """What becomes of the scale: its rest, or a word."""
        if not np.isnan(self.scale):
            return f"{self.scale:.3g}"
        if abs(self.drift) <= _NEGLIGIBLE * self.force or self.force < _NO_FORCE:
            return "free"
        return "grows" if self.drift > 0 else "shrinks"


@in_float64
def spectral_fingerprint(
    loss: Loss,
    *,
    correlation: float = 0.8,
    modes: int = 16,
    samples: int = 256,
    basis: str = "spread",
    seed: int = 0,
    views: TwoViews | None = None,
) -> Fingerprint:
    """Eigenvalue dynamics of any pure loss of two views, as a function of the spectrum.

    One mode is moved through all sizes while the others stay where the loss itself
    holds an isotropic spectrum (at 1 where it does not). Rates are `jax.grad` of the
    loss; how they change with the spectrum is a central difference of them, since a
    stop-gradient is constant for the descent and not for the question asked here.

    Args:
        loss: pure scalar function of two embeddings ``[N, M]``; what else it needs
            (keys, predictors, weights) is closed over. See `FINGERPRINTED`.
        correlation: of the two views in every mode, in (0, 1].
        modes: number M of modes and channels, see `gaussian_views`.
        samples: number of pairs.
        basis: "spread" or "axes".
        seed: of the inputs.
        views: inputs of one's own; modes, samples, basis and seed are then ignored.

    Returns:
        The `Fingerprint`; rates per unit of learning rate x step.

    Raises:
        ValueError: for a correlation out of range, or as `gaussian_views` does.

    >>> from ssljax import losses
    >>> found = spectral_fingerprint(losses.linearized_barlow_twins, modes=4)
    >>> round(found.scale, 6), round(found.equalisation, 4)  # 1 / rho, 8 rho
    (1.25, 6.4)
    >>> found.verdict
    'recruits all'
    """
    if not 0 < correlation <= 1:
        raise ValueError(f"correlation must lie in (0, 1], got {correlation}")
    if views is None:
        views = gaussian_views(modes, samples=samples, basis=basis, seed=seed)
    views = TwoViews(*map(jnp.asarray, views))
    modes = views.source.shape[1]
    rates = _mapped(loss, views)
    even = np.full(modes, correlation)

    def isotropic(levels: np.ndarray) -> np.ndarray:
        return rates(
            np.repeat(levels[:, None], modes, 1), np.tile(even, (len(levels), 1))
        ).mean(axis=1)

    scale = _resting_level(isotropic)
    reference = 1.0 if np.isnan(scale) else scale

    small = [(_SMALLER, correlation), (_SMALL, 0.0), (_SMALL, 1.0)]
    cases = [(x, c) for c in (correlation, correlation / 2) for x in LEVELS] + small
    probed = _probe(rates, reference, even, np.array(cases))
    curves = probed[: 2 * len(LEVELS)].reshape(2, -1).T
    smaller, uncorrelated, equal_views = probed[2 * len(LEVELS) :]

    def weak(levels: np.ndarray) -> np.ndarray:
        cases = np.stack([levels, np.full_like(levels, correlation / 2)], axis=1)
        return _probe(rates, reference, even, cases)

    growth = curves[0, 0]
    size = np.abs(curves).max()
    moved = size > _NO_FORCE and abs(growth) > _NOISE * size
    exponent = np.log(abs(growth / smaller)) / np.log(_SMALL / _SMALLER) if moved else 0
    floor = max(_NOISE * size, _NO_FORCE)
    return Fingerprint(
        correlation=correlation,
        scale=scale,
        drift=0.0 if scale == reference else float(isotropic(np.ones(1))[0]),
        reference=reference,
        growth=float(growth) if moved else 0.0,
        exponent=float(exponent) if moved else float("nan"),
        threshold=_threshold(uncorrelated, equal_views, floor),
        plateau=_plateau(weak, curves[:, 1], floor),
        equalisation=_equalisation(rates, reference, even),
        levels=LEVELS,
        rates=curves,
    )


@in_float64
def equalisation_rate(
    loss: Loss, level: float, *, correlation: float = 0.8, views: TwoViews
) -> float:
    """Rate at which small differences between modes of one size decay.

    Args:
        loss: pure scalar function of two embeddings.
        level: eigenvalue of all modes.
        correlation: of the two views.
        views: the inputs.

    >>> from ssljax import losses
    >>> rate = equalisation_rate(
    ...     losses.linearized_barlow_twins, 1.25, views=gaussian_views(4)
    ... )
    >>> round(rate, 4)  # 8 rho
    6.4
    """
    views = TwoViews(*map(jnp.asarray, views))
    even = np.full(views.source.shape[1], correlation)
    return _equalisation(_mapped(loss, views), level, even)


def fingerprints(
    names: Iterable[str] | None = None,
    *,
    report: Callable[[str], None] = lambda name: None,
    **options,
) -> dict[str, Fingerprint]:
    """Fingerprints of losses of `ssljax.losses`, with their default hyper-parameters.

    Args:
        names: keys of `FINGERPRINTED`; None takes all.
        report: called with each name before its turn.
        **options: of `spectral_fingerprint`.

    Returns:
        Name to `Fingerprint`.

    Raises:
        ValueError: for an unknown name.
    """
    names = list(FINGERPRINTED if names is None else names)
    unknown = [name for name in names if name not in FINGERPRINTED]
    if unknown:
        raise ValueError(f"no fingerprint for {unknown[0]!r}")
    found = {}
    for name in names:
        report(name)
        found[name] = spectral_fingerprint(FINGERPRINTED[name].loss, **options)
    return found


def _mapped(loss: Loss, views: TwoViews) -> Callable[..., np.ndarray]:
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


def _resting_level(isotropic: Callable[[np.ndarray], np.ndarray]) -> float:
    """Where the rate of an isotropic spectrum falls through zero."""
    levels = _SCALES
    for _ in range(3):
        rates = isotropic(levels)
        # A loss without a scale has rates that are rounding, of either sign.
        real = np.abs(rates) > _NOISE
        falls = (rates[:-1] > 0) & (rates[1:] < 0) & real[:-1] & real[1:]
        if not falls.any():
            break
        first = int(np.argmax(falls))
        low, high = levels[first : first + 2]
        below, above = rates[first : first + 2]
        levels = np.geomspace(low, high, _BATCH)
    else:
        return float(low * (high / low) ** (below / (below - above)))
    return float("nan") if levels is _SCALES else float(np.sqrt(low * high))


def _probe(
    rates: Callable[..., np.ndarray],
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


def _equalisation(
    rates: Callable[..., np.ndarray],
    reference: float,
    even: np.ndarray,
    *,
    step: float = 1e-4,
) -> float:
    """Mean decay rate of the differences between modes i and i + M/2."""
    modes = len(even)
    pairs = np.arange(modes // 2)
    tilt = np.zeros((modes // 2, modes))
    tilt[pairs, pairs], tilt[pairs, pairs + modes // 2] = 1.0, -1.0
    spectra = reference * np.exp(step * np.concatenate([tilt, -tilt]))
    found = rates(spectra, np.tile(even, (len(spectra), 1)))
    up, down = found[: modes // 2], found[modes // 2 :]
    return float(-np.mean(np.sum((up - down) * tilt, axis=1)) / (4.0 * step))


def _threshold(uncorrelated: float, equal_views: float, floor: float) -> float:
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


def _plateau(
    weak: Callable[[np.ndarray], np.ndarray], rates: np.ndarray, floor: float
) -> float:
    """First fall through zero of a curve over `LEVELS`, looked at once more closely."""
    if np.abs(rates).max() < floor:
        return float("nan")
    if rates[0] < -floor:
        return 0.0
    levels = LEVELS
    for _ in range(2):
        falls = np.flatnonzero((rates[:-1] > 0) & (rates[1:] <= 0))
        if not len(falls):
            return float("nan")
        i = falls[0]
        part = rates[i] / (rates[i] - rates[i + 1])
        found = levels[i] * (levels[i + 1] / levels[i]) ** part
        if levels is LEVELS:
            levels = np.geomspace(levels[i], levels[i + 1], _BATCH // 2)
            rates = weak(levels)
    return float(found)
