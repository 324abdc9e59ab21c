"""Item 18: spectral contrastive loss and merged VICReg."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import stepwise
from ssljax.analytic.checklist import Finding, Given, at_least, at_most, near
from ssljax.analytic.comparison import crossing_times, subspace_overlap
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent
from ssljax.analytic.stepwise.checklist.network import (
    Loss,
    Values,
    barlow_twins,
    cross_moment,
    descent_slope,
    largest,
    noisy_pairs,
    normal,
    pairs_with_moments,
    relative,
    rotation,
    second_moment,
)

# A ball that no embedding here leaves; times mu, the loss is that of the population.
MU = 1e3


def spectral_contrastive(x1: Values, x2: Values, batch: int = 2) -> Loss:
    """Average the loss over batches drawn from these pairs, in either order.

    The loss leaves out a pair's own similarity; drawn with replacement, a batch meets
    it as a negative as often as the population does. So the mean over *all* batches
    is exactly ``||W Sigma W^T||^2 - 2 tr(W Gamma W^T)``, whatever their size.
    """
    x1, x2 = jnp.concatenate([x1, x2]), jnp.concatenate([x2, x1])
    drawn = np.indices((len(x1),) * batch).reshape(batch, -1).T

    def loss(w: jax.Array) -> jax.Array:
        z1, z2 = x1 @ w.T, x2 @ w.T
        values = jax.vmap(
            lambda rows: losses.spectral_contrastive(z1[rows], z2[rows], mu=MU)
        )(drawn)
        return MU * values.mean()

    return loss


def merged_vicreg(x1: Values, x2: Values, invariance: float, spread: float) -> Loss:
    """Return VICReg's invariance plus ``||W Sigma W^T - I||^2``."""
    views = np.concatenate([x1, x2])
    whitening = barlow_twins(views, views)

    def loss(w: jax.Array) -> jax.Array:
        # VICReg averages over the d dimensions.
        apart = losses.vicreg(
            x1 @ w.T,
            x2 @ w.T,
            invariance_weight=invariance * w.shape[0],
            variance_weight=0.0,
            covariance_weight=0.0,
        )
        return apart + spread * whitening(w)

    return loss


def identities(seed: int) -> list[Finding]:
    """Check gradients and values of both population losses at one W."""
    x1, x2 = noisy_pairs(seed, 6, 4)
    w = normal(seed + 3, 3, 4) / 2
    gamma, sigma = (np.asarray(f(x1, x2)) for f in (cross_moment, second_moment))
    contrastive, merged = spectral_contrastive(x1, x2), merged_vicreg(x1, x2, 0.7, 1.3)
    pull, hold = w @ gamma, w @ sigma @ w.T @ w @ sigma
    wanted = -4 * pull + 4 * hold
    merged_wanted = -4 * w @ (1.3 * sigma - 0.7 * (sigma - gamma)) + 4 * 1.3 * hold
    value = float(jax.jit(contrastive)(w))
    found = relative(jax.jit(jax.grad(contrastive))(w), wanted)
    merged_found = relative(jax.jit(jax.grad(merged))(w), merged_wanted)
    return [
        at_most("spectral contrastive gradient, relative error", found, 1e-10),
        at_most("merged VICReg gradient, relative error", merged_found, 1e-10),
        at_most(
            "VICReg(1, 1) - spectral contrastive - d",
            abs(float(jax.jit(merged_vicreg(x1, x2, 1.0, 1.0))(w)) - value - 3),
            1e-10,
        ),
        at_most(
            "batches of three against batches of two",
            abs(float(jax.jit(spectral_contrastive(x1, x2, batch=3))(w)) - value),
            1e-10,
        ),
    ]


def minimum(seed: int) -> list[Finding]:
    """Check where descent on the spectral contrastive loss ends."""
    nu, basis = np.array([0.9, 0.7, 0.2, 0.1]), rotation(seed, 4)
    root = basis @ np.diag(np.sqrt([0.5, 2.0, 1.0, 1.5])) @ basis.T
    white = pairs_with_moments(nu, np.ones(4), basis=rotation(seed + 1, 4))
    x1, x2 = (np.asarray(x) @ root for x in white)
    gamma, sigma = (np.asarray(f(x1, x2)) for f in (cross_moment, second_moment))
    loss = spectral_contrastive(x1, x2)
    w0 = 0.1 * normal(seed + 2, 2, 4)
    w = np.asarray(gradient_descent(loss, w0, 3000, 0.02, every=3000).params)
    best, whitened = map(
        np.asarray, stepwise.spectral_contrastive_minimum(gamma, sigma, 2)
    )
    values = np.asarray(jax.jit(jax.vmap(loss))(np.stack([w, best])))
    overlap, _ = subspace_overlap(root @ w.T, root @ best.T)
    return [
        at_most(
            "minimizer: eigenvalues of W Sigma W^T - nu",
            largest(np.linalg.eigvalsh(w @ sigma @ w.T)[::-1] - whitened),
            1e-8,
        ),
        at_most("minimizer: 1 - overlap of its whitened rows", 1 - overlap, 1e-8),
        at_most(
            "minimizer: least loss + sum nu^2",
            largest(values + np.sum(nu[:2] ** 2)),
            1e-8,
        ),
    ]


def logistic(seed: int) -> list[Finding]:
    """Compare descent from aligned starts with the logistic curves."""
    gamma, sigma = np.array([1.0, 0.8, 0.5]), np.array([2.0, 1.0, 1.5])
    basis, s0 = rotation(seed, 3), np.array([0.05, 0.02, 0.1])
    x1, x2 = pairs_with_moments(gamma, sigma, basis=basis)
    findings = []
    for what, loss, weights in (
        ("spectral contrastive", spectral_contrastive(x1, x2), (1.0, 1.0)),
        ("merged VICReg", merged_vicreg(x1, x2, 1.4, 0.8), (1.4, 0.8)),
    ):

        def solution(t: jax.Array, weights=weights) -> np.ndarray:
            invariance, spread = weights
            s = stepwise.merged_vicreg_singular_values(
                s0,
                gamma,
                sigma,
                t,
                invariance_weight=invariance,
                spread_weight=spread,
            )
            return np.asarray(s)[:, :, None] * basis.T

        slope = descent_slope(
            loss,
            np.diag(s0) @ basis.T,
            solution,
            rates=(0.01, 0.005, 0.0025),
            total_time=3.0,
        )
        findings.append(near(f"{what}: order of descent", slope, 1.0, 0.1))
    return findings


# Mode 1 is learned first, but its gamma / sigma is below that of modes 2 and 3.
DISPLACED = {"gamma": (1.0, 0.9, 0.6, 0.2), "sigma": (4.0, 1.0, 1.0, 1.0)}
SHARED = (1.8e-6, 1.09e-6, 2.5e-7)


def displaced_modes(
    seed: int, rate: float, total_time: float, every: int
) -> tuple[Values, Values]:
    """Return times, and ``sigma |W v|^2`` from a shared and a random start."""
    gamma, sigma = (np.array(DISPLACED[name]) for name in ("gamma", "sigma"))
    basis = rotation(seed, 4)
    loss = spectral_contrastive(*pairs_with_moments(gamma, sigma, basis=basis))
    # Modes 1 and 3 share the first direction of the embedding, mode 2 has the other.
    first, second, third = SHARED
    shared = np.array([[first, 0.0, third, 0.0], [0.0, second, 0.0, 0.0]])
    starts = np.stack([shared, 1e-6 * normal(seed + 1, 2, 4)]) @ basis.T
    steps = round(total_time / rate) // every * every

    def sizes(w: jax.Array) -> Values:
        return sigma * jnp.sum((w @ basis) ** 2, axis=0)

    def path(w0: jax.Array) -> jax.Array:
        return gradient_descent(loss, w0, steps, rate, record=sizes, every=every).values

    times = rate * every * np.arange(steps // every + 1)
    return times, np.asarray(jax.vmap(path)(starts))


def displacement(seed: int) -> list[Finding]:
    gamma, sigma = (np.array(DISPLACED[name]) for name in ("gamma", "sigma"))
    pair, size = [0, 2], np.array(SHARED)
    times, (shared, generic) = displaced_modes(seed, 0.002, 20.0, 10)
    two = size[pair], gamma[pair], sigma[pair]
    competing = np.asarray(stepwise.solve_competition(*two)(times))
    half = crossing_times(times, shared, gamma / sigma / 2)
    handover = float(crossing_times(times, shared[:, 2] - shared[:, 0], 0.0)[-1])
    expected = float(stepwise.displacement_time(*two))
    return [
        near("modes 1 and 2 are half learned at 2.96", half[0], 2.96, 0.05),
        near("and 3.80", half[1], 3.80, 0.05),
        near("mode 3 replaces mode 1 at 8.44", half[2], 8.44, 0.5),
        at_most(
            "the sizes of both against the competition's solution",
            largest(shared[:, pair] - sigma[pair] * competing**2),
            0.02,
        ),
        near("handover against the closed form", handover, expected, 0.4),
        near("order of descent, displaced modes", _displaced_order(seed), 1.0, 0.1),
        at_least("random start: largest size of mode 1", generic[:, 0].max(), 0.2),
        at_most(
            "random start: last sizes - (0, .9, .6, 0)",
            largest(generic[-1] - np.array([0.0, 0.9, 0.6, 0.0])),
            1e-3,
        ),
    ]


def _displaced_order(seed: int) -> float:
    """Return the order at which descent approaches the competition."""
    gamma, sigma = (np.array(DISPLACED[name]) for name in ("gamma", "sigma"))
    basis, pair = rotation(seed, 4), [0, 2]
    first, second, third = 1e4 * np.array(SHARED)
    shared = np.array([[first, 0.0, third, 0.0], [0.0, second, 0.0, 0.0]])
    competition = stepwise.solve_competition(
        np.array([first, third]), gamma[pair], sigma[pair]
    )
    return descent_slope(
        spectral_contrastive(*pairs_with_moments(gamma, sigma, basis=basis)),
        shared @ basis.T,
        competition,
        rates=(0.008, 0.004, 0.002),
        total_time=6.0,
        record=lambda w: (w @ basis)[0, np.array(pair)],
    )


@in_float64
def spectral_contrastive_and_vicreg(given: Given) -> Sequence[Finding]:
    """Check the flow of ``L = ||W Sigma W^T||_F^2 - 2 tr(W Gamma W^T)``, ..."""
    return [
        *identities(given.seed),
        *minimum(given.seed),
        *logistic(given.seed),
        *displacement(given.seed),
    ]
