"""Items 6 and 7: where the criteria and the losses are smallest."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import duality as theory
from ssljax.analytic.checklist import (
    Finding,
    Given,
    at_least,
    at_most,
    near,
)
from ssljax.analytic.duality.checklist.algebra import normal, unit_rows
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent


def minimizers(objectives: dict, z: np.ndarray, steps: int = 1000) -> dict:
    """Find unit rows that minimise each objective, from one start.

    Args:
        objectives: name to loss of unit rows and rate of descent.
        z: the start, ``[N, D]``.
        steps: of descent with momentum.
    """

    def loss(embeddings):
        # The gradient of every part is scaled by its own rate.
        total = jnp.zeros(())
        for name, (objective, rate) in objectives.items():
            total += rate * objective(unit_rows(embeddings[name]))
        return total

    def run(z):
        start = dict.fromkeys(objectives, unit_rows(z))
        last = gradient_descent(loss, start, steps, 1.0, 0.9, every=steps).params
        return {
            name: {
                "z": unit_rows(z),
                "L_c": losses.sample_contrastive(unit_rows(z)),
                "L_nc": losses.dimension_contrastive(unit_rows(z)),
            }
            for name, z in last.items()
        }

    return jax.tree.map(np.asarray, jax.jit(run)(jnp.asarray(z)))


@in_float64
def welch(given: Given) -> list[Finding]:
    """Check ``min L_c = N^2/M - N`` for unit rows, where ``Z^T Z = N/M I``."""
    n, d = 32, 8
    objectives = {
        "L_c": (losses.sample_contrastive, 0.02),
        "L_nc": (losses.dimension_contrastive, 0.02),
        "TCR": (lambda z: losses.tcr(z, z), 1.0),
    }
    found = minimizers(objectives, normal(given.seed, n, d))
    bound, rate = theory.welch_bound(n, d), float(theory.largest_coding_rate(n, d))
    findings = []
    for name in ("L_c", "TCR"):
        best = found[name]
        spread = np.ptp((best["z"] ** 2).sum(axis=0))
        findings += [
            near(
                f"L_c over the bound, minimum of {name}", best["L_c"] / bound, 1, 1e-6
            ),
            near(f"L_nc, minimum of {name}", best["L_nc"], 0, 1e-6),
            at_most(f"squared norms of the columns, {name}", spread, 1e-4),
        ]
    loss = float(losses.tcr(found["TCR"]["z"], found["TCR"]["z"])) + 30.0 + rate
    findings += [
        at_most("TCR over its minimum", abs(loss), 1e-6),
        # The norms of the columns are free, so that L_nc has other minima as well.
        near("L_nc, minimum of L_nc", found["L_nc"]["L_nc"], 0, 1e-6),
        at_least("L_c over the bound there", found["L_nc"]["L_c"] - bound, 1.0),
    ]
    # Fewer samples than dimensions: rows can be orthogonal, but columns cannot.
    few = minimizers({"L_c": objectives["L_c"]}, normal(given.seed, 24, 32))["L_c"]
    return findings + [
        near("L_c of 24 samples in 32 dimensions", few["L_c"], 0, 1e-6),
        at_least("L_nc of these", few["L_nc"], 1.0),
    ]


@in_float64
def repulsion(given: Given) -> list[Finding]:
    """Check mean 0 and variance 1/M (proposition 3.1); finite N: ``-1/(N - 1)``."""
    findings = []
    n = 3000
    pairs = n * (n - 1)
    for d in (8, 64, 512):
        z = unit_rows(normal(given.seed, n, d))
        mean = float((z.sum(axis=0) ** 2).sum() - n) / pairs
        # By the identity, which needs no n x n matrix.
        square = (
            float(losses.dimension_contrastive(z) - theory.criterion_gap(z)) / pairs
        )
        variance = (square - mean**2) * d
        findings += [
            # Every product counts twice.
            at_most(f"mean, M = {d}", abs(mean) * np.sqrt(d * pairs / 2), 5.0),
            near(f"variance times M, M = {d}", variance, 1.0, 0.01),
        ]

    def of_equal_views(loss, **options):
        return lambda z: loss(z, z, temperature=0.15, **options)

    cosine = {
        "DCL within views": (of_equal_views(losses.dcl, pairs="within_view"), 1.0),
        "NT-Xent": (of_equal_views(losses.nt_xent), 1.0),
        "InfoNCE": (of_equal_views(losses.info_nce), 1.0),
    }
    others = {
        f"DCL {kind}": (
            of_equal_views(losses.dcl, negatives=kind, pairs="within_view"),
            1.0,
        )
        for kind in ("squared", "absolute")
    }
    n, d = 32, 8
    found = minimizers({**cosine, **others}, normal(given.seed, n, d))
    bound = theory.welch_bound(n, d)
    for name, best in found.items():
        mean, square = _cosines(best["z"])
        expected = theory.repulsion_optimum(n, d)
        # No loss falls below the Welch bound, up to the rounding of n^2 products, and
        # none stays 2 % above it.
        rounding, above = n**2 * np.finfo(float).eps, best["L_c"] / bound - 1
        findings.append(
            Finding(f"L_c over the bound - 1, {name}", above, -rounding, 0.02)
        )
        if name in cosine:
            ratio = square / expected[1]
            findings += [
                near(f"mean cosine, {name}", mean, expected[0], 1e-4),
                near(f"mean square over its value, {name}", ratio, 1.0, 0.01),
            ]
    # The simplex, where samples oppose each other more than orthogonal ones do.
    n, d = 12, 16
    best = minimizers({"DCL": cosine["DCL within views"]}, normal(given.seed, n, d))[
        "DCL"
    ]
    mean, square = _cosines(best["z"])
    expected = theory.repulsion_optimum(n, d)
    return findings + [
        near("simplex, mean cosine", mean, expected[0], 1e-6),
        near("simplex, mean square", square, expected[1], 1e-6),
        near("simplex, L_c", best["L_c"], n / (n - 1), 1e-4),
    ]


def _cosines(z: np.ndarray) -> tuple[float, float]:
    """Return the mean and mean square over the pairs."""
    gram = z @ z.T
    off = gram[~np.eye(len(z), dtype=bool)]
    return float(off.mean()), float((off**2).mean())
