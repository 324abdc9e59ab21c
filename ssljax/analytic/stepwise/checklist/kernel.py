"""Items 11 to 14: kernels in closed form and in function space."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic.checklist import Finding, Given, at_most, near
from ssljax.analytic.comparison import convergence_slope
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent, integrate
from ssljax.analytic.stepwise.kernel import (
    contrastive_kernel,
    kernel_embedding,
    kernel_modes,
    kernel_start,
)

PAIRS, DIM = 12, 3
# More features than views, and fewer: a kernel matrix of full rank and a singular one.
FEATURES = {"m > 2n": 30, "m < 2n": 17}


class Data(NamedTuple):
    """Pairs of views, held-out points and random weights, all of the same features."""

    x: jax.Array
    xp: jax.Array
    test: jax.Array
    weights: jax.Array


def draw(seed: int, features: int) -> Data:
    """Draw three strong features among weaker ones, padded to a common width."""
    rng = np.random.default_rng(seed)
    strength = np.full(features, 0.2)
    strength[:DIM] = 2.5, 1.6, 1.0
    latent = rng.normal(size=(PAIRS, features))
    views = latent + 0.3 * rng.normal(size=(2, PAIRS, features))
    test = rng.normal(size=(20, features))
    weights = rng.normal(size=(DIM, features))
    arrays = (views[0] * strength, views[1] * strength, test * strength, weights)
    empty = max(FEATURES.values()) - features
    return Data(*(jnp.asarray(np.pad(a, ((0, 0), (0, empty)))) for a in arrays))


def kernels(x: jax.Array, xp: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    return x @ x.T, x @ xp.T, xp @ xp.T


def cross_moment(x: jax.Array, xp: jax.Array) -> jax.Array:
    return (x.T @ xp + xp.T @ x) / (2 * len(x))


def up_to_sign(found: jax.Array, expected: jax.Array) -> jax.Array:
    """Return the largest distance once every column has the sign that suits it."""
    sign = jnp.sign(jnp.sum(found * expected, axis=0))
    return jnp.max(jnp.abs(found * sign[None, :] - expected))


def linear_loss(x: jax.Array, xp: jax.Array, weights: jax.Array) -> jax.Array:
    return losses.linearized_barlow_twins(x @ weights.T, xp @ weights.T)


def trained(x: jax.Array, xp: jax.Array, weights: jax.Array, steps: int) -> jax.Array:
    """Return the last weights of descent, mapped over settings."""

    def one(x, xp, weights):
        top = jnp.linalg.eigvalsh(cross_moment(x, xp))[-1]
        rate = 0.1 / top
        return gradient_descent(
            lambda w: linear_loss(x, xp, w), weights, steps, rate, every=steps
        ).params

    return jax.jit(jax.vmap(one))(x, xp, weights)


def gram_gap(found: jax.Array, expected: jax.Array) -> jax.Array:
    """Return the distance of two embeddings whatever their rotation, relative."""
    expected = expected @ expected.T
    return jnp.linalg.norm(found @ found.T - expected) / jnp.linalg.norm(expected)


@in_float64
def two_forms(given: Given) -> Sequence[Finding]:
    """Check ``K^(1/2) P K^(1/2) = K^(-1/2) (K P K) K^(-1/2)`` and its spectrum."""

    @jax.jit
    def measure(x, xp):
        n = len(x)
        first = contrastive_kernel(*kernels(x, xp))
        views = jnp.concatenate([x, xp])
        k = views @ views.T
        values, vectors = jnp.linalg.eigh(k)
        kept = values > 1e-11 * values[-1]
        inverse = jnp.where(kept, 1.0 / jnp.sqrt(jnp.where(kept, values, 1.0)), 0.0)
        inverse_root = (vectors * inverse[None, :]) @ vectors.T
        products = k[:, :n] @ k[n:] + k[:, n:] @ k[:n]
        second = inverse_root @ products @ inverse_root / (2 * n)
        # At zero weights the loss of one output has the Hessian -4 Gamma.
        zero = jnp.zeros((1, x.shape[1]))
        hessian = jax.hessian(linear_loss, argnums=2)(x, xp, zero)[0, :, 0]
        curvature = jnp.linalg.eigvalsh(-hessian / 4.0)
        gap = jnp.linalg.norm(first - second) / jnp.linalg.norm(first)
        return gap, jnp.linalg.eigvalsh(first), curvature

    found = []
    for name, features in FEATURES.items():
        gap, mine, gamma = measure(*draw(given.seed, features)[:2])
        found.append(at_most(f"the two forms, relative gap, {name}", gap, 1e-9))
        # Feature space has more zeros; they sort between the negative and the positive.
        zeros = jnp.zeros(len(gamma) - len(mine))
        mine = jnp.sort(jnp.concatenate([mine, zeros]))
        error = jnp.max(jnp.abs(mine - gamma)) / gamma[-1]
        found.append(at_most(f"eigenvalues and curvature, {name}", error, 1e-9))
        if features > 2 * PAIRS:
            found.append(near("positive eigenvalues", jnp.sum(mine > 1e-9), PAIRS, 0))
            found.append(near("negative eigenvalues", jnp.sum(mine < -1e-9), PAIRS, 0))
    return found


@in_float64
def closed_form_embedding(given: Given) -> Sequence[Finding]:
    """Compare ``f(x) = Gamma^(-1/2) V^T K^(-1/2) K(X, x)`` (proposition 5.1)."""
    found = []
    data = [draw(given.seed, features) for features in FEATURES.values()]
    x, xp, test, weights = (jnp.stack(arrays) for arrays in zip(*data, strict=True))
    small = 1e-8
    ends = trained(x, xp, small * weights, 1500)
    for case, name in enumerate(FEATURES):
        x, xp, test, weights = data[case]
        embed = kernel_embedding(*kernels(x, xp), DIM)
        mine = embed(test @ x.T, test @ xp.T)
        gamma, v = jnp.linalg.eigh(cross_moment(x, xp))
        top, axes = gamma[::-1][:DIM], v[:, ::-1][:, :DIM]
        spectral = test @ axes / jnp.sqrt(top)[None, :]
        gap = up_to_sign(mine, spectral)
        found.append(at_most(f"kernel and feature form, {name}", gap, 1e-8))
        # The leak out of the leading modes scales as a power of the start.
        gap = 1.0 - gamma[::-1][DIM] / top[-1]
        bound = 10.0 * small ** float(gap)
        end = gram_gap(test @ ends[case].T, mine)
        found.append(at_most(f"end of training, relative gap, {name}", end, bound))
        start = kernel_start(
            *kernels(x, xp), small * x @ weights.T, small * xp @ weights.T
        )
        # Leaks among the learned modes only rotate the embedding.
        gaps = 1.0 - jnp.append(top[1:], gamma[::-1][DIM]) / top
        turned = mine @ start.rotation.T - test @ ends[case].T
        error = jnp.max(jnp.abs(turned)) / jnp.max(jnp.abs(mine))
        bound = 10.0 * small ** float(jnp.min(gaps))
        found.append(at_most(f"the same with its rotation, {name}", error, bound))
    return found


@in_float64
def function_space(given: Given) -> Sequence[Finding]:
    """Compare ``dF/dt = -4 (F P F^T - I) F P K`` with the descent on the weights."""
    data = [draw(given.seed, features) for features in FEATURES.values()]
    x, xp, test, weights = (jnp.stack(arrays) for arrays in zip(*data, strict=True))
    weights = 0.05 * weights
    times = jnp.linspace(0.0, 1.5, 7)

    def function(a, x, xp, weights, points):
        views = jnp.concatenate([x, xp])
        return (points @ weights.T) + points @ views.T @ a.T

    def of_views(embedded):
        return losses.linearized_barlow_twins(embedded[:PAIRS], embedded[PAIRS:])

    def velocity(state):
        def one(a, w, x, xp, start):
            embedded = function(a, x, xp, start, jnp.concatenate([x, xp]))
            by_weights = jax.grad(linear_loss, argnums=2)(x, xp, w)
            return -jax.grad(of_views)(embedded).T, -by_weights

        a, w = state
        return jax.vmap(one)(a, w, x, xp, weights)

    def record(state):
        by_kernel = jax.vmap(function)(state[0], x, xp, weights, test)
        return by_kernel, test @ jnp.swapaxes(state[1], 1, 2)

    # The field itself: -4 (F P F^T - I) F P, in the paper's letters.
    views = jnp.concatenate([x[0], xp[0]])
    embedded = views @ weights[0].T
    paired = jnp.concatenate([embedded[PAIRS:], embedded[:PAIRS]]) / (2 * PAIRS)
    expected = 4.0 * paired @ (embedded.T @ paired - jnp.eye(DIM))
    gap = jnp.max(jnp.abs(jax.grad(of_views)(embedded) - expected))
    error = gap / jnp.max(jnp.abs(expected))
    found = [at_most("gradient by the embeddings, relative", error, 1e-12)]
    nothing = jnp.zeros((len(data), DIM, 2 * PAIRS))
    flow = integrate(
        velocity, (nothing, weights), times, record=record, estimate_error=False
    )
    by_kernel, by_weights = flow.values
    found += [
        at_most(f"held-out embeddings, {name}", gap, 1e-8)
        for name, gap in zip(
            FEATURES, jnp.max(jnp.abs(by_kernel - by_weights), (0, 2, 3)), strict=True
        )
    ]

    @jax.jit
    def descended(weights, rate, every):
        def step(_, w):
            gradient = jax.vmap(jax.grad(linear_loss, argnums=2))(x, xp, w)
            return w - rate * gradient

        def stretch(w, _):
            w = jax.lax.fori_loop(0, every, step, w)
            return w, test @ jnp.swapaxes(w, 1, 2)

        return jax.lax.scan(stretch, weights, length=len(times) - 1)[1]

    # One program for all step sizes: the number of steps per record is an argument.
    every = [200, 400, 800]
    rates = [float(times[1]) / steps for steps in every]
    gaps = [
        jnp.max(jnp.abs(descended(weights, rate, steps) - by_kernel[1:]))
        for rate, steps in zip(rates, every, strict=True)
    ]
    slope = convergence_slope(rates, [float(gap) for gap in gaps])
    found.append(near("order of descent towards the flow", slope, 1.0, 0.1))
    for name, (x, xp, *_) in zip(FEATURES, data, strict=True):
        gamma, c = kernel_modes(*kernels(x, xp), DIM)
        views = jnp.concatenate([x, xp])
        embedded = views @ views.T @ c
        left = of_views(embedded)
        found.append(near(f"loss of the closed form, {name}", left, 0.0, 1e-18))
        norm = jnp.sum(c * embedded)
        ratio = norm / jnp.sum(1.0 / gamma) - 1.0
        found.append(near(f"squared norm over its minimum - 1, {name}", ratio, 0, 1e-9))
    return found


@in_float64
def kernel_pca(given: Given) -> Sequence[Finding]:
    """Check that ``X = X'`` gives ``f(x) = sqrt(n) K(x, X) U / lambda``."""
    found = []
    data = [draw(given.seed, features) for features in FEATURES.values()]
    x, _, test, weights = (jnp.stack(arrays) for arrays in zip(*data, strict=True))
    small = 1e-8
    ends = trained(x, x, small * weights, 1500)
    # What part of the next mode's start lies along those of the modes that are learned:
    # they carry it along.
    starts = [w @ jnp.linalg.svd(x, full_matrices=False)[2].T for x, _, _, w in data]
    along = [jnp.linalg.solve(a[:, :DIM], a[:, DIM]) for a in starts]
    for case, name in enumerate(FEATURES):
        x, _, test, _ = data[case]
        k = x @ x.T
        values, vectors = jnp.linalg.eigh(k)
        values, vectors = values[::-1], vectors[:, ::-1][:, :DIM]
        pca = jnp.sqrt(PAIRS) * test @ x.T @ vectors / values[None, :DIM]
        mine = kernel_embedding(k, k, k, DIM)(test @ x.T, test @ x.T)
        gamma = kernel_modes(k, k, k, DIM).gamma
        error = jnp.max(jnp.abs(gamma * PAIRS / values[:DIM] - 1.0))
        found.append(at_most(f"eigenvalues, relative gap, {name}", error, 1e-9))
        gap = up_to_sign(mine, pca)
        found.append(at_most(f"embedding and kernel PCA, {name}", gap, 1e-9))
        order = small ** float(1.0 - values[DIM] / values[DIM - 1])
        bound = 2.0 * (1.0 + float(jnp.abs(along[case]).max())) * order
        end = gram_gap(test @ ends[case].T, pca)
        found.append(at_most(f"end of training, relative gap, {name}", end, bound))
    return found
