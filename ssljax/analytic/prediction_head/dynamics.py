"""How encoder and head move: descent under any rule, the flow, and a closed form."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.inputs import check_times
from ssljax.analytic.precision import in_float64
from ssljax.analytic.prediction_head.population import (
    HeadParams,
    PatchData,
    check_weights,
    population_loss,
)
from ssljax.analytic.simulate import Simulation, gradient_descent, gradient_flow


class HeadRule(NamedTuple):
    """What is trained and how; every entry may be traced, so rules can be mapped."""

    rate_ratio: Any = 0.3
    """Learning rate of the head over that of the encoder; 0 freezes it."""
    trainable: Any = ((0.0, 1.0), (1.0, 0.0))
    """1 where an entry of the head is trained; by default off the diagonal."""
    tied: Any = 0.0
    """1: the head stays symmetric, both entries take the mean of their gradients."""
    stop_gradient: Any = 1.0
    """0: gradients also flow through the target branch."""
    target_decay: Any = 0.0
    """Share of the old target that a step keeps; 0: the target is the encoder."""

    def scale(self, gradient: HeadParams) -> HeadParams:
        """Return the gradient with rates and masks applied."""
        head = gradient.head
        head = head + self.tied * ((head + jnp.swapaxes(head, -1, -2)) / 2 - head)
        mask = jnp.asarray(self.trainable, head.dtype)
        return HeadParams(gradient.w, self.rate_ratio * mask * head)


_DEFAULT = HeadRule()


@in_float64
def descend(
    loss: Callable[..., jax.Array],
    params: HeadParams,
    *,
    learning_rate: float | jax.Array,
    steps: int,
    every: int = 1,
    rule: HeadRule = _DEFAULT,
    key: jax.Array | None = None,
) -> Simulation:
    """Run plain gradient descent on encoder and head.

    Args:
        loss: ``loss(params, target)``, or ``loss(params, target, key)`` where ``key``
            is given; `population_loss` and `patch_loss` are such, with their data.
        params: the start.
        learning_rate: of the encoder.
        steps: number of steps, a multiple of ``every``.
        every: steps between two records.
        rule: what is trained, and towards which target.
        key: folded with the number of each step.

    Returns:
        Records of `HeadParams` at times learning rate x step; mappable over starts and
        rules.

    >>> from ssljax.analytic.prediction_head import patch_loss, population_batch
    >>> batch = population_batch(PatchData())
    >>> start = HeadParams(jnp.eye(2, 4) + 0.5, jnp.eye(2))
    >>> path = descend(lambda p, target: patch_loss(p, batch, target=target),
    ...     start, learning_rate=0.01, steps=2)
    >>> path.values.w.shape
    (3, 2, 4)
    """

    # The encoder itself is the target unless that is known to lag behind.
    lagging = isinstance(rule.target_decay, jax.Array) or rule.target_decay != 0.0

    def loss_of_state(state: Any, *given: jax.Array) -> jax.Array:
        current, target = state if lagging else (state, state.w)
        target = jax.lax.stop_gradient(target)
        target = jnp.where(rule.stop_gradient == 1.0, target, current.w)
        return loss(current, target, *given)

    def transform(state: Any, gradient: Any) -> Any:
        if not lagging:
            return rule.scale(gradient)
        (current, target), scaled = state, rule.scale(gradient[0])
        moved = current.w - learning_rate * scaled.w
        # As a gradient, so that one step of descent is the moving average.
        return scaled, (1.0 - rule.target_decay) * (target - moved) / learning_rate

    found = gradient_descent(
        loss_of_state,
        (params, params.w) if lagging else params,
        steps,
        learning_rate,
        record=(lambda state: state[0]) if lagging else None,
        every=every,
        transform=transform,
        key=key,
    )
    return found._replace(params=found.params[0]) if lagging else found


@in_float64
def head_flow(
    params: HeadParams,
    times: jax.Array,
    *,
    data: PatchData,
    rate_ratio: float | jax.Array,
    rtol: float = 1e-9,
) -> Simulation:
    """Follow the population loss's gradient flow, training off-diagonal entries.

    Args:
        params: the start.
        times: where to record, ``[times]``, learning rate x step, ascending.
        data: the distribution of the samples.
        rate_ratio: learning rate of the head over that of the encoder.
        rtol: relative tolerance of an integration step.

    Returns:
        Records of `HeadParams`.

    Source: Wen and Li, NeurIPS 2022, in the limit of small rates and large batches.
    """
    rule = HeadRule(rate_ratio=rate_ratio)
    return gradient_flow(
        lambda p: population_loss(p, data),
        params,
        times,
        transform=lambda p, gradient: rule.scale(gradient),
        rtol=rtol,
        estimate_error=False,
    )


@in_float64
def solve_frozen_head(
    w: jax.Array, data: PatchData
) -> Callable[[jax.Array], jax.Array]:
    """Solve the gradient flow while the head stays the identity.

    The neurons are independent then, and each keeps its length. Along a path
    ``a_l(s) = a_l(0) (1 - 12 cross alpha_l^6 a_l(0)^4 s)^(-1/4)``, so the feature with
    the largest ``alpha_l^6 a_l(0)^4`` wins in each neuron, whatever the other neurons
    do; the clock is ``dt/ds = V^2 / N`` (variance, noise).

    Args:
        w: start, ``[outputs, d]``; features first, no entry of theirs 0.
        data: the distribution of the samples.

    Returns:
        ``solution(t)``: ``<w_j, v_l>`` at times ``t`` (``[times]``, learning rate x
        step), ``[times, outputs * features]``, features fastest. Quadrature and
        bisection: any time costs the same; differentiable.

    Source: the model of Wen and Li, NeurIPS 2022, without prediction head.

    >>> w = jnp.array([[0.1, 0.1, 1.0]])
    >>> solve_frozen_head(w, PatchData())(jnp.array([0.0]))[0].round(6).tolist()
    [0.1, 0.1]
    """
    w = check_weights(w, data)
    return lambda t: _frozen_alignments(w, check_times("t", t), data)


# Compiled once for all solutions of a distribution; no loss is called in it.
@functools.partial(jax.jit, static_argnames="data")
def _frozen_alignments(w: jax.Array, t: jax.Array, data: PatchData) -> jax.Array:
    """Return ``<w_j, v_l>`` at all times, ``[times, outputs * features]``."""

    def neuron(w: jax.Array) -> jax.Array:
        start = w[: len(data.strengths)]
        return _frozen_neuron(start, jnp.sum(w**2), t, data)

    return jnp.swapaxes(jax.vmap(neuron)(w), 0, 1).reshape(len(t), -1)


def _frozen_neuron(
    start: jax.Array, length: jax.Array, t: jax.Array, data: PatchData
) -> jax.Array:
    """Return one neuron's alignments, ``[times, features]``."""
    constants, sixth = data.constants, jnp.asarray(data.strengths) ** 6
    drive = sixth * start**4
    winner = jnp.argmax(drive)
    first = start[winner] ** 2

    def along(squared: jax.Array) -> jax.Array:
        """Return alignments at the winner's square, ``[..., features]``."""
        progress = 1 - (first / squared[..., None]) ** 2
        share = (drive / drive[winner]).reshape((1,) * squared.ndim + (-1,))
        return start.reshape(share.shape) / (1 - share * progress) ** 0.25

    # The winner's square when no noise is left bounds it.
    stopped = jax.lax.stop_gradient(length)
    limit = _bisect(
        lambda x: jnp.sum(jax.lax.stop_gradient(along(x)) ** 2) < stopped,
        jax.lax.stop_gradient(first),
        stopped,
    )

    def pace(y: jax.Array) -> jax.Array:
        """Return ``dt/dy`` in the logit y of the winner's square over its limit."""
        share = jax.nn.sigmoid(y)
        alignments = along(limit * share)
        rest = length - jnp.sum(alignments**2, axis=-1)
        rest = jnp.maximum(rest, 1e-14) * data.noise**2
        noise = 15 * constants.noise * rest**3
        sixths = sixth.reshape((1,) * share.ndim + (-1,)) * alignments**6
        variance = constants.feature * jnp.sum(sixths, axis=-1) + noise
        velocity = 3 * constants.cross * sixth[winner] * noise / variance**2
        # d(a^2)/dt = 2 velocity a^6 and d(a^2)/dy = a^2 (1 - share).
        return (1 - share) / (2 * velocity * (limit * share) ** 2)

    begin = jnp.log(first / (limit - first))

    def clock(y: jax.Array) -> jax.Array:
        width = (y - begin) / _CELLS
        nodes = begin + width[..., None] * jnp.asarray(_NODES).reshape(
            (1,) * y.ndim + (-1,)
        )
        weights = jnp.asarray(_WEIGHTS).reshape((1,) * y.ndim + (-1,))
        return jnp.sum(pace(nodes) * weights, axis=-1) * width

    low = jnp.broadcast_to(begin, t.shape)
    found = jax.lax.stop_gradient(_bisect(lambda y: clock(y) < t, low, low + 30.0))
    # One step of Newton's method carries the derivatives.
    found = found - (clock(found) - t) / pace(found)
    return along(limit * jax.nn.sigmoid(found))


def _bisect(
    below: Callable[[jax.Array], jax.Array], low: jax.Array, high: jax.Array
) -> jax.Array:
    """Find where ``below`` turns from true to false."""

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]):
        low, high = bounds
        middle = (low + high) / 2
        is_below = below(middle)
        return jnp.where(is_below, middle, low), jnp.where(is_below, high, middle)

    low, high = jax.lax.fori_loop(0, 60, halve, (low, high))
    return (low + high) / 2


# Gauss and Legendre's rule in each of some cells of unit width.
_CELLS = 40
_POINTS, _RULE = np.polynomial.legendre.leggauss(12)
_NODES = (np.arange(_CELLS)[:, None] + (_POINTS[None, :] + 1) / 2).reshape(-1)
_WEIGHTS = np.tile(_RULE / 2, _CELLS)
