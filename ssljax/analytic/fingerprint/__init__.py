"""The spectral fingerprint of a loss: its effect on each embedding eigenvalue.

By automatic differentiation alone, on the two-view linear model, for any pure loss.
"""

from ssljax.analytic.fingerprint.boundaries import growth_boundary
from ssljax.analytic.fingerprint.growth import equalisation_rate, growth_rate
from ssljax.analytic.fingerprint.losses import FINGERPRINTED
from ssljax.analytic.fingerprint.measure import (
    Fingerprint,
    fingerprints,
    spectral_fingerprint,
)
from ssljax.analytic.fingerprint.model import TwoViews, eigenvalue_rates, gaussian_views
from ssljax.analytic.fingerprint.phases import PhaseMap, phase_map
from ssljax.analytic.fingerprint.probe import LEVELS
from ssljax.analytic.fingerprint.regimes import REGIMES

__all__ = [
    "FINGERPRINTED",
    "Fingerprint",
    "LEVELS",
    "PhaseMap",
    "REGIMES",
    "TwoViews",
    "eigenvalue_rates",
    "equalisation_rate",
    "fingerprints",
    "gaussian_views",
    "growth_boundary",
    "growth_rate",
    "phase_map",
    "spectral_fingerprint",
]
