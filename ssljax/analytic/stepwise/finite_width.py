"""How far the tangent kernel of a wide network moves while Barlow Twins trains it.

Fleissner, Anil and Ghoshdastidar, "Infinite width limits of self supervised neural
networks", 2024 (arXiv 2411.11176), prove for one hidden layer that the kernel becomes
constant as the width M grows. The bound and the orders here are derived here:

- A flow stays in a ball that does not grow with M, so the kernel of a smooth activation
  changes by no more than the order ``1 / sqrt(M)`` (`kernel_change_bound`).
- What it does is smaller, ``1 / M``: each unit moves by ``a_i / sqrt(M)`` times a
  vector, and the signs of ``a_i`` cancel in the sum over units.
- A rectifier's kernel has kinks in it, of which an input crosses those of ``sqrt(M)``
  units. Random signs would make that ``M^(-3/4)``. But above its kink a unit is also
  moved by that input itself, so it comes down faster than it goes up, and more units
  are switched off than on: ``1 / sqrt(M)`` at last. The surplus is small, and from 32
  to 4,096 units all three together look like ``M^(-0.8)``.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from ssljax.analytic.inputs import (
    check_finite,
    check_not_negative,
    check_pairs,
    check_shape,
)
from ssljax.analytic.ntk import empirical_ntk
from ssljax.analytic.ode import Simulation
from ssljax.analytic.precision import in_float64
from ssljax.analytic.simulate import gradient_descent
from ssljax.analytic.text import short

Loss = Callable[[jax.Array, jax.Array], jax.Array]
Apply = Callable[[Any, jax.Array], jax.Array]

# The largest slope of tanh's slope, 4 / (3 sqrt 3).
_BEND = 0.769800358919501


class KernelDrift(NamedTuple):
    """A tangent kernel along a training run."""

    frobenius: jax.Array
    """``|K(t) - K(0)|_F / |K(0)|_F``, ``[times]``."""
    operator: jax.Array
    """The same in the operator norm."""
    distance: jax.Array
    """``|theta(t) - theta(0)|``, over all parameters."""
    loss: jax.Array
    """The training loss."""
    size: jax.Array
    """``|K(0)|_F``, one number."""

    def __repr__(self) -> str:
        return short(self)


def tanh_network(params: Sequence[jax.Array], x: jax.Array) -> jax.Array:
    """Apply ``A tanh(B x / sqrt(m)) / sqrt(M)``, the smooth twin of `relu_network`.

    Args:
        params: B ``[M, m]`` and A ``[D, M]``, as `relu_network_init` draws them.
        x: inputs ``[N, m]``.

    Returns:
        Embeddings, ``[N, D]``.

    >>> tanh_network([jnp.eye(2), jnp.eye(2)], jnp.zeros((1, 2))).tolist()
    [[0.0, 0.0]]
    """
    hidden, readout = params
    features = jnp.tanh(x @ hidden.T / jnp.sqrt(hidden.shape[1]))
    return features @ readout.T / jnp.sqrt(readout.shape[1])


def linearized_network(apply: Apply, start: Any) -> Apply:
    """Return the network that is linear in its parameters and touches another one.

    Under `losses.linearized_barlow_twins` it follows the stepwise law of `kernel_steps`
    exactly, with the tangent kernel at the start.

    Args:
        apply: ``apply(params, x)``, embeddings ``[N, D]``.
        start: parameters at which both agree to first order.

    Returns:
        ``f(start, x) + grad f(start, x) (params - start)`` as a function of params, x.

    Source: Lee et al., "Wide neural networks of any depth evolve as linear models under
    gradient descent", NeurIPS 2019.

    >>> square = linearized_network(lambda p, x: p**2 * x, jnp.array(1.0))
    >>> float(square(jnp.array(1.5), jnp.array(1.0)))  # 1 + 2 * 0.5
    2.0
    """

    def linear(params: Any, x: jax.Array) -> jax.Array:
        # In the precision of the parameters, whichever that of the start is.
        origin = jax.tree.map(lambda a, p: jnp.asarray(a, p.dtype), start, params)
        step = jax.tree.map(jnp.subtract, params, origin)
        value, slope = jax.jvp(lambda p: apply(p, x), (origin,), (step,))
        return value + slope

    return linear


@in_float64
def kernel_drift(
    loss: Loss,
    apply: Apply,
    start: Any,
    x1: ArrayLike,
    x2: ArrayLike,
    *,
    steps: int,
    learning_rate: float | jax.Array,
    every: int = 1,
) -> tuple[KernelDrift, Simulation]:
    """Train a network by gradient descent and measure its tangent kernel on the way.

    Args:
        loss: of both views' embeddings, as those of `ssljax.losses`.
        apply: ``apply(params, x)``, embeddings ``[N, D]``.
        start: parameters, a pytree of floating arrays.
        x1: inputs of the first view, ``[n, m]``.
        x2: inputs of the second view, ``[n, m]``.
        steps: number of steps, a multiple of ``every``.
        learning_rate: size of a step.
        every: steps between two measurements; the start is the first.

    Returns:
        The change of the kernel of all 2n inputs, averaged over outputs
        (`empirical_ntk`), and the run itself, whose values are the embeddings ``[times,
        2n, D]``.

    Raises:
        ValueError: for other shapes, and see `gradient_descent`.

    Source: Fleissner et al., 2024, who prove that the change vanishes with the width.

    >>> x, start = jnp.eye(2), [jnp.eye(2), jnp.eye(2)]
    >>> square = lambda z1, z2: jnp.sum((z1 - 1.0) ** 2 + (z2 - 1.0) ** 2)
    >>> drift, _ = kernel_drift(
    ...     square, tanh_network, start, x, x, steps=1, learning_rate=0.1)
    >>> drift.frobenius.round(3).tolist()
    [0.0, 0.296]
    """
    x1, x2 = check_pairs(x1, x2)
    count, x = len(x1), jnp.concatenate([x1, x2])
    start = jax.tree.map(jnp.asarray, start)

    def of_params(params: Any) -> jax.Array:
        found = apply(params, x)
        return loss(found[:count], found[count:])

    def record(params: Any) -> tuple[jax.Array, ...]:
        squares = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), params, start)
        distance = _root(sum(jax.tree.leaves(squares), jnp.zeros(())))
        found = empirical_ntk(apply, params, x), distance, of_params(params)
        return *found, apply(params, x)

    run = gradient_descent(
        of_params, start, steps, learning_rate, record=record, every=every
    )
    kernels, distance, losses, embeddings = run.values
    change, size = kernels[1:] - kernels[:1], _root(jnp.sum(kernels[0] ** 2))
    largest = _operator_norm(change) / _operator_norm(kernels[0])
    # Nothing has changed at the start, where equal eigenvalues have no derivative.
    drift = KernelDrift(
        jnp.pad(_root(jnp.sum(change**2, axis=(1, 2))) / size, (1, 0)),
        jnp.pad(largest, (1, 0)),
        distance,
        losses,
        size,
    )
    return drift, run._replace(values=embeddings)


@in_float64
def kernel_change_bound(
    start: Sequence[jax.Array], x: ArrayLike, *, distance: ArrayLike
) -> jax.Array:
    """Bound the change of a `tanh_network`'s tangent kernel by its weights' movement.

    A flow of a loss that is never negative moves within a time t by at most ``r =
    sqrt(t L(0))``, since ``int |grad L|^2 dt <= L(0)``: a ball that does not grow with
    the width M. The kernel is ``H^T H + P o T^T T``, H the features over ``sqrt(M)``, P
    the inputs' products over m, and row i of T the slopes of unit i times ``|a_i| /
    sqrt(M D)``. With ``|X|`` the operator norm of the inputs over ``sqrt(m)`` and c = 4
    / (3 sqrt 3) the largest second derivative of tanh, ``|dH|_F <= dH = r |X| /
    sqrt(M)`` and ``|dT|_F <= dT = r sqrt((N + c^2 max |a_i|^2 |X|^2) / (M D))``.

    Args:
        start: B ``[M, m]`` and A ``[D, M]``.
        x: inputs ``[N, m]``.
        distance: r, of all parameters together, >= 0.

    Returns:
        ``(2 |H| + dH) dH + max P (2 |T| + dT) dT >= |K(t) - K(0)|_F``. From a normal
        start it falls as ``1 / sqrt(M)``, but for the logarithm in ``max |a_i|``.

    Raises:
        ValueError: for other shapes, numbers that are not finite, or a negative
            distance.

    Source: derived; the order is that proved by Fleissner et al., 2024. What the kernel
    really does is smaller, of the order ``1 / M``, since the signs of ``a_i`` cancel.

    >>> start = [jnp.ones((4, 2)), jnp.ones((1, 4))]
    >>> float(kernel_change_bound(start, jnp.eye(2), distance=0.0))
    0.0
    """
    hidden, readout, x = _two_layers(start, x)
    check_not_negative("distance", distance)
    units, fan_in = hidden.shape
    r = jnp.asarray(distance, float)
    z = hidden @ x.T / jnp.sqrt(fan_in)
    sizes = jnp.sum(readout**2, axis=0)
    outputs = len(readout)
    features = jnp.tanh(z) / jnp.sqrt(units)
    slopes = jnp.sqrt(sizes / (units * outputs))[:, None] * (1.0 - jnp.tanh(z) ** 2)
    products = x @ x.T / fan_in
    norm = _largest(products)
    of_features = r * jnp.sqrt(norm / units)
    bend = _BEND**2 * jnp.max(sizes) * norm
    of_slopes = r * jnp.sqrt((len(x) + bend) / (units * outputs))

    def gram(factor: jax.Array, change: jax.Array) -> jax.Array:
        return (2.0 * jnp.sqrt(_largest(factor.T @ factor)) + change) * change

    largest = jnp.max(jnp.diagonal(products))
    return gram(features, of_features) + largest * gram(slopes, of_slopes)


def _two_layers(
    params: Sequence[jax.Array], x: ArrayLike
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return B, A and inputs, and raise unless they fit each other."""
    if len(params) != 2:
        raise ValueError(f"params must be the two layers B and A, got {len(params)}")
    hidden = check_shape("B", params[0], "M", "m")
    readout = check_shape("A", params[1], "D", hidden.shape[0])
    x = check_shape("x", x, "N", hidden.shape[1])
    for name, values in (("B", hidden), ("A", readout), ("x", x)):
        check_finite(name, values)
    return hidden, readout, x


def _root(square: jax.Array) -> jax.Array:
    """Return the root, with slope zero at zero; of NaN it is NaN."""
    nothing = square == 0
    return jnp.where(nothing, 0.0, jnp.sqrt(jnp.where(nothing, 1.0, square)))


def _operator_norm(matrix: jax.Array) -> jax.Array:
    """Return the largest absolute eigenvalue of symmetric matrices."""
    values = jnp.linalg.eigvalsh(matrix)
    return jnp.maximum(values[..., -1], -values[..., 0])


def _largest(matrix: jax.Array) -> jax.Array:
    """Return the largest eigenvalue of a matrix that is not negative."""
    return jnp.linalg.eigvalsh(matrix)[-1]
