import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic.ntk import empirical_ntk, relu_network, relu_network_init, relu_ntk
from ssljax.analytic.stepwise.checklist.crops import PIXELS, tangent


def inputs(n=5, m=6, seed=0):
    return np.random.default_rng(seed).normal(size=(n, m))


def by_quadrature(function, x, other, points=400_000):
    """Mean of a function of two projections on one Gaussian vector, by sampling."""
    noise = np.random.default_rng(7).normal(size=(points, len(x)))
    return np.mean(function(noise @ x, noise @ other))


def test_one_hidden_layer_equals_the_average_over_gaussian_weights():
    x, other = inputs(2, 4)
    features = 2 * by_quadrature(
        lambda a, b: np.maximum(a, 0) * np.maximum(b, 0), x / 2, other / 2
    )
    slopes = 2 * by_quadrature(lambda a, b: (a > 0) * (b > 0), x, other)
    found = relu_ntk(x[None], other[None], readout_scale=0.7)
    np.testing.assert_allclose(
        found, [[features + 0.7**2 * slopes * (x @ other) / 4]], rtol=1e-2
    )


@pytest.mark.slow
def test_a_wide_network_approaches_the_analytic_kernel(float64):
    # Of two hidden layers; item 15 of the stepwise checklist has the one of one.
    x, layers = jnp.asarray(inputs()), 2
    widths = (6, 512, 512, 1)
    scales = {"hidden_scale": 1.3, "readout_scale": 0.8}

    def kernel(key):
        params = relu_network_init(key, widths, **scales)
        return empirical_ntk(relu_network, params, x)

    keys = jax.random.split(jax.random.key(0), 8)
    found = jax.jit(lambda keys: jax.lax.map(kernel, keys).mean(0))(keys)
    expected = relu_ntk(x, hidden_layers=layers, **scales)
    gap = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert gap < 0.05
    assert np.linalg.norm(found - relu_ntk(x)) > 3 * np.linalg.norm(found - expected)


def test_empirical_kernel_equals_the_full_jacobian_in_any_blocks(float64):
    x, other = jnp.asarray(inputs(5)), jnp.asarray(inputs(3, seed=1))
    params = relu_network_init(jax.random.key(1), (6, 8, 7, 3))

    rows = jax.jit(jax.jacrev(relu_network))(params, jnp.concatenate([x, other]))
    whole = np.concatenate([np.reshape(r, (*r.shape[:2], -1)) for r in rows], 2)
    expected = np.einsum("iko,jko->ij", whole[:5], whole[5:]) / 3
    found = empirical_ntk(relu_network, params, x, other, block=3)
    assert found.shape == (5, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize("memory", [1e9, 4e3, 1.0], ids=["all", "some", "least"])
def test_symmetry_and_little_memory_change_nothing(memory, float64):
    x = jnp.asarray(inputs(5))
    params = relu_network_init(jax.random.key(1), (6, 8, 7, 3))  # 125 numbers
    expected = empirical_ntk(relu_network, params, x, x, block=5)
    found = empirical_ntk(relu_network, params, x, block=2, memory=memory)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.array_equal(found, found.T)
    compiled = jax.jit(lambda x: empirical_ntk(relu_network, params, x, memory=memory))
    np.testing.assert_allclose(compiled(x), expected, rtol=1e-12)


def test_every_gradient_is_computed_once():
    seen = []

    def apply(params, x):
        jax.debug.callback(lambda first: seen.append(float(first)), x[0, 0])
        return x @ params.T

    x = np.arange(6.0)[:, None] + 1.0
    # Six gradients of one number each, with and without room for more.
    for memory in (1e9, 48.0):
        seen.clear()
        found = empirical_ntk(apply, jnp.ones((1, 1)), x, block=2, memory=memory)
        jax.effects_barrier()
        np.testing.assert_allclose(found, x @ x.T)
        assert sorted(seen) == x[:, 0].tolist()


def test_random_directions_average_to_all_outputs(float64):
    x = jnp.asarray(inputs(3))
    params = relu_network_init(jax.random.key(1), (6, 8, 2))
    signs = jnp.array([[1.0, 1.0], [1.0, -1.0]])  # the mean of v v^T is the identity
    np.testing.assert_allclose(
        empirical_ntk(relu_network, params, x, directions=signs),
        empirical_ntk(relu_network, params, x),
        rtol=1e-12,
    )


def test_kernel_written_out_for_the_checklist_equals_autodiff(float64):
    x = jnp.asarray(inputs())
    hidden, readout = relu_network_init(jax.random.key(1), (6, 9, 4))
    # The checklist counts all pixels as inputs of the first layer.
    scaled = x * np.sqrt(6 / PIXELS)
    np.testing.assert_allclose(
        tangent([hidden, readout], x, x),
        empirical_ntk(relu_network, [hidden, readout], scaled),
        rtol=1e-12,
    )


def test_gradient_of_the_kernel_matches_differences(float64):
    x, other = jnp.asarray(inputs(3)), jnp.asarray(inputs(4, seed=1))
    direction = jnp.asarray(inputs(3, seed=2))

    @jax.jit
    def value(x):
        return jnp.sum(jnp.sin(relu_ntk(x, other, hidden_layers=2)))

    step = 1e-6
    numeric = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
    found = jnp.sum(jax.grad(value)(x) * direction)
    np.testing.assert_allclose(found, numeric, rtol=1e-5)


def test_gradient_of_the_diagonal_is_that_of_the_squared_length(float64):
    x = jnp.asarray(inputs(3))

    @jax.jit
    @jax.grad
    def gradient(x, off_diagonal):
        kernel = relu_ntk(x)
        return jnp.trace(kernel) + off_diagonal * kernel.sum()

    # The kernel of a point with itself is 2 |x|^2 / m, without a kink.
    np.testing.assert_allclose(gradient(x, 0.0), 4 * x / 6, rtol=1e-6)
    assert bool(jnp.isfinite(gradient(x.at[1].set(0.0), 1.0)).all())


def test_a_zero_input_has_a_zero_kernel():
    found = relu_ntk(np.array([[0.0, 0.0], [1.0, 2.0]]))
    np.testing.assert_allclose(found, [[0.0, 0.0], [0.0, 5.0]], atol=1e-12)


def test_opposite_inputs_share_no_feature():
    found = relu_ntk(np.array([[1.0, 2.0], [-2.0, -4.0]]))
    np.testing.assert_allclose(found[0, 1], 0.0, atol=1e-7)


def test_results_are_double_whatever_the_default():
    params = relu_network_init(jax.random.key(0), (6, 5, 2))
    x = jnp.asarray(inputs(), jnp.float32)
    assert params[0].dtype == jnp.float32
    assert relu_network(params, x).dtype == jnp.float32
    assert relu_ntk(x).dtype == np.float64
    assert empirical_ntk(relu_network, params, x).dtype == np.float64


def test_what_does_not_fit_is_named():
    x = inputs()
    with pytest.raises(ValueError, match=r"x_other must be \[M, 6\]"):
        relu_ntk(x, inputs(m=3))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        relu_ntk(x, hidden_layers=0)
    with pytest.raises(ValueError, match="x must be finite"):
        relu_ntk(np.nan * x)
    with pytest.raises(ValueError, match="hidden_scale must be > 0, got -1"):
        relu_ntk(x, hidden_scale=-1.0)
    with pytest.raises(ValueError, match="readout_scale must be >= 0, got nan"):
        relu_ntk(x, readout_scale=np.nan)
    with pytest.raises(ValueError, match="inputs, hidden, outputs"):
        relu_network_init(jax.random.key(0), (6, 2))
    params = relu_network_init(jax.random.key(0), (6, 5, 2))
    with pytest.raises(ValueError, match=r"directions must be \[K, 2\]"):
        empirical_ntk(relu_network, params, x, directions=np.ones((1, 3)))
    with pytest.raises(ValueError, match="samples of one shape"):
        empirical_ntk(relu_network, params, x, x[:, :2])
    with pytest.raises(ValueError, match="x must be finite"):
        empirical_ntk(relu_network, params, np.inf * x)
    with pytest.raises(ValueError, match="block must be at least 1, got 0"):
        empirical_ntk(relu_network, params, x, block=0)
    with pytest.raises(ValueError, match="memory must be > 0"):
        empirical_ntk(relu_network, params, x, memory=-1.0)
