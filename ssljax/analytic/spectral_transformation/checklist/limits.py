"""Items 5 and 6: the weight that revives a dead direction, and rounding."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import spectral_transformation as theory
from ssljax.analytic.checklist import Finding, Given, at_least, at_most, near
from ssljax.analytic.precision import in_float64
from ssljax.analytic.spectral_transformation.checklist import models


@in_float64
def revival(given: Given) -> list[Finding]:
    """Check ``((1 - rho) - M/2)/(2 H (1 - H/n)) h'(0)/(h'(0) - h'(1/(n - 1)))``.

    Item 17 of earlier versions.
    """
    findings = []
    for n in (32, 64, 128):
        both = _weights_of_no_force(given.seed, n, (4, 5))
        for iterations, (weight, alignment) in zip((4, 5), both, strict=True):
            expected = theory.reviving_trace_weight(
                n, iterations, dead_correlation=0.5, alignment=alignment
            )
            what = f"relative difference, n = {n}, T = {iterations}"
            findings.append(near(what, weight / expected - 1.0, 0.0, 0.1))
    return findings


@in_float64
def rounding(given: Given) -> list[Finding]:
    """Check ``P <- (3 P - P^3 S)/2`` in float32 in two orders of the product.

    Item 18 of earlier versions.
    """
    n = 256
    # Condition 8.3e3. How soon the printed order breaks depends on the spectrum: a
    # dominant eigenvalue breaks it first. This one gave the recorded errors.
    x = 8.3e3 ** -(np.linspace(0.0, 1.0, n) ** 0.45)
    x /= x.sum()
    u = models.rotation(given.seed, n)
    z = models.white_batch(given.seed, 2 * n, n) @ (u * np.sqrt(x)[None, :]) @ u.T
    narrow = jnp.asarray(z, jnp.float32)

    @jax.jit
    def printed(s, iterations):
        # The loop's length is an argument, so that all lengths share one program.
        def step(_, p):
            return 1.5 * p - 0.5 * _exact(_exact(_exact(p, p), p), s)

        return jax.lax.fori_loop(0, iterations, step, jnp.eye(n, dtype=s.dtype))

    def error(found, left, iterations):
        gain = np.asarray(theory.iter_norm_gain(x, iterations))
        expected = left @ (u * gain[None, :]) @ u.T
        gap = np.linalg.norm(np.asarray(found, float) - expected)
        # Once it overflows there is nothing to measure.
        return np.nan_to_num(gap / np.linalg.norm(expected), nan=np.inf)

    findings = []
    for iterations, bound in ((4, 1e-5), (5, 1e-5), (7, 1e-5), (15, 1e-3)):
        found = losses.iterative_normalization(
            narrow, iterations=iterations, axis="batch"
        )
        what = f"float32 error of the loss, T = {iterations}"
        findings.append(at_most(what, error(found, z, iterations), bound))
    s = jnp.asarray((u * x[None, :]) @ u.T, jnp.float32)
    for iterations in (4, 5, 7, 9, 11):
        found = error(printed(s, iterations), np.eye(n), iterations)
        eps = float(jnp.finfo(jnp.float32).eps) / 2
        growth = float(theory.rounding_growth(x, iterations))
        what = f"printed order, T = {iterations}"
        forecast = np.log10(found / (eps * growth))
        findings.append(near(f"{what}: log10, error / forecast", forecast, 0.0, 1.0))
        if iterations <= 7:
            findings.append(at_most(f"{what}: float32 error", found, 1e-5))
        if iterations == 11:
            findings.append(at_least(f"{what}: float32 error", found, 1.0))
    return findings


def _exact(a, b):
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _weights_of_no_force(seed: int, n: int, cases: tuple[int, ...]):
    """Return the trace weight without force on a dead direction, and alignment."""
    rho = np.append(np.full(n - 1, 0.9), 0.5)
    views = models.noisy_views(seed, 4 * n, 1.0 / rho - 1.0)
    vectors, dead = models.hadamard(n), np.append(np.ones(n - 1), -1.0)[None, :]

    def terms(share, iterations):
        size = jnp.append(jnp.full(n - 1, 1.0 / (n - 1)), share)
        # Every sample twice, with either sign of the dead direction: otherwise its odd
        # terms would outweigh the variance that it adds.
        scaled = [x * jnp.sqrt(rho * size)[None, :] for x in views]
        z = jnp.stack([jnp.concatenate([z, z * dead]) @ vectors.T for z in scaled])

        def of_view(z):
            t = losses.iterative_normalization(z, iterations=iterations, axis="batch")
            return t, losses.trace_loss(t, axis="batch")

        (t1, t2), traces = jax.vmap(of_view)(z)
        return losses.normalized_mse(t1, t2), jnp.sum(traces)

    @jax.jit
    def measure(share):
        return [jax.jvp(lambda s, t=t: terms(s, t), (share,), (1.0,)) for t in cases]

    return [
        (float(-slopes[0] / slopes[1]), float(values[0]))
        for values, slopes in measure(1e-7 / n)
    ]
