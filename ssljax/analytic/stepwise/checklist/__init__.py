"""The checklist of the stepwise theory and its figure."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic import stepwise
from ssljax.analytic.checklist import Given, Panel, Picture, Theory
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent
from ssljax.analytic.stepwise.checklist import (
    acceleration,
    contrastive,
    kernel,
    linear,
    losses,
    optimum,
)
from ssljax.analytic.stepwise.checklist.network import (
    SPECTRUM,
    aligned_eigenvalues,
    aligned_start,
    barlow_twins,
    critical_times,
    cross_moment,
    normal,
    rotated_pairs,
    spectrum,
)

_TIME = "time (learning rate x step)"


@in_float64
def _small_start_panels(given: Given) -> tuple[Panel, Panel]:
    """Eigenvalues of C and the loss of one network, with the critical times."""
    d, scale, rate, every = 4, 1e-6, 0.005, 80
    x1, x2, _ = rotated_pairs(given.seed, SPECTRUM)
    moment, loss = cross_moment(x1, x2), barlow_twins(x1, x2)
    w0 = normal(given.seed + 1, d, len(SPECTRUM))
    start = aligned_start(w0, moment, scale)
    tau = np.asarray(critical_times(start.singular_values, start.gamma))
    steps = round(1.25 * float(tau[-1]) / rate) // every * every

    def record(w: jax.Array) -> jax.Array:
        return jnp.append(spectrum(moment)(w), loss(w))

    path = gradient_descent(loss, scale * w0, steps, rate, record=record, every=every)
    shown, found = np.asarray(path.times), np.asarray(path.values)
    times = np.linspace(0.0, shown[-1], 401)
    predicted = np.asarray(
        aligned_eigenvalues(start.singular_values, start.gamma, times)
    )
    labels = ("prediction", "critical times", *[""] * (d - 1))

    def marked(top: float) -> list[tuple[np.ndarray, np.ndarray]]:
        height = np.array([0.0, top])
        return [(np.full(2, time), height) for time in tau]

    eigenvalues = Panel(
        "Eigenvalues of C from a small start",
        _TIME,
        "eigenvalue",
        lines=[(times, predicted), *marked(1.0)],
        points=[(shown, found[:, :d])],
        line_labels=labels,
        point_labels=("gradient descent",),
    )
    losses = Panel(
        "Linearised Barlow Twins",
        _TIME,
        "loss",
        lines=[(times, np.sum((1 - predicted) ** 2, axis=1)), *marked(float(d))],
        points=[(shown, found[:, d])],
        line_labels=labels,
        point_labels=("gradient descent",),
    )
    return eigenvalues, losses


@in_float64
def _displaced_panel(given: Given) -> Panel:
    """A mode that the spectral contrastive loss learns first and drops later."""
    times, (found, _) = contrastive.displaced_modes(given.seed, 0.005, 12.0, 50)
    gamma, sigma = (
        np.array(contrastive.DISPLACED[name]) for name in ("gamma", "sigma")
    )
    s0, pair = np.array(contrastive.SHARED), [0, 2]
    fine = np.linspace(0.0, times[-1], 401)
    two = s0[pair], gamma[pair], sigma[pair]
    shared = np.asarray(stepwise.solve_competition(*two)(fine))
    alone = stepwise.spectral_contrastive_singular_values(
        s0[1:2], gamma[1:2], sigma[1:2], fine
    )
    s = np.stack([shared[:, 0], np.asarray(alone)[:, 0], shared[:, 1]], axis=1)
    handover = float(stepwise.displacement_time(*two))
    return Panel(
        "Spectral contrastive loss: mode 3 displaces mode 1",
        _TIME,
        "eigenvalue of W Sigma W^T",
        lines=[
            (fine, sigma[:3] * s**2),
            (np.full(2, handover), np.array([0.0, 0.9])),
        ],
        points=[(times, found[:, :3])],
        line_labels=("theory", "handover"),
        point_labels=("gradient descent",),
    )


def pictures(given: Given) -> Sequence[Picture]:
    """Steps of the linear network, and modes that are displaced."""
    panels = (*_small_start_panels(given), _displaced_panel(given))
    return [Picture("stepwise_eigenvalues", panels), *kernel.pictures(given)]


THEORY = Theory(
    name="stepwise",
    paper="Simon et al., On the stepwise nature of self-supervised learning, ICML 2023",
    items=(
        *linear.ITEMS,  # 1 to 6
        *optimum.ITEMS,  # 7 to 10
        *kernel.ITEMS,  # 11 to 17
        *contrastive.ITEMS,  # 18
        *losses.ITEMS,  # 19 and 20
        *acceleration.ITEMS,  # 21 and 22
    ),
    pictures=pictures,
)
