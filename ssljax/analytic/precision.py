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

# Known by name, so that a version of JAX with other ones loses a message and no more.
_TRACES = (
    "DynamicJaxprTrace",
    "JVPTrace",
    "LinearizeTrace",
    "JaxprTrace",
    "BatchTrace",
)
# Whether whoever entered float64 was being traced in float32 at that moment.
_narrowly_traced = contextvars.ContextVar("narrowly_traced", default=False)


def in_float64(function: F) -> F:
    """Run a function in float64: its floating arrays widened, its results too.

    Critical times are logarithms of tiny numbers and contrastive kernels need inverse
    roots; float32 is not enough for either. A function that is returned (a
    ``solution(t)``) runs in float64 as well.

    A caller whose default is float32 gets NumPy arrays in float64, on which JAX would
    otherwise warn at every use. What `jax.vmap`, `jax.grad` or `jax.jit` traces there
    comes back in the caller's own precision. But differentiating and compiling continue
    after this context has ended: short formulas tolerate that, and simulations
    `refuse_narrow_tracing`. ``with jax.enable_x64(True):`` around all of it is always
    right.

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
        token = _narrowly_traced.set(being_traced(but_for_vmap=True))
        try:
            with jax.enable_x64(True):
                result = _run(function, args, kwargs)
                return result if _is_function(result) else _handed_back(result)
        finally:
            _narrowly_traced.reset(token)

    return wrapped  # type: ignore[return-value]


def refuse_narrow_tracing(what: str) -> None:
    """Refuse to differentiate or compile functions with loops from float32.

    Its derivative and its program would be made outside of the context, where JAX
    truncates new constants to float32: wrong types at best, lost digits at worst.

    Args:
        what: name of the function, for the message.

    Raises:
        ValueError: inside of `jax.grad`, `jax.jit` and the like that were entered in
            float32. `jax.vmap` alone runs each operation in here and is let through.

    >>> refuse_narrow_tracing("this")
    """
    if _narrowly_traced.get():
        raise ValueError(
            f"{what} inside of jax.grad or jax.jit needs float64 outside as well: "
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
    return callable(result) and not isinstance(result, tuple)


def _handed_back(tree: Any) -> Any:
    return jax.tree.map(_narrowed, tree)


def _narrowed(x: Any) -> Any:
    if not isinstance(x, jax.Array):
        return x
    if known(x):
        return np.asarray(x)
    return x.astype(jnp.float32) if x.dtype == jnp.float64 else x
