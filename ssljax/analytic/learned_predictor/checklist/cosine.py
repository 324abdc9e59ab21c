"""Items 7 to 9: the cosine loss, weight decay as a clock, and constants for norms."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import learned_predictor as theory
from ssljax.analytic.checklist import Finding, Given, at_least, at_most, near
from ssljax.analytic.comparison import convergence_slope
from ssljax.analytic.learned_predictor.checklist import network
from ssljax.analytic.precision import in_float64

RECORDS = 41


def over_sphere(seed: int) -> Callable[[network.Params], jax.Array]:
    """Return the loss averaged over inputs in every direction of space.

    Gauss' rule in the height and even steps in the angle. The loss does not see the
    length of an input, so that this is the average over normal inputs.
    """
    height, weight = np.polynomial.legendre.leggauss(24)
    angle = (np.arange(32) + 0.5) * np.pi / 32  # half a turn: the loss is even
    flat = np.sqrt(1.0 - height**2)
    x = np.stack(
        [
            flat[:, None] * np.cos(angle)[None, :],
            flat[:, None] * np.sin(angle)[None, :],
            np.broadcast_to(height[:, None], (24, 32)),
        ],
        axis=2,
    )
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    views, weights = jnp.asarray(x @ turn), jnp.asarray(weight / 2.0)

    def loss(params: network.Params) -> jax.Array:
        of_ring = jax.vmap(lambda x: network.loss_of((x, x), cosine=True)(params))
        return jnp.sum(weights * of_ring(views))

    return loss


@in_float64
def coupled(given: Given) -> Sequence[Finding]:
    """Compare ``dp_j/dt = a sum_k p_k (p_k - p_j) K_jk - eta p_j``, and the norms.

    Here ``K_jk = E[z_j^2 z_k^2 / (|P z|^3 |z|)]``.
    """
    start, predictor = np.array([0.2, 0.7, 1.5]), np.array([0.8, 0.3, 1.1])
    numbers: dict[str, Any] = {"weight_decay": 0.1, "predictor_rate": 2.0}
    params, left, right = network.aligned(np.sqrt(start), predictor, given.seed)
    times = np.linspace(0.0, 12.0, RECORDS)
    flow = network.flow_of(over_sphere(given.seed), params, times, **numbers)
    found = network.along(flow, left, right)
    pairs = {
        "predictor": found["predictor"],
        "variance": found["online"] ** 2,
    }
    findings = []
    for of, values in pairs.items():
        solution = theory.solve_cosine_predictor(
            start, predictor=predictor, of=of, **numbers
        )
        gap = np.abs(np.asarray(solution(times)) - values).max()
        # The averages over directions are accurate to about 1e-6.
        findings.append(at_most(f"{of}: flow of the loss from theory", gap, 1e-5))
    for name in ("online", "predictor"):
        squares = np.sum(found[name] ** 2, axis=1)
        kept = np.abs(squares / squares[0] / np.exp(-0.2 * times) - 1.0).max()
        findings.append(at_most(f"{name}: squared norm from its decay", kept, 1e-7))
    return findings


@in_float64
def clock(given: Given) -> Sequence[Finding]:
    """Check ``W(t) = exp(-eta t) W'((exp(2 eta t) - 1) / 2 eta)``, W' without decay."""
    rng = np.random.default_rng(given.seed)
    params = {
        name: jnp.asarray(np.eye(4) + 0.2 * rng.normal(size=(4, 4)))
        for name in ("online", "predictor")
    }
    views = network.exact_views(jnp.eye(4), given.seed, noise=0.5)
    loss = network.loss_of(views, cosine=True)
    times, decay = np.linspace(0.0, 2.0, RECORDS), 0.8
    with_decay = network.flow_of(loss, params, times, weight_decay=decay)
    clock = theory.decay_clock(times, decay)
    without = network.flow_of(loss, params, clock)
    findings = []
    for name, values in with_decay.items():
        scaled = np.exp(-decay * times)[:, None, None] * without[name]
        gap = np.abs(values - scaled).max() / np.exp(-decay * times[-1])
        findings.append(at_most(f"{name}: relative distance", gap, 1e-6))
    # The effect of the same decay on the ratio of two modes, under either loss.
    start = np.array([0.3, 0.5, 0.8])
    params, left, right = network.aligned(start, start, given.seed)
    times = np.linspace(0.0, 6.0, RECORDS)
    flow = network.flow_of(over_sphere(given.seed), params, times, weight_decay=decay)
    last = network.along(flow, left, right)["predictor"][-1]
    euclidean = theory.solve_balanced_predictor(start, weight_decay=decay)(times[-1])
    return [
        *findings,
        near("cosine: smallest mode over the largest", last[0] / last[2], 1.0, 0.01),
        # Where all Euclidean modes die, their ratio keeps falling.
        at_most("Euclidean: the same", euclidean[0] / euclidean[2], 0.3),
    ]


@in_float64
def concentration(given: Given) -> Sequence[Finding]:
    """Compare ``s/(N_P N_T) - (N_x p s + 2 p^2 s^2)/(N_P^3 N_T)`` with the loss."""
    sizes = (32, 128)
    gaps, radial = {True: [], False: []}, []
    for modes in sizes:
        p = np.linspace(0.5, 1.5, modes)
        exact = np.asarray(theory.cosine_predictor_velocity(p, p**2)[0])
        size = float(np.linalg.norm(exact))
        rates = {k: theory.sixth_order_rate(p, fourth_moment=k) for k in gaps}
        for k, rate in rates.items():
            gaps[k].append(float(np.linalg.norm(rate - exact)) / size)
        radial = [
            float(p @ np.asarray(rate)) / float(np.linalg.norm(p)) / size
            for rate in (exact, rates[False], rates[True])
        ]
    findings = [
        near(
            f"{name}: order in 1 / modes", -convergence_slope(sizes, gaps[k]), 1.0, 0.1
        )
        for k, name in ((False, "constant norms"), (True, "and the sixth order"))
    ]
    # The loss does not depend on the predictor's scale, but the sixth order does.
    findings += [
        near(
            "error with the sixth order over that without",
            gaps[True][1] / gaps[False][1],
            7.5,
            0.5,
        ),
        at_most("radial part, exact", abs(radial[0]), 1e-10),
        at_most("radial part without the sixth order", abs(radial[1]), 1e-10),
        at_most("radial part with it", radial[2], -0.1),
    ]
    return [*findings, *_noisy(given), *_frozen()]


def _noisy(given: Given) -> Sequence[Finding]:
    """Compare the rates with the loss of many noisy samples."""
    modes, samples, noise = 64, 20_000, 1.0
    p = np.linspace(0.5, 1.5, modes)

    @jax.jit
    def slope(predictor: jax.Array, key: jax.Array) -> jax.Array:
        x, *noises = jax.random.normal(key, (3, samples, modes))
        z1, z2 = (p[None, :] * (x + noise * n) for n in noises)
        return -jax.grad(lambda p: losses.negative_cosine(z1 * p[None, :], z2))(
            predictor
        )

    found = np.asarray(slope(jnp.asarray(p), jax.random.key(given.seed)))
    rate = np.asarray(
        theory.sixth_order_rate(p, p**2, noise=noise, fourth_moment=False)
    )
    share = float(rate @ found) / float(rate @ rate)
    # The clean rate is twice this one. A term of relative size 1 / modes is left out.
    return [near("noisy samples: rates over theory", share, 1.0, 0.1)]


def _frozen() -> Sequence[Finding]:
    """Check that shrinking norms give the held equation two more fixed points."""
    p = np.linspace(0.5, 1.5, 16)
    norms = np.array([float(x) for x in theory.concentrated_norms(p, p**2)])
    powers, decay = np.array([2.0, 1.0, 3.0]), 0.05
    alive = [
        np.isfinite(
            float(
                theory.sixth_order_limits(decay, norms=tuple(scale**powers * norms))[0]
            )
        )
        for scale in (1.0, 0.3)
    ]
    scaled = tuple(0.3**powers * norms)
    roots = theory.sixth_order_limits(decay, norms=scaled)
    left = theory.sixth_order_rate(jnp.stack(roots), norms=scaled, weight_decay=decay)
    return [
        near("fixed points at the start's norms", 2 * alive[0], 0, 0),
        near("fixed points at 0.3 of its scale", 2 * alive[1], 2, 0),
        at_most("rates at these", np.abs(left).max(), 1e-10),
        at_least("the larger over the smaller", roots[1] / roots[0], 1.0),
    ]
