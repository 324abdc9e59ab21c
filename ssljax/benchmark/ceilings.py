"""What a device reaches at best, measured: matrix products and copies.

A data sheet's peak is at a clock that a card may not hold, so a share of it says little
about a program. These two are measured on the device itself, in the same process.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

_LONG_ENOUGH = 0.05  # seconds of one call above which a larger size adds nothing


@dataclass(frozen=True)
class Ceilings:
    """The best rates of one device."""

    matmul: float
    """FLOP/s of a product of two square matrices."""
    matmul_size: int
    """The side that reached it."""
    copy: float
    """Bytes read and written per second."""
    copy_bytes: int
    """The size of the array that reached it."""
    dtype: str
    """Type of the matrices."""


def measure_ceilings(
    dtype: str,
    *,
    device: Any = None,
    sides: Sequence[int] = (1024, 2048, 4096, 8192),
    mebibytes: Sequence[int] = (64, 512),
    repeats: int = 5,
) -> Ceilings:
    """Measure how fast a device multiplies matrices and copies memory.

    The product is of two square matrices of random numbers, in the type and at the
    default precision in which the networks compute. The copy adds one to every number
    of a float32 array in place. Larger sizes are tried until a call takes 50 ms; the
    best of all repeats is the ceiling.

    Args:
        dtype: type of the matrices, such as ``bfloat16``.
        device: the device; None takes the first.
        sides: sides of the matrices to try, ascending.
        mebibytes: sizes of the array to try, ascending.
        repeats: measurements per size, each over several calls.

    >>> found = measure_ceilings("float32", sides=(64,), mebibytes=(1,), repeats=1)
    >>> found.matmul > 0 and found.copy > 0
    True
    """
    with jax.default_device(device or jax.local_devices()[0]):
        side, product = _best(
            sides,
            lambda n: _product(n, dtype),
            lambda n: 2.0 * n**3,
            repeats,
        )
        size, copy = _best(mebibytes, _increment, lambda m: 2.0 * m * 2**20, repeats)
    return Ceilings(product, side, copy, size * 2**20, jnp.dtype(dtype).name)


def _best(
    sizes: Sequence[int],
    make: Callable[[int], Callable[[], Any]],
    work: Callable[[int], float],
    repeats: int,
) -> tuple[int, float]:
    """Return the size with the highest rate of work, and the rate."""
    best = (sizes[0], 0.0)
    for size in sizes:
        call = make(size)
        once = _seconds(call, 1)
        # Enough calls that the time of one launch does not show.
        calls = max(1, min(50, round(_LONG_ENOUGH / max(once, 1e-6))))
        fastest = min(_seconds(call, calls) for _ in range(repeats)) / calls
        best = max(best, (size, work(size) / fastest), key=lambda pair: pair[1])
        if once > _LONG_ENOUGH:
            break
    return best


def _seconds(call: Callable[[], Any], calls: int) -> float:
    start = time.perf_counter()
    result = None
    for _ in range(calls):
        result = call()
    jax.block_until_ready(result)
    return time.perf_counter() - start


def _product(side: int, dtype: str) -> Callable[[], jax.Array]:
    # Random, since products of zeros draw less power and run at a higher clock.
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (side, side), jnp.float32) for key in keys)
    a, b = a.astype(dtype), b.astype(dtype)
    multiply = jax.jit(jnp.matmul)
    jax.block_until_ready(multiply(a, b))
    return lambda: multiply(a, b)


def _increment(mebibytes: int) -> Callable[[], jax.Array]:
    # In place: a new array's pages would have to be mapped first.
    add = jax.jit(lambda x: x + 1, donate_argnums=0)
    held = [add(jnp.zeros(mebibytes * 2**18, jnp.float32))]
    jax.block_until_ready(held[0])

    def call() -> jax.Array:
        held[0] = add(held[0])
        return held[0]

    return call
