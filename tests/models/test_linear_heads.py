"""Partly trained linear heads: parameters, predictions, gradients."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from started_heads import matrix_of, predict, started

from ssljax import losses
from ssljax.models import MLP, Network, heads, linear_heads, predictors
from ssljax.models.linear_heads import (
    LINEAR_PREDICTORS,
    LinearPredictor,
    OffDiagonalPredictor,
)
from ssljax.training.lars import decay_mask


def rows(n=9, d=5, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(n, d)))


def randomised(kind, d=4):
    """A head with random parameters in float64."""
    head, variables = started(kind, d=d)
    rng = np.random.default_rng(0)
    return head, jax.tree.map(
        lambda p: jnp.asarray(rng.normal(size=p.shape)), variables
    )


def test_predictors_are_reachable_from_heads():
    assert heads.direct_predictor is predictors.direct_predictor
    assert heads.OffDiagonalPredictor is linear_heads.OffDiagonalPredictor


@pytest.mark.parametrize("kind", LINEAR_PREDICTORS)
def test_parameters_by_kind(kind):
    _, variables = started(kind)
    expected = {
        "identity": {},
        "diagonal": {"diagonal": (4,)},
        "off_diagonal": {"off_diagonal": (12,)},
        "symmetric": {"off_diagonal": (12,)},
        "full": {"matrix": (4, 4)},
        "random": {"matrix": (4, 4)},
    }[kind]
    params = variables.get("params", {})
    assert {name: p.shape for name, p in params.items()} == expected
    assert all(p.dtype == jnp.float32 for p in params.values())
    # No arm is decayed or trust-scaled, or their comparison would be one of decay.
    assert not any(jax.tree.leaves(decay_mask(params)))


def test_parameters_are_float32_whatever_the_projections(float64):
    for kind in LINEAR_PREDICTORS:
        head = LinearPredictor(kind=kind)
        p, variables = jax.eval_shape(
            lambda z, head=head: head.init_with_output(
                jax.random.key(0), z, train=True
            ),
            jnp.ones((2, 4)),
        )
        assert all(p.dtype == jnp.float32 for p in jax.tree.leaves(variables))
        assert p.dtype == jnp.float64


def test_a_network_takes_the_head_as_its_predictor():
    encoder: Any = MLP((8,))  # in place of a ResNet, for speed
    network = Network(encoder, MLP((5,), output_norm="plain"), OffDiagonalPredictor())
    x = rows(6, 3).astype(jnp.float32)
    outputs, variables = jax.jit(
        lambda x: network.init_with_output(jax.random.key(0), x, train=True)
    )(x)
    assert variables["params"]["predictor"]["off_diagonal"].shape == (20,)
    np.testing.assert_array_equal(outputs[2], outputs[1])


@pytest.mark.parametrize("kind", LINEAR_PREDICTORS)
def test_all_but_one_kind_start_from_the_exact_identity(kind):
    head, variables = started(kind, d=5)
    for dtype in (jnp.float32, jnp.bfloat16):
        for scale in (1e-4, 1.0, 1e4):
            z = (scale * rows()).astype(dtype)
            p = predict(head, variables, z)
            assert p.dtype == jnp.float32
            same = bool((p == z.astype(jnp.float32)).all())
            assert same is (kind != "random")


def test_the_random_start_has_the_spread_of_lecun():
    head, variables = started("random", d=64)
    matrix = matrix_of(head, variables, 64)
    assert float(matrix.std()) == pytest.approx(1 / 8, rel=0.05)
    other = matrix_of(*started("random", d=64, seed=1), 64)
    assert float(jnp.abs(matrix - other).max()) > 0.1


@pytest.mark.parametrize("n, d", [(9, 3), (2, 1)])
@pytest.mark.parametrize("kind", LINEAR_PREDICTORS)
def test_predictions_by_hand(kind, n, d, float64):
    head, variables = randomised(kind, d)
    values = [np.asarray(p) for p in jax.tree.leaves(variables)]
    z, matrix, k = np.asarray(rows(n, d)), np.eye(d), 0
    for j in range(d):
        for r in range(d):
            if kind in ("full", "random"):
                matrix[j, r] = values[0][j, r]
            elif kind == "diagonal" and j == r:
                matrix[j, r] = values[0][j]
            elif kind in ("off_diagonal", "symmetric") and j != r:
                matrix[j, r] = values[0][k]
                k += 1
    if kind == "symmetric":
        matrix = 0.5 * (matrix + matrix.T)
    expected = np.zeros((n, d))
    for i in range(n):
        for j in range(d):
            expected[i, j] = sum(matrix[j, r] * z[i, r] for r in range(d))
    p = predict(head, variables, jnp.asarray(z))
    np.testing.assert_allclose(p, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("output_norm", ["plain", "affine"])
def test_the_output_norm_follows_the_matrix(output_norm):
    head, variables = started("off_diagonal", d=5, output_norm=output_norm)
    assert ("bn1" in variables["params"]) is (output_norm == "affine")
    z = (rows() * jnp.arange(1.0, 6.0)[None] + 3.0).astype(jnp.float32)
    p, moved, still = jax.jit(
        lambda v, z: (
            *head.apply(v, z, train=True, mutable=["batch_stats"]),
            head.apply(v, z, train=False),
        )
    )(variables, z)
    np.testing.assert_allclose(p.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(p.std(axis=0), 1.0, rtol=1e-4)
    mean = moved["batch_stats"]["bn1"]["mean"]
    np.testing.assert_allclose(mean, 0.1 * z.mean(axis=0), rtol=1e-4)
    # The initial statistics are 0 and 1.
    np.testing.assert_allclose(still, z, rtol=1e-4)


def test_a_diagonal_before_a_norm_does_nothing():
    head, variables = started("diagonal", d=5, output_norm="plain")
    z = rows().astype(jnp.float32)
    scaled = {**variables, "params": {"diagonal": jnp.arange(1.0, 6.0)}}
    normed = jax.jit(lambda v: head.apply(v, z, train=True, mutable=["batch_stats"]))
    plain, other = (normed(v)[0] for v in (variables, scaled))
    np.testing.assert_allclose(plain, other, atol=1e-4)


def test_wrong_head_options_are_named():
    for head, shape, message in [
        (LinearPredictor(kind="tied"), (2, 3), "kind must be one of .*, got 'tied'"),
        (LinearPredictor(output_norm="batch"), (2, 3), "output_norm .*got 'batch'"),
        (OffDiagonalPredictor(), (3,), r"must be \[N, D\], got shape \(3,\)"),
    ]:
        with pytest.raises(ValueError, match=message):
            head.init(jax.random.key(0), jnp.ones(shape), train=True)
    with pytest.raises(TypeError, match="kind"):
        OffDiagonalPredictor(kind="full")


# "identity" has no parameters, and "random" differs from "full" only in its start.
@pytest.mark.parametrize("kind", ["diagonal", "off_diagonal", "symmetric", "full"])
def test_gradients_of_the_head_match_finite_differences(kind, float64):
    head, variables = randomised(kind)

    @jax.jit
    def agreement(variables, z):
        p = jnp.asarray(head.apply(variables, z, train=True))
        return losses.negative_cosine(p, rows(6, 4, 1))

    # The second order once: the heads are linear, so it comes from their products.
    order = 2 if kind == "symmetric" else 1
    check_grads(agreement, (variables, rows(6, 4)), order, modes=["rev"], rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_gradients_of_the_head_are_finite_on_collapsed_input(dtype):
    head, variables = started("off_diagonal")
    z = np.asarray(rows(5, 4))

    @jax.jit
    def gradients(variables, z):
        def loss(variables, z):
            p = jnp.asarray(head.apply(variables, z, train=True))
            return losses.negative_cosine(p, jax.lax.stop_gradient(z))

        return jax.grad(loss, argnums=(0, 1))(variables, z)

    for case in (0 * z, np.tile(z[:1], (5, 1)), 1e-4 * z, 1e4 * z, z * [1, 0, 1, 1]):
        for leaf in jax.tree.leaves(gradients(variables, jnp.asarray(case, dtype))):
            assert np.isfinite(np.asarray(leaf, np.float32)).all()
