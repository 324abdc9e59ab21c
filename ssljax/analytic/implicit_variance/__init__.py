"""Implicit variance regularisation: how asymmetric losses keep spectra from collapse.

One theory of non-contrastive learning with a closed-form predictor ``(W W^T)^alpha`` on
the linear network ``z = W x`` with white inputs: the Euclidean losses mode by mode in
closed form, the cosine losses as coupled modes, and the fate of both without predictor
or stop-gradient, and with weight decay, a moving target or other noise.

Times are in units of learning rate x step and losses are those of `ssljax.losses`: one
direction, the Euclidean ones with their factor 1/2.

Source: Halvagal, Laborieux and Zenke, "Implicit variance regularization in
non-contrastive SSL", NeurIPS 2023.
"""

from ssljax.analytic.implicit_variance.averages import sphere_averages
from ssljax.analytic.implicit_variance.cosine import (
    cosine_velocity,
    isotropic_rate,
    isotropic_variance,
    solve_cosine,
)
from ssljax.analytic.implicit_variance.euclidean import (
    predictor_eigenvalues,
    recruitment_time,
    solve_euclidean,
    solve_predictor,
)
from ssljax.analytic.implicit_variance.growth import (
    Growth,
    euclidean_growth,
    weight_decay_limits,
)
from ssljax.analytic.implicit_variance.relu import relu_velocity, solve_relu
from ssljax.analytic.implicit_variance.variants import (
    solve_moving_target,
    solve_normalized_predictor,
)

__all__ = [
    "Growth",
    "cosine_velocity",
    "euclidean_growth",
    "isotropic_rate",
    "isotropic_variance",
    "predictor_eigenvalues",
    "recruitment_time",
    "relu_velocity",
    "solve_cosine",
    "solve_euclidean",
    "solve_moving_target",
    "solve_normalized_predictor",
    "solve_predictor",
    "solve_relu",
    "sphere_averages",
    "weight_decay_limits",
]
