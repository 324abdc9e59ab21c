"""Checklist of the prediction-head theory."""

from ssljax.analytic.checklist import Theory
from ssljax.analytic.checklists import (
    _prediction_head_controls,
    _prediction_head_phases,
    _prediction_head_population,
    _prediction_head_sampled,
)

THEORY = Theory(
    name="prediction-head",
    paper="Wen and Li, The mechanism of prediction head in non-contrastive "
    "self-supervised learning, NeurIPS 2022",
    items=(
        *_prediction_head_population.ITEMS,
        *_prediction_head_phases.ITEMS,
        *_prediction_head_controls.ITEMS,
        *_prediction_head_sampled.ITEMS,
    ),
    pictures=_prediction_head_sampled.pictures,
)
