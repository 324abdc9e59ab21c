"""Deep linear encoders under both objectives, trained with `ssljax.losses`."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import losses
from ssljax.analytic.implicit_variance.checklist import toy
from ssljax.analytic.simulate import gradient_flow

Params = dict[str, list[jax.Array]]
Views = tuple[jax.Array, jax.Array]


def aligned(start: Any, depth: int, seed: int, *, predictor: Any = None) -> Params:
    """Return networks for both objectives, balanced and diagonal in the data's basis.

    Args:
        start: values of the encoder, ``[features]``; the data's basis is the axes.
        depth: number of the encoder's layers.
        seed: of the rotations between layers.
        predictor: values of the last matrix; None takes those of a layer.
    """
    w = np.asarray(start, float) ** (1.0 / depth)
    v = w if predictor is None else np.asarray(predictor, float)
    rng = np.random.default_rng(seed)
    turns = [np.linalg.qr(rng.normal(size=(len(w), len(w))))[0] for _ in range(depth)]
    sides = [np.eye(len(w)), *turns]
    layers = [(sides[i + 1] * w[None, :]) @ sides[i].T for i in range(depth)]
    # The decoder of MAE ends in the target's basis, JEPA's predictor in the encoder's.
    heads = {"jepa": sides[-1], "mae": np.eye(len(w))}
    return {
        name: [*map(jnp.asarray, layers), jnp.asarray((end * v[None, :]) @ sides[-1].T)]
        for name, end in heads.items()
    }


def exact_pairs(covariance: Any, variance: Any, seed: int) -> Views:
    """Return sources and targets with these moments exactly; targets have noise."""
    joint, own = np.asarray(covariance, float), np.asarray(variance, float)
    clean, noise, _ = toy.exact_views(len(own), seed)
    source = clean * jnp.sqrt(own)[None, :]
    return source, clean * (joint / np.sqrt(own))[None, :] + 0.7 * noise


def encoded(layers: list[jax.Array], x: jax.Array) -> jax.Array:
    """Apply all matrices to rows."""
    for weights in layers:
        x = x @ weights.T
    return x


def loss_of(views: Views) -> Callable[[Params], jax.Array]:
    """Return the sum of both losses, each on its own network.

    The loss multiplies its first argument by a constant predictor. Here that is the
    identity, and the learned one has been applied before.
    """
    source, target = views
    identity = jnp.eye(source.shape[1])

    def loss(params: Params) -> jax.Array:
        encoder = params["jepa"][:-1]
        # The loss stops the gradient of its second argument.
        of_jepa = losses.asymmetric_euclidean(
            encoded(params["jepa"], source), encoded(encoder, target), identity
        )
        of_mae = losses.asymmetric_euclidean(
            encoded(params["mae"], source), target, identity
        )
        return of_jepa + of_mae

    return loss


def flow_of(views: Views, params: Params, times: Any) -> Params:
    """Follow the gradient flow of both losses, and return all weights."""
    return gradient_flow(
        loss_of(views), params, times, rtol=1e-9, atol=1e-11, estimate_error=False
    ).values


def values_of(layers: list[Any]) -> np.ndarray:
    """Return the singular values along the axes, of encoders ``[..., features]``."""
    product = np.eye(np.shape(layers[0])[-1])
    for weights in layers[:-1]:
        product = np.asarray(weights) @ product
    # Columns are axes of the data, whatever the rotation on the left.
    return np.linalg.norm(product, axis=-2)


def encoders(found: Mapping[str, list[Any]]) -> dict[str, np.ndarray]:
    """Return `values_of` both networks."""
    return {name: values_of(layers) for name, layers in found.items()}
