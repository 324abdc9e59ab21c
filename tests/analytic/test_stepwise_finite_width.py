"""The bound on a tangent kernel's change, the linearised network, closing kinks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax import losses
from ssljax.analytic import stepwise as theory
from ssljax.analytic.ntk import empirical_ntk, relu_network, relu_network_init
from ssljax.analytic.simulate import gradient_descent

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 4))


def start(width=12, seed=0):
    return relu_network_init(jax.random.key(seed), (4, width, 2))


@pytest.mark.parametrize("distance", [0.01, 1.0, 20.0])
def test_no_movement_within_the_ball_exceeds_the_bound(distance, float64):
    first = start()
    kernel = empirical_ntk(theory.tanh_network, first, X)
    bound = float(theory.kernel_change_bound(first, X, distance=distance))

    @jax.jit
    def change(step):
        size = jnp.sqrt(sum(jnp.sum(s**2) for s in step))
        end = [w + distance * s / size for w, s in zip(first, step, strict=True)]
        return jnp.linalg.norm(empirical_ntk(theory.tanh_network, end, X) - kernel)

    # From random directions, uphill: nothing in the ball may exceed the bound.
    ascend = jax.jit(jax.grad(change))
    worst = 0.0
    for seed in range(3):
        step = start(seed=seed + 1)
        for _ in range(5):
            worst = max(worst, float(change(step)))
            step = ascend(step)
    assert 0.005 * bound < worst < bound


def test_the_linearised_network_touches_and_is_straight(float64):
    first, other = start(), start(seed=1)
    twin = theory.linearized_network(theory.tanh_network, first)
    np.testing.assert_allclose(twin(first, X), theory.tanh_network(first, X))
    kernel = empirical_ntk(theory.tanh_network, first, X)
    np.testing.assert_allclose(empirical_ntk(twin, other, X), kernel, rtol=1e-12)


def test_a_run_that_diverges_is_refused():
    with pytest.raises(ValueError, match="the descent is not finite after time"):
        theory.kernel_drift(
            losses.linearized_barlow_twins,
            theory.tanh_network,
            start(),
            X[:3],
            X[3:],
            steps=20,
            learning_rate=1e3,
        )


@pytest.mark.slow
def test_rectifiers_switch_off_more_than_on(float64):
    """The surplus grows as the root of the width, its noise as the fourth root."""
    width, pairs = 8192, 6
    shared = RNG.normal(size=(pairs, 8))
    x = jnp.asarray(np.concatenate([shared, shared])) + 0.3 * RNG.normal(size=(12, 8))

    def loss(params):
        return losses.linearized_barlow_twins(*jnp.split(relu_network(params, x), 2))

    @jax.jit
    def surplus(key):
        first = relu_network_init(key, (8, width, 2))
        last = gradient_descent(loss, first, 60, 0.03, record=lambda p: 0.0).params
        off, on = (x @ p[0].T > 0 for p in (last, first))
        return jnp.sum(on) - jnp.sum(off), jnp.sum(on != off)

    found = [surplus(key) for key in jax.random.split(jax.random.key(0), 12)]
    lost, crossed = np.array(found, float).T
    error = lost.std() / np.sqrt(len(lost) - 1)
    assert lost.mean() > 4 * error
    assert lost.mean() < 0.4 * crossed.mean()
