"""Neural tangent kernels of the package's own encoders and heads, on real images."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.inputs import (
    check_at_least,
    check_choice,
    check_finite,
    check_positive,
)
from ssljax.analytic.ntk import empirical_ntk, ntk_directions, ntk_inputs
from ssljax.analytic.precision import being_traced, in_float64
from ssljax.models.layer_gradients import (
    Layer,
    Signals,
    find_layers,
    layer_gradients,
    layer_signals,
)
from ssljax.models.networks import Network

__all__ = ["network_ntk"]

# The method of `Network` that computes an output, and the output's place in its result.
_OUTPUTS = {
    "features": ("encode", 0),
    "projections": ("project", 1),
    "predictions": ("__call__", 2),
}


@in_float64
def network_ntk(
    network: Any,
    variables: Any,
    x: Any,
    x_other: Any = None,
    *,
    output: str = "projections",
    directions: Any = None,
    batch: int = 64,
    memory: float = 1e9,
) -> jax.Array:
    """Compute the tangent kernel of an encoder, a head or both, in evaluation mode.

    The same numbers as `empirical_ntk`: one backward pass per batch and direction gives
    what enters every layer and the cotangents behind it, from which the gradients of
    one layer after the other are made, multiplied and dropped. BatchNorm uses its
    running statistics, so that samples are independent.

    Args:
        network: a `Network`, `ResNet`, `MLP` or other linen module that is called with
            ``train``. It computes in its own ``dtype``; build it with
            ``dtype=jnp.float64`` for a kernel of more than about six digits.
        variables: ``{"params": ..., "batch_stats": ...}``.
        x: inputs ``[N, ...]``, e.g. normalised images ``[N, H, W, C]``.
        x_other: inputs ``[M, ...]``; None takes ``x``.
        output: of a `Network`: "features", "projections" or "predictions". Other
            modules have one output.
        directions: rows v, ``[K, D]``, with mean of ``v v^T`` the identity; None takes
            all D outputs. A few random rows of +-1 estimate the average, with an error
            of about ``1 / sqrt(K)`` where the outputs' kernels differ.
        batch: samples in one backward pass.
        memory: bytes for what is held of all samples. Where all layers' inputs and
            cotangents take more, the backward pass is repeated for groups of layers.

    Returns:
        ``[N, M]``: the mean over outputs k of ``<grad f_k(x), grad f_k(x')>``. It
        cannot be differentiated.

    Raises:
        ValueError: for inputs, directions or an output that do not fit, numbers that
            are not finite, or a call inside of a JAX transformation.

    >>> from ssljax.models import MLP
    >>> head, x = MLP((2,)), np.array([[1.0, 2.0], [0.0, 1.0]])
    >>> variables = head.init(jax.random.key(0), x, train=False)
    >>> network_ntk(head, variables, x).tolist()  # the inputs' products, and a bias
    [[6.0, 3.0], [3.0, 2.0]]
    """
    if being_traced():
        raise ValueError("network_ntk works on known numbers, not inside jit or grad")
    check_at_least("batch", batch, 1)
    check_positive("memory", memory)
    check_choice("output", output, tuple(_OUTPUTS))
    method, place = ("__call__", 0)
    if isinstance(network, Network):
        method, place = _OUTPUTS[output]
    x, other = ntk_inputs(x, x_other)
    for leaf in jax.tree.leaves(variables):
        check_finite("variables", leaf)

    def apply(variables: Any, x: jax.Array) -> Any:
        found = network.apply(variables, x, train=False, method=method)
        return found[place] if isinstance(found, tuple) else found

    outputs = jax.eval_shape(apply, variables, x[:1]).shape[-1]
    vectors, average = ntk_directions(directions, outputs)
    layers, others = find_layers(network, variables, x[:1], method)
    samples = x if x_other is None else jnp.concatenate([x, other])
    rows = len(samples) if x_other is None else len(x)
    kernel = np.zeros((len(x), len(other)))

    def signals(group: list[Layer], direction: jax.Array) -> Iterator[list[Signals]]:
        paths = tuple(layer.path for layer in group)
        size = min(batch, len(samples))
        for start in range(0, len(samples), size):
            # Pad the last batch, so that all batches share a program.
            part = samples[np.arange(start, start + size) % len(samples)]
            found = layer_signals(
                network,
                variables,
                part,
                direction,
                paths=paths,
                method=method,
                output=place,
            )
            yield [
                Signals(*(s[: len(samples) - start] for s in pair)) for pair in found
            ]

    for group in _groups(layers, memory / 2 / len(samples)):
        for direction in vectors:
            parts = list(signals(group, direction))
            for layer in reversed(group):
                # Pop from the lists, so that every layer's signals are held once.
                pairs = zip(*(part.pop() for part in parts), strict=True)
                whole = Signals(*(jnp.concatenate(pair) for pair in pairs))
                kernel += _layer_kernel(layer, variables, whole, rows, memory / 2)
    total = average * kernel
    if others:
        total = total + _rest(apply, variables, others, x, x_other, directions, memory)
    return jnp.asarray(total)


def _layer_kernel(
    layer: Layer, variables: Any, signals: Signals, rows: int, memory: float
) -> np.ndarray:
    """Return one layer's part of the kernel of the first ``rows`` with the others."""

    def products(a: Any) -> np.ndarray:
        a = np.asarray(a)
        # NumPy notices that both are the same array, and computes half of the products.
        return a @ a.T if rows == len(a) else a[:rows] @ a[rows:].T

    if type(layer.module).__name__ == "Dense" and signals.input.ndim == 2:
        # The gradient is an outer product, whose products factorise.
        dense: Any = layer.module
        inputs = products(signals.input).astype(np.float64)
        return (inputs + float(dense.use_bias)) * products(signals.cotangent)
    itemsize = signals.cotangent.dtype.itemsize
    found = layer_gradients(layer, variables, signals, int(memory / itemsize))
    return sum((products(g).astype(np.float64) for g in found), np.zeros(()))


def _groups(layers: list[Layer], bytes_per_sample: float) -> list[list[Layer]]:
    """Split the layers such that each group's signals fit, at least one in each."""
    groups: list[list[Layer]] = []
    left = 0.0
    for layer in layers:
        if not groups or layer.bytes_per_sample > left:
            groups.append([])
            left = bytes_per_sample
        groups[-1].append(layer)
        left -= layer.bytes_per_sample
    return groups


def _rest(
    apply: Any,
    variables: Any,
    paths: list[tuple[str, ...]],
    x: jax.Array,
    x_other: Any,
    directions: jax.Array,
    memory: float,
) -> jax.Array:
    """Return the part of parameters whose modules `find_layers` cannot separate."""

    def replaced(tree: Any, path: tuple[str, ...], value: Any) -> Any:
        if not path:
            return value
        return {**tree, path[0]: replaced(tree[path[0]], path[1:], value)}

    def along(values: list[Any], x: jax.Array) -> jax.Array:
        params = variables["params"]
        for path, value in zip(paths, values, strict=True):
            params = replaced(params, path, value)
        return apply({**variables, "params": params}, x)

    def at(path: tuple[str, ...]) -> Any:
        found = variables["params"]
        for name in path:
            found = found[name]
        return found

    values = [at(path) for path in paths]
    return empirical_ntk(
        along, values, x, x_other, directions=directions, memory=memory
    )
