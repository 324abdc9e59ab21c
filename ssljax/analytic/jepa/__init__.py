"""Predicting in latent space or in pixels: which features a deep linear encoder learns.

Littwin et al., "How JEPA avoids noisy features: the implicit bias of deep linear self
distillation networks", NeurIPS 2024 (arXiv 2407.03475). Both objectives are
`ssljax.losses.asymmetric_euclidean` on the output of a learned matrix behind a deep
linear encoder: for JEPA with the encoded target, for MAE with the target itself. The
closed-form times are derived here. Times are learning rate x step.
"""

from ssljax.analytic.jepa.modes import (
    encoder_limits,
    encoder_velocity,
    solve_encoder,
)
from ssljax.analytic.jepa.times import critical_time, encoder_time

__all__ = [
    "critical_time",
    "encoder_limits",
    "encoder_time",
    "encoder_velocity",
    "solve_encoder",
]
