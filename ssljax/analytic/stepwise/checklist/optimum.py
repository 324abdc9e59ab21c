"""Items 7 to 10: the end of training, step counts, real images."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic import stepwise
from ssljax.analytic.checklist import (
    Finding,
    Given,
    NotHere,
    at_least,
    at_most,
    near,
)
from ssljax.analytic.comparison import crossing_times, subspace_overlap
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent
from ssljax.analytic.stepwise.checklist.network import (
    SPECTRUM,
    aligned_eigenvalues,
    aligned_start,
    barlow_twins,
    critical_steps,
    critical_times,
    cross_moment,
    expected_leaks,
    largest,
    normal,
    pairs_with_moments,
    rotated_pairs,
    rotation,
    spectrum,
)


@in_float64
def minimum_norm(given: Given) -> Sequence[Finding]:
    """Check ``min ||W||_F^2 = sum_(j <= d) 1/gamma_j`` at C = I (proposition 4.3)."""
    d = 3
    enough = np.asarray(SPECTRUM)
    too_few = np.array([1.0, 0.6, -0.1, -0.2, -0.3, -0.4, -0.5, -0.6])
    basis = rotation(given.seed, len(SPECTRUM))
    scale, w0 = 1e-8, normal(given.seed + 1, d, len(SPECTRUM))

    def end(gamma: jax.Array) -> tuple[jax.Array, jax.Array]:
        loss = barlow_twins(*stepwise.pairs_with_moments(gamma, basis=basis))
        w = gradient_descent(loss, scale * w0, 1000, 0.04, every=1000).params
        return w, loss(w)

    weights, final = jax.jit(jax.vmap(end))(np.stack([enough, too_few]))
    weights = np.asarray(weights)
    ranks = np.linalg.matrix_rank(weights[1], tol=1e-4)
    least = np.sum(1 / enough[:d])
    feasible, ratios = zero_loss_weights(given.seed + 2, enough, basis, d, 20_000)
    loss = jax.jit(jax.vmap(barlow_twins(*pairs_with_moments(enough, basis=basis))))
    # A mode that is not learned keeps a weight l along the axis of mode j, whose own
    # square falls by gamma / gamma_j l^2. Twice that, since steps of this length
    # favour slow modes: log(1 + 4 rate gamma) is less than proportional.
    moment = basis @ np.diag(enough) @ basis.T
    kept = expected_leaks(w0, moment, scale)[:, d:] ** 2
    surplus = np.sum(kept * (1 - enough[None, d:] / enough[:d, None])) / least
    return [
        Finding(
            "||W||^2 / sum 1/gamma - 1 after a small start",
            float(np.sum(weights[0] ** 2) / least - 1),
            -1e-12,
            float(2 * surplus + 1e-12),
        ),
        at_least("random weights of zero loss", len(ratios), 10_000),
        at_most("their largest loss", largest(loss(feasible)), 1e-12),
        at_least("their least ||W||^2 / sum 1/gamma", ratios.min(), 1 - 1e-12),
        at_most("which comes near the bound", ratios.min(), 1.001),
        near("final loss with one positive mode too few", final[1], 1.0, 1e-6),
        near("rank of W then", ranks, 2, 0),
    ]


def zero_loss_weights(
    seed: int, gamma: np.ndarray, basis: np.ndarray, d: int, draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw W with C = I, near the best row space and far; return their size too."""
    size = 10.0 ** np.linspace(-2.0, 1.0, draws)[:, None, None]
    moment = basis @ np.diag(gamma) @ basis.T
    rows = basis[:, :d].T[None] + size * normal(seed, draws, d, len(gamma))
    values, axes = np.linalg.eigh(rows @ moment @ rows.mT)
    positive = values[:, 0] > 1e-3
    values, axes, rows = values[positive], axes[positive], rows[positive]
    weights = axes / np.sqrt(values)[:, None, :] @ axes.mT @ rows
    return weights, np.sum(weights**2, axis=(1, 2)) / np.sum(1 / gamma[:d])


@in_float64
def curvature(given: Given) -> Sequence[Finding]:
    """Check the Hessian's ``8 gamma_j, 4 (gamma_i + gamma_j), 0``."""
    d, gamma = 3, np.asarray(SPECTRUM)
    x1, x2, _ = rotated_pairs(given.seed, gamma)
    loss = barlow_twins(x1, x2)
    best = np.asarray(stepwise.minimum_norm_solution(cross_moment(x1, x2), d))

    def flat_loss(flat: jax.Array) -> jax.Array:
        return loss(flat.reshape(best.shape))

    hessian = jax.jit(jax.hessian(flat_loss))(best.ravel())
    found = np.linalg.eigvalsh(hessian)[::-1]
    w0 = normal(given.seed + 1, *best.shape)

    # Where descent beyond the threshold ends depends on the draw: it drifts along the
    # minima to flatter ones. How fast it leaves the minimum does not.
    def both(rate: jax.Array) -> tuple[jax.Array, jax.Array]:
        final = loss(gradient_descent(loss, 1e-3 * w0, 2000, rate, every=2000).params)
        path = gradient_descent(
            loss, best + 1e-7 * w0, 80, rate, record=loss, every=40
        ).values
        return final, jnp.sqrt(path[2] / path[1]) ** (1 / 40)

    rates = np.array([0.24, 0.26]) / gamma[0]
    finals, growth = jax.jit(jax.vmap(both))(rates)
    wanted = 8 * rates * gamma[0] - 1
    return [
        at_most(
            "eigenvalues of the Hessian",
            largest(found - np.asarray(stepwise.curvatures(gamma, d))),
            1e-10,
        ),
        at_most("final loss at learning rate .24 / gamma_1", finals[0], 1e-20),
        near("distance per step, .24 / gamma_1", growth[0], wanted[0], 1e-3),
        near("distance per step, .26 / gamma_1", growth[1], wanted[1], 1e-3),
    ]


@in_float64
def steps(given: Given) -> Sequence[Finding]:
    """Check ``-log(lambda0)/(2 log r)``, ``r^2 - (1 + m + 4 eta gamma) r + m = 0``."""
    gamma, small = np.array([1.0, 0.6, 0.35]), 1e-8
    x1, x2, basis = rotated_pairs(given.seed, gamma)
    loss, record = barlow_twins(x1, x2), spectrum(cross_moment(x1, x2))
    turn = rotation(given.seed + 1, 3)

    def eigenvalues(
        rate: jax.Array, momentum: jax.Array, scale: jax.Array
    ) -> jax.Array:
        w0 = scale * turn @ basis.T
        return gradient_descent(loss, w0, 3400, rate, momentum, record=record).values

    def counts(rate: float, momentum: float, scale: float) -> np.ndarray:
        s0 = np.full(3, scale)
        return np.asarray(
            critical_steps(s0, gamma, learning_rate=rate, momentum=momentum)
        )

    kinds = [(rate, momentum) for rate in (0.02, 0.005) for momentum in (0.0, 0.9)]
    cases = [(*kind, scale) for kind in kinds for scale in (small, 100 * small)]
    paths = np.asarray(jax.vmap(eigenvalues)(*np.asarray(cases).T))
    found = [crossing_times(np.arange(3401), path, 0.5) for path in paths]
    findings = []
    for (rate, momentum), late, early in zip(
        kinds, found[::2], found[1::2], strict=True
    ):
        expected = counts(rate, momentum, small)
        saved = expected - counts(rate, momentum, 100 * small)
        case = f"rate {rate:g}, momentum {momentum:g}"
        findings += [
            at_most(f"steps, {case}", largest(late / expected - 1), 0.01),
            # Terms that do not depend on the start cancel in this difference.
            at_most(
                f"steps saved by a larger start, {case}",
                largest((late - early) / saved - 1),
                0.001,
            ),
        ]
    return findings


@in_float64
def real_images(given: Given) -> Sequence[Finding]:
    """Check ``tau_j = -log(gamma_j s_j^2)/(8 gamma_j)`` on pairs of image crops."""
    if given.images is None:
        raise NotHere("CIFAR-10 is not here; ssljax data prepare cifar10")
    d, scale, rate = 10, 1e-7, 5e-5
    # One draw of crops, whose gap gamma_11 / gamma_10 of 0.75 settles which ten modes.
    x1, x2 = crops_of(given.images[:500], seed=3)
    moment = np.asarray(cross_moment(x1, x2))
    w0 = normal(given.seed + 1, d, x1.shape[1])
    # In the basis of Gamma's eigenvectors pixels become coordinates, and those with a
    # small eigenvalue can be left out: at a quarter of gamma_10 a weight grows to
    # scale^(3/4) = 6e-6 by the end, which C does not see.
    values, vectors = np.linalg.eigh(moment)
    kept = vectors[:, np.abs(values) > values[-d] / 4]
    w0, moment = w0 @ kept, kept.T @ moment @ kept
    start = aligned_start(w0, moment, scale)
    sizes, gamma = start.singular_values, start.gamma
    tau = np.asarray(critical_times(sizes, gamma))
    tau_steps = np.asarray(critical_steps(sizes, gamma, learning_rate=rate))
    y1, y2 = fewer_rows(x1 @ kept, x2 @ kept)
    loss, short = barlow_twins(y1, y2), cross_moment(y1, y2)
    every = 5
    count = int(1.25 * float(tau_steps[-1])) // every * every
    path = gradient_descent(
        loss, scale * w0, count, rate, record=spectrum(short), every=every
    )
    found, last = np.asarray(path.values), np.asarray(path.params)
    expected = np.asarray(aligned_eigenvalues(sizes, gamma, path.times))
    crossing = crossing_times(path.times, found, 0.5)
    overlap, chance = subspace_overlap(
        kept @ last.T, kept @ np.asarray(start.directions)
    )
    wanted = float(stepwise.expected_overlap(w0, moment, scale))
    return [
        at_most("|crossing / tau - 1|", largest(crossing / tau - 1), 0.03),
        at_most(
            "the same, steps counted",
            largest(crossing / (rate * tau_steps) - 1),
            0.005,
        ),
        at_most(
            "mean |eigenvalue - prediction|",
            np.abs(found - expected).mean(),
            2e-3,
        ),
        # Some starts have little of the tenth mode, so that others come in.
        at_least(
            f"overlap with the top ten (chance {chance:.3f})",
            overlap,
            min(0.999, wanted - 5e-4),
        ),
        at_most("its distance from the expected one", abs(overlap - wanted), 5e-4),
        at_most("final loss", loss(path.params), 1e-5),
    ]


def fewer_rows(x1: np.ndarray, x2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return fewer pairs with the same second moments, one for every column of both.

    A rotation of the samples, the same in both views, leaves ``x1^T x2`` unchanged. A
    QR decomposition finds one after which only as many rows as columns are not zero.
    """
    rows = np.linalg.qr(np.concatenate([x1, x2], axis=1))[1]
    # Moments are means over the samples, of which there are now fewer.
    rows = rows * np.sqrt(len(rows) / len(x1))
    return rows[:, : x1.shape[1]], rows[:, x1.shape[1] :]


def crops_of(images: np.ndarray, seed: int, size: int = 20) -> list[np.ndarray]:
    """Standardise the channels and draw two crops of each image, ``[N, size^2 3]``."""
    pixels = images / 255.0
    channels = (0, 1, 2)
    pixels = (pixels - pixels.mean(axis=channels)) / pixels.std(axis=channels)
    rng = np.random.default_rng(seed)
    views = []
    for _ in range(2):
        corners = rng.integers(0, pixels.shape[1] - size + 1, (len(pixels), 2))
        views.append(
            np.array(
                [
                    image[top : top + size, left : left + size].ravel()
                    for image, (top, left) in zip(pixels, corners, strict=True)
                ]
            )
        )
    return views
