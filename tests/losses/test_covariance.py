from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ssljax import losses

# Compiled once per shape: the weights are traced here.
barlow_twins = jax.jit(losses.barlow_twins)
vicreg = jax.jit(losses.vicreg)

SHAPES = [(4, 7), (6, 6), (9, 3), (2, 5)]
TERMS = {  # weights that leave one term of VICReg, and its value on `golden_pair`
    "invariance": ((1.0, 0.0, 0.0), 0.0052150775),
    "variance": ((0.0, 1.0, 0.0), 0.2319583398),
    "covariance": ((0.0, 0.0, 1.0), 0.6963090204),
    "total": ((25.0, 25.0, 1.0), 6.6256444528),
}


def golden_pair(dtype):
    i, j = np.arange(6)[:, None], np.arange(4)[None, :]
    z1 = np.sin(1 + 0.7 * j + 1.3 * i + 0.1 * i * j)
    z2 = z1 + 0.1 * np.cos(0.5 + 1.1 * j - 0.9 * i)
    return jnp.asarray(z1, dtype), jnp.asarray(z2, dtype)


def pairs(n, d, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    return jnp.asarray(z), jnp.asarray(z + noise * rng.normal(size=(n, d)))


def weigh(weights):
    names = ("invariance_weight", "variance_weight", "covariance_weight")
    return dict(zip(names, weights, strict=True))


def column(z, j):
    return [float(v) for v in np.asarray(z)[:, j]]


def covariance_of(a, b, ddof):
    n = len(a)
    mean_a, mean_b = sum(a) / n, sum(b) / n
    return sum((a[i] - mean_a) * (b[i] - mean_b) for i in range(n)) / (n - ddof)


def barlow_twins_by_loops(z1, z2, weight):
    """The definition, one scalar at a time."""
    d, total = z1.shape[1], 0.0
    for i in range(d):
        for j in range(d):
            a, b = column(z1, i), column(z2, j)
            spread = (covariance_of(a, a, 0) + 1e-5) * (covariance_of(b, b, 0) + 1e-5)
            c = covariance_of(a, b, 0) / np.sqrt(spread)
            total += (c - 1) ** 2 if i == j else weight * c**2
    return total


def vicreg_by_loops(z1, z2, weights):
    (n, d), (inv, var, cov) = z1.shape, (0.0, 0.0, 0.0)
    for i in range(n):
        for j in range(d):
            inv += float(z1[i, j] - z2[i, j]) ** 2 / (n * d)
    for z in (z1, z2):
        for j in range(d):
            std = np.sqrt(covariance_of(column(z, j), column(z, j), 1) + 1e-4)
            var += max(0.0, 1 - std) / d / 2
            for k in range(d):
                if k != j:
                    cov += covariance_of(column(z, j), column(z, k), 1) ** 2 / d
    return weights[0] * inv + weights[1] * var + weights[2] * cov


@pytest.mark.parametrize("term", TERMS)
def test_vicreg_golden_values(term, float64):
    weights, expected = TERMS[term]
    value = vicreg(*golden_pair(jnp.float64), **weigh(weights))
    assert float(value) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("term", TERMS)
def test_vicreg_golden_values_in_float32(term):
    weights, expected = TERMS[term]
    value = vicreg(*golden_pair(jnp.float32), **weigh(weights))
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_barlow_twins_golden_values(float64):
    z1, z2 = golden_pair(jnp.float64)
    on = float(barlow_twins(z1, z2, off_diagonal_weight=0.0))
    assert float(barlow_twins(z1, z2)) == pytest.approx(0.0198039761, abs=1e-9)
    assert on == pytest.approx(0.0000741397, abs=1e-9)
    off = float(barlow_twins(z1, z2, off_diagonal_weight=1.0)) - on
    assert off == pytest.approx(3.8685953657, abs=1e-9)


def test_barlow_twins_golden_value_in_float32():
    value = barlow_twins(*golden_pair(jnp.float32))
    assert float(value) == pytest.approx(0.0198039761, rel=1e-5)


@pytest.mark.parametrize("n, d", SHAPES)
def test_barlow_twins_equals_the_definition(n, d, float64):
    z1, z2 = pairs(n, d)
    np.testing.assert_allclose(
        barlow_twins(z1, z2, off_diagonal_weight=0.3),
        barlow_twins_by_loops(z1, z2, 0.3),
        rtol=1e-12,
    )


@pytest.mark.parametrize("n, d", SHAPES)
def test_vicreg_equals_the_definition(n, d, float64):
    z1, z2 = pairs(n, d)
    weights = (25.0, 5.0, 2.0)
    np.testing.assert_allclose(
        vicreg(0.7 * z1, 0.7 * z2, **weigh(weights)),
        vicreg_by_loops(0.7 * z1, 0.7 * z2, weights),
        rtol=1e-12,
    )


def test_barlow_twins_ignores_scale_and_shift_of_dimensions(float64):
    z1, z2 = pairs(8, 5)
    rng = np.random.default_rng(1)
    scale, shift = rng.uniform(1, 10, size=(2, 1, 5)), rng.normal(size=(2, 1, 5))
    # 1e4 makes the eps in the standardisation negligible: 1e-5 / 1e8.
    moved = [1e4 * (s * z + t) for s, t, z in zip(scale, shift, (z1, z2), strict=True)]
    np.testing.assert_allclose(
        barlow_twins(*moved), barlow_twins(1e4 * z1, 1e4 * z2), rtol=1e-10
    )
    sign = np.array([[1.0, -1.0, 1.0, -1.0, -1.0]])
    np.testing.assert_allclose(
        barlow_twins(sign * z1, sign * z2), barlow_twins(z1, z2), rtol=1e-12
    )


def test_vicreg_ignores_a_common_shift_but_not_a_scale(float64):
    z1, z2 = pairs(8, 5)
    shift = np.random.default_rng(1).normal(size=(1, 5))
    np.testing.assert_allclose(
        vicreg(z1 + shift, z2 + shift), vicreg(z1, z2), rtol=1e-12
    )
    assert abs(float(vicreg(2 * z1, 2 * z2) - vicreg(z1, z2))) > 0.1


def test_rotation_keeps_the_invariance_of_vicreg(float64):
    z1, z2 = pairs(8, 5)
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))
    invariance = partial(vicreg, **weigh((1.0, 0.0, 0.0)))
    np.testing.assert_allclose(
        invariance(z1 @ q, z2 @ q), invariance(z1, z2), rtol=1e-12
    )
    # Its regulariser prefers axes: whitened embeddings are a minimum in every basis,
    # anything else is not.
    white = np.linalg.qr(np.asarray(z1) - np.asarray(z1).mean(0))[0] * 3
    regularizer = partial(vicreg, **weigh((0.0, 25.0, 1.0)))
    np.testing.assert_allclose(regularizer(white @ q, white @ q), 0.0, atol=1e-12)
    assert abs(float(regularizer(z1 @ q, z2 @ q) - regularizer(z1, z2))) > 1e-3


def test_collapse_in_closed_form(float64):
    z = jnp.full((6, 4), 0.3)
    # std = sqrt(1e-4) in every dimension; no covariance.
    assert float(vicreg(z, z)) == pytest.approx(25 * 0.99, abs=1e-12)
    # Standardised zeros correlate with nothing: (0 - 1)^2 per dimension.
    assert float(barlow_twins(z, z)) == pytest.approx(4.0, abs=1e-12)


def test_duplicated_dimensions_cost_their_correlation(float64):
    # All dimensions equal: C is all ones up to eps, so D (D - 1) weighted entries.
    z = 1e4 * jnp.broadcast_to(pairs(8, 1)[0], (8, 5))
    value = float(barlow_twins(z, z, off_diagonal_weight=0.1))
    assert value == pytest.approx(0.1 * 20, rel=1e-10)


@pytest.mark.parametrize(
    "loss", [barlow_twins, partial(vicreg, covariance_weight=10.0)]
)
def test_gradient_matches_finite_differences(loss, float64):
    # At scale 0.3 every standard deviation is below 1, off the kink of the hinge.
    z1, z2 = (0.3 * z for z in pairs(5, 3))
    assert max(float(jnp.std(z, axis=0, ddof=1).max()) for z in (z1, z2)) < 0.95
    check_grads(jax.jit(loss), (z1, z2), order=2, modes=["rev"], rtol=1e-4)


def test_gradient_flows_through_the_batch_mean(float64):
    # The regulariser is shift-invariant, so its gradient sums to zero per dimension.
    z1, z2 = (0.3 * z for z in pairs(8, 5))
    loss = partial(vicreg, **weigh((0.0, 25.0, 1.0)))
    gradient = jax.jit(jax.grad(loss))(z1, z2)
    assert float(jnp.abs(gradient).max()) > 1e-2
    np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-13)


@pytest.mark.parametrize("weight", [-0.1, float("nan")])
def test_weights_must_not_be_negative(weight):
    z = jnp.eye(3)
    with pytest.raises(ValueError, match="off_diagonal_weight must not be negative"):
        losses.barlow_twins(z, z, off_diagonal_weight=weight)
    for name in ("invariance_weight", "variance_weight", "covariance_weight"):
        with pytest.raises(ValueError, match=f"{name} must not be negative"):
            losses.vicreg(z, z, **{name: weight})
