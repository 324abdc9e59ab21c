"""Garrido et al., "On the duality between contrastive and non-contrastive
self-supervised learning" (ICLR 2023), claim by claim.

The paper's ``K`` is the transpose of ``z [N, D]``: its columns are our rows.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from ssljax.losses import contrastive, criteria

pytestmark = pytest.mark.slow  # many small compilations

sample_contrastive = jax.jit(criteria.sample_contrastive)
dimension_contrastive = jax.jit(criteria.dimension_contrastive)
GRADIENTS = [
    jax.jit(jax.grad(criteria.sample_contrastive)),
    jax.jit(jax.grad(criteria.dimension_contrastive)),
]
nt_xent = jax.jit(contrastive.nt_xent, static_argnames="negatives")
dcl = jax.jit(contrastive.dcl, static_argnames=("negatives", "pairs"))
within_view = partial(dcl, pairs="within_view")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def unit_rows(z):
    return z / np.linalg.norm(z, axis=-1, keepdims=True)


def fourth_powers(z, axis):
    """Sum of the fourth powers of the norms of rows (axis 1) or columns (axis 0)."""
    return ((z**2).sum(axis=axis) ** 2).sum()


def doubly_normalized(n, d, seed=0):
    """Unit rows, columns of squared norm N / D: Sinkhorn on the squared entries."""
    z = normal(n, d, seed=seed)
    for _ in range(5000):
        z = z / np.linalg.norm(z, axis=0, keepdims=True) * np.sqrt(n / d)
        z = z / np.linalg.norm(z, axis=1, keepdims=True)
    return z


def minimizer(objective, n, d, seed=0):
    """Unit rows that minimise ``objective``, from a random start."""

    @jax.jit
    def value_and_grad(flat):
        def of_rows(x):
            x = x.reshape(n, d)
            return objective(x / jnp.linalg.norm(x, axis=1, keepdims=True))

        return jax.value_and_grad(of_rows)(flat)

    found = minimize(
        lambda x: [np.asarray(v, float) for v in value_and_grad(x)],
        normal(n * d, seed=seed),
        jac=True,
        method="L-BFGS-B",
        options=dict(maxiter=5000, maxfun=10000, gtol=1e-11, ftol=0.0),
    )
    return unit_rows(found.x.reshape(n, d))


SHAPES = [(8, 5), (5, 8), (6, 6), (33, 64), (64, 33), (2, 40), (40, 2), (100, 100)]
KINDS = {
    "normal": lambda n, d: normal(n, d),
    "heavy_tailed": lambda n, d: np.random.default_rng(1).standard_t(1.5, (n, d)),
    "unequal": lambda n, d: normal(n, d) * np.exp(-np.linspace(0, 4, d))[None],
}


@pytest.mark.parametrize("n, d", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_duality_01_the_criteria_differ_by_norms_only(n, d, kind, float64):
    z = KINDS[kind](n, d)
    for dtype, tolerance in ((np.float64, 1e-14), (np.float32, 1e-6)):
        z = jnp.asarray(z, dtype)
        left = dimension_contrastive(z) + fourth_powers(z, axis=0)
        right = sample_contrastive(z) + fourth_powers(z, axis=1)
        assert left.dtype == dtype
        assert abs(float(left - right)) <= tolerance * float(right)


@pytest.mark.parametrize("n, d", SHAPES)
def test_duality_02_one_criterion_is_the_other_on_the_transpose(n, d, float64):
    z = normal(n, d)
    np.testing.assert_allclose(
        dimension_contrastive(z), sample_contrastive(z.T), rtol=1e-13
    )
    np.testing.assert_allclose(
        ((z @ z.T) ** 2).sum(), ((z.T @ z) ** 2).sum(), rtol=1e-13
    )


@pytest.mark.parametrize("n, d", [(5, 8), (8, 5), (6, 6)])
def test_duality_03_gradients_in_closed_form(n, d, float64):
    z = normal(n, d)
    rows, columns = (z**2).sum(1, keepdims=True), (z**2).sum(0, keepdims=True)
    of_samples, of_dimensions = (gradient(z) for gradient in GRADIENTS)
    scale = np.abs(of_samples).max()
    close = partial(np.testing.assert_allclose, rtol=0, atol=1e-10 * scale)
    close(of_samples, 4 * (z @ z.T @ z - rows * z))
    close(of_dimensions, 4 * (z @ z.T @ z - columns * z))
    close(of_dimensions - of_samples, 4 * (rows - columns) * z)


@pytest.mark.parametrize("n, d", [(24, 16), (16, 24), (20, 20)])
def test_duality_04_both_norms_held_make_the_criteria_equal(n, d, float64):
    z = doubly_normalized(n, d)
    np.testing.assert_allclose((z**2).sum(1), 1.0, rtol=1e-12)
    np.testing.assert_allclose((z**2).sum(0), n / d, rtol=1e-12)
    gap = float(dimension_contrastive(z) - sample_contrastive(z))
    assert gap == pytest.approx(n - n**2 / d, abs=1e-10)
    # N - D, as printed, is this number for N = D only.
    assert (abs(gap - (n - d)) < 1e-9) == (n == d)
    # Gradients differ along z alone, which every norm constraint takes away.
    of_samples, of_dimensions = (gradient(z) for gradient in GRADIENTS)
    difference = np.asarray(of_dimensions - of_samples)
    np.testing.assert_allclose(difference, 4 * (1 - n / d) * z, atol=1e-10)
    normals = np.zeros((n + d, n, d))
    normals[np.arange(n), np.arange(n)] = z
    normals[n + np.arange(d), :, np.arange(d)] = z.T
    normals = normals.reshape(n + d, -1).T
    inside = normals @ np.linalg.lstsq(normals, difference.ravel(), rcond=None)[0]
    assert np.abs(inside - difference.ravel()).max() <= 1e-10
    assert n == d or np.abs(difference).max() > 0.5


@pytest.mark.parametrize("n, d", [(9, 6), (6, 9), (7, 7)])
def test_duality_05_bounds_of_one_criterion_by_the_other(n, d, float64):
    random = normal(1000, n, d)
    random[::2] = np.exp(1.5 * random[::2])  # unequal norms, all entries positive
    both = jax.jit(
        jax.vmap(lambda z: [sample_contrastive(z), dimension_contrastive(z)])
    )

    def assert_bounded(first, second, count, other):
        assert (second - count + count**2 / other <= first + 1e-8).all()
        assert (first <= second - count + count**2 + 1e-8).all()

    of_samples, of_dimensions = map(np.asarray, both(unit_rows(random)))
    assert_bounded(of_samples, of_dimensions, n, d)
    columns = np.swapaxes(unit_rows(np.swapaxes(random, 1, 2)), 1, 2)
    of_samples, of_dimensions = map(np.asarray, both(columns))
    assert_bounded(of_dimensions, of_samples, d, n)


def bound_gaps(z):
    """Distance of ``L_c - L_nc`` to its lower and upper bound, for unit rows."""
    n, d = z.shape
    gap = float(sample_contrastive(z) - dimension_contrastive(z))
    return gap - (n**2 / d - n), gap - (n**2 - n)


@pytest.mark.parametrize("n, d", [(9, 6), (6, 9)])
def test_duality_05_what_attains_the_bounds(n, d, float64):
    collapsed, one_axis = np.full((n, d), d**-0.5), np.eye(1, d).repeat(n, axis=0)
    assert bound_gaps(collapsed)[0] == pytest.approx(0, abs=1e-10)
    assert bound_gaps(one_axis)[1] == pytest.approx(0, abs=1e-10)
    # The lower bound is no sign of collapse: equal norms attain it at full rank too.
    full = doubly_normalized(n, d)
    assert np.linalg.matrix_rank(full) == min(n, d)
    assert bound_gaps(full)[0] == pytest.approx(0, abs=1e-10)
    # Anything else is in between; the transpose has the other half of the corollary.
    between = unit_rows(normal(n, d))
    assert bound_gaps(between)[0] > 1e-2 and bound_gaps(between)[1] < -1.0


@pytest.mark.parametrize("n, d", [(32, 8), (48, 6)])
def test_duality_06_the_welch_bound(n, d, float64):
    welch = n**2 / d - n
    best = minimizer(criteria.sample_contrastive, n, d)
    assert float(sample_contrastive(best)) == pytest.approx(welch, rel=1e-6)
    assert float(dimension_contrastive(best)) <= 1e-6
    assert np.ptp((best**2).sum(axis=0)) <= 1e-4
    # With free column norms the other criterion vanishes short of that bound.
    other = minimizer(criteria.dimension_contrastive, n, d)
    assert float(dimension_contrastive(other)) <= 1e-6
    assert float(sample_contrastive(other)) > welch + 1.0


@pytest.mark.parametrize("d", [8, 64, 512])
def test_duality_07_uniform_embeddings(d, float64):
    n = 3000
    z = unit_rows(normal(n, d))
    pairs = n * (n - 1)
    mean = ((z.sum(axis=0) ** 2).sum() - n) / pairs
    # By theorem 3.3, so that no n x n matrix is needed.
    square = float(dimension_contrastive(z)) + fourth_powers(z, axis=0) - n
    assert abs(mean) <= 5 / np.sqrt(d * pairs / 2)  # every product counts twice
    assert abs((square / pairs - mean**2) * d - 1) <= 0.01


@pytest.mark.parametrize("n, d", [(32, 8), (40, 10)])
def test_duality_07_the_optimum_of_the_cosine_repulsion(n, d, float64):
    # On equal views DCL is a constant and the logsumexp of the negatives.
    loss = partial(contrastive.dcl, temperature=0.15, pairs="within_view")
    z = minimizer(lambda z: loss(z, z), n, d)
    mean = ((z.sum(axis=0) ** 2).sum() - n) / (n * (n - 1))
    assert mean == pytest.approx(-1 / (n - 1), abs=1e-4)
    square = float(sample_contrastive(z)) / (n * (n - 1))
    assert square * d == pytest.approx((n - d) / (n - 1), rel=0.01)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_duality_09_nt_xent_in_closed_form(temperature, float64):
    n = 7
    collapsed, frame = np.full((n, n), 0.4), np.eye(n)
    loss = partial(nt_xent, temperature=temperature)
    assert float(loss(collapsed, collapsed)) == pytest.approx(
        np.log(2 * n - 1), abs=1e-12
    )
    assert float(loss(frame, frame)) == pytest.approx(
        -1 / temperature + np.log(np.exp(1 / temperature) + 2 * n - 2), abs=1e-12
    )
    z1, z2 = normal(n, 5), normal(n, 5, seed=1)
    scales = np.random.default_rng(2).uniform(0.1, 10, (2, n, 1))
    for other in ((scales[0] * z1, scales[1] * z2), (z2, z1)):
        np.testing.assert_allclose(loss(*other), loss(z1, z2), rtol=1e-12)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
@pytest.mark.parametrize("negatives", ["squared", "absolute"])
def test_duality_10_squares_and_absolute_values_want_orthogonality(
    negatives, temperature, float64
):
    n, d = 6, 9

    def repulsion(z):
        value = within_view(z, z, temperature=temperature, negatives=negatives)
        return float(value) + 1 / temperature

    frame = np.linalg.qr(normal(d, d))[0][:n]
    assert repulsion(frame) == pytest.approx(np.log(n - 1), abs=1e-12)
    for seed in range(100):
        z = unit_rows(normal(n, d, seed=seed))
        floor = np.log(n - 1)
        assert repulsion(z) > floor + 1e-3
        if negatives == "squared":  # Jensen
            floor += float(sample_contrastive(z)) / (temperature * n * (n - 1))
            assert repulsion(z) >= floor
    # Unlike the cosine's, which opposition lowers further.
    opposite = np.stack([frame[0], -frame[0]])
    assert repulsion(opposite) > repulsion(frame[:2])
    assert within_view(opposite, opposite) < within_view(frame[:2], frame[:2])
