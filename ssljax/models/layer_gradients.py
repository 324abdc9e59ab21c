"""Per-sample gradients, layer by layer, from one backward pass of a whole batch.

In evaluation mode samples do not interact. A layer's gradient at one sample depends on
the layer's input there and on the cotangent of its output, and one ordinary backward
pass gives both for all samples. `jax.vmap` of `jax.grad` computes the same numbers, but
turns every convolution's weight gradient into a grouped convolution, which is slow on a
CPU.
"""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

__all__ = ["Layer", "Signals", "find_layers", "layer_gradients", "layer_signals"]

Path = tuple[str, ...]


class Layer(NamedTuple):
    """A module that owns parameters and is called once."""

    path: Path
    """Names from the top of the parameter tree."""
    module: nn.Module
    """The module, without a parent."""
    options: tuple[tuple[str, Any], ...]
    """Keyword arguments of its call."""
    input: jax.ShapeDtypeStruct
    output: jax.ShapeDtypeStruct

    @property
    def bytes_per_sample(self) -> int:
        """Bytes of the layer's input and output for one sample."""
        return sum(
            math.prod(s.shape[1:]) * s.dtype.itemsize for s in (self.input, self.output)
        )


class Signals(NamedTuple):
    """What passes through a layer, for all samples."""

    input: jax.Array
    """``[N, ...]``."""
    cotangent: jax.Array
    """Derivative of one scalar per sample with respect to the output, ``[N, ...]``."""


def find_layers(
    network: nn.Module, variables: Any, x: Any, method: str = "__call__"
) -> tuple[list[Layer], list[Path]]:
    """List the modules whose gradients follow from their own input and output alone.

    These are called once, have no further modules inside, and map one array to one
    array.

    Args:
        network: an encoder, a head, or a `Network` of both.
        variables: its parameters and statistics.
        x: a batch of inputs or its shape, ``[N, ...]``.
        method: the method of the network that computes the output.

    Returns:
        The modules, and the paths of the parameters of all other modules that the
        method calls.

    >>> from ssljax.models.heads import MLP
    >>> head, x = MLP((4, 2)), jnp.ones((3, 5))
    >>> variables = head.init(jax.random.key(0), x, train=False)
    >>> [layer.path for layer in find_layers(head, variables, x)[0]]
    [('linear1',), ('bn1',), ('linear2',)]
    """
    calls: dict[Path, list[Layer | None]] = {}

    def record(run: Any, args: Any, kwargs: Any, context: Any) -> Any:
        output = run(*args, **kwargs)
        path = context.module.path
        own = _at(variables["params"], path)
        if all(isinstance(p, Mapping) for p in own.values()):
            return output
        layer = None
        leaf = not any(isinstance(p, Mapping) for p in own.values())
        one = len(args) == 1 and isinstance(output, jax.Array)
        if leaf and one and context.method_name == "__call__":
            layer = Layer(
                path,
                context.module.clone(parent=None, name=None),
                tuple(kwargs.items()),
                jax.ShapeDtypeStruct(args[0].shape, args[0].dtype),
                jax.ShapeDtypeStruct(output.shape, output.dtype),
            )
        calls.setdefault(path, []).append(layer)
        return output

    def run(variables: Any, x: Any) -> Any:
        with nn.intercept_methods(record):
            return network.apply(variables, x, train=False, method=method)

    jax.eval_shape(run, variables, x)
    layers, others = [], []
    for path, found in calls.items():
        if len(found) == 1 and found[0] is not None:
            layers.append(found[0])
        else:
            own = _at(variables["params"], path).items()
            others += [(*path, k) for k, p in own if not isinstance(p, Mapping)]
    return layers, others


@partial(jax.jit, static_argnames=("network", "method", "output", "paths"))
def layer_signals(
    network: nn.Module,
    variables: Any,
    x: jax.Array,
    direction: jax.Array,
    *,
    paths: tuple[Path, ...],
    method: str = "__call__",
    output: int = 0,
) -> list[Signals]:
    """Return what enters each layer and the cotangents of what leaves it.

    Args:
        network: as for `find_layers`.
        variables: its parameters and statistics.
        x: inputs ``[N, ...]``.
        direction: ``v [D]``; what is differentiated is ``v . f(x_n)`` for every n.
        paths: of the layers.
        method: the method of the network that computes the output.
        output: which of the method's outputs is f, where it has several.

    >>> from ssljax.models.heads import MLP
    >>> head, x = MLP((4, 2)), jnp.ones((3, 5))
    >>> variables = head.init(jax.random.key(0), x, train=False)
    >>> v = jnp.array([1.0, -1.0])
    >>> (last,) = layer_signals(head, variables, x, v, paths=(("linear2",),))
    >>> last.input.shape, last.cotangent.tolist()[0]
    ((3, 4), [1.0, -1.0])
    """
    layers, _ = find_layers(network, variables, x, method)
    shapes = {layer.path: layer.output for layer in layers}

    def run(added: dict[Path, jax.Array]) -> Any:
        inputs = {}

        def tap(run: Any, args: Any, kwargs: Any, context: Any) -> Any:
            found = run(*args, **kwargs)
            path = context.module.path
            if path in added and context.method_name == "__call__":
                inputs[path] = args[0]
                # A zero whose gradient is the cotangent of the output.
                found = found + added[path]
            return found

        with nn.intercept_methods(tap):
            found = network.apply(variables, x, train=False, method=method)
        return (found[output] if isinstance(found, tuple) else found), inputs

    zeros = {p: jnp.zeros(shapes[p].shape, shapes[p].dtype) for p in paths}
    embedded, pull, inputs = jax.vjp(run, zeros, has_aux=True)
    along = jnp.broadcast_to(direction.astype(embedded.dtype)[None, :], embedded.shape)
    (cotangents,) = pull(along)
    return [Signals(inputs[path], cotangents[path]) for path in paths]


def layer_gradients(
    layer: Layer, variables: Any, signals: Signals, numbers: int
) -> Iterator[jax.Array]:
    """Yield the gradients of a layer's parameters, some parameters at a time.

    Args:
        layer: the layer.
        variables: parameters and statistics of the whole network.
        signals: of this layer, for N samples.
        numbers: about how many numbers to hold at once, at least N.

    Yields:
        ``[N, some]``; side by side they are the gradients of all the layer's parameters
        in an order that does not depend on the samples.

    >>> from ssljax.models.heads import MLP
    >>> head, x = MLP((2,)), jnp.array([[1.0, 2.0, 3.0]])
    >>> variables = head.init(jax.random.key(0), x, train=False)
    >>> ((layer,), _) = find_layers(head, variables, x)
    >>> signals = Signals(x, jnp.array([[1.0, -1.0]]))
    >>> [g.tolist() for g in layer_gradients(layer, variables, signals, 100)]
    [[[1.0, -1.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0]]]
    """
    samples = len(signals.input)
    if not _is_plain_convolution(layer.module):
        inside = {name: _at(tree, layer.path) for name, tree in variables.items()}
        inside = {name: tree for name, tree in inside.items() if tree}
        yield _own_gradients(layer.module, layer.options, inside, *signals)
        return
    module: Any = layer.module
    height, width = module.kernel_size
    strides, dilation = (_pair(s) for s in (module.strides, module.kernel_dilation))
    x = jnp.pad(
        signals.input,
        ((0, 0), *_padding(module, layer.input.shape[1:3]), (0, 0)),
    )
    # Every kernel offset sees a shifted image. The part of the kernel at one offset has
    # channels x features numbers, and less is computed at a time where that is a lot.
    per_feature = samples * x.shape[-1]
    step = max(1, numbers // per_feature)
    for start in range(0, module.features, step):
        cotangent = signals.cotangent[..., start : start + step]
        for row in range(height):
            for column in range(width):
                corner = (row * dilation[0], column * dilation[1])
                yield _shifted_products(x, cotangent, corner, strides)
    if module.use_bias:
        yield jnp.sum(signals.cotangent, axis=(1, 2))


@partial(jax.jit, static_argnames="strides")
def _shifted_products(
    x: jax.Array,
    cotangent: jax.Array,
    corner: tuple[int, int],
    strides: tuple[int, int],
) -> jax.Array:
    """Return the gradient of one offset of a convolution's kernel, ``[N, C x O]``."""
    samples, *places, features = cotangent.shape
    sizes = [s * (p - 1) + 1 for s, p in zip(strides, places, strict=True)]
    seen = jax.lax.dynamic_slice(x, (0, *corner, 0), (samples, *sizes, x.shape[-1]))
    seen = seen[:, :: strides[0], :: strides[1]]
    seen = seen.reshape(samples, -1, x.shape[-1])
    cotangent = cotangent.reshape(samples, -1, features)
    found = jnp.einsum(
        "npc,npo->nco", seen.astype(cotangent.dtype), cotangent, precision="highest"
    )
    return found.reshape(samples, -1)


@partial(jax.jit, static_argnames=("module", "options"))
def _own_gradients(
    module: nn.Module,
    options: tuple[tuple[str, Any], ...],
    variables: dict[str, Any],
    x: jax.Array,
    cotangent: jax.Array,
) -> jax.Array:
    """Return the gradients of any layer by differentiating it alone, ``[N, all]``."""
    others = {name: tree for name, tree in variables.items() if name != "params"}

    def one(x: jax.Array, cotangent: jax.Array) -> Any:
        def run(params: Any) -> Any:
            whole = {"params": params, **others}
            return module.apply(whole, x[None], **dict(options))

        _, pull = jax.vjp(run, variables["params"])
        return pull(cotangent[None])[0]

    found = jax.tree.leaves(jax.vmap(one)(x, cotangent))
    return jnp.concatenate([g.reshape(len(x), -1) for g in found], axis=1)


def _is_plain_convolution(module: Any) -> bool:
    """Return whether a module is a 2D convolution with zero padding and one group."""
    return (
        type(module).__name__ == "Conv"
        and len(module.kernel_size) == 2
        and module.feature_group_count == 1
        and _pair(module.input_dilation) == (1, 1)
        and module.mask is None
        and module.padding not in ("CIRCULAR", "CAUSAL", "REFLECT")
    )


def _padding(module: Any, size: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return the zeros before and behind each axis of an image."""
    given = module.padding
    if not isinstance(given, str):
        pairs = (given, given) if isinstance(given, int) else given
        return [(p, p) if isinstance(p, int) else tuple(p) for p in pairs]
    dilated = [
        (k - 1) * d + 1
        for k, d in zip(module.kernel_size, _pair(module.kernel_dilation), strict=True)
    ]
    return jax.lax.padtype_to_pads(size, dilated, _pair(module.strides), given)


def _pair(value: Any) -> tuple[int, int]:
    """Return flax's ways to write one number per axis as two numbers."""
    value = 1 if value is None else value
    return (value, value) if isinstance(value, int) else tuple(value)


def _at(tree: Any, path: Path) -> Any:
    """Return the branch of a tree of dictionaries, or an empty one."""
    for name in path:
        if not isinstance(tree, Mapping) or name not in tree:
            return {}
        tree = tree[name]
    return tree if isinstance(tree, Mapping) else {}
