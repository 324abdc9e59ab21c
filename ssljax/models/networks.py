"""Encoder, projector and predictor as one module with one parameter tree."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ssljax.models.heads import MLP
from ssljax.models.predictors import LinearPredictor
from ssljax.models.resnet import ResNet


class Network(nn.Module):
    """An encoder with the heads that pretraining puts on top of it.

    Parameters and batch statistics have the top-level names ``encoder``, ``projector``
    and ``predictor``; a head without layers has none.
    """

    encoder: ResNet
    projector: MLP
    predictor: MLP | LinearPredictor

    def encode(self, x: jax.Array, *, train: bool) -> jax.Array:
        """Features ``[N, F]`` of normalised images ``[N, H, W, C]``."""
        return self.encoder(x, train=train)

    def project(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Features ``[N, F]`` and projections ``[N, D]``."""
        features = self.encoder(x, train=train)
        return features, self.projector(features, train=train)

    def __call__(
        self, x: jax.Array, *, train: bool
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Features, projections and predictions, all float32."""
        features, projections = self.project(x, train=train)
        return features, projections, self.predictor(projections, train=train)


def initialise(network: Network, key: jax.Array, image_shape: tuple[int, ...]) -> Any:
    """Variables of a network: ``{"params": ..., "batch_stats": ...}``."""
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
    """Training-mode pass; returns the outputs and the moved batch statistics."""
    outputs, moved = network.apply(
        {"params": params, "batch_stats": batch_stats},
        x,
        train=True,
        method=method,
        mutable=["batch_stats"],
    )
    return outputs, dict(moved).get("batch_stats", {})


def activation_bytes(network: Network, batch: int, image_shape: tuple[int, ...]) -> int:
    """Bytes of every layer's output for one forward pass, from shapes alone.

    A first-order estimate of what backpropagation keeps; XLA may keep less.
    """

    def run(key, x):
        variables = network.init(key, x, train=True)
        return network.apply(
            variables,
            x,
            train=True,
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=True,
        )[1]["intermediates"]

    x = jax.ShapeDtypeStruct((batch, *image_shape), jnp.float32)
    kept = jax.eval_shape(run, jax.random.key(0), x)
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))
