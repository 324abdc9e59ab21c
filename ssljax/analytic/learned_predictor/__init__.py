"""A linear predictor that is learned, with weight decay and a moving target.

Tian, Chen and Ganguli, "Understanding self-supervised learning dynamics without
contrastive pairs", ICML 2021: `ssljax.losses.asymmetric_euclidean` on the prediction of
a learned matrix. Bao, "Feature normalization prevents collapse of non-contrastive
learning dynamics", 2023 (arXiv 2309.16109): `ssljax.losses.negative_cosine` on it. The
closed forms, the moving target's threshold, collapse without decay, the exact cosine
modes and the clock of weight decay are derived here. Times are learning rate x step.
"""

from ssljax.analytic.learned_predictor.balanced import (
    balanced_time,
    largest_weight_decay,
    predictor_limits,
    solve_balanced_predictor,
)
from ssljax.analytic.learned_predictor.dynamics import (
    imbalance,
    learned_predictor_velocity,
    solve_learned_predictor,
    undecayed_limits,
)
from ssljax.analytic.learned_predictor.normalized import (
    cosine_predictor_velocity,
    decay_clock,
    solve_cosine_predictor,
)
from ssljax.analytic.learned_predictor.sixth_order import (
    concentrated_norms,
    sixth_order_limits,
    sixth_order_rate,
)

__all__ = [
    "balanced_time",
    "concentrated_norms",
    "cosine_predictor_velocity",
    "decay_clock",
    "imbalance",
    "largest_weight_decay",
    "learned_predictor_velocity",
    "predictor_limits",
    "sixth_order_limits",
    "sixth_order_rate",
    "solve_balanced_predictor",
    "solve_cosine_predictor",
    "solve_learned_predictor",
    "undecayed_limits",
]
