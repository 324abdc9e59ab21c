"""Gradient flow and gradient descent of any pure loss, with any record along the way.

Both differentiate the loss that they are given, so the very function that trains a
network can be passed. Time is in units of learning rate x step in both. Everything is
float64; to differentiate or compile a simulation as a whole, do so in
``with jax.enable_x64(True):``.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp

from ssljax.analytic.inputs import check_times
from ssljax.analytic.precision import in_float64, refuse_narrow_tracing, widen

Params = Any
Transform = Callable[[Params, Params], Params]


class Simulation(NamedTuple):
    """What was recorded of a trajectory."""

    times: jax.Array
    """``[times]``, learning rate x step."""
    values: Any
    """``record(params)`` at these times, stacked on the first axis."""
    params: Params
    """Parameters at the last time."""
    error: jax.Array
    """Estimate of the largest integration error of ``values``; 0 for descent, which is
    its own exact map, and NaN where no estimate was asked for."""


@in_float64
def integrate(
    velocity: Callable[[Params], Params],
    state: Params,
    times: jax.Array,
    *,
    record: Callable[[Params], Any] | None = None,
    rtol: float = 1e-9,
    atol: float = 1e-12,
    max_steps: int = 20_000,
    stiff: bool = False,
    estimate_error: bool = True,
) -> Simulation:
    """Solve ``d state / dt = velocity(state)`` with adaptive steps.

    Args:
        velocity: autonomous vector field on a pytree of arrays, pure. It is compiled
            once: the next call with the same function object and shapes costs only
            the integration.
        state: the start, at time 0.
        times: where to record, ``[times]``, ascending, from 0 on.
        record: what to keep of a state, pure; None keeps the state.
        rtol: relative tolerance of a step.
        atol: absolute tolerance of a step.
        max_steps: an error is raised where more are needed.
        stiff: use an implicit method, for rates that lie far apart.
        estimate_error: solve once more at a hundredfold tolerance and report the
            largest difference; 0 where so few steps are needed that both take the same.

    Returns:
        The records; differentiable in reverse mode in ``state``, ``times`` and whatever
        ``velocity`` closes over, and mappable.

    Raises:
        ValueError: for times that are not ``[times]``, ascending and >= 0, and inside
            of `jax.grad` or `jax.jit` while float64 is off.

    Source: Dormand and Prince's order 8 or Kvaerno's order 5 of diffrax (Kidger 2021).

    >>> decay = integrate(lambda x: -x, jnp.array(1.0), jnp.array([0.0, 1.0]))
    >>> round(float(decay.values[-1]), 9), bool(decay.error < 1e-6)
    (0.367879441, True)
    """
    refuse_narrow_tracing("integrate")
    state, times = _floating(state), check_times("times", times, ascending=True)
    # One program for both tolerances.
    solve = _compiled(velocity, record, max_steps, stiff)
    values, last = solve(state, times, rtol, atol)
    error = jnp.asarray(jnp.nan)
    if estimate_error:
        rough, _ = solve(state, times, 100.0 * rtol, 100.0 * atol)
        gaps = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)), values, rough)
        error = jnp.max(jnp.stack(jax.tree.leaves(gaps)))
    return Simulation(
        times, values, jax.tree.map(lambda x: x[0], last), jax.lax.stop_gradient(error)
    )


def _compiled(*made_of: Any) -> Callable[..., Any]:
    """Return the program of a vector field, the existing one if there is one."""
    try:
        return _kept_program(*made_of)
    except TypeError:  # a callable object without a hash
        return _program(*made_of)


def _program(
    velocity: Callable[[Params], Params],
    record: Callable[[Params], Any] | None,
    max_steps: int,
    stiff: bool,
) -> Callable[..., Any]:
    keep = (lambda x: x) if record is None else record

    @jax.jit
    def solve(state: Params, times: jax.Array, rtol: float, atol: float) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: velocity(y)),  # type: ignore[arg-type]
            diffrax.Kvaerno5() if stiff else diffrax.Dopri8(),
            t0=0.0,
            t1=times[-1],
            dt0=None,
            y0=state,
            saveat=diffrax.SaveAt(
                subs=[
                    diffrax.SubSaveAt(ts=times, fn=lambda t, y, args: keep(y)),
                    diffrax.SubSaveAt(t1=True),
                ]
            ),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            max_steps=max_steps,
        ).ys

    return solve


_kept_program = functools.lru_cache(maxsize=32)(_program)


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

    Returns:
        The records; differentiable in reverse mode in the start and in whatever the
        loss closes over, and mappable over seeds.

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
        whatever the loss closes over, and mappable over seeds.

    Raises:
        ValueError: if ``steps`` is not a positive multiple of ``every``, and inside of
            `jax.grad` or `jax.jit` while float64 is off.

    >>> path = gradient_descent(lambda w: 0.5 * w**2, jnp.array(2.0), 2, 0.5)
    >>> path.values.tolist(), path.times.tolist()
    ([2.0, 1.0, 0.5], [0.0, 0.5, 1.0])
    """
    refuse_narrow_tracing("gradient_descent")
    if every < 1 or steps < 1 or steps % every:
        raise ValueError(
            f"steps must be a positive multiple of every, got {steps} and {every}"
        )
    keep = (lambda x: x) if record is None else record
    params = _floating(params)

    def step(carry: tuple[Params, Params], number: jax.Array):
        params, velocity = carry
        given = () if key is None else (jax.random.fold_in(key, number),)
        gradient = jax.grad(loss_of_params)(params, *given)
        if transform is not None:
            gradient = transform(params, gradient)
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
    return Simulation(times, values, last, jnp.zeros(()))


def _floating(params: Params) -> Params:
    """Return Python numbers and float32 arrays as float64 arrays."""
    return jax.tree.map(jnp.asarray, widen(params))
