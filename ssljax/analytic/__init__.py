"""Theory of self-supervised learning beside simulations of the losses that train.

For each theory: closed-form or reduced dynamics, a simulation that differentiates the
very functions of `ssljax.losses`, and a comparison that passes or fails. Everything is
float64, time is learning rate x step, and trajectories are ``[times, modes]``.
`ssljax theory all` runs every check.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssljax.analytic.comparison import Comparison as Comparison
    from ssljax.analytic.comparison import compare as compare
    from ssljax.analytic.comparison import convergence_slope as convergence_slope
    from ssljax.analytic.comparison import crossing_times as crossing_times
    from ssljax.analytic.comparison import subspace_overlap as subspace_overlap
    from ssljax.analytic.fingerprint.measure import Fingerprint as Fingerprint
    from ssljax.analytic.fingerprint.measure import (
        spectral_fingerprint as spectral_fingerprint,
    )
    from ssljax.analytic.fingerprint.model import eigenvalue_rates as eigenvalue_rates
    from ssljax.analytic.fitting import Fit as Fit
    from ssljax.analytic.fitting import fit as fit
    from ssljax.analytic.ode import Simulation as Simulation
    from ssljax.analytic.ode import integrate as integrate
    from ssljax.analytic.simulate import gradient_descent as gradient_descent
    from ssljax.analytic.simulate import gradient_flow as gradient_flow
    from ssljax.analytic.solution import Solution as Solution

_PACKAGES = (
    "duality",
    "fingerprint",
    "implicit_variance",
    "jepa",
    "learned_predictor",
    "prediction_head",
    "spectral_transformation",
    "stepwise",
)
# Loaded on first use, so that importing one theory does not load the others.
_LAZY = {
    "Comparison": "comparison",
    "Fingerprint": "fingerprint",
    "Fit": "fitting",
    "Simulation": "ode",
    "Solution": "solution",
    "aligned_singular_values": "stepwise",
    "compare": "comparison",
    "convergence_slope": "comparison",
    "critical_times": "stepwise",
    "crossing_times": "comparison",
    "eigenvalue_rates": "fingerprint",
    "fit": "fitting",
    "gradient_descent": "simulate",
    "gradient_flow": "simulate",
    "integrate": "ode",
    "iter_norm_spectrum": "spectral_transformation",
    "kernel_embedding": "stepwise",
    "kernel_embedding_of": "stepwise",
    "network_ntk": "network_ntk",
    "predictor_eigenvalues": "implicit_variance",
    "small_init_prediction": "stepwise",
    "spectral_fingerprint": "fingerprint",
    "subspace_overlap": "comparison",
    "trace_loss_floor": "spectral_transformation",
}

__all__ = sorted([*_LAZY, *_PACKAGES])  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name in _PACKAGES:
        return importlib.import_module(f"ssljax.analytic.{name}")
    if name in _LAZY:
        module = importlib.import_module(f"ssljax.analytic.{_LAZY[name]}")
        return getattr(module, name)
    raise AttributeError(f"module 'ssljax.analytic' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
