"""Linearised Barlow Twins and the total coding rate."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ssljax.losses import covariance

# Compiled once per shape: the weights are traced here.
linearized_barlow_twins = jax.jit(covariance.linearized_barlow_twins)
tcr = jax.jit(covariance.tcr)

SHAPES = [(4, 7), (6, 6), (9, 3), (2, 5)]


def pairs(n, d, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, d))
    return z, z + noise * rng.normal(size=(n, d))


def linearized_by_loops(z1, z2, weight):
    (n, d), total = z1.shape, 0.0
    for i in range(d):
        for j in range(d):
            c = 0.0
            for a, b in zip(np.asarray(z1), np.asarray(z2), strict=True):
                c += (a[i] * b[j] + b[i] * a[j]) / (2 * n)
            total += (c - 1) ** 2 if i == j else weight * c**2
    return total


def tcr_by_loops(z1, z2, eps_squared, weight):
    (n, d), rate = z1.shape, 0.0
    unit = [[v / np.sqrt(sum(v**2)) for v in np.asarray(z)] for z in (z1, z2)]
    for rows in unit:
        moment = np.eye(d)
        for v in rows:
            for j in range(d):
                for k in range(d):
                    moment[j, k] += d / (n * eps_squared) * v[j] * v[k]
        rate += 0.5 * np.linalg.slogdet(moment)[1] / 2
    cosine = sum(a @ b for a, b in zip(*unit, strict=True)) / n
    return -rate - weight * cosine


@pytest.mark.parametrize("n, d", [*SHAPES, (1, 3)])
@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_linearized_barlow_twins_equals_the_definition(n, d, weight, float64):
    z1, z2 = pairs(n, d)
    np.testing.assert_allclose(
        linearized_barlow_twins(z1, z2, off_diagonal_weight=weight),
        linearized_by_loops(z1, z2, weight),
        rtol=1e-12,
    )


@pytest.mark.parametrize("n, d", [*SHAPES, (1, 3)])
@pytest.mark.parametrize("eps_squared", [0.05, 0.2])
def test_tcr_equals_the_definition(n, d, eps_squared, float64):
    z1, z2 = pairs(n, d)
    np.testing.assert_allclose(
        tcr(z1, z2, eps_squared=eps_squared, invariance_weight=0.5),
        tcr_by_loops(z1, z2, eps_squared, 0.5),
        rtol=1e-11,
    )


def test_the_linearized_loss_has_the_gradient_of_its_theory(float64):
    # f(x) = W x: 4 (C - I) W Gamma, with the symmetrised moment Gamma of the inputs.
    rng = np.random.default_rng(0)
    x1, x2, w = (
        rng.normal(size=(9, 6)),
        rng.normal(size=(9, 6)),
        rng.normal(size=(3, 6)),
    )
    gamma = (x1.T @ x2 + x2.T @ x1) / (2 * len(x1))
    c = w @ gamma @ w.T
    gradient = jax.grad(lambda w: linearized_barlow_twins(x1 @ w.T, x2 @ w.T))
    expected = 4 * (c - np.eye(3)) @ w @ gamma
    np.testing.assert_allclose(gradient(jnp.asarray(w)), expected, rtol=1e-10)


def test_what_symmetrising_leaves_out_of_the_linearized_loss(float64):
    z1, z2 = pairs(8, 5, noise=1.0)
    moment = np.asarray(z1).T @ np.asarray(z2) / 8
    one_sided = ((moment - np.eye(5)) ** 2).sum()
    antisymmetric = (((moment - moment.T) / 2) ** 2).sum()
    assert antisymmetric > 0.1
    np.testing.assert_allclose(
        one_sided - linearized_barlow_twins(z1, z2), antisymmetric, rtol=1e-11
    )


def test_the_linearized_loss_ignores_rotations_at_weight_one_only(float64):
    z1, z2 = pairs(8, 5)
    q, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))
    value, turned = (linearized_barlow_twins(*z) for z in ((z1, z2), (z1 @ q, z2 @ q)))
    np.testing.assert_allclose(turned, value, rtol=1e-12)
    loss = partial(linearized_barlow_twins, off_diagonal_weight=0.1)
    assert abs(float(loss(z1 @ q, z2 @ q) - loss(z1, z2))) > 1e-2
    # Neither centred nor standardised.
    assert abs(float(linearized_barlow_twins(z1 + 1, z2 + 1) - value)) > 1.0
    assert abs(float(linearized_barlow_twins(2 * z1, 2 * z2) - value)) > 1.0


def test_the_coding_rate_in_closed_form(float64):
    # Collapsed: one eigenvalue; a tight frame: D equal ones, more than any other rows.
    n, d = 12, 4
    term = partial(tcr, invariance_weight=0.0)
    collapsed, frame = np.full((n, d), 0.3), np.tile(2 * np.eye(d), (3, 1))
    assert float(term(collapsed, collapsed)) == pytest.approx(
        -0.5 * np.log(1 + d / 0.2), abs=1e-12
    )
    best = -0.5 * d * np.log(1 + 1 / 0.2)
    assert float(term(frame, frame)) == pytest.approx(best, abs=1e-12)
    assert all(float(term(*pairs(n, d, seed))) > best for seed in range(20))
    # The invariance is a cosine: opposite pairs cost twice its weight.
    cost = float(tcr(frame, -frame) - tcr(frame, frame))
    assert cost == pytest.approx(60.0, abs=1e-11)


@pytest.mark.parametrize("n, d", [(8, 5), (4, 6)])
def test_tcr_ignores_row_scales_and_rotations(n, d, float64):
    z1, z2 = pairs(n, d)
    rng = np.random.default_rng(1)
    scales = rng.uniform(0.1, 10, size=(2, n, 1))
    q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    for other in ((scales[0] * z1, scales[1] * z2), (z1 @ q, z2 @ q), (z2, z1)):
        np.testing.assert_allclose(tcr(*other), tcr(z1, z2), rtol=1e-12)


def test_gradient_matches_finite_differences(float64):
    def both(z1, z2):
        rate = tcr(z1, z2, invariance_weight=0.5)
        return jnp.stack([linearized_barlow_twins(z1, z2), rate])

    check_grads(jax.jit(both), pairs(5, 3), order=2, modes=["rev"], rtol=1e-4)


def test_jit_and_vmap_agree_with_the_plain_call():
    z1, z2 = np.stack([pairs(6, 5, seed) for seed in (0, 1)], 1).astype(np.float32)
    for loss in (covariance.linearized_barlow_twins, covariance.tcr):
        value_and_grad = jax.value_and_grad(loss)
        values, gradients = jax.jit(jax.vmap(value_and_grad))(z1, z2)
        np.testing.assert_allclose(values[0], loss(z1[0], z2[0]), rtol=1e-5)
        _, gradient = jax.jit(value_and_grad)(z1[1], z2[1])
        np.testing.assert_allclose(gradients[1], gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_wrong_weights_are_named(value):
    z = np.eye(3)
    with pytest.raises(ValueError, match="off_diagonal_weight must not be negative"):
        covariance.linearized_barlow_twins(z, z, off_diagonal_weight=value)
    with pytest.raises(ValueError, match="invariance_weight must not be negative"):
        covariance.tcr(z, z, invariance_weight=value)
    with pytest.raises(ValueError, match="eps_squared must be positive"):
        covariance.tcr(z, z, eps_squared=value)
