"""Ordinary differential equations of autonomous fields, differentiable in every mode.

A field is compiled once per structure: fields whose programs differ in their numbers
alone share one, and a field that changed never finds the program of what it was.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.derivable import call
from ssljax.analytic.inputs import (
    check_choice,
    check_positive,
    check_times,
    check_whole,
    floating,
)
from ssljax.analytic.precision import in_float64, known, widen
from ssljax.analytic.program import Program, trace

Params = Any
ADJOINTS = ("auto", "reverse", "forward", "both")


class Simulation(NamedTuple):
    """Records of a trajectory."""

    times: jax.Array
    """``[times]``, learning rate x step."""
    values: Any
    """``record(params)`` at these times, stacked on the first axis."""
    params: Params
    """Parameters at the last time."""
    error: jax.Array
    """Estimate of the largest integration error of ``values``; 0 for descent, which is
    its own exact map, and NaN where no estimate was asked for."""

    def __repr__(self) -> str:
        shapes = jax.tree.map(lambda x: list(np.shape(x)), self.values)
        what = shapes if isinstance(shapes, list) else "records"
        text = f"Simulation(values {what} at {len(self.times)} times"
        if known(self.times) and len(self.times):
            text += f" from {float(self.times[0]):g} to {float(self.times[-1]):g}"
        if known(self.error) and np.isfinite(self.error) and self.error > 0:
            text += f", error {float(self.error):.1g}"
        return text + ")"


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
    adjoint: str = "auto",
) -> Simulation:
    """Solve ``d state / dt = velocity(state)`` with adaptive steps.

    Args:
        velocity: autonomous vector field on a pytree of arrays, pure. Stop-gradients
            inside act on the gradients that it takes, not on derivatives of the flow.
        state: the start, at time 0.
        times: where to record, ``[times]``, ascending, from 0 on.
        record: function of a state to keep, pure; None keeps the state.
        rtol: relative tolerance of a step.
        atol: absolute tolerance of a step.
        max_steps: an error is raised where more are needed.
        stiff: use an implicit method, for rates that lie far apart.
        estimate_error: solve once more at a hundredfold tolerance and report the
            largest difference; 0 where so few steps are needed that both take the same.
        adjoint: how the solution is differentiated: ``"reverse"`` (for `jax.grad`),
            ``"forward"`` (for `jax.jvp`), ``"both"`` (for `jax.hessian`, at a higher
            price) or ``"auto"``, whichever of them is asked for.

    Returns:
        The records; differentiable in ``state``, ``times`` and everything that
        ``velocity`` and ``record`` close over, and mappable.

    Raises:
        ValueError: for times that are not ``[times]``, ascending and >= 0, for other
            bad arguments, for derivatives that the named adjoint does not have, and for
            a flow that cannot be followed to the last time; where JAX traces it,
            records that it does not reach are NaN instead.

    Source: Dormand and Prince's order 8 or Kvaerno's order 5 of diffrax (Kidger 2021).

    >>> decay = integrate(lambda x: -x, jnp.array(1.0), jnp.array([0.0, 1.0]))
    >>> round(float(decay.values[-1]), 9), bool(decay.error < 1e-6)
    (0.367879441, True)
    """
    check_choice("adjoint", adjoint, ADJOINTS)
    check_whole("max_steps", max_steps, 1)
    check_positive("rtol", rtol)
    check_positive("atol", atol)
    state = jax.tree.map(floating, widen(state))
    times = check_times("times", times)
    try:
        field = trace(velocity, state)
        keep = trace((lambda x: x) if record is None else record, state)
    except jax.errors.TracerArrayConversionError as error:
        raise ValueError(
            "velocity, loss and record must compute with jax.numpy, not with NumPy"
        ) from error
    _check_field(field, state)
    solver = _Solver(_Code(field), _Code(keep), max_steps, stiff, adjoint)
    count, until = len(times), _padded(times)
    inputs = (jax.tree.leaves(state), field.constants, keep.constants, until)
    values, last, reached = solver(inputs, rtol, atol)
    _require_end(until, reached, values, max_steps)
    error = jnp.asarray(jnp.nan)
    if estimate_error:
        still = jax.lax.stop_gradient(inputs)
        rough, _, _ = solver(still, 100.0 * rtol, 100.0 * atol)
        gaps = jax.tree.map(
            lambda a, b: jnp.max(jnp.abs(jax.lax.stop_gradient(a) - b)), values, rough
        )
        error = jnp.max(jnp.stack(jax.tree.leaves(gaps)))
    return Simulation(
        times,
        jax.tree.unflatten(keep.out_tree, [x[:count] for x in values]),
        jax.tree.unflatten(jax.tree.structure(state), last),
        error,
    )


def _check_field(field: Program, state: Params) -> None:
    """Raise unless a velocity has the shapes of the state."""
    wanted = [x.shape for x in jax.tree.leaves(state)]
    found = [x.aval.shape for x in field.code.outvars]  # type: ignore[attr-defined]
    if field.out_tree != jax.tree.structure(state) or found != wanted:
        raise ValueError(
            f"velocity must return what the state is, arrays {_lists(wanted)}, "
            f"got {_lists(found)}"
        )


def _lists(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(str(list(shape)) for shape in shapes)


def _padded(times: jax.Array) -> jax.Array:
    """Repeat the last time up to a power of two, so that few lengths are compiled."""
    size = 8
    while size < len(times):
        size *= 2
    return jnp.pad(times, (0, size - len(times)), mode="edge")


class _Code:
    """A program without its constants, equal to others of the same structure."""

    def __init__(self, program: Program) -> None:
        self.program = program._replace(constants=[])
        self.structure = program.structure

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Code) and self.structure == other.structure

    def __hash__(self) -> int:
        return hash(self.structure)

    def flat(self, leaves: list[jax.Array], constants: list[jax.Array]) -> list:
        return jax.tree.leaves(self.program(leaves, constants))


class _Solver(NamedTuple):
    """The solutions of all fields of one structure, as functions of flat arrays."""

    field: _Code
    record: _Code
    max_steps: int
    stiff: bool
    adjoint: str
    structure: Any = None

    @property
    def compiled(self) -> bool:
        return True

    def __call__(self, inputs: tuple, rtol: Any, atol: Any) -> Any:
        """Solve, in a way that is chosen when the derivatives asked for are known."""
        flat, structure = jax.tree.flatten((*inputs, rtol, atol))
        flat = [jnp.asarray(x) for x in flat]
        source = self._replace(structure=structure)
        shapes = jax.eval_shape(self._solve("reverse"), *inputs, rtol, atol)
        leaves, results = jax.tree.flatten(shapes)
        found = call(source, tuple((x.shape, x.dtype) for x in leaves), *flat)
        return jax.tree.unflatten(results, found)

    def build(self, modes: tuple[str, ...]) -> Callable:
        """Return the solution of flat arrays that has these derivatives."""
        solve = self._solve(_chosen(self.adjoint, modes))

        def of_flat(*flat: jax.Array) -> list[jax.Array]:
            inputs = jax.tree.unflatten(self.structure, flat)
            return jax.tree.leaves(solve(*inputs))

        return of_flat

    def _solve(self, adjoint: str) -> Callable:
        return _compiled(self.field, self.record, self.max_steps, self.stiff, adjoint)


def _chosen(adjoint: str, modes: tuple[str, ...]) -> str:
    """Return a way to differentiate that has these derivatives."""
    if not modes:
        return "reverse"
    if "vjp" not in modes:
        needed = "forward"
    else:
        needed = "reverse" if len(modes) == 1 else "both"
    if adjoint not in ("auto", "both", needed):
        raise ValueError(
            f'adjoint="{adjoint}" does not have these derivatives; '
            f'use adjoint="{needed}" or "auto"'
        )
    return needed if adjoint == "auto" else adjoint


@functools.lru_cache(maxsize=64)
def _compiled(
    field: _Code, record: _Code, max_steps: int, stiff: bool, adjoint: str
) -> Callable[..., Any]:
    """Return the compiled solution of all fields of one structure."""
    methods = {
        "reverse": diffrax.RecursiveCheckpointAdjoint,
        "forward": diffrax.ForwardMode,
        "both": diffrax.DirectAdjoint,
    }

    @jax.jit
    def solve(state, constants, of_record, times, rtol, atol):  # type: ignore[no-untyped-def]
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: field.flat(y, args)),  # type: ignore[arg-type]
            diffrax.Kvaerno5() if stiff else diffrax.Dopri8(),
            t0=0.0,
            t1=times[-1],
            dt0=None,
            y0=state,
            args=constants,
            saveat=diffrax.SaveAt(
                subs=[
                    diffrax.SubSaveAt(
                        ts=times, fn=lambda t, y, args: record.flat(y, of_record)
                    ),
                    diffrax.SubSaveAt(t1=True),
                ]
            ),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            max_steps=max_steps,
            adjoint=methods[adjoint](),
            throw=False,
        )
        values, last = found.ys  # type: ignore[misc]
        # Times not reached are infinite, and so are their records.
        reached = jnp.isfinite(found.ts[0])  # type: ignore[index]

        def or_nan(x: jax.Array) -> jax.Array:
            return jnp.where(reached.reshape(-1, *[1] * (x.ndim - 1)), x, jnp.nan)

        return jax.tree.map(or_nan, values), [x[0] for x in last], reached

    return solve


def _require_end(
    times: jax.Array, reached: jax.Array, values: list[jax.Array], max_steps: int
) -> None:
    """Raise one line for a flow that blew up or needs too many steps."""
    if not (known(reached) and known(times)):
        return
    missing = ~np.asarray(reached)
    if not missing.any():
        return
    first = int(missing.argmax())
    ends = np.asarray(times)
    since = f"after time {ends[first - 1]:.4g}" if first else "at the start"
    sizes = [np.abs(np.asarray(v[first - 1])).max() for v in values] if first else []
    state = f", where the largest record is {max(sizes):.3g}" if sizes else ""
    raise ValueError(
        f"the flow cannot be followed to time {ends[first]:.4g}: it blows up or needs "
        f"more than {max_steps} steps {since}{state}; ask for earlier times, "
        "stiff=True or a larger max_steps"
    )
