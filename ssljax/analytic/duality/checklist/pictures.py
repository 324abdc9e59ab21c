"""Pictures of the duality: the identity, its constants and the minimisers."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import duality as theory
from ssljax.analytic.checklist import Given, Panel, Picture
from ssljax.analytic.duality.checklist.algebra import normal, unit_rows
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent


@in_float64
def pictures(given: Given) -> list[Picture]:
    """Draw the identity, its constants and the minimisers."""
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
