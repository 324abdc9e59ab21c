"""What every `solve_*` returns: the law of a spectrum over time, with its parameters.

A solution is a pytree whose leaves are its parameters, so it can be differentiated,
compiled and mapped over, stored and fitted like any other set of parameters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.fitting import Fit, fit
from ssljax.analytic.inputs import (
    check_choice,
    check_finite,
    check_not_negative,
    check_real,
    check_times,
)
from ssljax.analytic.ode import ADJOINTS, Simulation
from ssljax.analytic.pictures import data_frame, draw_modes, draw_points
from ssljax.analytic.precision import in_float64
from ssljax.analytic.text import described

Law = Callable[..., jax.Array]


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False, eq=False)
class Solution:
    """A solution that can be evaluated at any times.

    Attributes:
        params: name to array: the start, rates and hyper-parameters.
        law: ``law(params, times, **settings)``, values ``[times, ...]`` at ascending
            ``[times]``; a function of a module, so that solutions compare and compile
            alike.
        settings: the law's other arguments, not differentiable.
        title: of a plot, and in the text form.
        quantity: the values' name, for the axis of a plot.
        modes: one label per mode, or none.

    >>> solution = Solution({"rate": jnp.ones(1)}, lambda p, t: jnp.exp(
    ...     -p["rate"][None, :] * t[:, None]), title="decay")
    >>> solution
    Solution(decay: rate [1])
    >>> [round(float(x), 4) for x in solution(jnp.array([1.0, 0.0]))[:, 0]], float(
    ...     solution(0.0)[0])
    ([0.3679, 1.0], 1.0)
    """

    params: dict[str, Any]
    law: Law = field(metadata={"static": True})
    settings: tuple[tuple[str, Any], ...] = field(default=(), metadata={"static": True})
    title: str = field(default="solution", metadata={"static": True})
    quantity: str = field(default="eigenvalue", metadata={"static": True})
    modes: tuple[str, ...] = field(default=(), metadata={"static": True})

    def __post_init__(self) -> None:
        check_choice("adjoint", dict(self.settings).get("adjoint", "auto"), ADJOINTS)

    @in_float64
    def __call__(self, t: Any) -> jax.Array:
        """Return the values at times, in any order.

        Args:
            t: times >= 0 in units of learning rate x step, a number or of any shape.

        Returns:
            Values of shape ``[*t.shape, ...]``, for most solutions ``[..., modes]``.

        Raises:
            ValueError: for times that are not real, finite and >= 0.
        """
        t = check_real("t", t)
        check_not_negative("t", t)
        check_finite("t", t)
        # Of no times the value at one still has the shape.
        flat = t.ravel() if t.size else jnp.zeros(1)
        order = jnp.argsort(flat)
        values = self.law(self.params, flat[order], **dict(self.settings))
        values = values[jnp.argsort(order)][: t.size]
        return values.reshape(*t.shape, *values.shape[1:])

    def replace(self, **params: Any) -> "Solution":
        """Return the solution with other values of some parameters.

        Raises:
            ValueError: for a parameter that the solution does not have, and for another
                number of modes in some of those that had the same.
        """
        unknown = sorted(set(params) - set(self.params))
        if unknown:
            raise ValueError(
                f"{self.title} has no parameter {', '.join(unknown)}; it has "
                f"{', '.join(_names(self.params))}"
            )
        for name, value in params.items():
            old = np.shape(self.params[name])
            rest = [
                other
                for other in _names(self.params)
                if other not in params and np.shape(self.params[other]) == old
            ]
            if old and rest and value is not None and np.shape(value) != old:
                raise ValueError(
                    f"{name} must be {list(old)} as {rest[0]} is, got "
                    f"{list(np.shape(value))}; replace both for other modes"
                )
        return replace(self, params={**self.params, **params})

    def fit(
        self,
        times: Any,
        values: Any,
        *,
        free: Sequence[str] | None = None,
        noise: Any = None,
    ) -> Fit:
        """Find parameters from measured values: see `ssljax.analytic.fit`."""
        return fit(self, times, values, free=free, noise=noise)

    def plot(
        self,
        simulation: Any = None,
        *,
        times: Any = None,
        axes: Any = None,
        points: int = 25,
    ) -> Any:
        """Draw the modes as labelled lines, and a simulation as points.

        Args:
            simulation: a `Simulation` of such values, values ``[times, modes]`` at
                ``times``, or None.
            times: ``[times]`` of the lines, ascending; None takes 200 up to a
                simulation's end.
            axes: matplotlib axes; None makes them.
            points: number of the simulation's points drawn per mode.

        Returns:
            The axes.

        Raises:
            ValueError: without times and without a simulation, or for a simulation of
                other values.
        """
        if times is None:
            if not isinstance(simulation, Simulation):
                raise ValueError("plot needs times, or a Simulation to take them from")
            times = np.linspace(0.0, float(simulation.times[-1]), 200)
        with jax.enable_x64(True):
            times = np.asarray(check_times("times", times))
        values = np.asarray(self(times))
        if simulation is not None:
            _require_modes(values, simulation)
        axes = draw_modes(times, values, self.labels(values), axes=axes)
        if isinstance(simulation, Simulation):
            draw_points(axes, simulation.times, simulation.values, points=points)
        elif simulation is not None:
            draw_points(axes, times, simulation, points=points)
        axes.set_ylabel(self.quantity)
        axes.set_title(self.title)
        axes.legend()
        return axes

    def frame(self, times: Any) -> Any:
        """Return a pandas data frame, one row per time and one column per mode.

        Raises:
            ModuleNotFoundError: if pandas is not installed.
        """
        values = np.asarray(self(times))
        return data_frame(self.labels(np.atleast_2d(values)), times, values)

    def labels(self, values: np.ndarray) -> tuple[str, ...]:
        """Return a label for each column of the values."""
        count = int(np.prod(np.shape(values)[1:]))
        if len(self.modes) == count:
            return self.modes
        return tuple(f"mode {i + 1}" for i in range(count))

    def __repr__(self) -> str:
        ordered = {name: self.params[name] for name in _names(self.params)}
        return f"Solution({self.title}: {described(ordered)})"


def _require_modes(values: np.ndarray, simulation: Any) -> None:
    """Raise unless a simulation's values are of as many modes as a solution's."""
    found = simulation.values if isinstance(simulation, Simulation) else simulation
    if isinstance(simulation, Simulation):
        values = np.broadcast_to(values[:1], (len(simulation.times), *values.shape[1:]))
    shapes = [list(np.shape(x)) for x in jax.tree.leaves(found)]
    if len(shapes) != 1 or np.prod(shapes[0]) != values.size:
        raise ValueError(
            f"the simulation's values must be {list(values.shape)} as the solution's, "
            f"got {', '.join(map(str, shapes))}; see record="
        )


def as_numbers(params: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Return hyper-parameters as float64 arrays, parameters like any other.

    >>> with jax.enable_x64(True):
    ...     as_numbers({"alpha": 1})["alpha"].dtype
    dtype('float64')
    """
    return {name: jnp.asarray(value, jnp.float64) for name, value in params.items()}


def _names(params: Mapping[str, Any]) -> list[str]:
    """Return the names with the start first; JAX sorts the keys of a dict."""
    return sorted(params, key=lambda name: (name != "start", name))
