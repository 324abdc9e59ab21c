"""Picture of the prediction head: its phases, with a trained and a frozen head."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.checklist import Given, Panel, Picture
from ssljax.analytic.precision import in_float64
from ssljax.analytic.prediction_head import population_loss
from ssljax.analytic.prediction_head.checklist.sampled import descend_on_samples
from ssljax.analytic.prediction_head.checklist.setup import (
    DATA,
    RATIO,
    aligned,
    expected_loss,
    simulate,
)


@in_float64
def pictures(given: Given) -> list[Picture]:
    """Draw alignments, head and loss over time: moments, and drawn samples."""
    lines = simulate(8000, every=2, ratio=jnp.array([RATIO, 0.0]), loss=expected_loss)
    points = descend_on_samples(
        given.seed, 3200, every=10, samples=1024, dimension=4, draws=1
    )
    points = jax.tree.map(lambda x: x[0], points)
    shown = [_log_spaced(s.times[0], n) for s, n in ((lines, 400), (points, 30))]

    def seen(value: Any) -> tuple[list[tuple[Any, Any]], list[tuple[Any, Any]]]:
        """Return lines and points of a value of parameters."""
        pairs = []
        for runs, index in zip((lines, points), shown, strict=True):
            part = jax.tree.map(lambda x, i=index: x[:, i], runs.values)
            times = np.asarray(runs.times[0])[index]
            pairs.append([(times, np.asarray(y)) for y in value(part)])
        return pairs[0], pairs[1]

    loss = jax.jit(jax.vmap(jax.vmap(lambda p: population_loss(p, DATA))))
    names = ("<w1, v1>", "<w1, v2>", "<w2, v1>", "<w2, v2>")
    arms = ("with head", "frozen head")
    alignments = seen(lambda p: jnp.abs(aligned(p)))
    borrowed = seen(lambda p: p.head[:, :, 1, 0])
    losses_seen = seen(loss)
    time = "time (learning rate x step)"

    def panel(title: str, label: str, both: Any, labels: Any) -> Panel:
        return Panel(
            title, time, label, *both, line_labels=labels, point_labels=(), log_x=True
        )

    def only(both: Any, arm: int) -> Any:
        return tuple([side[arm]] for side in both)

    return [
        Picture(
            "prediction_head_phases",
            [
                panel("trained head", "|<w_j, v_l>|", only(alignments, 0), names),
                panel("frozen head", "|<w_j, v_l>|", only(alignments, 1), names),
                panel("what output 2 borrows", "E_21", borrowed, arms),
                panel("equally good in the end", "loss", losses_seen, arms),
            ],
        )
    ]


def _log_spaced(times: Any, count: int) -> np.ndarray:
    """Return indices of records spread evenly over the logarithm of time, without 0."""
    wanted = np.geomspace(1, len(times) - 1, count)
    return np.unique(np.round(wanted).astype(int))
