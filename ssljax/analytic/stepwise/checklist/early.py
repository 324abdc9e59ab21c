"""Items 19 and 20: small embeddings under other losses, plateaus off one."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import stepwise
from ssljax.analytic.checklist import Finding, Given, at_most, near
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent
from ssljax.analytic.stepwise.checklist.network import (
    Loss,
    Values,
    barlow_twins,
    cross_moment,
    largest,
    noisy_pairs,
    normal,
    relative,
    rotated_pairs,
    spectrum,
)


def info_nce(x1: Values, x2: Values, temperature: float) -> Loss:
    """Return InfoNCE by plain dot products of ``W x``.

    The loss compares cosines. Each row gets a coordinate of its view's own that brings
    it to length 2, which leaves all products across the views as they were.
    """

    def lifted(z: jax.Array, place: int) -> jax.Array:
        missing = jnp.sqrt(4.0 - jnp.sum(z**2, axis=1, keepdims=True))
        blank = jnp.zeros_like(missing)
        own = [missing, blank] if place == 0 else [blank, missing]
        return jnp.concatenate([z, *own], axis=1)

    return lambda w: losses.info_nce(
        lifted(x1 @ w.T, 0), lifted(x2 @ w.T, 1), temperature=temperature / 4.0
    )


@in_float64
def early(given: Given) -> Sequence[Finding]:
    """Check ``dW/dt = W (b/(d sqrt(eps)) Cov - 4 a/d (Sigma - Gamma))``, ..."""
    n, m, d = 20, 8, 6
    x1, x2 = noisy_pairs(given.seed, n, m)
    w, bias = normal(given.seed + 3, d, m), normal(given.seed + 4, d)

    def hinge(w: jax.Array) -> jax.Array:
        return losses.vicreg(x1 @ w.T, x2 @ w.T)

    def cosine(w: jax.Array) -> jax.Array:
        z1, z2 = (bias[None, :] + x @ w.T for x in (x1, x2))
        return losses.nt_xent(z1, z2, temperature=0.5)

    small = 1e-6 * w
    vicreg = jax.jit(stepwise.vicreg_early_velocity)(small, x1, x2)
    simclr = jax.jit(stepwise.nt_xent_collapsed_velocity)(
        small, bias, x1, x2, temperature=0.5
    )
    scales = np.array((0.04, 0.03, 0.02, 0.015, 0.01))
    loss = info_nce(x1, x2, 0.7)

    def parts(scale: jax.Array) -> tuple[jax.Array, jax.Array]:
        at = scale * w
        expansion = stepwise.info_nce_expansion(at, x1, x2, temperature=0.7)
        return expansion, loss(at) - expansion

    expansion, rest = map(np.asarray, jax.jit(jax.vmap(parts))(jnp.array(scales)))
    # Both are even in the scale: the expansion ends with the fourth order, and what is
    # left begins with the sixth. A slope says so only where the sixth is not small
    # beside the eighth. In units of each order's share at the largest scale:
    known, left = (
        np.linalg.lstsq((scales[:, None] / scales[0]) ** orders, values, rcond=None)[0]
        for orders, values in (([0, 2, 4], expansion), ([2, 4, 6, 8, 10], rest))
    )
    return [
        at_most(
            "VICReg's velocity at |W| = 1e-6, relative error",
            relative(jax.jit(jax.grad(hinge))(small), -np.asarray(vicreg)),
            1e-5,
        ),
        at_most(
            "NT-Xent's velocity from a collapsed start, relative error",
            relative(jax.jit(jax.grad(cosine))(small), -np.asarray(simclr)),
            1e-4,
        ),
        at_most(
            "second order that InfoNCE's expansion leaves, relative to its own",
            abs(left[0] / known[1]),
            1e-6,
        ),
        at_most(
            "fourth order that it leaves, relative to its own",
            abs(left[1] / known[2]),
            1e-4,
        ),
    ]


@in_float64
def plateaus(given: Given) -> Sequence[Finding]:
    """Check ``lambda = 1/(r/d + w (1 - r/d))`` and ``lambda = 1/(1 + (r + 1)/B)``."""
    d, weight = 10, 0.1
    x1, x2, _ = rotated_pairs(given.seed, (1.0, 0.2))
    path = gradient_descent(
        barlow_twins(x1, x2, weight),
        1e-6 * normal(given.seed + 1, d, 2),
        12_000,
        0.01,
        record=spectrum(cross_moment(x1, x2)),
        every=1200,
    )
    resting = np.asarray(path.values)
    findings = []
    for learned, record in ((1, 1), (2, 10)):
        expected = float(
            stepwise.weighted_plateau(learned, d, off_diagonal_weight=weight)
        )
        gap = largest(resting[record, :learned] - expected)
        findings.append(at_most(f"plateau of {learned} learned modes", gap, 1e-3))

    # Equal views, fresh in every step, on the first r of twenty axes.
    batch, ranks = 64, (5, 20)
    key = jax.random.key(given.seed)

    def last(axes: jax.Array) -> jax.Array:
        def loss(w: jax.Array, key: jax.Array) -> jax.Array:
            z = (axes[None, :] * jax.random.normal(key, (batch, 20))) @ w.T
            return losses.linearized_barlow_twins(z, z)

        values = gradient_descent(
            loss,
            jnp.diag(axes),
            5000,
            0.001,
            key=key,
            record=lambda w: jnp.sum((w * axes[None, :]) ** 2) / axes.sum(),
            every=10,
        ).values
        return values[100:].mean()

    axes = np.stack([(np.arange(20) < rank) * 1.0 for rank in ranks])
    for rank, found in zip(ranks, jax.jit(jax.vmap(last))(axes), strict=True):
        ratio = float(found) / float(stepwise.batch_plateau(rank, batch))
        findings.append(near(f"batches of 64, {rank} modes: ratio", ratio, 1.0, 0.02))
    return findings
