"""Pictures of the stepwise theory: the linear network, displaced modes, kernels."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic import stepwise
from ssljax.analytic.checklist import Given, Panel, Picture
from ssljax.analytic.ntk import relu_network_init
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent
from ssljax.analytic.stepwise.checklist import spectral_contrastive
from ssljax.analytic.stepwise.checklist.crops import crops, whole
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
from ssljax.analytic.stepwise.checklist.tangent import overlap_with, start_of, trained
from ssljax.analytic.stepwise.kernel import kernel_steps

_TIME = "time (learning rate x step)"


@in_float64
def _small_start_panels(given: Given) -> tuple[Panel, Panel]:
    """Draw the eigenvalues of C and the loss of one network."""
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
    """Draw a mode that the spectral contrastive loss learns first and drops."""
    times, (found, _) = spectral_contrastive.displaced_modes(
        given.seed, 0.005, 12.0, 50
    )
    gamma, sigma = (
        np.array(spectral_contrastive.DISPLACED[name]) for name in ("gamma", "sigma")
    )
    s0, pair = np.array(spectral_contrastive.SHARED), [0, 2]
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


@in_float64
def _kernel_picture(given: Given) -> Picture:
    """Draw a wide network's steps, and which kernel predicts a rich one."""
    points = crops(given, 15, 40)
    key = jax.random.key(given.seed)
    shape = (points.held.shape[1], 512, 4)
    start = relu_network_init(key, shape, readout_scale=1e-5)
    theory = start_of(start, points.train)
    rate, records = 0.1, 100
    every = int(1.2 * float(theory.critical_times.max()) / rate / records)
    path = trained(points.train, start, records * every, rate, every)
    expected = -jnp.sort(-kernel_steps(theory)(path.times), axis=1)
    steps = Panel(
        "Wide network (points) and its tangent kernel at the start (lines)",
        "time (learning rate x step)",
        "eigenvalue of the cross moment",
        lines=[(path.times, expected)],
        points=[(path.times, path.values)],
    )
    start = relu_network_init(key, shape, hidden_scale=0.1, readout_scale=1e-3)
    path = trained(points.train, start, 2000, 2.0, 200, record=list)
    kernels = [
        whole(start, jax.tree.map(lambda w, i=i: w[i], path.values))
        for i in range(len(path.times))
    ]
    found = [overlap_with(points, kernels[-1], kernel) for kernel in kernels]
    overlap, chance = np.array(found).T
    ends = np.array([path.times[0], path.times[-1]])
    rich = Panel(
        "Learned features on held-out crops, and what a kernel predicts",
        "time at which the kernel is taken (learning rate x step)",
        "overlap with the final embedding",
        lines=[(ends, np.full(2, overlap[0])), (ends, chance[:2])],
        points=[(path.times, overlap)],
        line_labels=["kernel at the start", "chance"],
        point_labels=["kernel at this time"],
    )
    return Picture("stepwise_kernel", [steps, rich])


def pictures(given: Given) -> Sequence[Picture]:
    """Draw the linear network's steps, displaced modes and kernels."""
    return [
        Picture("stepwise_eigenvalues", _small_start_panels(given)),
        Picture("stepwise_displaced", [_displaced_panel(given)]),
        _kernel_picture(given),
    ]
