"""Contrastive between samples or between dimensions: one criterion, up to norms.

Embeddings are ``z [N, D]`` as everywhere in the library; the paper's ``K [M, N]`` is
the transpose, its columns our rows. ``L_c`` is `ssljax.losses.sample_contrastive`,
``L_nc`` is `ssljax.losses.dimension_contrastive`.

Source: Garrido et al., "On the duality between contrastive and non-contrastive
self-supervised learning", ICLR 2023.
"""

from ssljax.analytic.duality.bounds import (
    criterion_gap_bounds,
    ctr_weights,
    fourth_power_bounds,
    largest_coding_rate,
    repulsion_optimum,
    welch_bound,
)
from ssljax.analytic.duality.identity import (
    criterion_gap,
    criterion_gradients,
    double_normalize,
    fourth_powers,
    normalized_gap,
    soft_gap,
    solve_soft_norm_flow,
)

__all__ = [
    "criterion_gap",
    "criterion_gap_bounds",
    "criterion_gradients",
    "ctr_weights",
    "double_normalize",
    "fourth_power_bounds",
    "fourth_powers",
    "largest_coding_rate",
    "normalized_gap",
    "repulsion_optimum",
    "soft_gap",
    "solve_soft_norm_flow",
    "welch_bound",
]
