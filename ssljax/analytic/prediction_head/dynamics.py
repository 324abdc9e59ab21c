"""How encoder and head move: descent under any rule, the flow, and a closed form."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ssljax.analytic.inputs import check_between, check_rate
from ssljax.analytic.precision import in_float64
from ssljax.analytic.prediction_head.population import (
    HeadParams,
    PatchData,
    check_head,
    check_neurons,
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

    def check(self) -> None:
        """Raise for negative rates and for switches outside of [0, 1]."""
        check_rate("rate_ratio", self.rate_ratio)
        for name in ("trainable", "tied", "stop_gradient"):
            check_between(name, getattr(self, name), 0, 1)
        check_between("target_decay", self.target_decay, 0, 1, "[)")


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
        rules. Differentiable in the start, the rates and what the loss closes over;
        the rule's stop-gradient acts on each step's gradient alone.

    Raises:
        ValueError: for a start or a rule that cannot be, for what `gradient_descent`
            refuses, and for a descent that leaves the finite numbers.

    >>> from ssljax.analytic.prediction_head import patch_loss, population_batch
    >>> batch = population_batch(PatchData())
    >>> start = HeadParams(jnp.eye(2, 4) + 0.5, jnp.eye(2))
    >>> path = descend(lambda p, target: patch_loss(p, batch, target=target),
    ...     start, learning_rate=0.01, steps=2)
    >>> path.values.w.shape
    (3, 2, 4)
    """

    rule.check()
    params = HeadParams(*params)
    check_head(params)

    # The encoder is its own target unless the target is known to lag behind.
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
    adjoint: str = "auto",
) -> Simulation:
    """Follow the population loss's gradient flow, training off-diagonal entries.

    Args:
        params: the start.
        times: where to record, ``[times]``, learning rate x step, ascending.
        data: the distribution of the samples.
        rate_ratio: learning rate of the head over that of the encoder.
        rtol: relative tolerance of an integration step.
        adjoint: derivatives to support: see `ssljax.analytic.integrate`.

    Returns:
        Records of `HeadParams`. Their derivatives are those of the flow, in full: the
        loss's stop-gradient only acts on the gradient that the flow follows.

    Raises:
        ValueError: for a start that cannot be, a negative ratio, and what `integrate`
            refuses.

    Source: Wen and Li, NeurIPS 2022, in the limit of small rates and large batches.

    >>> start = HeadParams(jnp.eye(2, 4) + 0.5, jnp.eye(2))
    >>> flow = head_flow(start, jnp.array([0.0, 1.0]), data=PatchData(), rate_ratio=0.3)
    >>> flow.values.head.shape
    (2, 2, 2)
    """
    rule = HeadRule(rate_ratio=rate_ratio)
    rule.check()
    params = HeadParams(*params)
    check_neurons(params.w, data)
    check_head(params)
    return gradient_flow(
        lambda p: population_loss(p, data),
        params,
        times,
        transform=lambda p, gradient: rule.scale(gradient),
        rtol=rtol,
        estimate_error=False,
        adjoint=adjoint,
    )
