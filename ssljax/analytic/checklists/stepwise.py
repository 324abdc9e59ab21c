"""The checklist of the stepwise theory and its figure."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssljax.analytic import stepwise
from ssljax.analytic.checklist import Given, Panel, Picture, Theory
from ssljax.analytic.checklists import (
    _stepwise_acceleration,
    _stepwise_contrastive,
    _stepwise_linear,
    _stepwise_losses,
    _stepwise_optimum,
)
from ssljax.analytic.checklists._stepwise_network import (
    SPECTRUM,
    barlow_twins,
    normal,
    rotated_pairs,
    spectrum,
)
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent

_TIME = "time (learning rate x step)"


@in_float64
def _small_start_panels(given: Given) -> tuple[Panel, Panel]:
    """Eigenvalues of C and the loss of one network, with the critical times."""
    d, scale, rate, every = 4, 1e-6, 0.005, 80
    x1, x2, _ = rotated_pairs(given.seed, SPECTRUM)
    moment, loss = stepwise.cross_moment(x1, x2), barlow_twins(x1, x2)
    w0 = normal(given.seed + 1, d, len(SPECTRUM))
    start = stepwise.aligned_start(w0, moment, scale)
    tau = stepwise.critical_times(start.singular_values, start.gamma)
    steps = round(1.25 * float(tau[-1]) / rate) // every * every

    def record(w: jax.Array) -> jax.Array:
        return jnp.append(spectrum(moment)(w), loss(w))

    path = gradient_descent(loss, scale * w0, steps, rate, record=record, every=every)
    times = jnp.linspace(0.0, path.times[-1], 401)
    predicted = stepwise.aligned_eigenvalues(start.singular_values, start.gamma, times)
    labels = ("prediction", "critical times", *[""] * (d - 1))

    def marked(top: float) -> list[tuple[jax.Array, jax.Array]]:
        height = jnp.array([0.0, top])
        return [(jnp.full(2, time), height) for time in tau]

    eigenvalues = Panel(
        "Eigenvalues of C from a small start",
        _TIME,
        "eigenvalue",
        lines=[(times, predicted), *marked(1.0)],
        points=[(path.times, path.values[:, :d])],
        line_labels=labels,
        point_labels=("gradient descent",),
    )
    losses = Panel(
        "Linearised Barlow Twins",
        _TIME,
        "loss",
        lines=[(times, jnp.sum((1 - predicted) ** 2, axis=1)), *marked(float(d))],
        points=[(path.times, path.values[:, d])],
        line_labels=labels,
        point_labels=("gradient descent",),
    )
    return eigenvalues, losses


@in_float64
def _displaced_panel(given: Given) -> Panel:
    """A mode that the spectral contrastive loss learns first and drops later."""
    times, (found, _) = _stepwise_contrastive.displaced_modes(
        given.seed, 0.005, 12.0, 50
    )
    gamma, sigma = (
        jnp.array(_stepwise_contrastive.DISPLACED[name]) for name in ("gamma", "sigma")
    )
    s0, pair = jnp.array(_stepwise_contrastive.SHARED), jnp.array([0, 2])
    fine = jnp.linspace(0.0, times[-1], 401)
    shared = stepwise.solve_competition(s0[pair], gamma[pair], sigma[pair])(fine)
    alone = stepwise.spectral_contrastive_singular_values(
        s0[1:2], gamma[1:2], sigma[1:2], fine
    )
    s = jnp.stack([shared[:, 0], alone[:, 0], shared[:, 1]], axis=1)
    handover = stepwise.displacement_time(s0[pair], gamma[pair], sigma[pair])
    return Panel(
        "Spectral contrastive loss: mode 3 displaces mode 1",
        _TIME,
        "eigenvalue of W Sigma W^T",
        lines=[
            (fine, sigma[None, :3] * s**2),
            (jnp.full(2, handover), jnp.array([0.0, 0.9])),
        ],
        points=[(times, found[:, :3])],
        line_labels=("theory", "handover"),
        point_labels=("gradient descent",),
    )


def pictures(given: Given) -> Sequence[Picture]:
    """Steps of the linear network, and modes that are displaced."""
    panels = (*_small_start_panels(given), _displaced_panel(given))
    return [Picture("stepwise_eigenvalues", panels)]


THEORY = Theory(
    name="stepwise",
    paper="Simon et al., On the stepwise nature of self-supervised learning, ICML 2023",
    items=(
        *_stepwise_linear.ITEMS,  # 1 to 6
        *_stepwise_optimum.ITEMS,  # 7 to 10
        *_stepwise_contrastive.ITEMS,  # 18
        *_stepwise_losses.ITEMS,  # 19 and 20
        *_stepwise_acceleration.ITEMS,  # 21 and 22
    ),
    pictures=pictures,
)
