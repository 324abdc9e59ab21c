"""Why a linear prediction head lets two neurons learn two features.

Samples are patches that show one of two features, a strong and a weak one, or noise;
two views show complementary halves. Without a trainable head both neurons learn the
strong feature: a solution as good as any. With one, the neuron that is behind borrows
the strong feature through the head (substitution), which makes the weak feature its
fastest (acceleration); then the head returns to the identity.

Three ways to the same gradients stand side by side: moments in closed form
(`population_loss`), the trained loss on few samples with exactly these moments
(`patch_loss` on `population_batch`, or on every mask and sign of the real model,
`enumerated_batch`), and the trained loss on drawn samples (`sample_patches`).

Source: Wen and Li, "The mechanism of prediction head in non-contrastive
self-supervised learning", NeurIPS 2022.
"""

from ssljax.analytic.prediction_head.dynamics import (
    HeadRule,
    descend,
    head_flow,
)
from ssljax.analytic.prediction_head.effects import (
    Acceleration,
    acceleration,
    conserved_quantities,
    feature_velocity,
    substitution_bound,
)
from ssljax.analytic.prediction_head.frozen import solve_frozen_head
from ssljax.analytic.prediction_head.patches import (
    PatchBatch,
    enumerated_batch,
    neurons,
    patch_loss,
    population_batch,
    sample_patches,
)
from ssljax.analytic.prediction_head.population import (
    HeadParams,
    PatchData,
    PopulationConstants,
    effective_rank,
    output_correlation,
    population_constants,
    population_loss,
    population_moments,
)

__all__ = [
    "Acceleration",
    "HeadParams",
    "HeadRule",
    "PatchBatch",
    "PatchData",
    "PopulationConstants",
    "acceleration",
    "conserved_quantities",
    "descend",
    "effective_rank",
    "enumerated_batch",
    "feature_velocity",
    "head_flow",
    "neurons",
    "output_correlation",
    "patch_loss",
    "population_batch",
    "population_constants",
    "population_loss",
    "population_moments",
    "sample_patches",
    "solve_frozen_head",
    "substitution_bound",
]
