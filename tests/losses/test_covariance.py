"""Barlow Twins, its linearised form and the total coding rate."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from loss_inputs import normal, pair, rotation

from ssljax import losses

# Compiled once per shape: the weights are traced here.
barlow_twins = jax.jit(losses.barlow_twins)
linearized_barlow_twins = jax.jit(losses.linearized_barlow_twins)
tcr = jax.jit(losses.tcr)
TCR = [dict(eps_squared=e, invariance_weight=0.5) for e in (0.05, 0.2)]


@jax.jit
def everything(z1, z2):
    found = {
        "linearized": [
            losses.linearized_barlow_twins(z1, z2, off_diagonal_weight=w)
            for w in (1.0, 0.3)
        ],
        "tcr": [losses.tcr(z1, z2, **how) for how in TCR],
    }
    if len(z1) > 1:
        found["barlow"] = losses.barlow_twins(z1, z2, off_diagonal_weight=0.3)
    return found


def column(z, j):
    return [float(v) for v in np.asarray(z)[:, j]]


def covariance_of(a, b):
    n = len(a)
    mean_a, mean_b = sum(a) / n, sum(b) / n
    return sum((a[i] - mean_a) * (b[i] - mean_b) for i in range(n)) / n


def barlow_twins_by_loops(z1, z2, weight):
    """The definition, one scalar at a time."""
    d, total = z1.shape[1], 0.0
    for i in range(d):
        for j in range(d):
            a, b = column(z1, i), column(z2, j)
            spread = (covariance_of(a, a) + 1e-5) * (covariance_of(b, b) + 1e-5)
            c = covariance_of(a, b) / np.sqrt(spread)
            total += (c - 1) ** 2 if i == j else weight * c**2
    return total


def linearized_by_loops(z1, z2, weight):
    (n, d), total = z1.shape, 0.0
    for i in range(d):
        for j in range(d):
            c = 0.0
            for a, b in zip(z1, z2, strict=True):
                c += (a[i] * b[j] + b[i] * a[j]) / (2 * n)
            total += (c - 1) ** 2 if i == j else weight * c**2
    return total


def tcr_by_loops(z1, z2, eps_squared, invariance_weight):
    (n, d), rate = z1.shape, 0.0
    unit = [[v / np.sqrt(sum(v**2)) for v in z] for z in (z1, z2)]
    for rows in unit:
        moment = np.eye(d)
        for v in rows:
            for j in range(d):
                for k in range(d):
                    moment[j, k] += d / (n * eps_squared) * v[j] * v[k]
        rate += 0.5 * np.linalg.slogdet(moment)[1] / 2
    cosine = sum(a @ b for a, b in zip(*unit, strict=True)) / n
    return -rate - invariance_weight * cosine


@pytest.mark.parametrize("n, d", [(4, 7), (6, 6), (9, 3), (2, 5), (1, 3)])
def test_values_equal_the_definitions(n, d, float64):
    z1, z2 = pair(n, d)
    found = everything(z1, z2)
    for value, weight in zip(found["linearized"], (1.0, 0.3), strict=True):
        expected = linearized_by_loops(z1, z2, weight)
        np.testing.assert_allclose(value, expected, rtol=1e-12)
    for value, how in zip(found["tcr"], TCR, strict=True):
        np.testing.assert_allclose(value, tcr_by_loops(z1, z2, **how), rtol=1e-11)
    if n > 1:
        expected = barlow_twins_by_loops(z1, z2, 0.3)
        np.testing.assert_allclose(found["barlow"], expected, rtol=1e-12)


def test_barlow_twins_ignores_scale_and_shift_of_dimensions(float64):
    z1, z2 = pair(8, 5)
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


def test_barlow_twins_of_collapsed_and_duplicated_dimensions(float64):
    # Standardised zeros correlate with nothing: (0 - 1)^2 per dimension.
    z = np.full((8, 5), 0.3)
    assert float(barlow_twins(z, z)) == pytest.approx(5.0, abs=1e-12)
    # All dimensions equal: C is all ones up to eps, so D (D - 1) weighted entries.
    z = 1e4 * np.broadcast_to(pair(8, 1)[0], (8, 5))
    value = float(barlow_twins(z, z, off_diagonal_weight=0.1))
    assert value == pytest.approx(0.1 * 20, rel=1e-10)


def test_the_linearized_loss_has_the_gradient_of_its_theory(float64):
    # f(x) = W x: 4 (C - I) W Gamma, with the symmetrised moment Gamma of the inputs.
    rng = np.random.default_rng(0)
    x1, x2 = rng.normal(size=(2, 9, 6))
    w = rng.normal(size=(3, 6))
    gamma = (x1.T @ x2 + x2.T @ x1) / (2 * len(x1))
    c = w @ gamma @ w.T

    @jax.jit
    @jax.grad
    def gradient(w):
        return losses.linearized_barlow_twins(x1 @ w.T, x2 @ w.T)

    expected = 4 * (c - np.eye(3)) @ w @ gamma
    np.testing.assert_allclose(gradient(w), expected, rtol=1e-10)


def test_invariances_of_the_linearized_loss(float64):
    z1, z2 = pair(8, 5, noise=1.0)
    value = float(linearized_barlow_twins(z1, z2))
    moment = z1.T @ z2 / 8
    one_sided = ((moment - np.eye(5)) ** 2).sum()
    antisymmetric = (((moment - moment.T) / 2) ** 2).sum()
    assert antisymmetric > 0.1
    np.testing.assert_allclose(one_sided - value, antisymmetric, rtol=1e-11)
    # Rotations, at weight 1 only (the contract has that half).
    q = rotation(5, seed=1)
    loss = partial(linearized_barlow_twins, off_diagonal_weight=0.1)
    assert abs(float(loss(z1 @ q, z2 @ q) - loss(z1, z2))) > 1e-2
    # Neither centred nor standardised.
    assert abs(float(linearized_barlow_twins(z1 + 1, z2 + 1)) - value) > 1.0
    assert abs(float(linearized_barlow_twins(2 * z1, 2 * z2)) - value) > 1.0


def test_the_coding_rate_in_closed_form(float64):
    # Collapsed: one eigenvalue; a tight frame: D equal ones, more than any other rows.
    n, d = 12, 4
    term = jax.jit(jax.vmap(partial(losses.tcr, invariance_weight=0.0)))
    collapsed, frame = np.full((n, d), 0.3), np.tile(2 * np.eye(d), (3, 1))
    random = [pair(n, d, seed) for seed in range(20)]
    first, second = zip((collapsed, collapsed), (frame, frame), *random, strict=True)
    values = np.asarray(term(np.stack(first), np.stack(second)))
    assert values[0] == pytest.approx(-0.5 * np.log(1 + d / 0.2), abs=1e-12)
    best = -0.5 * d * np.log(1 + 1 / 0.2)
    assert values[1] == pytest.approx(best, abs=1e-12)
    assert (values[2:] > best).all()
    # The invariance is a cosine: opposite pairs cost twice its weight.
    cost = float(tcr(frame, -frame) - tcr(frame, frame))
    assert cost == pytest.approx(60.0, abs=1e-11)


@pytest.mark.parametrize("n, d", [(9, 4), (4, 9), (6, 6)])
def test_the_coding_rate_is_one_on_either_side(n, d, float64):
    z1, z2 = normal(n, d), normal(n, d, seed=1)
    rate = -float(tcr(z1, z2, eps_squared=0.3, invariance_weight=0.0))
    for of_samples in (True, False):
        expected = 0.0
        for z in (z1, z2):
            unit = z / np.linalg.norm(z, axis=1, keepdims=True)
            gram = unit @ unit.T if of_samples else unit.T @ unit
            matrix = np.eye(len(gram)) + d / (n * 0.3) * gram
            expected += np.linalg.slogdet(matrix)[1] / 4
        assert rate == pytest.approx(expected, abs=1e-12)


def test_wrong_weights_are_named():
    z = jnp.eye(3)
    for value in (-0.1, float("nan")):
        for loss in (losses.barlow_twins, losses.linearized_barlow_twins):
            with pytest.raises(
                ValueError, match="off_diagonal_weight must not be negative"
            ):
                loss(z, z, off_diagonal_weight=value)
        with pytest.raises(ValueError, match="invariance_weight must not be negative"):
            losses.tcr(z, z, invariance_weight=value)
        with pytest.raises(ValueError, match="eps_squared must be positive"):
            losses.tcr(z, z, eps_squared=value)
