"""Picture of the prediction head: its phases, with a trained and a frozen head."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.checklist import Given, Panel, Picture
from ssljax.analytic.precision import in_float64
from ssljax.analytic.prediction_head import HeadParams, population_loss
from ssljax.analytic.prediction_head.checklist.sampled import descend_on_samples
from ssljax.analytic.prediction_head.checklist.setup import (
    DATA,
    RATIO,
    aligned,
    expected_loss,
    simulate,
)
from ssljax.analytic.simulate import Simulation

DRAWN_STEPS, DRAWN_SAMPLES = 6400, 1024
POINTS = 20
"""Of a curve; the drawing shows at most 22."""
CAPTION = (
    "Lines: descent on the population's moments. Circles, squares, triangles and "
    "diamonds: descent on the exact batch, whose samples have these moments. Later "
    f"markers: one run on batches of {DRAWN_SAMPLES} samples, drawn anew in each step. "
    "It follows the line until neuron 2 leaves the strong feature: when that happens "
    "depends on the draw, and comes earlier or later than in the population."
)


@in_float64
def pictures(given: Given) -> list[Picture]:
    """Draw alignments, head and loss over time: moments, exact and drawn batches."""
    ratios = jnp.array([RATIO, 0.0])
    drawn = descend_on_samples(
        given.seed,
        DRAWN_STEPS,
        every=10,
        samples=DRAWN_SAMPLES,
        dimension=4,
    )
    lines = _Runs(simulate(8000, every=2, ratio=ratios, loss=expected_loss))
    points = [
        _Runs(simulate(8000, every=2, ratio=ratios)),
        _Runs(drawn),
    ]
    loss = jax.jit(jax.vmap(lambda p: population_loss(p, DATA)))
    names = ("<w1, v1>", "<w1, v2>", "<w2, v1>", "<w2, v2>")
    kinds = ("exact batch", f"drawn batches of {DRAWN_SAMPLES}")

    def panel(title: str, label: str, value: Any, arms: Sequence[int]) -> Panel:
        one = len(arms) == 1
        return Panel(
            title,
            "time (learning rate x step)",
            label,
            [lines.seen(value, arm, 400) for arm in arms],
            [runs.seen(value, arm, POINTS) for runs in points for arm in arms],
            line_labels=names if one else ("with head", "frozen head"),
            # One label for all curves of a kind.
            point_labels=kinds if one else [x for kind in kinds for x in (kind, "")],
            log_x=True,
        )

    def size(params: HeadParams) -> jax.Array:
        return jnp.abs(aligned(params))

    panels = [
        panel("trained head", "|<w_j, v_l>|", size, [0]),
        panel("frozen head", "|<w_j, v_l>|", size, [1]),
        panel("what output 2 borrows", "E_21", lambda p: p.head[:, 1, 0], [0, 1]),
        panel("equally good in the end", "loss", loss, [0, 1]),
    ]
    captioned = "caption" in Picture._fields
    return [
        Picture(
            "prediction_head_phases",
            panels,
            **({"caption": CAPTION} if captioned else {}),
        )
    ]


class _Runs:
    """Records ``[arms, times]`` and which of them to show."""

    def __init__(self, runs: Simulation) -> None:
        self.times = np.asarray(runs.times[0])
        self.values = runs.values
        self.alignments = np.asarray(aligned(runs.values))

    def seen(self, value: Any, arm: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return times and values of an arm at up to so many records."""
        index = _along(self.times, self.alignments[arm], count)
        part = jax.tree.map(lambda x: x[arm, index], self.values)
        return self.times[index], np.asarray(value(part))


def _along(times: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    """Return indices of records spread evenly along the curves as they are drawn.

    Over the logarithm of time, from the first step on, the transition is too short to
    be met by even steps in time.
    """
    place = np.log(times[1:, None])
    drawn = np.concatenate([place / np.ptp(place), values[1:]], axis=1)
    gaps = np.linalg.norm(np.diff(drawn, axis=0), axis=1)
    length = np.concatenate([[0.0], np.cumsum(gaps)])
    wanted = np.linspace(0.0, length[-1], count)
    return 1 + np.unique(np.searchsorted(length, wanted).clip(0, len(length) - 1))
