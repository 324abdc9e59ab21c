"""Picture of the order in which JEPA and MAE learn two features."""

import numpy as np

from ssljax.analytic import jepa as theory
from ssljax.analytic.checklist import Given, Panel, Picture
from ssljax.analytic.jepa.checklist import network
from ssljax.analytic.precision import in_float64

COVARIANCE, VARIANCE = np.array([1.0, 0.8]), np.array([1.6, 0.6])
START = 0.02


@in_float64
def pictures(given: Given) -> list[Picture]:
    """Draw both features over time, and their times against depth."""
    panels = [
        _features(given.seed, "jepa", 1, 120.0),
        _features(given.seed, "jepa", 3, 500.0),
        _features(given.seed, "mae", 3, 20.0),
        _depths(),
    ]
    return [Picture("jepa_features", panels)]


def _features(seed: int, objective: str, depth: int, last: float) -> Panel:
    start = np.full(2, START)
    times, fine = np.linspace(0.0, last, 21), np.linspace(0.0, last, 200)
    numbers = {
        "covariance": COVARIANCE,
        "variance": VARIANCE,
        "depth": depth,
        "objective": objective,
    }
    views = network.exact_pairs(COVARIANCE, VARIANCE, seed)
    flow = network.flow_of(views, network.aligned(start, depth, seed), times)
    limit = np.asarray(theory.encoder_limits(**numbers))
    found = network.values_of(flow[objective]) / limit[None, :]
    exact = np.asarray(theory.solve_encoder(start, **numbers)(fine)) / limit[None, :]
    return Panel(
        f"{objective.upper()}, depth {depth}",
        "time",
        "encoder over its limit",
        lines=[(fine, exact)],
        points=[(times, found)],
        line_labels=[
            "covariance 1, coefficient .625",
            "covariance .8, coefficient 1.33",
        ],
        point_labels=["gradient flow of the loss"] * 2,
    )


def _depths() -> Panel:
    # Deeper, half the limit of the noisy feature lies near the start.
    depths = np.arange(1, 5)
    ratios = []
    for depth in depths:
        row = []
        for objective in ("jepa", "mae"):
            numbers = {
                "covariance": COVARIANCE,
                "variance": VARIANCE,
                "depth": int(depth),
                "objective": objective,
            }
            level = 0.5 * theory.encoder_limits(**numbers)
            t = np.asarray(theory.encoder_time(np.full(2, START), level, **numbers))
            row.append(t[0] / t[1])
        ratios.append(row)
    return Panel(
        "time of the noisy feature over the other's",
        "depth of the encoder",
        "ratio of times to half the limit",
        lines=[(depths, np.array(ratios)), (depths, np.ones(len(depths)))],
        line_labels=["JEPA", "MAE", "equal"],
        log_y=True,
    )
