"""Figure 2, top, of the implicit-variance paper: embeddings of single inputs move."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.checklist import Given, Panel, Picture
from ssljax.analytic.implicit_variance import (
    predictor_eigenvalues,
    solve_cosine,
    solve_euclidean,
)
from ssljax.analytic.implicit_variance.checklist import toy
from ssljax.analytic.simulate import gradient_descent

NOISE, STEP, STEPS, EVERY = 0.1, 0.01, 1500, 300
INPUTS, SHOWN, DRAWN = 6, 20, 5000
START = toy.FIGURE_5[2]
SLOW = 0.1
"""Of the cosine loss without stop-gradient, where a step of .01 throws the dying mode
to and fro."""

# Title, loss and setting of a panel.
PANELS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("Euclidean", "euclidean", {}),
    ("Euclidean IsoLoss", "isoloss_euclidean", {}),
    ("Euclidean, no stop-gradient", "euclidean", {"stop_gradient": "none"}),
    ("Euclidean, no predictor", "euclidean", {"predictor": False}),
    ("cosine", "cosine", {}),
    ("cosine IsoLoss", "isoloss_cosine", {}),
    ("cosine, no stop-gradient", "cosine", {"stop_gradient": "none"}),
    ("cosine, no predictor: simulated", "cosine", {"predictor": False}),
)


def trajectories(given: Given) -> Picture:
    """Draw the longest of many embeddings in the plane, in eight settings.

    A mode keeps its direction, so that the theory moves an embedding by the growth of
    the two modes' standard deviations.
    """
    w0 = toy.with_variances(START, INPUTS, given.seed)
    x = np.random.default_rng(given.seed).normal(size=(DRAWN, INPUTS))
    start = x @ np.asarray(w0).T
    longest = np.argsort(-np.linalg.norm(start, axis=1))[:SHOWN]
    simulated = _simulate(w0, jnp.asarray(x[longest]), given)
    grid = np.linspace(0.0, STEP * STEPS, 21)
    turn = np.linalg.eigh(np.asarray(w0 @ w0.T))[1]
    panels = []
    for (title, loss, settings), points in zip(PANELS, simulated, strict=True):
        variances = _variances(loss, settings, _pace(loss, settings) * grid)
        stretch = np.sqrt(variances / np.array(START))
        along = start[longest] @ turn
        lines = (stretch[:, None, :] * along[None]) @ turn.T  # [times, shown, 2]
        known = SHOWN if stretch.size else 0
        panels.append(
            Panel(
                title=title,
                x_label="first coordinate of the embedding",
                y_label="second coordinate of the embedding",
                lines=[(lines[:, i, 0], lines[:, i, 1]) for i in range(known)],
                points=[(points[:, i, 0], points[:, i, 1]) for i in range(SHOWN)],
                equal=True,
            )
        )
    return Picture("implicit_variance_trajectories", panels)


def _simulate(w0: jax.Array, x: jax.Array, given: Given) -> list[np.ndarray]:
    """Return the embeddings ``[records, shown, 2]`` of every panel, in one program."""
    clean, _, noise = toy.exact_views(INPUTS, given.seed)
    rows = jnp.linalg.svd(w0, full_matrices=False)[2]
    plane = toy.ring()[0] @ rows

    def views_of(name: str, settings: dict[str, Any], key: jax.Array) -> Any:
        """Return the population, where a batch can be all of it."""
        if name in toy.EUCLIDEAN:
            return clean, clean + NOISE * noise
        if "predictor" in settings:
            return toy.fresh_views(key, 1000, INPUTS, NOISE)
        # The noise adds only second-order terms; only the plane of the rows matters.
        return plane, plane

    def loss(weights: list[jax.Array], key: jax.Array) -> jax.Array:
        return sum(
            (
                toy.loss_of(w, views_of(name, settings, key), name, **settings)
                for w, (_, name, settings) in zip(weights, PANELS, strict=True)
            ),
            jnp.zeros(()),
        )

    found = gradient_descent(
        loss,
        [w0] * len(PANELS),
        STEPS,
        STEP,
        record=lambda weights: [x @ w.T for w in weights],
        every=EVERY,
        key=jax.random.key(given.seed),
        transform=lambda weights, gradient: [
            _pace(name, settings) * g
            for g, (_, name, settings) in zip(gradient, PANELS, strict=True)
        ],
    )
    return [np.asarray(values) for values in found.values]


def _pace(loss: str, settings: dict[str, Any]) -> float:
    return SLOW if loss == "cosine" and "stop_gradient" in settings else 1.0


def _variances(loss: str, settings: dict[str, Any], grid: np.ndarray) -> np.ndarray:
    """Return the two modes' variances over time, ``[times, 2]``, or nothing."""
    s0, times = jnp.array(START), jnp.asarray(grid)
    if "predictor" in settings:
        # Frozen. The cosine loss has an infinite mean rate for less than three modes.
        times_known = 0 if loss in toy.COSINE else len(grid)
        return np.broadcast_to(np.array(START), (times_known, 2))
    if loss in toy.COSINE:
        return np.asarray(solve_cosine(s0, loss=loss, **settings)(times))
    if not settings:
        return np.asarray(predictor_eigenvalues(s0, times, loss=loss))
    return np.asarray(solve_euclidean(s0, target_noise=NOISE, **settings)(times))
