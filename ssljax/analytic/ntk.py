"""Neural tangent kernels of ReLU networks: infinitely wide, and of given parameters."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ssljax.analytic.inputs import (
    check_at_least,
    check_finite,
    check_not_negative,
    check_positive,
    check_shape,
)
from ssljax.analytic.precision import being_traced, in_float64
from ssljax.losses.custom_rule import CustomRule

__all__ = ["empirical_ntk", "relu_network", "relu_network_init", "relu_ntk"]


def relu_network_init(
    key: jax.Array,
    widths: Sequence[int],
    *,
    hidden_scale: float = 1.0,
    readout_scale: float = 1.0,
) -> list[jax.Array]:
    """Draw weights of a `relu_network` in the parameterization of the kernel.

    Args:
        key: of the draw.
        widths: ``[inputs, hidden, ..., outputs]``, at least three.
        hidden_scale: standard deviation of all weights but the last layer's.
        readout_scale: standard deviation of the last layer's weights.

    Returns:
        One matrix ``[out, in]`` per layer, in JAX's default precision.

    Raises:
        ValueError: with fewer than three widths.

    >>> [w.shape for w in relu_network_init(jax.random.key(0), (5, 7, 2))]
    [(7, 5), (2, 7)]
    """
    if len(widths) < 3:
        raise ValueError(f"widths must be inputs, hidden, outputs, got {list(widths)}")
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    scales = [hidden_scale] * (len(shapes) - 1) + [readout_scale]
    keys = jax.random.split(key, len(shapes))
    return [
        scale * jax.random.normal(k, shape)
        for k, shape, scale in zip(keys, shapes, scales, strict=True)
    ]


def relu_network(params: Sequence[jax.Array], x: jax.Array) -> jax.Array:
    """Apply ``A h``, ``h = sqrt(2) relu(B x / sqrt(m)) / sqrt(width)``, without bias.

    Every layer divides by the root of its fan-in rather than having small weights, so
    that all layers train at comparable rates at any width.

    Args:
        params: one matrix ``[out, in]`` per layer, as `relu_network_init` makes them.
        x: inputs ``[N, m]``.

    Returns:
        ``[N, outputs]``, in the precision of the arguments.

    >>> found = relu_network([2.0 * jnp.eye(2), jnp.eye(2)], jnp.array([[1.0, -1.0]]))
    >>> [round(float(f), 4) for f in found[0]]
    [1.4142, 0.0]
    """
    *hidden, readout = params
    for weights in hidden:
        x = jnp.sqrt(2.0) * jax.nn.relu(x @ weights.T / jnp.sqrt(weights.shape[1]))
    return x @ readout.T / jnp.sqrt(readout.shape[1])


@in_float64
def relu_ntk(
    x: Any,
    x_other: Any = None,
    *,
    hidden_layers: int = 1,
    hidden_scale: float = 1.0,
    readout_scale: float = 1.0,
) -> jax.Array:
    """Compute the tangent kernel of an infinitely wide `relu_network`.

    Args:
        x: inputs ``[N, m]``.
        x_other: inputs ``[M, m]``; None takes ``x``.
        hidden_layers: number of ReLU layers.
        hidden_scale: standard deviation of the hidden layers' weights.
        readout_scale: standard deviation of the last layer's weights; at 0 the kernel
            of the last hidden layer's features is left, which a small readout follows.

    Returns:
        ``[N, M]``, the kernel of any one output.

    Raises:
        ValueError: for inputs that do not fit or are not finite, less than one hidden
            layer, or a negative scale.

    Source: Cho and Saul, "Kernel methods for deep learning", 2009 (arc-cosine kernels
    of order 0 and 1); Jacot et al., "Neural tangent kernel", 2018 (the recursion).

    >>> relu_ntk(jnp.eye(2), readout_scale=0.0).round(6).tolist()  # 1/2 and 1/(2 pi)
    [[0.5, 0.159155], [0.159155, 0.5]]
    """
    x = check_shape("x", x, "N", "m")
    other = x if x_other is None else check_shape("x_other", x_other, "M", x.shape[1])
    check_at_least("hidden_layers", hidden_layers, 1)
    check_positive("hidden_scale", hidden_scale)
    check_not_negative("readout_scale", readout_scale)
    check_finite("x", x)
    check_finite("x_other", other)
    fan_in = x.shape[1]
    covariance = x @ other.T / fan_in
    squares = jnp.sum(x**2, axis=1)[:, None] * jnp.sum(other**2, axis=1)[None, :]
    # A zero input has no direction; its kernel with any input is 0.
    nowhere = squares == 0
    sizes = jnp.sqrt(jnp.where(nowhere, 1.0, squares)) / fan_in
    tangent = jnp.zeros_like(covariance)
    for _ in range(hidden_layers):
        cosine = covariance / sizes
        slope = hidden_scale**2 * _arccosine_0(cosine)
        tangent = slope * tangent + _arccosine_0(cosine) * covariance
        sizes = hidden_scale**2 * sizes
        covariance = sizes * _arccosine_1(cosine)
    kernel = covariance + readout_scale**2 * tangent
    return jnp.where(nowhere, 0.0, kernel)


@in_float64
def empirical_ntk(
    apply: Callable[[Any, jax.Array], jax.Array],
    params: Any,
    x: Any,
    x_other: Any = None,
    *,
    directions: Any = None,
    block: int = 32,
    memory: float = 1e9,
) -> jax.Array:
    """Compute a network's tangent kernel at its parameters, averaged over outputs.

    For the package's own networks `network_ntk` gives the same numbers sooner.

    Args:
        apply: ``apply(params, x)`` gives embeddings ``[N, D]``; every row must depend
            on its own input alone (no batch statistics).
        params: a pytree of floating arrays.
        x: inputs ``[N, ...]``.
        x_other: inputs ``[M, ...]``; None takes ``x``, and half of the products.
        directions: rows v, ``[K, D]``, with mean of ``v v^T`` the identity; None takes
            all D outputs. A few random rows of +-1 estimate the average more cheaply.
        block: samples that are differentiated at once, at most.
        memory: bytes of gradients that are held, at least those of two samples. Where
            they suffice for all samples, every gradient is computed once.

    Returns:
        ``[N, M]``: the mean over outputs k of ``<grad f_k(x), grad f_k(x')>``. Each
        output's own kernel is the same at infinite width.

    Raises:
        ValueError: if ``directions`` are not ``[K, D]``, the inputs do not fit each
            other or are not finite, or ``block`` or ``memory`` is not positive.

    Source: Jacot et al., "Neural tangent kernel", 2018, definition of the kernel.

    >>> x = jnp.array([[1.0, 2.0], [0.0, 1.0]])
    >>> linear = lambda w, x: x @ w.T  # whose kernel is that of its inputs
    >>> empirical_ntk(linear, jnp.ones((4, 2)), x).tolist()
    [[5.0, 2.0], [2.0, 1.0]]
    """
    x, other = ntk_inputs(x, x_other)
    check_at_least("block", block, 1)
    check_positive("memory", memory)
    outputs = jax.eval_shape(apply, params, x[:1]).shape[-1]
    directions, average = ntk_directions(directions, outputs)
    size = max(1, 8 * sum(leaf.size for leaf in jax.tree.leaves(params)))
    # Number of samples whose gradients fit in memory.
    fitting = int(memory // size)
    block = max(1, min(block, fitting // 2))
    once = x_other is None and len(x) <= fitting
    held = len(x) if once else max(1, fitting - block)

    @jax.jit
    def gradients(samples: jax.Array, direction: jax.Array) -> list[jax.Array]:
        def along(params: Any, sample: jax.Array) -> jax.Array:
            return apply(params, sample[None])[0] @ direction

        found = jax.vmap(jax.grad(along), (None, 0))(params, samples)
        return [g.reshape(len(samples), -1) for g in jax.tree.leaves(found)]

    @jax.jit
    def products(a: list[jax.Array], b: list[jax.Array]) -> jax.Array:
        empty = jnp.zeros((len(a[0]), len(b[0])))
        return sum((p @ q.T for p, q in zip(a, b, strict=True)), empty)

    def above(mine: list[list[jax.Array]]) -> jax.Array:
        # The kernel is symmetric: copy the upper triangle to the lower one.
        return jnp.concatenate(
            [
                jnp.concatenate(
                    [
                        products(a, b) if i <= j else jnp.zeros((len(a[0]), len(b[0])))
                        for j, b in enumerate(mine)
                    ],
                    axis=1,
                )
                for i, a in enumerate(mine)
            ]
        )

    def blocks(samples: jax.Array, start: int, end: int) -> list[jax.Array]:
        return [samples[i : min(i + block, end)] for i in range(start, end, block)]

    def one(direction: jax.Array) -> jax.Array:
        rows = []
        for start in range(0, len(x), held):
            end = min(start + held, len(x))
            mine = [gradients(part, direction) for part in blocks(x, start, end)]
            row = []
            if x_other is None:
                row += [jnp.zeros((end - start, start)), above(mine)]
            for part in blocks(other, end if x_other is None else 0, len(other)):
                theirs = gradients(part, direction)
                row.append(jnp.concatenate([products(a, theirs) for a in mine]))
            rows.append(jnp.concatenate(row, axis=1))
        return jnp.concatenate(rows)

    total = jnp.zeros((len(x), len(other)))
    if being_traced():  # Then a program for all directions is shorter.
        total, _ = jax.lax.scan(lambda t, v: (t + one(v), None), total, directions)
    else:
        total = sum(map(one, directions), total)
    if x_other is None:
        total = jnp.triu(total) + jnp.triu(total, 1).T
    return average * total


def ntk_inputs(x: Any, x_other: Any) -> tuple[jax.Array, jax.Array]:
    """Return both sets of inputs of a kernel, and raise unless they fit."""
    x = jnp.asarray(x)
    other = x if x_other is None else jnp.asarray(x_other)
    if x.ndim == 0 or x.shape[1:] != other.shape[1:] or 0 in (len(x), len(other)):
        shapes = f"got {list(x.shape)} and {list(other.shape)}"
        raise ValueError(f"x and x_other must be samples of one shape, {shapes}")
    check_finite("x", x)
    check_finite("x_other", other)
    return x, other


def ntk_directions(directions: Any, outputs: int) -> tuple[jax.Array, float]:
    """Return the directions ``[K, D]`` and the factor of a sum over them."""
    if directions is None:
        return jnp.eye(outputs), 1.0 / outputs
    directions = check_shape("directions", directions, "K", outputs)
    return directions, 1.0 / (outputs * len(directions))


def _arccosine_0(cosine: jax.Array) -> jax.Array:
    """Return ``(pi - angle) / pi``, twice the probability that two ReLUs are active."""
    return 1.0 - _angle(cosine) / jnp.pi


@CustomRule
def _angle(cosine: jax.Array) -> jax.Array:
    return jnp.arccos(jnp.clip(cosine, -1.0, 1.0))


@_angle.defjvp
def _angle_jvp(primals, tangents):
    # The kernel has a kink where two inputs are parallel; 0 is the mean of its slopes.
    (cosine,), (tangent,) = primals, tangents
    rest = 1.0 - cosine**2
    inside = rest > 4.0 * jnp.finfo(cosine.dtype).eps
    slope = jnp.where(inside, -jax.lax.rsqrt(jnp.where(inside, rest, 1.0)), 0.0)
    return _angle(cosine), slope * tangent


@CustomRule
def _arccosine_1(cosine: jax.Array) -> jax.Array:
    """Return ``2 E[relu(a) relu(b)]`` of unit Gaussians with this correlation."""
    sine = jnp.sqrt(jnp.maximum(1.0 - cosine**2, 0.0))
    return (cosine * (jnp.pi - _angle(cosine)) + sine) / jnp.pi


@_arccosine_1.defjvp
def _arccosine_1_jvp(primals, tangents):
    (cosine,), (tangent,) = primals, tangents
    return _arccosine_1(cosine), _arccosine_0(cosine) * tangent
