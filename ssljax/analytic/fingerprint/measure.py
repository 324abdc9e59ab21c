"""The spectral fingerprint of a loss: its effect on each embedding eigenvalue.

By automatic differentiation alone, on the two-view linear model, for any pure loss.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ssljax.analytic.fingerprint.losses import FINGERPRINTED
from ssljax.analytic.fingerprint.model import (
    Loss,
    TwoViews,
    gaussian_views,
)
from ssljax.analytic.fingerprint.probe import (
    LEVELS,
    NEARBY,
    NOISE,
    SMALL,
    SMALLER,
    equalisation_of,
    is_force,
    mapped,
    plateau,
    probe,
    resting_levels,
    threshold,
)
from ssljax.analytic.inputs import check_between, check_choice, check_whole
from ssljax.analytic.precision import in_float64
from ssljax.analytic.text import described

# A drift below this share of the largest rate counts as none: the eps in a
# standardisation depends on the scale.
_NEGLIGIBLE = 1e-3


class Fingerprint(NamedTuple):
    """How a loss moves one mode of the embedding, the others held at ``reference``."""

    correlation: float
    """Of the two views, in all modes but the weak one."""
    scale: float
    """Eigenvalue at which an isotropic spectrum rests, NaN where there is none."""
    drift: float
    """``d log lambda / dt`` of the isotropic spectrum at the reference: 0 at a fixed
    point or if the loss ignores scale, negative if everything shrinks."""
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

    def __repr__(self) -> str:
        figures = self._asdict()
        for table in ("levels", "rates"):
            del figures[table]
        return f"Fingerprint({self.verdict}: {described(figures)})"

    @property
    def force(self) -> float:
        """Return the largest rate, of either sign; 0 where all are rounding."""
        return float(np.abs(self.rates).max())

    @property
    def verdict(self) -> str:
        """Return the verdict in a few words."""
        if self.force == 0:
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
        """Return the scale's fixed point, or a word for its fate without one."""
        if not np.isnan(self.scale):
            return f"{self.scale:.3g}"
        if abs(self.drift) <= _NEGLIGIBLE * self.force or self.force == 0:
            return "free"
        return "grows" if self.drift > 0 else "shrinks"


@in_float64
def spectral_fingerprint(
    loss: Loss,
    *,
    correlation: float = 0.8,
    modes: int = 16,
    samples: int | None = None,
    basis: str = "spread",
    seed: int = 0,
    views: TwoViews | None = None,
) -> Fingerprint:
    """Measure how a pure loss of two views changes each eigenvalue.

    One mode is moved through all sizes while the others stay where the loss itself
    holds an isotropic spectrum (at 1 where it does not). Rates are `jax.grad` of the
    loss; how they change with the spectrum is a central difference of them, since a
    stop-gradient is constant for the descent and not for the question asked here.

    Args:
        loss: pure scalar function of two embeddings ``[N, M]``; it closes over all else
            it needs (keys, predictors, weights). See `FINGERPRINTED`.
        correlation: of the two views in every mode, in (0, 1].
        modes: number M of modes and channels, see `gaussian_views`.
        samples: number of pairs; None takes about 256.
        basis: "spread" or "axes".
        seed: of the inputs.
        views: inputs of one's own; modes, samples, basis and seed are then ignored.

    Returns:
        The `Fingerprint`; rates per unit of learning rate x step.

    Raises:
        ValueError: for a correlation out of range, fewer than two modes, a loss that
            computes below float64 or whose gradient is not finite, or as
            `gaussian_views` does.

    >>> from ssljax import losses
    >>> found = spectral_fingerprint(losses.linearized_barlow_twins, modes=4)
    >>> round(found.scale, 6), round(found.equalisation, 4)  # 1 / rho, 8 rho
    (1.25, 6.4)
    >>> found.verdict
    'recruits all'
    """
    check_between("correlation", correlation, 0, 1, "(]")
    if views is None:
        views = gaussian_views(modes, samples=samples, basis=basis, seed=seed)
    views = TwoViews(*map(jnp.asarray, views))
    modes = check_whole("modes", views.source.shape[1], 2)
    rates = mapped(loss, views)
    even = np.full(modes, correlation)

    def isotropic(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (levels,) = levels
        every = np.tile(even, (len(levels), 1))
        found, _ = rates(np.repeat(levels[:, None], modes, 1), every)
        # Equal modes can be a minimum, where no sample pulls at all.
        _, rounding = rates(levels[:, None] * np.geomspace(0.5, 2.0, modes), every)
        return found.mean(axis=1)[None], rounding.mean(axis=1)[None]

    (scale,) = map(float, resting_levels(isotropic))
    reference = 1.0 if np.isnan(scale) else scale

    small = [(SMALLER, correlation), (SMALL, 0.0), (SMALL, 1.0)]
    cases = [(x, c) for c in (correlation, correlation / 2) for x in LEVELS] + small
    probed, rounding = probe(rates, reference, even, np.array(cases))
    nearby, _ = probe(rates, reference, even, np.array(cases) * [NEARBY, 1.0])
    if not is_force(probed, nearby, rounding):
        return _without_force(correlation)
    curves = probed[: 2 * len(LEVELS)].reshape(2, -1).T
    smaller, uncorrelated, equal_views = probed[2 * len(LEVELS) :]

    def weak(levels: np.ndarray) -> np.ndarray:
        cases = np.stack([levels, np.full_like(levels, correlation / 2)], axis=1)
        return probe(rates, reference, even, cases)[0]

    growth = curves[0, 0]
    floor = NOISE * np.abs(curves).max()
    moved = abs(growth) > floor
    exponent = np.log(abs(growth / smaller)) / np.log(SMALL / SMALLER) if moved else 0
    return Fingerprint(
        correlation=correlation,
        scale=scale,
        drift=0.0 if scale == reference else float(isotropic(np.ones((1, 1)))[0][0, 0]),
        reference=reference,
        growth=float(growth) if moved else 0.0,
        exponent=float(exponent) if moved else float("nan"),
        threshold=threshold(uncorrelated, equal_views, floor),
        plateau=plateau(weak, curves[:, 1], floor),
        equalisation=equalisation_of(rates, reference, even),
        levels=LEVELS,
        rates=curves,
    )


def _without_force(correlation: float) -> Fingerprint:
    """Return the record of a loss whose pulls on every mode cancel."""
    unknown = float("nan")
    return Fingerprint(
        correlation=correlation,
        scale=unknown,
        drift=0.0,
        reference=1.0,
        growth=0.0,
        exponent=unknown,
        threshold=unknown,
        plateau=unknown,
        equalisation=0.0,
        levels=LEVELS,
        rates=np.zeros((len(LEVELS), 2)),
    )


def fingerprints(
    names: Iterable[str] | None = None,
    *,
    report: Callable[[str], None] = lambda name: None,
    **options: Any,
) -> dict[str, Fingerprint]:
    """Measure the fingerprints of losses at the hyper-parameters of the table.

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
    for name in names:
        check_choice("loss", name, tuple(FINGERPRINTED))
    found = {}
    for name in names:
        report(name)
        found[name] = spectral_fingerprint(FINGERPRINTED[name].loss, **options)
    return found
