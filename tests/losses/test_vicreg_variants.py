"""VICReg-exp and VICReg-ctr; VICReg itself is tested among the covariance losses."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ssljax import losses

# Compiled once per shape: temperature and weights are traced here.
vicreg_exp = jax.jit(losses.vicreg_exp)
vicreg_ctr = jax.jit(losses.vicreg_ctr, static_argnames="centering")

CENTERING = ["batch", "sample", "none"]
SHAPES = [(4, 7), (6, 6), (9, 3), (2, 5)]
NAMES = ("invariance_weight", "variance_weight", "covariance_weight")


def pair(n, d, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    return z, z + noise * rng.normal(size=(n, d))


@jax.jit
def variants(z1, z2):
    """All variants in one program, as compiling takes the time."""
    of_samples = [vicreg_ctr(z1, z2, centering=centering) for centering in CENTERING]
    return jnp.stack([vicreg_exp(z1, z2), *of_samples])


def weigh(*weights):
    return dict(zip(NAMES, weights, strict=True))


def mean(values):
    return sum(values) / len(values)


def hinge(values):
    """``max(0, 1 - std)`` of a list of numbers, over n - 1 and with the eps inside."""
    m = mean(values)
    variance = sum((v - m) ** 2 for v in values) / (len(values) - 1)
    return max(0.0, 1 - np.sqrt(variance + 1e-4))


def log_sum_exp_of_the_rest(products, temperature):
    """Mean over the rows of a square table; its diagonal is left out."""
    n, total = len(products), 0.0
    for i in range(n):
        rest = [products[i][j] / temperature for j in range(n) if j != i]
        total += np.log(sum(np.exp(rest))) / n
    return total


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def terms_by_loops(z1, z2, temperature, centering=None):
    """The three terms, one scalar at a time; without a centering those of -exp."""
    views = [[[float(x) for x in row] for row in np.asarray(z)] for z in (z1, z2)]
    n, d = len(views[0]), len(views[0][0])
    first, second = (sum(view, []) for view in views)
    inv = sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) / (n * d)
    var, cov = 0.0, 0.0
    for rows in views:
        columns = [[row[j] for row in rows] for j in range(d)]
        centered = [[v - mean(column) for v in column] for column in columns]
        if centering is None:
            var += sum(hinge(column) for column in columns) / d / 2
            table = [[dot(a, b) / (n - 1) for b in centered] for a in centered]
        else:
            if centering == "batch":
                rows = [[column[i] for column in centered] for i in range(n)]
            elif centering == "sample":
                rows = [[v - mean(row) for v in row] for row in rows]
            var += sum(hinge(row) for row in rows) / n / 2
            table = [[dot(a, b) / (d - 1) for b in rows] for a in rows]
        cov += log_sum_exp_of_the_rest(table, temperature)
    return inv, var, cov


@pytest.mark.parametrize("n, d", SHAPES)
def test_vicreg_exp_equals_the_definition(n, d, float64):
    z1, z2 = (0.7 * z for z in pair(n, d))
    for temperature in (0.1, 1.0):
        inv, var, cov = terms_by_loops(z1, z2, temperature)
        value = vicreg_exp(z1, z2, temperature=temperature, **weigh(25.0, 5.0, 2.0))
        np.testing.assert_allclose(value, 25 * inv + 5 * var + 2 * cov, rtol=1e-12)


@pytest.mark.parametrize("n, d", SHAPES)
@pytest.mark.parametrize("centering", CENTERING)
def test_vicreg_ctr_equals_the_definition(n, d, centering, float64):
    z1, z2 = (0.7 * z for z in pair(n, d))
    for temperature in (0.1, 1.0):
        inv, var, cov = terms_by_loops(z1, z2, temperature, centering)
        value = vicreg_ctr(
            z1,
            z2,
            temperature=temperature,
            centering=centering,
            **weigh(25.0, 5.0, 2.0),
        )
        np.testing.assert_allclose(value, 25 * inv + 5 * var + 2 * cov, rtol=1e-11)


def test_ctr_is_exp_on_the_transpose(float64):
    # The regulariser alone, each centring what it is given: equation 13 to the letter.
    z1, z2 = (0.7 * z for z in pair(6, 4))
    weights = weigh(0.0, 3.0, 2.0)
    np.testing.assert_allclose(
        vicreg_ctr(z1, z2, centering="sample", **weights),
        vicreg_exp(z1.T, z2.T, **weights),
        rtol=1e-12,
    )


def test_exp_and_vicreg_share_invariance_and_variance(float64):
    z1, z2 = (0.7 * z for z in pair(6, 4))
    weights = weigh(3.0, 2.0, 0.0)
    np.testing.assert_allclose(
        vicreg_exp(z1, z2, **weights), losses.vicreg(z1, z2, **weights), rtol=1e-12
    )


def test_negative_correlation_pleases_exp_and_not_vicreg(float64):
    z = 3 * np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    opposite = np.stack([z[:, 0], -z[:, 0]], axis=1)
    assert vicreg_exp(opposite, opposite) < vicreg_exp(z, z) - 1.0
    assert losses.vicreg(opposite, opposite) > losses.vicreg(z, z) + 1.0


def test_collapse_in_closed_form(float64):
    n, d = 6, 4
    z = np.full((n, d), 0.3)
    # std = sqrt(1e-4); all covariances are zero, so log of the entries of a row.
    value = vicreg_exp(z, z, **weigh(1.0, 5.0, 1.0))
    assert float(value) == pytest.approx(5 * 0.99 + 2 * np.log(d - 1), abs=1e-12)
    for centering, product in (("batch", 0.0), ("sample", 0.0), ("none", 0.3**2 * 4)):
        value = vicreg_ctr(z, z, centering=centering, **weigh(1.0, 5.0, 1.0))
        repulsion = product / (d - 1) / 0.1 + np.log(n - 1)
        assert float(value) == pytest.approx(5 * 0.99 + 2 * repulsion, abs=1e-11)


def test_batch_centring_forgives_a_common_mean_and_no_centring_does_not(float64):
    z1, z2 = pair(8, 5)
    shift = np.asarray(np.random.default_rng(1).normal(size=(1, 5)))
    moved = z1 + shift, z2 + shift
    np.testing.assert_allclose(vicreg_ctr(*moved), vicreg_ctr(z1, z2), rtol=1e-12)
    np.testing.assert_allclose(vicreg_exp(*moved), vicreg_exp(z1, z2), rtol=1e-12)
    for centering in ("sample", "none"):
        loss = partial(vicreg_ctr, centering=centering)
        assert abs(float(loss(*moved) - loss(z1, z2))) > 0.1


def test_swaps_and_orders_change_nothing(float64):
    z1, z2 = pair(7, 5)
    rng = np.random.default_rng(1)
    rows, columns = rng.permutation(7), rng.permutation(5)
    for other in ((z2, z1), (z1[rows], z2[rows]), (z1[:, columns], z2[:, columns])):
        np.testing.assert_allclose(variants(*other), variants(z1, z2), rtol=1e-11)


def test_rotations_keep_the_repulsion_of_ctr(float64):
    z1, z2 = pair(8, 5)
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))
    loss = partial(vicreg_ctr, **weigh(1.0, 0.0, 1.0))
    np.testing.assert_allclose(loss(z1 @ q, z2 @ q), loss(z1, z2), rtol=1e-11)
    loss = partial(vicreg_exp, **weigh(0.0, 0.0, 1.0))
    assert abs(float(loss(z1 @ q, z2 @ q) - loss(z1, z2))) > 1e-3


def test_gradient_matches_finite_differences(float64):
    # At scale 0.3 no standard deviation reaches 1, the kink of the hinge.
    z1, z2 = (0.3 * z for z in pair(5, 4))
    for z in (z1, z2):
        assert max(float(np.std(z, axis=k, ddof=1).max()) for k in (0, 1)) < 0.95
    two = jax.jit(lambda *z: jnp.stack([vicreg_exp(*z), vicreg_ctr(*z)]))
    check_grads(two, (z1, z2), order=2, modes=["rev"], rtol=1e-4)


def test_jit_and_vmap_agree_with_the_plain_call():
    z1, z2 = np.stack([pair(6, 5, seed) for seed in (0, 1)], 1).astype(np.float32)
    gradient = jax.grad(lambda *z: variants(*z).sum())
    np.testing.assert_allclose(
        jax.jit(jax.vmap(gradient))(z1, z2)[1],
        jax.jit(gradient)(z1[1], z2[1]),
        rtol=1e-4,
        atol=1e-4,
    )
    mapped = jax.vmap(variants)(z1, z2)
    np.testing.assert_allclose(mapped[0], variants(z1[0], z2[0]), rtol=1e-5)
    plain = [f(z1[1], z2[1]) for f in (losses.vicreg_exp, losses.vicreg_ctr)]
    np.testing.assert_allclose(mapped[1, :2], plain, rtol=1e-5)


@pytest.mark.parametrize("loss", [losses.vicreg_exp, losses.vicreg_ctr])
def test_wrong_arguments_are_named(loss):
    z = np.eye(3)
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        loss(z, z, temperature=0.0)
    for name in NAMES:
        with pytest.raises(ValueError, match=f"{name} must not be negative, got -1"):
            loss(z, z, **{name: -1.0})
    with pytest.raises(ValueError, match=r"D >= 2, got shape \[3, 1\]"):
        loss(z[:, :1], z[:, :1])
    with pytest.raises(ValueError, match="at least 2 pairs.*batch size"):
        loss(z[:1], z[:1])


def test_an_unknown_centring_is_named():
    with pytest.raises(ValueError, match="batch, sample, none, got 'dims'"):
        losses.vicreg_ctr(np.eye(3), np.eye(3), centering="dims")
