"""One eigenmode after the other: how linear self-supervised networks learn.

Simon, Knutins, Ziyin, Geisz, Fetterman and Albrecht, "On the stepwise nature of
self-supervised learning", ICML 2023. A linear embedding ``f(x) = W x``, ``[D, M]``, is
trained on `ssljax.losses.linearized_barlow_twins`: then ``C = W Gamma W^T`` with the
data's cross moment Gamma, and the eigenvalues of C rise from zero to one in steps, the
largest eigenvalue of Gamma first. Times are in units of learning rate x step.
"""

from ssljax.analytic.stepwise.acceleration import (
    left_preconditioned_eigenvalues,
    left_preconditioned_times,
    power_law_modes,
    solve_left_preconditioned,
    solve_right_preconditioned,
)
from ssljax.analytic.stepwise.batch_times import BatchTimes, batch_half_times
from ssljax.analytic.stepwise.batches import batch_velocity, solve_batches
from ssljax.analytic.stepwise.competition import displacement_time, solve_competition
from ssljax.analytic.stepwise.discrete import descent_velocity, solve_descent
from ssljax.analytic.stepwise.early import (
    batch_plateau,
    info_nce_expansion,
    nt_xent_collapsed_velocity,
    vicreg_early_velocity,
    weighted_plateau,
)
from ssljax.analytic.stepwise.finite_width import (
    KernelDrift,
    kernel_change_bound,
    kernel_drift,
    linearized_network,
    tanh_network,
)
from ssljax.analytic.stepwise.kernel import (
    contrastive_kernel,
    kernel_embedding,
    kernel_modes,
    kernel_start,
    kernel_steps,
)
from ssljax.analytic.stepwise.large_kernel import KernelEmbedding, kernel_embedding_of
from ssljax.analytic.stepwise.modes import (
    aligned_eigenvalues,
    aligned_singular_values,
    critical_steps,
    critical_times,
    expected_critical_times,
    half_times,
    solve_aligned,
)
from ssljax.analytic.stepwise.moments import (
    cross_moment,
    pairs_with_moments,
    second_moment,
)
from ssljax.analytic.stepwise.small_init import (
    AlignedStart,
    ErrorExponents,
    aligned_start,
    curvatures,
    error_exponents,
    expected_overlap,
    minimum_norm_solution,
    small_init_prediction,
)
from ssljax.analytic.stepwise.spectral_contrastive import (
    merged_vicreg_singular_values,
    solve_merged_vicreg,
    solve_spectral_contrastive,
    spectral_contrastive_minimum,
    spectral_contrastive_singular_values,
)

__all__ = [
    "AlignedStart",
    "BatchTimes",
    "ErrorExponents",
    "KernelDrift",
    "KernelEmbedding",
    "aligned_eigenvalues",
    "aligned_singular_values",
    "aligned_start",
    "batch_half_times",
    "batch_plateau",
    "batch_velocity",
    "contrastive_kernel",
    "critical_steps",
    "critical_times",
    "cross_moment",
    "curvatures",
    "descent_velocity",
    "displacement_time",
    "error_exponents",
    "expected_critical_times",
    "expected_overlap",
    "half_times",
    "info_nce_expansion",
    "kernel_change_bound",
    "kernel_drift",
    "kernel_embedding",
    "kernel_embedding_of",
    "kernel_modes",
    "kernel_start",
    "kernel_steps",
    "left_preconditioned_eigenvalues",
    "left_preconditioned_times",
    "linearized_network",
    "merged_vicreg_singular_values",
    "minimum_norm_solution",
    "nt_xent_collapsed_velocity",
    "pairs_with_moments",
    "power_law_modes",
    "second_moment",
    "small_init_prediction",
    "solve_aligned",
    "solve_batches",
    "solve_competition",
    "solve_descent",
    "solve_left_preconditioned",
    "solve_merged_vicreg",
    "solve_right_preconditioned",
    "solve_spectral_contrastive",
    "spectral_contrastive_minimum",
    "spectral_contrastive_singular_values",
    "tanh_network",
    "vicreg_early_velocity",
    "weighted_plateau",
]
