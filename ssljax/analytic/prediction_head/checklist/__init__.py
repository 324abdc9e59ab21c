"""Checklist of the prediction-head theory."""

from ssljax.analytic.checklist import Theory
from ssljax.analytic.prediction_head.checklist import (
    controls,
    phases,
    population,
    sampled,
)

THEORY = Theory(
    name="prediction-head",
    paper="Wen and Li, The mechanism of prediction head in non-contrastive "
    "self-supervised learning, NeurIPS 2022",
    items=(
        *population.ITEMS,
        *phases.ITEMS,
        *controls.ITEMS,
        *sampled.ITEMS,
    ),
    pictures=sampled.pictures,
)
