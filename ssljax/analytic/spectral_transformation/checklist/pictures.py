"""What spectral transformations do to a spectrum, as lines and points."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import spectral_transformation as theory
from ssljax.analytic.checklist import Given, Panel, Picture
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent
from ssljax.analytic.spectral_transformation.checklist import models

POWERS = (0.0, 0.25, 0.5, 0.75)
STEPS = (1, 2, 4, 7)


@in_float64
def pictures(given: Given) -> list[Picture]:
    """Draw the output variances, descent on the trace loss, plain alignment."""
    panels = [_powers(given.seed), _iterated(given.seed)]
    panels += [_trace_descent(given.seed), _alignment(given.seed)]
    return [Picture("spectral_transformation_map", panels)]


def _powers(seed: int) -> Panel:
    lam = np.geomspace(1e-2, 1e2, 9)
    z, u = _batch(seed, lam)
    fine = np.geomspace(1e-2, 1e2, 100)

    @jax.jit
    def measured(z):
        return [
            _variances(losses.spectral_transform(z, lambda v, p=p: v**-p), u)
            for p in POWERS
        ]

    lines = [theory.output_variance(fine, lambda v, p=p: v**-p) for p in POWERS]
    return Panel(
        "power family",
        "eigenvalue",
        "output variance",
        lines=[(fine, np.stack(lines, axis=1))],
        points=[(lam, np.stack(measured(z), axis=1))],
        line_labels=[f"p = {p:g}" for p in POWERS],
        point_labels=["spectral_transform"],
        log_x=True,
        log_y=True,
    )


def _iterated(seed: int) -> Panel:
    x = np.geomspace(1e-3, 1.0, 9)
    x /= x.sum()
    z, u = _batch(seed, x)
    fine = np.geomspace(5e-4, 1.0, 100)

    @jax.jit
    def measured(z):
        return [
            _variances(losses.iterative_normalization(z, iterations=t, axis="batch"), u)
            for t in STEPS
        ]

    lines = [theory.iter_norm_spectrum(fine, t) for t in STEPS]
    return Panel(
        "iterative normalisation",
        "eigenvalue over trace",
        "output variance",
        lines=[(fine, np.stack(lines, axis=1))],
        points=[(x, np.stack(measured(z), axis=1))],
        line_labels=[f"T = {t}" for t in STEPS],
        point_labels=["iterative_normalization"],
        log_x=True,
    )


def _trace_descent(seed: int) -> Panel:
    n, m, rate, steps = 8, 17, 0.1, 600
    start = np.geomspace(1.0, 1e-4, n)
    z = jnp.asarray(models.white_batch(seed, m, n) * np.sqrt(start)[None, :])
    times = np.linspace(0.0, rate * steps, 121)
    lines = []
    for iterations in (4, 7):
        solution = theory.solve_trace_flow(start, iterations=iterations, observations=m)
        values = np.asarray(solution(times))
        lines.append(values.max(axis=1) / values.min(axis=1))

    # Two independent embeddings in one program.
    def run(z):
        return gradient_descent(
            lambda both: (
                models.trace_loss_of(both[4], 4, "batch")
                + models.trace_loss_of(both[7], 7, "batch")
            ),
            {4: z, 7: z},
            steps,
            rate,
            record=lambda both: jnp.stack([jnp.var(v, axis=0) for v in both.values()]),
            every=30,
        )

    path = jax.jit(run)(z)
    return Panel(
        "descent on the trace loss, n = 8",
        "time (learning rate x step)",
        "largest over smallest eigenvalue",
        lines=[(times, np.stack(lines, axis=1))],
        points=[(path.times, path.values.max(axis=2) / path.values.min(axis=2))],
        line_labels=["T = 4", "T = 7"],
        point_labels=["descent"],
        log_y=True,
    )


def _alignment(seed: int) -> Panel:
    noise, steps, rate = np.array([0.05, 0.5]), 400, 5e-3
    x1, x2 = models.noisy_views(seed, 32, noise)
    start, times = np.ones(2), np.linspace(0.0, rate * steps, 101)
    encoder = np.diag(1.0 / np.sqrt(1.0 + noise)) @ models.rotation(seed, 2)
    lines = [theory.solve_alignment_flow(start, noise, power=p)(times) for p in POWERS]

    def loss(encoders):
        return models.aligned_alone(x1, x2, encoders)

    def record(encoders):
        return [jnp.sum(w**2, axis=1) * (1.0 + noise) for w in encoders.values()]

    def run(w):
        start = dict.fromkeys(POWERS, w)
        return gradient_descent(loss, start, steps, rate, record=record, every=20)

    path = jax.jit(run)(jnp.asarray(encoder))
    return Panel(
        "alignment without normalised rows",
        "time (learning rate x step)",
        "eigenvalue",
        lines=[(times, np.concatenate(lines, axis=1))],
        points=[(path.times, np.concatenate(path.values, axis=1))],
        line_labels=[f"p = {power:g}, noise {v:g}" for power in POWERS for v in noise],
        point_labels=["descent"],
    )


def _batch(seed: int, values: np.ndarray) -> tuple[jax.Array, np.ndarray]:
    u = models.rotation(seed, len(values))
    white = models.white_batch(seed, 32, len(values))
    return jnp.asarray(white @ (u * np.sqrt(values)[None, :]) @ u.T), u


def _variances(t: jax.Array, u: np.ndarray) -> jax.Array:
    return jnp.var(t @ u, axis=0, ddof=1)
