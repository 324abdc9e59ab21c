"""Figures 2, 5 and 6 of the implicit-variance paper, redrawn: theory and simulation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.checklist import Given, Panel, Picture
from ssljax.analytic.implicit_variance import (
    cosine_velocity,
    euclidean_growth,
    predictor_eigenvalues,
    relu_velocity,
)
from ssljax.analytic.implicit_variance.checklist import toy
from ssljax.analytic.implicit_variance.checklist.trajectories import trajectories
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent, integrate

NOISE, STEP, STEPS = 0.1, 0.01, 1500
FAST, FASTEST, CAREFUL = 10.0, 600.0, 4.0
"""Cosine modes need longer to meet, and longest where only the noise drives them. Where
two modes are left, the gradients of short embeddings are too wild for large steps."""
COSINE = (
    "Lines: the coupled modes. Points: descent on batches of 200 drawn samples, with "
    "noise of standard deviation 0.1 on one view. Without a stop-gradient the two "
    "drift apart around time 30, by up to 0.23: the theory leaves out the noise, whose "
    "effect of second order moves the times at which modes die. The gap stays at half "
    "the step or four times the samples, and is 0.02 with noise 0.001 and 1600 "
    "samples. Without a predictor only the noise drives the modes; there the gap of "
    "0.03 is that of large steps and few samples, 0.02 at half the step."
)


class Network(NamedTuple):
    """A figure's network: its start and its training settings."""

    weights: jax.Array
    loss: str
    settings: dict[str, Any]


@in_float64
def pictures(given: Given) -> Sequence[Picture]:
    networks = _networks(given)
    times, simulated = _simulate(networks, given)
    grid = np.linspace(0.0, STEP * STEPS, 91)
    theory = _solve(networks, grid)

    def panel(title: str, *names: str) -> Panel:
        points, lines = [], []
        for name in names:
            pace = _pace(networks[name])
            points.append((times * pace, simulated[name]))
            if name in theory:
                lines.append((grid * pace, theory[name]))
        return Panel(
            title=title,
            x_label="time (learning rate x step)",
            y_label="eigenvalues of W W^T",
            lines=lines,
            points=points,
        )

    pairs = [", ".join(f"{s:g}" for s in pair) for pair in toy.FIGURE_5]
    return [
        Picture(
            "implicit_variance_eigenvalues",
            [
                panel("Euclidean", "euclidean"),
                panel("Euclidean IsoLoss", "isoloss_euclidean"),
                panel("Euclidean, no stop-gradient", "euclidean alone"),
                panel("Euclidean, no predictor", "euclidean bare"),
            ],
        ),
        Picture(
            "implicit_variance_eigenvalues_cosine",
            [
                panel("cosine", "cosine"),
                panel("cosine IsoLoss", "isoloss_cosine"),
                panel(
                    "cosine, no stop-gradient (theory without noise)", "cosine alone"
                ),
                panel("cosine, no predictor (batches of 200)", "cosine bare"),
            ],
            **({"caption": COSINE} if "caption" in Picture._fields else {}),
        ),
        trajectories(given),
        Picture(
            "implicit_variance_two_neurons",
            [
                panel(f"{title}, from {pair}", f"{loss} of two {i}")
                for loss, title in (("euclidean", "Euclidean"), ("cosine", "cosine"))
                for i, pair in enumerate(pairs)
            ],
        ),
        Picture(
            "implicit_variance_relu",
            [
                panel("Euclidean", "euclidean of rectifiers"),
                panel("Euclidean IsoLoss", "isoloss_euclidean of rectifiers"),
                # No closed averages: both norms are of rectified vectors.
                panel("cosine, simulation alone", "cosine of rectifiers"),
                panel(
                    "cosine IsoLoss, simulation alone", "isoloss_cosine of rectifiers"
                ),
            ],
        ),
    ]


def _networks(given: Given) -> dict[str, Network]:
    ten = toy.with_variances(toy.FIGURE_2, 15, given.seed)
    networks = {loss: Network(ten, loss, {}) for loss in toy.LOSSES}
    for loss in ("euclidean", "cosine"):
        networks[f"{loss} alone"] = Network(ten, loss, {"stop_gradient": "none"})
        networks[f"{loss} bare"] = Network(ten, loss, {"predictor": False})
    for i, pair in enumerate(toy.FIGURE_5):
        two = toy.with_variances(pair, 6, given.seed)
        for loss in ("euclidean", "cosine"):
            networks[f"{loss} of two {i}"] = Network(two, loss, {})
    for loss in toy.LOSSES:
        settings = {"activation": jax.nn.relu}
        networks[f"{loss} of rectifiers"] = Network(ten, loss, settings)
    return networks


def _pace(network: Network) -> float:
    if network.loss in toy.EUCLIDEAN or network.weights.shape[0] == 2:
        return 1.0
    if "stop_gradient" in network.settings:
        return CAREFUL
    return FAST if network.settings.get("predictor", True) else FASTEST


def _simulate(
    networks: dict[str, Network], given: Given
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Simulate all networks in one program: compiling takes longest."""
    x, _, noise = toy.exact_views(15, given.seed)
    exact = (x, x + NOISE * noise)

    def loss(params: dict[str, jax.Array], key: jax.Array) -> jax.Array:
        fresh = toy.fresh_views(key, 200, 15, NOISE)
        total = jnp.zeros(())
        for name, (_, loss, settings) in networks.items():
            linear = loss in toy.EUCLIDEAN and "activation" not in settings
            w = params[name]
            views = [view[:, : w.shape[1]] for view in (exact if linear else fresh)]
            total += toy.loss_of(w, views, loss, **settings)
        return total

    found = gradient_descent(
        loss,
        {name: network.weights for name, network in networks.items()},
        STEPS,
        STEP,
        record=toy.spectra,
        every=50,
        key=jax.random.key(given.seed),
        transform=lambda params, gradient: {
            name: _pace(networks[name]) * g for name, g in gradient.items()
        },
    )
    values = {name: np.asarray(v) for name, v in found.values.items()}
    return np.asarray(found.times), values


def _solve(networks: dict[str, Network], grid: np.ndarray) -> dict[str, np.ndarray]:
    """Solve the theory of every network but rectifiers under the cosine losses."""
    s0 = jnp.array(toy.FIGURE_2)
    growth = euclidean_growth(stop_gradient="none", target_noise=NOISE)
    rectified = [f"{loss} of rectifiers" for loss in toy.EUCLIDEAN]
    start = {
        "cosine": s0,
        "isoloss_cosine": s0,
        "euclidean alone": s0,
        # In logarithms: a variance that dies must not become negative.
        "cosine alone": jnp.log(s0),
        "cosine bare": s0,
        "two": jnp.sort(jnp.array(toy.FIGURE_5), axis=1),
        "rectified": [networks[name].weights for name in rectified],
    }

    def velocity(state: dict[str, Any]) -> dict[str, Any]:
        s = state["euclidean alone"]
        polynomial = growth.constant + growth.linear * s + growth.quadratic * s**2
        alone = jnp.exp(state["cosine alone"])
        return {
            "cosine": FAST * cosine_velocity(state["cosine"]),
            "isoloss_cosine": FAST
            * cosine_velocity(state["isoloss_cosine"], loss="isoloss_cosine"),
            "euclidean alone": 2.0 * s * polynomial,
            "cosine alone": CAREFUL
            * cosine_velocity(alone, stop_gradient="none")
            / alone,
            "cosine bare": FASTEST
            * cosine_velocity(
                state["cosine bare"], predictor=False, target_noise=NOISE
            ),
            "two": jax.vmap(cosine_velocity)(state["two"]),
            "rectified": [
                relu_velocity(w, loss=loss, target_noise=NOISE)
                for loss, w in zip(toy.EUCLIDEAN, state["rectified"], strict=True)
            ],
        }

    def record(state: dict[str, Any]) -> dict[str, Any]:
        return state | {
            "rectified": [toy.variances(w) for w in state["rectified"]],
            "cosine alone": jnp.exp(state["cosine alone"]),
        }

    times = jnp.asarray(grid)
    solved = integrate(
        velocity,
        start,
        times,
        record=record,
        rtol=1e-5,
        atol=1e-6,
        estimate_error=False,
    ).values
    theory = {k: v for k, v in solved.items() if k not in ("two", "rectified")}
    theory |= dict(zip(rectified, solved["rectified"], strict=True))
    theory["euclidean bare"] = jnp.broadcast_to(s0[None, :], (len(grid), len(s0)))
    for loss in toy.EUCLIDEAN:
        theory[loss] = predictor_eigenvalues(s0, times, loss=loss)
    for i, pair in enumerate(toy.FIGURE_5):
        two = jnp.sort(jnp.array(pair))
        theory[f"euclidean of two {i}"] = predictor_eigenvalues(two, times)
        theory[f"cosine of two {i}"] = solved["two"][:, i]
    return {name: np.asarray(values) for name, values in theory.items()}
