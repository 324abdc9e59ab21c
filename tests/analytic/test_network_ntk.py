"""Kernels of real networks against their full Jacobians."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.analytic.network_ntk import network_ntk
from ssljax.analytic.ntk import empirical_ntk
from ssljax.models import MLP, LinearPredictor, Network, ResNet, resnet
from ssljax.models.layer_gradients import find_layers

IMAGES = np.random.default_rng(0).normal(size=(5, 8, 8, 3))


def filled(network, x, method="__call__"):
    """Values with no symmetry that could hide an error, statistics included."""
    rng = np.random.default_rng(1)

    def fill(path, leaf):
        value = rng.normal(size=leaf.shape) / max(np.sqrt(np.prod(leaf.shape[:-1])), 1)
        if path[-1].key in ("scale", "var"):
            value = 0.5 + np.abs(value)
        if path[-1].key == "bias":
            value = 1.5 + value  # keeps part of every ReLU open
        return jnp.asarray(value)

    shapes = jax.eval_shape(
        lambda x: network.init(jax.random.key(0), x, train=False, method=method), x
    )
    return jax.tree_util.tree_map_with_path(fill, shapes)


def by_jacobian(apply, variables, x, other):
    """The definition: products of whole Jacobians, averaged over the outputs."""

    @jax.jit
    def jacobian(params, x):
        return jax.jacrev(lambda p: apply({**variables, "params": p}, x))(params)

    def rows(x):
        found = jax.tree.leaves(jacobian(variables["params"], x))
        return np.concatenate([np.reshape(g, (*g.shape[:2], -1)) for g in found], 2)

    a, b = rows(x), rows(other)
    return np.einsum("iko,jko->ij", a, b) / a.shape[1]


def small_network(**options):
    sizes = {"stage_sizes": (1, 1), "stage_widths": (3, 4), "bottleneck": False}
    encoder = ResNet(**{"stem": "small", "dtype": jnp.float64, **sizes, **options})
    return Network(
        encoder, MLP((9, 3), dtype=jnp.float64), MLP((8, 3), dtype=jnp.float64)
    )


@pytest.mark.parametrize(
    "output, options",
    [
        ("projections", {"stem_stride": 2}),
        pytest.param("predictions", {"stem": "large"}, marks=pytest.mark.slow),
        pytest.param(
            "features", {"bottleneck": True, "stem_padding": 2}, marks=pytest.mark.slow
        ),
    ],
)
def test_every_layer_of_a_network_equals_the_jacobian(output, options, float64):
    network = small_network(**options)
    variables = filled(network, IMAGES)

    def apply(variables, x):
        found = network.apply(variables, x, train=False)
        return found[("features", "projections", "predictions").index(output)]

    expected = by_jacobian(apply, variables, IMAGES[:3], IMAGES[:3])
    # Two batches, of which the second is filled up.
    found = network_ntk(network, variables, IMAGES[:3], output=output, batch=2)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert np.array_equal(found, np.transpose(found))
    assert np.linalg.eigvalsh(found)[0] > 0


@pytest.mark.slow
def test_the_tiny_resnet_and_its_projector_equal_the_jacobian(float64):
    x = np.random.default_rng(2).normal(size=(3, 32, 32, 3))
    encoder = resnet("resnet_tiny", stem="small", dtype=jnp.float64)
    head = MLP((32, 4), dtype=jnp.float64)
    network = Network(encoder, head, MLP(()))
    variables = filled(network, x)
    assert find_layers(network, variables, x, "project")[1] == []

    def apply(variables, x):
        return network.apply(variables, x, train=False, method="project")[1]

    expected = by_jacobian(apply, variables, x, x)
    found = network_ntk(network, variables, x)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert np.linalg.eigvalsh(found)[0] > 0
    params = variables["params"]
    again = empirical_ntk(lambda p, x: apply({**variables, "params": p}, x), params, x)
    np.testing.assert_allclose(again, expected, rtol=1e-10)


class Convolutions(nn.Module):
    """Every kind of convolution, a shared layer and a parameter of its own."""

    @nn.compact
    def __call__(self, x, *, train):
        conv = functools.partial(nn.Conv, dtype=jnp.float64)
        x = jnp.sin(conv(4, (3, 2), strides=2, padding="SAME", name="same")(x))
        x = conv(4, (2, 2), padding="CIRCULAR", name="wrapped")(x)
        x = conv(4, (2, 3), kernel_dilation=(1, 2), padding=1, name="holes")(x)
        x = jnp.sin(conv(4, (2, 2), feature_group_count=2, name="groups")(x))
        x = conv(4, (2, 2), padding=((1, 0), (0, 2)), name="uneven")(x)
        x = conv(2, (2, 2), padding="VALID", strides=(1, 2), name="valid")(x)
        x = x.reshape(len(x), -1)
        shared = nn.Dense(3, dtype=jnp.float64, name="shared")
        x = jnp.sin(shared(x)) + shared(jnp.cos(x))
        return x * self.param("gain", nn.initializers.ones, (3,))[None, :]


@pytest.mark.slow
@pytest.mark.parametrize("memory", [1e9, 1.0], ids=["at once", "a channel at a time"])
def test_any_convolution_shared_layer_and_own_parameter_counts(memory, float64):
    network = Convolutions()
    variables = filled(network, IMAGES)
    layers, others = find_layers(network, variables, IMAGES)
    assert len(layers) == 6
    assert set(others) == {("shared", "kernel"), ("shared", "bias"), ("gain",)}

    def apply(variables, x):
        return network.apply(variables, x, train=False)

    expected = by_jacobian(apply, variables, IMAGES[:2], IMAGES[2:])
    found = network_ntk(network, variables, IMAGES[:2], IMAGES[2:], memory=memory)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_a_linear_predictor_and_a_head_alone(float64):
    x = np.random.default_rng(3).normal(size=(4, 3))
    for network in (LinearPredictor("full"), MLP((5, 3), output_norm="affine")):
        variables = filled(network, x)

        def apply(variables, x, network=network):
            return network.apply(variables, x, train=False)

        # The predictor is float32 inside where its input is; here all is float64.
        expected = by_jacobian(apply, variables, x, x)
        rtol = 1e-10 if isinstance(network, LinearPredictor) else 1e-5
        np.testing.assert_allclose(
            network_ntk(network, variables, x), expected, rtol=rtol
        )


def test_directions_and_results_in_float64_whatever_the_default():
    network = MLP((5, 2))
    x = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
    variables = network.init(jax.random.key(0), jnp.asarray(x), train=False)
    whole = network_ntk(network, variables, x)
    assert whole.dtype == np.float64
    signs = np.array([[1.0, 1.0], [1.0, -1.0]])  # the mean of v v^T is the identity
    found = network_ntk(network, variables, x, directions=signs)
    np.testing.assert_allclose(found, whole, rtol=1e-5)


def test_what_does_not_fit_is_named():
    network, x = MLP((5, 2)), np.ones((4, 3))
    variables = network.init(jax.random.key(0), jnp.ones((4, 3)), train=False)
    with pytest.raises(ValueError, match=r"directions must be \[K, 2\]"):
        network_ntk(network, variables, x, directions=np.ones((1, 3)))
    with pytest.raises(ValueError, match="samples of one shape"):
        network_ntk(network, variables, x, np.ones((4, 2)))
    with pytest.raises(ValueError, match="x_other must be finite"):
        network_ntk(network, variables, x, np.nan * x)
    with pytest.raises(ValueError, match="variables must be finite"):
        network_ntk(network, jax.tree.map(lambda v: v * np.inf, variables), x)
    with pytest.raises(ValueError, match="output must be one of features"):
        network_ntk(network, variables, x, output="feature")
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        network_ntk(network, variables, x, batch=0)
    with pytest.raises(ValueError, match="memory must be > 0"):
        network_ntk(network, variables, x, memory=0.0)
    with pytest.raises(ValueError, match="not inside jit"):
        jax.jit(lambda x: network_ntk(network, variables, x))(x)
