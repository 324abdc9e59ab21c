"""VICReg, VICReg-exp and VICReg-ctr."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_inputs import normal, pair, rotation

from ssljax import losses

# Compiled once per shape: temperature and weights are traced here.
vicreg = jax.jit(losses.vicreg)
vicreg_exp = jax.jit(losses.vicreg_exp)
vicreg_ctr = jax.jit(losses.vicreg_ctr, static_argnames="centering")

CENTERING = ["batch", "sample", "none"]
NAMES = ("invariance_weight", "variance_weight", "covariance_weight")


def weigh(*weights):
    return dict(zip(NAMES, weights, strict=True))


USUAL = weigh(25.0, 5.0, 2.0)
TEMPERATURES = (0.1, 1.0)


@jax.jit
def everything(z1, z2):
    """All variants in one program, as compiling takes the time."""

    def at(temperature):
        how = dict(temperature=temperature, **USUAL)
        of_samples = [
            losses.vicreg_ctr(z1, z2, centering=centering, **how)
            for centering in CENTERING
        ]
        return jnp.stack([losses.vicreg_exp(z1, z2, **how), *of_samples])

    return losses.vicreg(z1, z2, **USUAL), jax.vmap(at)(jnp.array(TEMPERATURES))


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


def terms_by_loops(z1, z2, temperature=None, centering=None):
    """The three terms, one scalar at a time.

    Without a temperature those of VICReg, without a centring those of VICReg-exp.
    """
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
        if temperature is None:
            off = [table[j][k] for j in range(d) for k in range(d) if j != k]
            cov += sum(c**2 for c in off) / d
        else:
            cov += log_sum_exp_of_the_rest(table, temperature)
    return inv, var, cov


@pytest.mark.parametrize("n, d", [(4, 7), (6, 6), (9, 3), (2, 5)])
def test_values_equal_the_definitions(n, d, float64):
    z1, z2 = (0.7 * z for z in pair(n, d))

    def weighted(*how):
        return dot(USUAL.values(), terms_by_loops(z1, z2, *how))

    plain, variants = everything(z1, z2)
    np.testing.assert_allclose(plain, weighted(), rtol=1e-12)
    for values, temperature in zip(variants, TEMPERATURES, strict=True):
        np.testing.assert_allclose(values[0], weighted(temperature), rtol=1e-12)
        for value, centering in zip(values[1:], CENTERING, strict=True):
            expected = weighted(temperature, centering)
            np.testing.assert_allclose(value, expected, rtol=1e-11)


def test_vicreg_ignores_a_common_shift_but_not_a_scale(float64):
    z1, z2 = pair(8, 5)
    shift = normal(1, 5, seed=1)
    np.testing.assert_allclose(
        vicreg(z1 + shift, z2 + shift), vicreg(z1, z2), rtol=1e-12
    )
    assert abs(float(vicreg(2 * z1, 2 * z2) - vicreg(z1, z2))) > 0.1


def test_rotation_keeps_the_invariance_of_vicreg(float64):
    z1, z2 = pair(8, 5)
    q = rotation(5, seed=1)
    invariance = partial(vicreg, **weigh(1.0, 0.0, 0.0))
    np.testing.assert_allclose(
        invariance(z1 @ q, z2 @ q), invariance(z1, z2), rtol=1e-12
    )
    # Its regulariser prefers axes: whitened embeddings are a minimum in every basis,
    # anything else is not.
    white = np.linalg.qr(z1 - z1.mean(0))[0] * 3
    regularizer = partial(vicreg, **weigh(0.0, 25.0, 1.0))
    np.testing.assert_allclose(regularizer(white @ q, white @ q), 0.0, atol=1e-12)
    assert abs(float(regularizer(z1 @ q, z2 @ q) - regularizer(z1, z2))) > 1e-3


def test_gradient_flows_through_the_batch_mean(float64):
    # The regulariser is shift-invariant, so its gradient sums to zero per dimension.
    z1, z2 = (0.3 * z for z in pair(8, 5))
    loss = partial(losses.vicreg, **weigh(0.0, 25.0, 1.0))
    gradient = jax.jit(jax.grad(loss))(z1, z2)
    assert float(jnp.abs(gradient).max()) > 1e-2
    np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-13)


def test_ctr_is_exp_on_the_transpose(float64):
    # The regulariser alone, each centring what it is given: equation 13 to the letter.
    z1, z2 = (0.7 * z for z in pair(8, 5))
    weights = weigh(0.0, 3.0, 2.0)
    np.testing.assert_allclose(
        vicreg_ctr(z1, z2, centering="sample", **weights),
        vicreg_exp(z1.T, z2.T, **weights),
        rtol=1e-12,
    )


def test_exp_and_vicreg_share_invariance_and_variance(float64):
    z1, z2 = (0.7 * z for z in pair(8, 5))
    weights = weigh(3.0, 2.0, 0.0)
    np.testing.assert_allclose(
        vicreg_exp(z1, z2, **weights), vicreg(z1, z2, **weights), rtol=1e-12
    )


def test_negative_correlation_lowers_exp_but_not_vicreg(float64):
    z = 3 * np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    opposite = np.stack([z[:, 0], -z[:, 0]], axis=1)
    assert vicreg_exp(opposite, opposite) < vicreg_exp(z, z) - 1.0
    assert vicreg(opposite, opposite) > vicreg(z, z) + 1.0


def test_collapse_in_closed_form(float64):
    n, d = 8, 5
    z = np.full((n, d), 0.3)
    # std = sqrt(1e-4); all covariances are zero, so log of the entries of a row.
    assert float(vicreg(z, z)) == pytest.approx(25 * 0.99, abs=1e-12)
    value = vicreg_exp(z, z, **weigh(1.0, 5.0, 1.0))
    assert float(value) == pytest.approx(5 * 0.99 + 2 * np.log(d - 1), abs=1e-12)
    for centering, product in (("batch", 0.0), ("sample", 0.0), ("none", 0.3**2 * d)):
        value = vicreg_ctr(z, z, centering=centering, **weigh(1.0, 5.0, 1.0))
        repulsion = product / (d - 1) / 0.1 + np.log(n - 1)
        assert float(value) == pytest.approx(5 * 0.99 + 2 * repulsion, abs=1e-11)


def test_only_batch_centring_ignores_a_common_mean(float64):
    z1, z2 = pair(8, 5)
    shift = normal(1, 5, seed=1)
    moved = z1 + shift, z2 + shift
    np.testing.assert_allclose(vicreg_ctr(*moved), vicreg_ctr(z1, z2), rtol=1e-12)
    np.testing.assert_allclose(vicreg_exp(*moved), vicreg_exp(z1, z2), rtol=1e-12)
    for centering in ("sample", "none"):
        loss = partial(vicreg_ctr, centering=centering)
        assert abs(float(loss(*moved) - loss(z1, z2))) > 0.1


def test_rotations_keep_the_repulsion_of_ctr(float64):
    z1, z2 = pair(8, 5)
    q = rotation(5, seed=1)
    loss = partial(vicreg_ctr, **weigh(1.0, 0.0, 1.0))
    np.testing.assert_allclose(loss(z1 @ q, z2 @ q), loss(z1, z2), rtol=1e-11)
    loss = partial(vicreg_exp, **weigh(0.0, 0.0, 1.0))
    assert abs(float(loss(z1 @ q, z2 @ q) - loss(z1, z2))) > 1e-3


@pytest.mark.parametrize("loss", [losses.vicreg, losses.vicreg_exp, losses.vicreg_ctr])
def test_wrong_arguments_are_named(loss):
    z = np.eye(3)
    for name in NAMES:
        for value in (-1.0, float("nan")):
            with pytest.raises(
                ValueError, match=f"{name} must not be negative, got {value}"
            ):
                loss(z, z, **{name: value})
    if loss is not losses.vicreg:
        with pytest.raises(ValueError, match="temperature must be positive, got 0"):
            loss(z, z, temperature=0.0)


def test_an_unknown_centring_is_named():
    with pytest.raises(ValueError, match="batch, sample, none, got 'dims'"):
        losses.vicreg_ctr(np.eye(3), np.eye(3), centering="dims")
