"""Pure functions as programs (jaxprs): stop-gradients opened, structures compared.

A velocity such as minus the gradient of BYOL's loss stops gradients *inside* of one
step. The flow that it generates is still an ordinary function of its start and its
hyper-parameters, and its derivative has to go through everything. JAX cannot tell the
two apart: a stop-gradient blocks every outer derivative as well. It survives, however,
as a primitive in the program of the velocity, where it can be replaced by the identity
after the inner gradient has been taken.
"""

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.core
import numpy as np
from jax.extend import core
from jax.extend.core.primitives import stop_gradient_p

from ssljax.analytic.precision import known


class Program(NamedTuple):
    """A function of one pytree as a jaxpr, apart from the arrays that it closes over.

    Attributes:
        code: the jaxpr; its first arguments are the constants.
        constants: arrays that the function closes over, which may be traced.
        out_tree: the structure of the results.
    """

    code: core.Jaxpr
    constants: list[jax.Array]
    out_tree: Any

    def __call__(self, argument: Any, constants: Any = None) -> Any:
        """Evaluate the program, with these constants in place of its own."""
        constants = self.constants if constants is None else constants
        function = core.jaxpr_as_fun(core.ClosedJaxpr(self.code, list(constants)))
        return jax.tree.unflatten(self.out_tree, function(*jax.tree.leaves(argument)))

    @property
    def structure(self) -> Hashable:
        """Return a key that is equal for programs that compute the same thing."""
        return (_key_of_code(self.code), self.out_tree)


def trace(function: Callable[[Any], Any], argument: Any) -> Program:
    """Trace a pure function of one pytree and open its stop-gradients.

    Args:
        function: pure; gradients that it takes inside keep their stop-gradients.
        argument: a pytree of arrays, of which shapes and dtypes matter alone.

    Returns:
        The program, with the function's values and full derivatives.

    Raises:
        ValueError: if a stop-gradient is hidden inside of a function with a derivative
            rule of its own, which the rule would ignore.

    >>> def semi(x):
    ...     return jax.grad(lambda x: x * jax.lax.stop_gradient(x))(x)  # x
    >>> jax.grad(semi)(2.0).item(), jax.grad(trace(semi, 2.0))(2.0).item()
    (0.0, 1.0)
    """
    closed, shape = jax.make_jaxpr(function, return_shape=True)(argument)
    return Program(_opened(closed.jaxpr), closed.consts, jax.tree.structure(shape))


def open_stop_gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function with the same values that is differentiated in full.

    Args:
        function: pure, of pytrees of arrays.

    Returns:
        The function; stop-gradients act on the derivatives taken inside of it, not on
        those of the whole.

    Raises:
        ValueError: see `trace`.

    >>> semi = lambda a, x: jax.grad(lambda x: x * jax.lax.stop_gradient(a * x))(x)
    >>> jax.grad(open_stop_gradients(semi), argnums=(0, 1))(3.0, 2.0)
    (Array(2., dtype=float32, weak_type=True), Array(3., dtype=float32, weak_type=True))
    """

    def opened(*arguments: Any) -> Any:
        return trace(lambda packed: function(*packed), arguments)(arguments)

    return opened


def _opened(code: core.Jaxpr) -> core.Jaxpr:
    """Return the jaxpr without stop-gradients and without unused equations."""
    renamed: dict[core.Var, Any] = {}

    def resolved(atom: Any) -> Any:
        while not isinstance(atom, core.Literal) and atom in renamed:
            atom = renamed[atom]
        return atom

    kept, used = [], _used(code)
    for equation in used:
        invars = [resolved(atom) for atom in equation.invars]
        if equation.primitive is stop_gradient_p and not _guards(equation, used):
            renamed[equation.outvars[0]] = invars[0]
            continue
        params = {k: _opened_parameter(v) for k, v in equation.params.items()}
        changed = any(params[k] is not v for k, v in equation.params.items())
        if changed and equation.primitive.name.startswith("custom_"):
            raise ValueError(
                "cannot differentiate through a stop-gradient inside of a function "
                f"with its own derivative rule ({equation.primitive.name}); move the "
                "stop-gradient out of it, or differentiate by finite differences"
            )
        kept.append(equation.replace(invars=invars, params=params))
    return code.replace(eqns=kept, outvars=[resolved(v) for v in code.outvars])


def _guards(stop: core.JaxprEqn, used: list[core.JaxprEqn]) -> bool:
    """Return whether a stop-gradient is there since what follows has no derivative.

    JAX has no reverse mode of functions with a batching rule of their own.
    """
    (out,) = stop.outvars
    following = [equation for equation in used if out in equation.invars]
    return bool(following) and all(
        equation.primitive.name == "custom_vmap_call" for equation in following
    )


def _used(code: core.Jaxpr) -> list[core.JaxprEqn]:
    """Return the equations that the results depend on, in order."""
    needed = {v for v in code.outvars if not isinstance(v, core.Literal)}
    used = []
    for equation in reversed(code.eqns):
        if equation.effects or needed.intersection(equation.outvars):
            used.append(equation)
            needed.update(v for v in equation.invars if not isinstance(v, core.Literal))
    return used[::-1]


def _opened_parameter(value: Any) -> Any:
    """Open the jaxprs in an equation's parameter; the same object if there are none."""
    # Since JAX 0.11 a jaxpr with its constants is a jaxpr, and its own `jaxpr`.
    if isinstance(value, core.ClosedJaxpr) and value.jaxpr is not value:
        code = _opened(value.jaxpr) if _stops(value.jaxpr) else value.jaxpr
        return value if code is value.jaxpr else value.replace(jaxpr=code)
    if isinstance(value, core.Jaxpr):
        return _opened(value) if _stops(value) else value
    if isinstance(value, tuple | list):
        parts = [_opened_parameter(v) for v in value]
        same = all(a is b for a, b in zip(parts, value, strict=True))
        return value if same else type(value)(parts)
    return value


def _stops(code: core.Jaxpr) -> bool:
    """Return whether there is a stop-gradient among the equations that matter."""
    return any(
        equation.primitive is stop_gradient_p
        or any(_stops(inner) for inner in _inner(list(equation.params.values())))
        for equation in _used(code)
    )


def _inner(value: Any) -> list[core.Jaxpr]:
    if isinstance(value, core.ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, core.Jaxpr):
        return [value]
    if isinstance(value, tuple | list):
        return [code for part in value for code in _inner(part)]
    return []


def _key(value: Any, names: dict[core.Var, int]) -> Hashable:
    """Return a hashable that is equal for parts of a jaxpr with equal meaning."""
    if isinstance(value, core.ClosedJaxpr | core.Jaxpr):
        constants = tuple(_key(c, {}) for c in getattr(value, "consts", ()))
        code = value.jaxpr if isinstance(value, core.ClosedJaxpr) else value
        return (_key_of_code(code), constants)
    if isinstance(value, core.Literal):
        return ("literal", str(value.aval), np.asarray(value.val).tobytes())
    if isinstance(value, core.Var):
        return (names.setdefault(value, len(names)), value.aval)
    if isinstance(value, dict):
        return tuple((k, _key(v, names)) for k, v in sorted(value.items()))
    if isinstance(value, tuple | list):
        return tuple(_key(v, names) for v in value)
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        if known(value):
            seen = np.asarray(value)
            return (str(seen.dtype), seen.shape, seen.tobytes())
    try:
        hash(value)
    except TypeError:
        return _Itself(value)
    return ("value", value)


def _key_of_code(code: core.Jaxpr) -> Hashable:
    """Return the key of a jaxpr, whatever its constants are."""
    names: dict[core.Var, int] = {}
    inputs = tuple(_key(v, names) for v in [*code.constvars, *code.invars])
    body = tuple(
        (
            equation.primitive.name,
            tuple(_key(v, names) for v in equation.invars),
            tuple(_key(v, names) for v in equation.outvars),
            _key(equation.params, names),
        )
        for equation in code.eqns
    )
    return (inputs, body, tuple(_key(v, names) for v in code.outvars))


class _Itself:
    """Compares by identity, and keeps its object alive so that ids are not reused."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)
