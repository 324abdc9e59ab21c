import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from ssljax import losses

negative_cosine = jax.jit(losses.negative_cosine)
normalized_mse = jax.jit(losses.normalized_mse)
LOSSES = [negative_cosine, normalized_mse]


def pairs(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=(n, d))), jnp.asarray(rng.normal(size=(n, d)))


def mean_cosine_by_loops(p, z):
    total = 0.0
    for a, b in zip(np.asarray(p), np.asarray(z), strict=True):
        dot = sum(a[j] * b[j] for j in range(len(a)))
        total += dot / np.sqrt(sum(a**2) * sum(b**2))
    return total / len(p)


@pytest.mark.parametrize("n, d", [(4, 7), (6, 6), (9, 3), (1, 2)])
def test_equal_the_definitions(n, d, float64):
    p, z = pairs(n, d)
    cosine = mean_cosine_by_loops(p, z)
    np.testing.assert_allclose(negative_cosine(p, z), -cosine, rtol=1e-12)
    np.testing.assert_allclose(normalized_mse(p, z), 2 - 2 * cosine, rtol=1e-12)


@pytest.mark.parametrize("scale", [1.0, -2.0])
def test_parallel_and_opposite_in_closed_form(scale, float64):
    p, _ = pairs(5, 4)
    sign = np.sign(scale)
    assert float(negative_cosine(p, scale * p)) == pytest.approx(-sign, abs=1e-12)
    assert float(normalized_mse(p, scale * p)) == pytest.approx(2 - 2 * sign, abs=1e-12)


def test_zero_rows_count_as_documented(float64):
    p, z = jnp.eye(3), jnp.zeros((3, 3))
    assert float(negative_cosine(p, z)) == 0.0
    assert float(normalized_mse(p, z)) == pytest.approx(1.0, abs=1e-12)
    assert float(normalized_mse(z, z)) == 0.0


def test_agreement_is_resolved_below_the_rounding_of_a_cosine():
    # 2 - 2 cos in float32 is a multiple of 1e-7; the distance here is 4e-10.
    p = jnp.array([[1.0, 0.0]])
    value = normalized_mse(p, jnp.array([[1.0, 2e-5]]))
    assert float(value) == pytest.approx(4e-10, rel=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_row_scales_and_rotations_change_nothing(loss, float64):
    p, z = pairs(6, 5)
    rng = np.random.default_rng(1)
    scales = rng.uniform(0.1, 10, size=(2, 6, 1))
    q, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    np.testing.assert_allclose(
        loss(scales[0] * p, scales[1] * z), loss(p, z), rtol=1e-12
    )
    np.testing.assert_allclose(loss(p @ q, z @ q), loss(p, z), rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_matches_finite_differences(loss, float64):
    check_grads(jax.jit(loss), pairs(5, 4), order=2, modes=["rev"])


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_flow_through_both_arguments(loss, float64):
    p, z = pairs(5, 4)
    for gradient in jax.grad(loss, argnums=(0, 1))(p, z):
        assert float(jnp.abs(gradient).max()) > 1e-3


def test_the_two_losses_have_proportional_gradients(float64):
    p, z = pairs(5, 4)
    np.testing.assert_allclose(
        jax.grad(normalized_mse)(p, z), 2 * jax.grad(negative_cosine)(p, z), rtol=1e-10
    )
