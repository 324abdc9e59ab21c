"""Picture of the fingerprint: rates over the size of a mode, for every loss."""

from collections.abc import Mapping

import jax
import numpy as np

from ssljax.analytic.checklist import Given, Panel, Picture
from ssljax.analytic.fingerprint.closed_forms import CLOSED, closed_rates
from ssljax.analytic.fingerprint.measure import Fingerprint, fingerprints

_CAPTION = (
    "How fast one mode of the embedding grows or shrinks under each loss, over its "
    "size relative to the other modes, which are held. Circles: all modes of the same "
    "correlation between the views; squares: the mode has half of it. Lines are the "
    "closed forms of the losses that have one. Rates are shares of the largest rate up "
    "to the others' size; the axis is linear up to 1 and logarithmic beyond. A mode "
    "rests where its rate falls through 0."
)


def fingerprint_picture(found: Mapping[str, Fingerprint]) -> Picture:
    """Draw rates over a mode's size: closed forms as lines, autodiff as points.

    Args:
        found: of `fingerprints`, with 16 modes and 256 samples.
    """
    panels = []
    for name, record in found.items():
        shown = record.levels <= 3.0
        rates = record.rates[shown]
        # Limit the axis to rates up to the reference; some are huge far beyond it.
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
                points=[(record.levels[shown], rates / size)],
                line_labels=["closed form"],
                point_labels=[
                    f"autodiff, correlation {record.correlation:g}",
                    f"autodiff, correlation {record.correlation / 2:g}",
                ],
                log_x=True,
                linear_within=1.0,
            )
        )
    return Picture("fingerprint", panels, _CAPTION)


def _closed_curves(name: str, record: Fingerprint, size: float):
    levels = np.geomspace(record.levels[0], 3.0, 60)
    spectra = np.full((60, 16), record.reference)
    spectra[:, 0] *= levels
    correlations = np.full((2, 16), record.correlation)
    correlations[1, 0] *= 0.5

    def rate(spectrum, correlation):
        return closed_rates(name, spectrum, correlation=correlation)[0] / spectrum[0]

    # One program for all points of both curves.
    with jax.enable_x64(True):
        over_both = jax.vmap(jax.vmap(rate, (None, 0)), (0, None))
        curves = np.asarray(jax.jit(over_both)(spectra, correlations))
    return levels, curves / size


def pictures(given: Given) -> list[Picture]:
    """Draw the rates of every loss in the table."""
    return [fingerprint_picture(fingerprints(seed=given.seed))]
