"""Gradient flow and gradient descent of any pure loss, with any record along the way.

Both differentiate the loss that they are given, so the very function that trains a
network can be passed. Time is in units of learning rate x step in both. Everything is
float64. Stop-gradients of the loss act on its gradient; the trajectory as a function of
its start and of everything that the loss closes over is differentiated in full.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.inputs import check_between, check_positive, check_whole, floating
from ssljax.analytic.ode import Params, Simulation, integrate
from ssljax.analytic.precision import in_float64, known, widen
from ssljax.analytic.program import open_stop_gradients

Transform = Callable[[Params, Params], Params]

__all__ = ["Simulation", "gradient_descent", "gradient_flow", "integrate"]


def gradient_flow(
    loss_of_params: Callable[[Params], jax.Array],
    params: Params,
    times: jax.Array,
    *,
    record: Callable[[Params], Any] | None = None,
    transform: Transform | None = None,
    rtol: float = 1e-9,
    atol: float = 1e-12,
    max_steps: int = 20_000,
    stiff: bool = False,
    estimate_error: bool = True,
    adjoint: str = "auto",
) -> Simulation:
    """Follow minus the gradient of a loss in continuous time.

    Args:
        loss_of_params: a pure scalar function; stop-gradients are respected.
        params: the start, a pytree of floating arrays.
        times: where to record, ``[times]``, ascending, from 0 on.
        record: what to keep of the parameters, e.g. a spectrum; None keeps them all.
        transform: ``transform(params, gradient)`` replaces the gradient: rates per
            parameter, preconditioners.
        rtol: relative tolerance of a step.
        atol: absolute tolerance of a step.
        max_steps: an error is raised where more are needed.
        stiff: use an implicit method.
        estimate_error: report the integration error, at the cost of a second solution.
        adjoint: see `integrate`.

    Returns:
        The records; differentiable in the start and in everything that the loss closes
        over, and mappable over seeds.

    Raises:
        ValueError: see `integrate`.

    >>> flow = gradient_flow(lambda w: w**2 / 2, jnp.array(2.0), jnp.array([0.0, 1.0]))
    >>> round(float(flow.values[-1]), 6)  # 2 exp(-1)
    0.735759
    """

    def velocity(current: Params) -> Params:
        gradient = jax.grad(loss_of_params)(current)
        if transform is not None:
            gradient = transform(current, gradient)
        return jax.tree.map(jnp.negative, gradient)

    return integrate(
        velocity,
        params,
        times,
        record=record,
        rtol=rtol,
        atol=atol,
        max_steps=max_steps,
        stiff=stiff,
        estimate_error=estimate_error,
        adjoint=adjoint,
    )


@in_float64
def gradient_descent(
    loss_of_params: Callable[..., jax.Array],
    params: Params,
    steps: int,
    learning_rate: float | jax.Array,
    momentum: float | jax.Array = 0.0,
    *,
    record: Callable[[Params], Any] | None = None,
    every: int = 1,
    transform: Transform | None = None,
    key: jax.Array | None = None,
) -> Simulation:
    """Iterate ``v <- momentum v + gradient; params <- params - rate v``.

    Args:
        loss_of_params: ``loss(params)``, or ``loss(params, key)`` where ``key`` is
            given: a loss on samples that are drawn anew in every step.
        params: the start, a pytree of floating arrays.
        steps: number of steps, a multiple of ``every``.
        learning_rate: size of a step, may be traced.
        momentum: of heavy-ball momentum, may be traced.
        record: what to keep of the parameters; None keeps them all.
        every: steps between two records; the start is the first record.
        transform: ``transform(params, gradient)`` replaces the gradient.
        key: folded with the number of each step.

    Returns:
        ``steps / every + 1`` records; differentiable in the start, the rates and
        everything that the loss closes over, and mappable over seeds.

    Raises:
        ValueError: if ``steps`` is not a positive multiple of ``every``, for a rate
            that is not positive or a momentum outside [0, 1), and for a descent that
            diverges; where JAX traces it, its last parameters are not finite instead.

    >>> path = gradient_descent(lambda w: 0.5 * w**2, jnp.array(2.0), 2, 0.5)
    >>> path.values.tolist(), path.times.tolist()
    ([2.0, 1.0, 0.5], [0.0, 0.5, 1.0])
    """
    if check_whole("steps", steps, 1) % check_whole("every", every, 1):
        raise ValueError(
            f"steps must be a positive multiple of every, got {steps} and {every}"
        )
    check_positive("learning_rate", learning_rate)
    check_between("momentum", momentum, 0, 1, "[)")
    keep = (lambda x: x) if record is None else record
    params = jax.tree.map(floating, widen(params))

    @open_stop_gradients
    def slope(params: Params, *given: Any) -> Params:
        gradient = jax.grad(loss_of_params)(params, *given)
        return gradient if transform is None else transform(params, gradient)

    def step(carry: tuple[Params, Params], number: jax.Array):
        params, velocity = carry
        given = () if key is None else (jax.random.fold_in(key, number),)
        gradient = slope(params, *given)
        velocity = jax.tree.map(lambda v, g: momentum * v + g, velocity, gradient)
        params = jax.tree.map(lambda p, v: p - learning_rate * v, params, velocity)
        return (params, velocity), None

    def stretch(carry: tuple[Params, Params], numbers: jax.Array):
        carry, _ = jax.lax.scan(step, carry, numbers)
        return carry, keep(carry[0])

    numbers = jnp.arange(steps).reshape(steps // every, every)
    start = (params, jax.tree.map(jnp.zeros_like, params))
    (last, _), values = jax.lax.scan(stretch, start, numbers)
    values = jax.tree.map(
        lambda first, rest: jnp.concatenate([jnp.asarray(first)[None], rest]),
        keep(params),
        values,
    )
    times = learning_rate * jnp.arange(0, steps + 1, every, dtype=jnp.float64)
    _require_finite(params, last, values, times)
    return Simulation(times, values, last, jnp.zeros(()))


def _require_finite(start: Params, last: Params, values: Any, times: jax.Array) -> None:
    """Raise one line for a descent that leaves the finite numbers."""
    if not all(known(x) for x in jax.tree.leaves((start, last, values, times))):
        return
    if _finite(last) or not _finite(start):
        return
    records = [np.asarray(x) for x in jax.tree.leaves(values)]
    finite = [_finite([x[i] for x in records]) for i in range(len(times))]
    first = finite.index(False) if False in finite else len(times)
    since = "from the start"
    if first:
        sizes = [np.abs(x[first - 1]).max(initial=0.0) for x in records]
        time, size = float(times[first - 1]), max(sizes, default=0.0)
        since = f"after time {time:.4g}, where the largest record is {size:.3g}"
    raise ValueError(
        f"the descent is not finite {since}; lower the learning rate or check the loss"
    )


def _finite(tree: Any) -> bool:
    return all(np.isfinite(np.asarray(x)).all() for x in jax.tree.leaves(tree))
