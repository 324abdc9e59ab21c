"""Encoder, projector and predictor as one module with one parameter tree."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.losses.numerics import at_least_float32
from ssljax.models.heads import MLP
from ssljax.models.linear_heads import LinearPredictor
from ssljax.models.resnet import ResNet


class Network(nn.Module):
    """Combine an encoder with the projector and predictor used in pretraining.

    The top-level names of parameters and batch statistics are ``encoder``,
    ``projector`` and ``predictor``; a head without layers has no entry.
    """

    encoder: ResNet
    projector: MLP
    predictor: MLP | LinearPredictor
    frozen: bool = False
    """Whether the encoder only computes features: no gradient reaches it, and BatchNorm
    uses its running statistics in training too."""

    def encode(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Return features ``[N, F]`` of normalised images ``[N, H, W, C]``."""
        return self.encoder(x, train=train and not self.frozen)

    def project(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Return features ``[N, F]`` and projections ``[N, D]``."""
        features = self.encoder(x, train=train and not self.frozen)
        if self.frozen:
            # The compiler then leaves the encoder's backward pass out.
            features = jax.lax.stop_gradient(features)
        return features, self.projector(features, train=train)

    def __call__(
        self, x: jax.Array, *, train: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Return features, projections and predictions, all float32."""
        features, projections = self.project(x, train=train)
        return features, projections, self.predictor(projections, train=train)


def initialise(network: Network, key: jax.Array, image_shape: tuple[int, ...]) -> Any:
    """Draw the variables of a network: ``{"params": ..., "batch_stats": ...}``.

    Args:
        network: the module.
        key: random key.
        image_shape: ``(H, W, C)`` of one image.
    """
    # Shapes alone decide the variables; BatchNorm needs two rows in training mode.
    images = jnp.zeros((2, *image_shape), jnp.float32)
    return network.init(key, images, train=True)


def forward(
    network: Network,
    params: Any,
    batch_stats: Any,
    x: jax.Array,
    *,
    method: str = "__call__",
) -> tuple[Any, Any]:
    """Run a forward pass in training mode.

    Args:
        network: the module.
        params: its parameters.
        batch_stats: running statistics of BatchNorm.
        x: normalised images ``[N, H, W, C]``.
        method: method of `Network` to call.

    Returns:
        The outputs of the method, and the updated running statistics.
    """
    outputs, updates = network.apply(
        {"params": params, "batch_stats": batch_stats},
        x,
        train=True,
        method=method,
        mutable=["batch_stats"],
    )
    # A network without BatchNorm returns no statistics at all.
    return outputs, dict(updates).get("batch_stats", {})


def activation_bytes(network: Network, batch: int, image_shape: tuple[int, ...]) -> int:
    """Estimate the bytes of activations in one forward pass, from shapes alone.

    The sum over all layers' outputs: a first-order estimate of the memory that
    backpropagation needs. XLA may need less.

    Args:
        network: the module.
        batch: number of images.
        image_shape: ``(H, W, C)`` of one image.
    """

    def run(key, x):
        drawn = network.init(
            key, x, train=True, mutable=True, capture_intermediates=True
        )
        return drawn["intermediates"]

    x = jax.ShapeDtypeStruct((batch, *image_shape), jnp.float32)
    kept = jax.eval_shape(run, jax.random.key(0), x)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))


def outputs_by_layer(
    network: Network, params: Any, batch_stats: Any, x: jax.Array
) -> list[jax.Array]:
    """Return the features, and the output of every layer of the projector.

    In evaluation mode. A hidden layer's output is that behind its BatchNorm and ReLU,
    the last layer's that behind its output norm: the projection itself.

    Args:
        network: the module.
        params: its parameters.
        batch_stats: running statistics of BatchNorm.
        x: normalised images ``[N, H, W, C]``.

    Returns:
        ``[N, F]``, then ``[N, width]`` for each of ``network.projector.layers``, all
        float32 or wider.
    """
    (features, projections), captured = network.apply(
        {"params": params, "batch_stats": batch_stats},
        x,
        train=False,
        method="project",
        mutable=["intermediates"],
        capture_intermediates=lambda module, _: module.path[:1] == ("projector",),
    )
    layers = network.projector.layers
    if not layers:
        return [features]
    inside: Any = captured["intermediates"]["projector"]
    norm = "bn" if network.projector.hidden_norm else "linear"
    hidden = [
        at_least_float32(nn.relu(inside[f"{norm}{k}"]["__call__"][0]))
        for k in range(1, len(layers))
    ]
    return [features, *hidden, projections]
