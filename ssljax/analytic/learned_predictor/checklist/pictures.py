"""Pictures of a learned predictor: modes, thresholds, and decay under the cosine."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ssljax.analytic import learned_predictor as theory
from ssljax.analytic.checklist import Given, Panel, Picture
from ssljax.analytic.learned_predictor.checklist import network
from ssljax.analytic.learned_predictor.checklist.cosine import over_sphere
from ssljax.analytic.precision import in_float64

START = np.array([0.08, 0.1, 0.13, 0.16, 0.25, 0.5, 0.8, 1.2])
DECAY = 0.1


@in_float64
def pictures(given: Given) -> list[Picture]:
    """Draw modes under either loss, and the levels that weight decay leaves."""
    panels = [_euclidean(given.seed), _limits(given.seed), _cosine(given.seed)]
    return [Picture("learned_predictor", panels)]


def _euclidean(seed: int) -> Panel:
    times = np.linspace(0.0, 40.0, 21)
    fine = np.linspace(0.0, 40.0, 200)
    found = _last_of(START, seed, times, DECAY)
    low, high = map(float, theory.predictor_limits(DECAY))
    ends = np.broadcast_to(np.array([low, high]), (2, 2))
    return Panel(
        f"Euclidean loss, weight decay {DECAY:g}",
        "time",
        "eigenvalue of the predictor",
        lines=[
            (fine, theory.solve_balanced_predictor(START, weight_decay=DECAY)(fine)),
            (fine[[0, -1]], ends),
        ],
        points=[(times, found)],
        line_labels=["balanced modes", "threshold and limit"],
        point_labels=["gradient flow of the loss"],
    )


def _limits(seed: int) -> Panel:
    decays = np.linspace(0.0, 0.3, 16)
    fine = np.linspace(0.0, 0.25, 200)
    high = np.asarray(theory.predictor_limits(fine)[1])
    low = np.asarray(theory.predictor_limits(fine)[0])
    start = np.full(2, 0.9)
    times = np.linspace(0.0, 300.0, 21)
    last = [_last_of(start, seed, times, decay)[-1, 0] for decay in decays]
    return Panel(
        "Euclidean loss, from .9",
        "weight decay",
        "eigenvalue in the end",
        lines=[(fine, high), (fine, low)],
        points=[(decays, np.array(last))],
        line_labels=["limit", "threshold"],
        point_labels=["gradient flow of the loss"],
    )


def _cosine(seed: int) -> Panel:
    start = np.array([0.1, 0.3, 0.8])
    times, fine = np.linspace(0.0, 4.0, 21), np.linspace(0.0, 4.0, 100)
    params, left, right = network.aligned(start, start, seed)
    decay = 0.5
    flow = network.flow_of(over_sphere(seed), params, times, weight_decay=decay)
    found = network.along(flow, left, right)["predictor"]
    solution = theory.solve_cosine_predictor(
        start**2, predictor=start, weight_decay=decay
    )
    return Panel(
        f"cosine loss, weight decay {decay:g}",
        "time",
        "eigenvalue of the predictor",
        lines=[(fine, solution(fine))],
        points=[(times, found)],
        line_labels=["coupled modes"],
        point_labels=["gradient flow of the loss"],
        log_y=True,
    )


def _last_of(start: np.ndarray, seed: int, times: Any, decay: float) -> np.ndarray:
    """Return the predictor's eigenvalues under the Euclidean loss, balanced start."""
    params, left, right = network.aligned(start, start, seed)
    loss = network.loss_of(network.exact_views(jnp.asarray(right), seed))
    flow = network.flow_of(loss, params, times, weight_decay=decay)
    return network.along(flow, left, right)["predictor"]
