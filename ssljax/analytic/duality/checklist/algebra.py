"""Items 1 to 5 and 8: identities and bounds for every embedding."""

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic import duality as theory
from ssljax.analytic.checklist import Finding, Given, at_least, at_most, near
from ssljax.analytic.first_order import against_flow, halved
from ssljax.analytic.precision import in_float64

SHAPES = [(5, 8), (8, 5), (6, 6), (2, 40), (40, 2), (33, 64), (64, 33), (50, 50)]


def normal(seed: int, *shape: int) -> np.ndarray:
    """Return Gaussian numbers."""
    return np.random.default_rng(seed).normal(size=shape)


def unit_rows(z):
    """Divide every row by its norm."""
    return z / jnp.linalg.norm(z, axis=-1, keepdims=True)


@in_float64
def identity(given: Given) -> list[Finding]:
    """Check ``L_nc + sum_j |column_j|^4 = L_c + sum_i |row_i|^4`` (theorem 3.3)."""
    rng = np.random.default_rng(given.seed)

    @jax.jit
    @jax.vmap
    def residuals(z):
        found = []
        for dtype in (jnp.float64, jnp.float32):
            narrow = z.astype(dtype)
            rows, columns = theory.fourth_powers(narrow)
            # Sum each side on its own: their difference can be tiny.
            left = losses.dimension_contrastive(narrow).astype(z.dtype) + columns
            right = losses.sample_contrastive(narrow).astype(z.dtype) + rows
            found.append(jnp.abs(left / right - 1.0))
        return jnp.stack(found)

    # Rows and columns of zeros add nothing, so that one program serves all shapes.
    padded = np.zeros((len(SHAPES), 3, 64, 64))
    for all_of_shape, (n, d) in zip(padded, SHAPES, strict=True):
        all_of_shape[:, :n, :d] = [
            rng.normal(size=(n, d)),
            rng.standard_t(1.5, size=(n, d)),
            rng.normal(size=(n, d)) * np.geomspace(1.0, 0.02, d)[None, :],
        ]
    worst = np.max(residuals(padded.reshape(-1, 64, 64)), axis=0)
    cases = f"{3 * len(SHAPES)} embeddings"
    return [
        at_most(f"relative residual, float64, {cases}", worst[0], 1e-14),
        at_most(f"relative residual, float32, {cases}", worst[1], 1e-6),
    ]


@in_float64
def transposition(given: Given) -> list[Finding]:
    """Check ``L_nc(Z) = L_c(Z^T)`` and ``||Z^T Z||_F = ||Z Z^T||_F``."""
    names = ("L_nc(K) - L_c(K^T)", "norms of the two Gram matrices")

    @jax.jit
    @jax.vmap
    def gaps(z):
        criteria = losses.dimension_contrastive(z) / losses.sample_contrastive(z.T)
        grams = jnp.sum((z @ z.T) ** 2) / jnp.sum((z.T @ z) ** 2)
        return jnp.abs(jnp.stack([criteria, grams]) - 1.0)

    # Padded with zeros, which add nothing.
    padded = np.zeros((4, 40, 40))
    for z, (n, d) in zip(padded, SHAPES[:4], strict=True):
        z[:n, :d] = normal(given.seed, n, d)
    worst = np.max(gaps(padded), axis=0)
    return [
        at_most(name, value, 1e-13) for name, value in zip(names, worst, strict=True)
    ]


@in_float64
def gradients(given: Given) -> list[Finding]:
    """Check ``grad L_c = 4 (Z Z^T - R) Z`` and ``grad L_nc = 4 Z (Z^T Z - C)``."""
    names = ("gradient of L_c", "gradient of L_nc", "their difference")

    @jax.jit
    def errors(z):
        measured = _gradients(z)
        expected = theory.criterion_gradients(z)
        # The difference by the identity, not by the two formulas.
        gap = jax.grad(theory.criterion_gap)(z)
        apart = [a - b for a, b in zip(measured, expected, strict=True)]
        apart.append(measured[1] - measured[0] - gap)
        return jnp.stack([jnp.max(jnp.abs(v)) for v in apart]) / jnp.max(expected[0])

    worst = np.zeros(3)
    for n, d in SHAPES[:3]:
        worst = np.maximum(worst, errors(normal(given.seed, n, d)))
    findings = [at_most(*pair, 1e-10) for pair in zip(names, worst, strict=True)]
    return findings + _flow_findings(given.seed)


@in_float64
def double_normalization(given: Given) -> list[Finding]:
    """Check ``L_nc - L_c = N - N^2/M``; the printed N - M needs N = M."""
    findings = []

    @jax.jit
    def measure(z):
        z = theory.double_normalize(z, iterations=5000)
        gap = losses.dimension_contrastive(z) - losses.sample_contrastive(z)
        return z, gap, *_gradients(z)

    for n, d in ((48, 32), (16, 24), (20, 20)):
        z, gap, of_samples, of_dimensions = map(
            np.asarray, measure(normal(given.seed, n, d))
        )
        norms = [np.abs((z**2).sum(1) - 1), np.abs((z**2).sum(0) * d / n - 1)]
        difference = of_dimensions - of_samples
        radial = difference - 4 * (1 - n / d) * z
        what = f", N = {n}, M = {d}"
        findings += [
            at_most("norms" + what, max(v.max() for v in norms), 1e-12),
            near("L_nc - L_c" + what, gap, float(theory.normalized_gap(n, d)), 1e-10),
            at_most("gradients, not radial" + what, np.abs(radial).max(), 1e-10),
            at_most("gradients, tangent" + what, _tangent(z, difference), 1e-10),
        ]
        if n != d:
            findings += [
                at_least("distance from N - M" + what, abs(gap - (n - d)), 1.0),
                at_least("gradients differ" + what, np.abs(difference).max(), 0.1),
            ]
    return findings


@in_float64
def bounds(given: Given) -> list[Finding]:
    """Check ``N^2/M - N <= L_c - L_nc <= N^2 - N`` for unit rows (corollary 3.4.1)."""
    findings = []
    both = jax.jit(
        jax.vmap(
            lambda z: [losses.sample_contrastive(z), losses.dimension_contrastive(z)]
        )
    )
    for n, d in ((9, 6), (6, 9)):
        z = normal(given.seed, 1000, n, d)
        z[::2] = np.exp(1.5 * z[::2])  # unequal norms, all entries positive
        of_samples, of_dimensions = map(np.asarray, both(unit_rows(z)))
        gaps = {"rows": of_samples - of_dimensions}
        columns = jnp.swapaxes(unit_rows(jnp.swapaxes(z, 1, 2)), 1, 2)
        of_samples, of_dimensions = map(np.asarray, both(columns))
        gaps["columns"] = of_dimensions - of_samples
        for unit, gap in gaps.items():
            low, high = theory.criterion_gap_bounds(n, d, unit=unit)
            outside = np.maximum(low - gap, gap - high)
            what = f", unit {unit}, N = {n}, M = {d}"
            findings.append(at_most("farthest outside" + what, outside.max(), 1e-8))
        # Equality cases: identical rows or equal norms below, a single axis above.
        full = np.asarray(theory.double_normalize(normal(given.seed, n, d)))
        one_row = np.eye(1, n).T.repeat(d, axis=1)
        ends = {
            "rows": (np.full((n, d), d**-0.5), full, np.eye(1, d).repeat(n, axis=0)),
            "columns": (np.full((n, d), n**-0.5), full * np.sqrt(d / n), one_row),
        }
        for unit, (alike, spread, axis) in ends.items():
            low, high = theory.criterion_gap_bounds(n, d, unit=unit)
            values = both(np.stack([alike, spread, axis]))
            of_samples, of_dimensions = map(np.asarray, values)
            gap = of_samples - of_dimensions
            if unit == "columns":
                gap = -gap
            distance = np.abs(gap - np.array([low, low, high])).max()
            what = f"distance from the end attained, unit {unit}, N = {n}, M = {d}"
            findings.append(at_most(what, distance, 1e-10))
        smallest = np.linalg.svd(full, compute_uv=False).min()
        findings.append(at_least("full rank of one of them", smallest, 1e-3))
    return findings


@in_float64
def decoupled(given: Given) -> list[Finding]:
    """Check ``VICReg-ctr = 2 DCL_within + 2/temperature`` for rows of one norm.

    Item 12 of earlier versions.
    """
    findings = []
    n, d = 6, 4
    rows = jax.jit(jax.value_and_grad(_ctr))
    within = jax.jit(
        jax.value_and_grad(
            lambda z1, z2, temperature: losses.dcl(
                z1, z2, temperature=temperature, pairs="within_view"
            )
        )
    )
    z1, z2 = (normal(given.seed + k, n, d) for k in (0, 1))
    for temperature in (0.1, 0.15, 0.5):
        weights = theory.ctr_weights(d, temperature=temperature)
        constant = 2.0 / temperature
        a, slope_a = rows(z1, z2, weights)
        b, slope_b = within(z1, z2, temperature)
        what = f", temperature {temperature}"
        gap = abs(float(a - 2 * b) - constant) / constant
        error = float(jnp.abs(slope_a - 2 * slope_b).max() / jnp.abs(slope_a).max())
        findings += [
            at_most("VICReg-ctr - 2 DCL against 2 / temperature" + what, gap, 1e-12),
            at_most("gradients" + what, error, 1e-12),
        ]
    heavy, _ = rows(z1, z2, {**weights, "invariance_weight": 25.0})
    gap = abs(float(heavy - 2 * b) - constant)
    findings.append(at_least("another weight leaves the attraction in", gap, 1.0))
    # Recorded values of DCL within the views.
    i, j = np.arange(6.0)[:, None], np.arange(4.0)[None, :]
    z1 = np.sin(1 + 0.7 * j + 1.3 * i + 0.1 * i * j)
    z2 = z1 + 0.1 * np.cos(0.5 + 1.1 * j - 0.9 * i)
    for temperature, recorded in (
        (0.1, -3.8161087213),
        (0.15, -2.4235594394),
        (0.5, -0.1211051388),
    ):
        value, _ = rows(z1, z2, theory.ctr_weights(d, temperature=temperature))
        value = float(value) / 2 - 1 / temperature
        what = f"recorded value, temperature {temperature}"
        findings.append(near(what, value, recorded, 1e-9))
    return findings


def _ctr(z1, z2, weights):
    """Compute VICReg-ctr on rows of norm sqrt(D - 1), without centring."""
    z1, z2 = (jnp.sqrt(z.shape[1] - 1.0) * unit_rows(z) for z in (z1, z2))
    return losses.vicreg_ctr(z1, z2, centering="none", **weights)


def _gradients(z):
    """Return both criteria's gradients by automatic differentiation."""
    criteria = (losses.sample_contrastive, losses.dimension_contrastive)
    return [jax.grad(criterion)(z) for criterion in criteria]


def _tangent(z: np.ndarray, gradient: np.ndarray) -> float:
    """Return the largest entry of a gradient within the constraints."""
    n, d = z.shape
    normals = np.zeros((n + d, n, d))
    normals[np.arange(n), np.arange(n)] = z
    normals[n + np.arange(d), :, np.arange(d)] = z.T
    normals = normals.reshape(n + d, -1).T
    inside = normals @ np.linalg.lstsq(normals, gradient.ravel(), rcond=None)[0]
    return float(np.abs(gradient.ravel() - inside).max())


def _flow_findings(seed: int) -> list[Finding]:
    """Compare descent of either criterion, norms pulled to one value."""
    n, d, c = 9, 5, 0.8
    z = jnp.asarray(0.3 * normal(seed, n, d))
    sizes = jnp.linalg.svdvals(z)
    solution = theory.solve_soft_norm_flow(sizes, square=c)
    # A step's error grows with the curvature: with the draw's largest singular value.
    rate = 0.2 / float(4.0 * (3.0 * jnp.max(sizes) ** 2 - c))

    def pulled(criterion, axis):
        def loss(z):
            return criterion(z) + jnp.sum((jnp.sum(z**2, axis=axis) - c) ** 2)

        return loss

    # Two independent embeddings in one program.
    of_samples = pulled(losses.sample_contrastive, 1)
    of_dimensions = pulled(losses.dimension_contrastive, 0)
    path = halved(
        lambda both: of_samples(both[0]) + of_dimensions(both[1]),
        [z, z],
        60,
        rate,
        lambda both: jnp.concatenate(
            [jnp.linalg.eigvalsh(z.T @ z)[::-1] for z in both]
        ),
    )

    def twice(t):
        values = solution(t)
        return jnp.concatenate([values, values], axis=1)

    # Half as much again for terms of second order in the step.
    error = path[0][-1] * _step_error(sizes, solution(path[1]), c).max()
    return against_flow(twice, *path, "spectra under soft L_c and L_nc", 1.5 * error)


def _step_error(sizes: jax.Array, squares: jax.Array, c: float) -> jax.Array:
    """Return descent's error in squared singular values, per step length.

    Descent follows ``x' = f - (rate / 2) f' f`` up to second order. Beside a flow
    ``x' = f`` of one variable this is off by ``-(rate / 2) f(x) log(f(x) / f(x0))``.
    """
    x = jnp.sqrt(squares)

    def speed(x: jax.Array) -> jax.Array:
        return 4.0 * x * (c - x**2)

    return jnp.abs(x * speed(x) * jnp.log(speed(x) / speed(sizes)[None, :]))
