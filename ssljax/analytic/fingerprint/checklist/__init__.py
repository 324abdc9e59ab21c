"""The fingerprint as a theory of its own: its checks and its figure."""

from collections.abc import Mapping

import numpy as np

from ssljax.analytic.checklist import Given, Item, Panel, Picture, Theory
from ssljax.analytic.fingerprint.checklist import predictors
from ssljax.analytic.fingerprint.checklist import spectra as others
from ssljax.analytic.fingerprint.closed_forms import CLOSED, closed_rates
from ssljax.analytic.fingerprint.measure import Fingerprint, fingerprints

_ITEMS = (
    ("1", "the rates are those of the eigenvalues after a gradient step on all of W",
     others.rates_are_derivatives),
    ("2", "asymmetric Euclidean: 2 lambda p (rho - p), p = lambda^alpha; IsoLoss: no p",
     predictors.euclidean_rates),
    ("3", "cosine losses conserve sum s, and IsoLoss sum s^(1 + alpha)",
     predictors.cosine_conservation),
    ("4", "cosine losses of two modes: the integral over directions",
     predictors.cosine_of_two_modes),
    ("5", "cosine losses at isotropy: rate 2 alpha / ((M + 2) s*), IsoLoss / s*^alpha",
     predictors.cosine_isotropic_rate),
    ("6", "no predictor, no stop-gradient, or the wrong one: collapse at known rates",
     predictors.collapse_without_predictor),
    ("7", "linearised Barlow Twins: 8 gamma lambda (1 - lambda) in the spectrum of C",
     others.linearized_barlow_twins_rates),
    ("8", "spectral contrastive: 8 lambda (rho - lambda), rest at rho, error 1 / N",
     others.spectral_contrastive_rates),
    ("9", "VICReg at small weights: the hinge's 1 / sqrt(eps) against the invariance",
     others.vicreg_small_rates),
    ("10", "g = lambda^-p: dL / d log lambda = 2 h' lambda (1 - rho), 0 at p = 1/2",
     others.power_transform_forces),
    ("11", "whitening exerts no force on the spectrum", others.whitening_has_no_force),
    ("12", "IterNorm's force is that of the recursion h_T", 
     others.iterative_normalization_rates),
    ("13", "both criteria of the duality, with the norms that tell them apart",
     others.duality_rates),
    ("14", "Barlow Twins, VICReg, VICReg-exp, trace loss at any spectrum",
     others.closed_forms),
    ("15", "the record: rest, growth, exponent, threshold, equalisation",
     others.the_record),
)  # fmt: skip


def fingerprint_picture(found: Mapping[str, Fingerprint]) -> Picture:
    """Rates over the size of a mode: closed forms as lines, autodiff as points.

    Args:
        found: of `fingerprints`, with 16 modes and 256 samples.
    """
    panels = []
    for name, record in found.items():
        shown = record.levels <= 3.0
        rates = record.rates[shown]
        # Of the range up to the reference; far beyond it some rates are huge.
        size = np.abs(record.rates[record.levels <= 1.0]).max()
        size = size if record.force > 0 else 1.0
        lines = []
        if name in CLOSED:
            lines.append(_closed_curves(name, record, size))
        panels.append(
            Panel(
                title=name,
                x_label="eigenvalue / reference",
                y_label="d ln(eigenvalue) / dt, share of largest",
                lines=lines,
                points=[(record.levels[shown], _within(rates / size))],
                line_labels=["closed form"],
                point_labels=[
                    f"autodiff, correlation {record.correlation:g}",
                    f"autodiff, correlation {record.correlation / 2:g}",
                ],
                log_x=True,
            )
        )
    return Picture("fingerprint", panels)


def _closed_curves(name: str, record: Fingerprint, size: float):
    levels = np.geomspace(record.levels[0], 3.0, 60)
    curves = np.zeros((len(levels), 2))
    for column, share in enumerate((1.0, 0.5)):
        correlation = np.full(16, record.correlation)
        correlation[0] *= share
        for row, level in enumerate(levels):
            spectrum = np.full(16, record.reference)
            spectrum[0] *= level
            rates = closed_rates(name, spectrum, correlation=correlation)
            curves[row, column] = rates[0] / spectrum[0]
    return levels, _within(curves / size)


def _within(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) <= 1.5, values, np.nan)


def _pictures(given: Given) -> list[Picture]:
    return [fingerprint_picture(fingerprints(seed=given.seed))]


THEORY = Theory(
    name="fingerprint",
    paper="rates of eigenvalues by automatic differentiation, against the closed forms",
    items=tuple(Item(number, what, run) for number, what, run in _ITEMS),
    pictures=_pictures,
)
