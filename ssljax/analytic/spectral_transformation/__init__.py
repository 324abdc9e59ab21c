"""Spectral transformations: their effect on eigenvalues, and the training they cause.

A transformation multiplies the direction with eigenvalue ``lambda`` of the embedding's
covariance by ``g(lambda)``; all that decides about collapse is the variance
``h = lambda g^2`` with which the direction leaves. Whitening has ``h = 1``; iterative
normalisation has ``h_T`` of the eigenvalue's share of the trace, and needs the trace
loss besides.

Source: Weng et al., "Modulate your spectrum in self-supervised learning", ICLR 2024.
"""

from ssljax.analytic.spectral_transformation.flow import (
    collapse_time,
    solve_alignment_flow,
    solve_trace_flow,
)
from ssljax.analytic.spectral_transformation.iter_norm import (
    iter_norm_gain,
    iter_norm_spectral_gradient,
    iter_norm_spectrum,
    rounding_growth,
)
from ssljax.analytic.spectral_transformation.trace import (
    default_trace_weight,
    equalizing_rate,
    intl_floor,
    reviving_trace_weight,
    trace_loss_floor,
    trace_loss_of_spectrum,
)
from ssljax.analytic.spectral_transformation.transform import (
    implicit_spectral_gradient,
    output_variance,
)

__all__ = [
    "collapse_time",
    "default_trace_weight",
    "equalizing_rate",
    "implicit_spectral_gradient",
    "intl_floor",
    "iter_norm_gain",
    "iter_norm_spectral_gradient",
    "iter_norm_spectrum",
    "output_variance",
    "reviving_trace_weight",
    "rounding_growth",
    "solve_alignment_flow",
    "solve_trace_flow",
    "trace_loss_floor",
    "trace_loss_of_spectrum",
]
