"""Double precision for theory, whatever the caller's default is."""

import contextvars
import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.core
import jax.extend.core
import jax.numpy as jnp
import numpy as np

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
# Whether float64 began while a float32 `jax.jit` was being traced.
_narrowly_compiled = contextvars.ContextVar("narrowly_compiled", default=False)


def in_float64(function: F) -> F:
    """Run a function in float64: its floating arrays widened, its results too.

    Critical times are logarithms of tiny numbers and contrastive kernels need inverse
    roots; float32 is not enough for either.

    A caller whose default is float32 gets NumPy arrays in float64, on which JAX would
    otherwise warn at every use. What `jax.vmap`, `jax.grad`, `jax.jvp` or `jax.jit`
    traces there comes back in the caller's own precision, but is computed and
    differentiated in float64: JAX would transpose a gradient outside of this context,
    so there the function has a derivative rule that enters the context again. Only the
    loops of a simulation inside of a `jax.jit` are refused (`refuse_narrow_jit`).

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
        token = _narrowly_compiled.set("DynamicJaxprTrace" in around)
        try:
            if _REVERSED.isdisjoint(around):
                with jax.enable_x64(True):
                    return _handed_back(_run(function, args, kwargs))
            return _with_rules(function, args, kwargs)
        finally:
            _narrowly_compiled.reset(token)

    return wrapped  # type: ignore[return-value]


def _with_rules(function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    """Run a traced function in float64, with derivative rules that do so too."""
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
        return [x for x, a in _zip(results, arrays) if a]

    inputs = [leaves[i] for i in traced]
    with jax.enable_x64(True):
        # Traced values in the arguments' closures become arguments, too.
        closed, hidden = jax.closure_convert(of_traced, *widen(inputs))

    def narrow(*values: Any) -> list[jax.Array]:
        # Once they are no longer traced, numbers arrive as Python numbers.
        values = tuple(jnp.float64(x) if isinstance(x, float) else x for x in values)
        given, rest = values[: len(inputs)], values[len(inputs) :]
        return [_cast(x) for x in closed(*widen(given), *rest)]

    found = iter(_differentiable(narrow, *inputs, *hidden))
    structure, arrays, others = plain
    results = [next(found) if a else x for x, a in _zip(others, arrays)]
    return jax.tree.unflatten(structure, results)


def _differentiable(function: Callable, *inputs: Any) -> Any:
    """Call a function that computes in float64 such that its derivatives do so, too.

    One transformation is taken off per call, the innermost first; each of the rules
    calls this again for those around it.
    """

    def narrowly(*values: Any) -> Any:
        with jax.enable_x64(True):
            return function(*values)

    around = enclosing_traces()
    if _REVERSED.isdisjoint(around):
        return narrowly(*inputs)
    innermost = next((t for t in around if t in ("JVPTrace", "LinearizeTrace")), "")
    if innermost == "JVPTrace":
        forward = jax.custom_jvp(narrowly)

        @forward.defjvp
        def jvp(primals, tangents):  # type: ignore[no-untyped-def]
            count = len(primals)

            def both(*values: Any) -> Any:
                return jax.jvp(function, values[:count], values[count:])

            return _differentiable(both, *primals, *tangents)

        return forward(*inputs)
    reverse = jax.custom_vjp(narrowly)

    def run(*values: Any) -> Any:
        return _differentiable(function, *values), values

    def pull(values: tuple, cotangents: Any) -> Any:
        flat, tree = jax.tree.flatten(cotangents)
        count = len(values)

        def pulled(*given: Any) -> Any:
            _, back = jax.vjp(function, *given[:count])
            return back(jax.tree.unflatten(tree, given[count:]))

        return _differentiable(pulled, *values, *flat)

    reverse.defvjp(run, pull)
    return reverse(*inputs)


def refuse_narrow_jit(what: str) -> None:
    """Refuse to compile loops in float64 as a part of a program in float32.

    They are compiled after the context has ended, where JAX truncates new constants to
    float32: wrong types at best, lost digits at worst.

    Args:
        what: name of the function, for the message.

    Raises:
        ValueError: inside of a `jax.jit` that was entered in float32.

    >>> refuse_narrow_jit("this")
    """
    if _narrowly_compiled.get():
        raise ValueError(
            f"{what} inside of jax.jit needs float64 outside as well: "
            "wrap the whole call in `with jax.enable_x64(True):`"
        )


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
