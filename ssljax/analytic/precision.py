"""Double precision for theory, whatever the caller's default is."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.core
import jax.extend.core
import jax.numpy as jnp
import numpy as np

from ssljax.analytic.derivable import call

F = TypeVar("F", bound=Callable)

# Looked up by name, so that a JAX without some of them only loses a message.
_TRACES = (
    "DynamicJaxprTrace",
    "JVPTrace",
    "LinearizeTrace",
    "JaxprTrace",
    "BatchTrace",
)
# Transformations that differentiate or compile after a context manager has ended.
_REVERSED = frozenset({"LinearizeTrace", "DynamicJaxprTrace", "JaxprTrace"})


def in_float64(function: F) -> F:
    """Run a function in float64: its floating arrays widened, its results too.

    Critical times are logarithms of tiny numbers and contrastive kernels need inverse
    roots; float32 is not enough for either.

    A caller whose default is float32 gets NumPy arrays in float64, on which JAX would
    otherwise warn at every use. What `jax.vmap`, `jax.grad`, `jax.jvp` or `jax.jit`
    traces there comes back in the caller's own precision, but is computed and
    differentiated in float64: JAX would transpose and compile outside of this context,
    so there the function is one primitive that enters it again (`derivable.call`).

    >>> @in_float64
    ... def third(x):
    ...     return x / 3.0
    >>> third(jnp.float32(1.0)).dtype
    dtype('float64')
    >>> jax.grad(third)(jnp.float32(1.0)).dtype
    dtype('float32')
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if jax.config.read("jax_enable_x64"):
            return _run(function, args, kwargs)
        around = enclosing_traces()
        if _REVERSED.isdisjoint(around):
            with jax.enable_x64(True):
                return _handed_back(_run(function, args, kwargs))
        return _with_rules(function, args, kwargs)

    return wrapped  # type: ignore[return-value]


class _Wide:
    """A traced function, whose constants that are traced themselves are operands."""

    # Each call is another function: to compile it would cost more than it does.
    compiled = False

    def __init__(self, code: Any, constants: list[Any]) -> None:
        self.code, self.constants = code, constants

    def build(self, modes: tuple[str, ...]) -> Callable:
        """Return the function of traced constants and operands."""
        del modes

        def evaluate(*operands: Any) -> list[jax.Array]:
            rest = iter(operands)
            filled = [next(rest) if x is None else x for x in self.constants]
            closed = jax.extend.core.ClosedJaxpr(self.code, filled)
            return jax.extend.core.jaxpr_as_fun(closed)(*rest)

        return evaluate


def _with_rules(function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Run a traced function in float64, and so its derivatives and its lowering."""
    leaves, tree = jax.tree.flatten((args, kwargs))
    traced = [i for i, leaf in enumerate(leaves) if not known(leaf)]
    plain: list[Any] = []

    def of_traced(*values: jax.Array) -> list[jax.Array]:
        filled = list(leaves)
        for i, value in zip(traced, values, strict=True):
            filled[i] = value
        args, kwargs = jax.tree.unflatten(tree, filled)
        results, structure = jax.tree.flatten(_run(function, args, kwargs))
        arrays = [_is_array(x) for x in results]
        others = [None if a else x for x, a in _zip(results, arrays)]
        plain[:] = [structure, arrays, others]
        return [_cast(x) for x, a in _zip(results, arrays) if a]

    inputs = [leaves[i] for i in traced]
    with jax.enable_x64(True):
        closed = jax.make_jaxpr(of_traced)(
            *(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in inputs)
        )
    # Traced values that the arguments close over are operands as well.
    hidden = [x for x in closed.consts if not known(x)]
    fixed = [x if known(x) else None for x in closed.consts]
    shapes = tuple((x.shape, x.dtype) for x in closed.out_avals)
    found = iter(call(_Wide(closed.jaxpr, fixed), shapes, *hidden, *inputs))
    structure, arrays, others = plain
    results = [next(found) if a else x for x, a in _zip(others, arrays)]
    return jax.tree.unflatten(structure, results)


def being_traced(*, but_for_vmap: bool = False) -> bool:
    """Return whether JAX is tracing, also where only a closure is traced.

    >>> being_traced(), bool(jax.jit(lambda: being_traced())())
    (False, True)
    """
    with jax.extend.core.take_current_trace() as trace:
        pass
    while but_for_vmap and type(trace).__name__ == "BatchTrace":
        trace = trace.parent_trace
    return type(trace).__name__ in _TRACES


def enclosing_traces() -> tuple[str, ...]:
    """Return the transformations around this call, the innermost first.

    Those around a `jax.jit` cannot be seen from inside of it.

    >>> enclosing_traces()
    ()
    """
    with jax.extend.core.take_current_trace() as trace:
        pass
    names = []
    while trace is not None:
        names.append(type(trace).__name__)
        trace = getattr(trace, "parent_trace", None)
    return tuple(name for name in names if name in _TRACES)


def known(values: Any) -> bool:
    """Return whether numbers are there to be looked at."""
    return not isinstance(values, jax.core.Tracer)


def widen(tree: Any) -> Any:
    """Return a pytree with its floating arrays as float64, all else as it is."""
    return jax.tree.map(_widened, tree)


def _widened(x: Any) -> Any:
    if isinstance(x, np.ndarray | np.generic | jax.Array):
        if jnp.issubdtype(x.dtype, jnp.floating):
            return jnp.asarray(x, jnp.float64)
    return x


def _run(function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    result = function(*widen(args), **widen(kwargs))
    return in_float64(result) if _is_function(result) else result


def _is_function(result: Any) -> bool:
    # But not a callable pytree of arrays, such as a `Solution`.
    return callable(result) and jax.tree_util.all_leaves([result])


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array | np.ndarray | np.generic)


def _zip(first: list, second: list) -> Any:
    return zip(first, second, strict=True)


def _handed_back(tree: Any) -> Any:
    return tree if _is_function(tree) else jax.tree.map(_narrowed, tree)


def _narrowed(x: Any) -> Any:
    if not isinstance(x, jax.Array):
        return x
    if known(x):
        return np.asarray(x)
    return _cast(x)


def _cast(x: Any) -> jax.Array:
    x = jnp.asarray(x)
    return x.astype(jnp.float32) if x.dtype == jnp.float64 else x
