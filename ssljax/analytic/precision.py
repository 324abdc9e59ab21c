"""Double precision for theory, whatever the caller's default is."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

F = TypeVar("F", bound=Callable)


def in_float64(function: F) -> F:
    """Run a function in float64: its floating arrays widened, its results too.

    Critical times are logarithms of tiny numbers and contrastive kernels need inverse
    roots; float32 is not enough for either. A function that is returned (a
    ``solution(t)``) runs in float64 as well.

    A caller whose default is float32 gets NumPy arrays in float64, on which JAX would
    otherwise warn at every use. `jax.grad`, `jax.vmap` and `jax.jit` may be applied
    outside: what is traced there comes back in the caller's own precision.

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
        wide = jax.config.read("jax_enable_x64")
        with jax.enable_x64(True):
            result = function(*widen(args), **widen(kwargs))
            if callable(result) and not isinstance(result, tuple):
                return in_float64(result)
            return result if wide else jax.tree.map(_handed_back, result)

    return wrapped  # type: ignore[return-value]


def widen(tree: Any) -> Any:
    """Floating arrays of a pytree as float64; everything else as it is."""
    return jax.tree.map(_widened, tree)


def _widened(x: Any) -> Any:
    if isinstance(x, np.ndarray | np.generic | jax.Array):
        if jnp.issubdtype(x.dtype, jnp.floating):
            return jnp.asarray(x, jnp.float64)
    return x


def _handed_back(x: Any) -> Any:
    if not isinstance(x, jax.Array):
        return x
    if not isinstance(x, jax.core.Tracer):
        return np.asarray(x)
    return x.astype(jnp.float32) if x.dtype == jnp.float64 else x
