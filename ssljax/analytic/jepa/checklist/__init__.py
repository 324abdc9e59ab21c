"""The checklist of Littwin et al. (2024) on JEPA and noisy features."""

from ssljax.analytic.checklist import Item, Theory
from ssljax.analytic.jepa.checklist import features
from ssljax.analytic.jepa.checklist.pictures import pictures

THEORY = Theory(
    name="jepa",
    paper=(
        "Littwin et al., How JEPA avoids noisy features: the implicit bias of deep "
        "linear self distillation networks, NeurIPS 2024"
    ),
    items=(
        Item(
            "1",
            "times to learn a feature in closed form, and the values in the end",
            features.times_to_learn,
        ),
        Item(
            "2",
            "MAE learns by covariance, deep JEPA by the regression coefficient",
            features.order,
        ),
        Item("3", "layers keep their imbalance, a predictor its lead", features.kept),
        Item("4", "critical times of a small start", features.critical, seeded=False),
        Item("5", "descent meets the flow at first order", features.descent),
    ),
    pictures=pictures,
)
