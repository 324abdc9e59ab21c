"""Items 6 and 7, and the pictures: where the criteria and the losses are smallest."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import duality as theory
from ssljax.analytic.checklist import (
    Finding,
    Given,
    Panel,
    Picture,
    at_least,
    at_most,
    near,
)
from ssljax.analytic.duality.checklist.algebra import normal, unit_rows
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent


def minimizers(objectives: dict, z: np.ndarray, steps: int = 1000) -> dict:
    """Unit rows that each objective leads to, all from one start and in one program.

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
    """Item 6."""
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
    # Fewer samples than dimensions: rows can be orthogonal, columns then are not.
    few = minimizers({"L_c": objectives["L_c"]}, normal(given.seed, 24, 32))["L_c"]
    return findings + [
        near("L_c of 24 samples in 32 dimensions", few["L_c"], 0, 1e-6),
        at_least("L_nc of these", few["L_nc"], 1.0),
    ]


@in_float64
def repulsion(given: Given) -> list[Finding]:
    """Item 7."""
    findings = []
    n = 3000
    pairs = n * (n - 1)
    for d in (8, 64, 512):
        z = unit_rows(normal(given.seed, n, d))
        mean = float((z.sum(axis=0) ** 2).sum() - n) / pairs
        # By the identity, so that no n x n matrix is needed.
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
        # No loss comes below the Welch bound, and none stays 2 % above it.
        findings.append(
            near(f"L_c over the bound, {name}", best["L_c"] / bound - 1, 0.01, 0.01)
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
    """Mean and mean square over the pairs."""
    gram = z @ z.T
    off = gram[~np.eye(len(z), dtype=bool)]
    return float(off.mean()), float((off**2).mean())


@in_float64
def pictures(given: Given) -> list[Picture]:
    """The identity, its constants and the minimisers."""
    panels = [_identity(given.seed), _constants(given.seed), _minima(given.seed)]
    return [Picture("duality_identity", panels)]


def _identity(seed: int) -> Panel:
    rng = np.random.default_rng(seed)

    @jax.jit
    @jax.vmap
    def sides(z):
        expected = losses.sample_contrastive(z) + theory.criterion_gap(z)
        return jnp.stack([expected, losses.dimension_contrastive(z)])

    pairs = [
        sides(np.stack([rng.normal(size=shape), rng.standard_t(2.0, shape)]))
        for shape in ((4, 32), (24, 12), (48, 6), (64, 64))
    ]
    x, y = np.concatenate(pairs).T
    ends = np.array([x.min(), x.max()])
    return Panel(
        "any embedding",
        "L_c + row norms^4 - column norms^4",
        "L_nc",
        lines=[(ends, ends)],
        points=[(x, y)],
        line_labels=["identity"],
        point_labels=["eight embeddings"],
        log_x=True,
        log_y=True,
    )


def _constants(seed: int) -> Panel:
    d, sizes = 16, np.array([4, 10, 16, 24, 32, 40])
    fine = np.linspace(4.0, 40.0, 50)
    lines = np.stack([fine - fine**2 / d, fine - d], axis=1)

    @jax.jit
    def gap(z):
        z = theory.double_normalize(z)
        return losses.dimension_contrastive(z) - losses.sample_contrastive(z)

    measured = [float(gap(normal(seed, int(n), d))) for n in sizes]
    return Panel(
        "unit rows, columns of one norm, M = 16",
        "samples N",
        "L_nc - L_c",
        lines=[(fine, lines)],
        points=[(sizes, np.array(measured))],
        line_labels=["N - N^2 / M", "N - M, as printed"],
        point_labels=["measured"],
    )


def _minima(seed: int) -> Panel:
    d, sizes = 8, np.arange(4, 41, 4)
    # Rows of zeros add nothing to either criterion, so that one program serves all N.
    start = normal(seed, len(sizes), sizes[-1], d)
    present = np.arange(sizes[-1])[None, :] < sizes[:, None]

    def run(z, present):
        def rows(z):
            return jnp.where(present[:, None], unit_rows(z), 0.0)

        found = []
        for criterion in (losses.sample_contrastive, losses.dimension_contrastive):
            last = gradient_descent(
                lambda z, f=criterion: f(rows(z)), z, 600, 0.02, 0.9, every=600
            ).params
            found.append(losses.sample_contrastive(rows(last)))
        return jnp.stack(found)

    measured = np.asarray(jax.jit(jax.vmap(run))(start, present))
    bound = np.array([theory.welch_bound(int(n), d) for n in sizes])
    return Panel(
        "unit rows, M = 8",
        "samples N",
        "L_c",
        lines=[(sizes, bound)],
        points=[(sizes, measured)],
        line_labels=["Welch bound"],
        point_labels=["minimum of L_c", "minimum of L_nc, columns free"],
    )
