"""Minimise a mean cross-entropy along a line of logits, a block of rows at a time.

Within ``shard_map`` over an axis ``rows``: every device has some of the rows.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp


def step_length(logits, along, y, weights, block, penalty_slope, penalty_curvature):
    """Find the root of the slope along the direction, by safeguarded Newton steps.

    Args:
        logits: of this device's rows, ``[n, C]``.
        along: their change for a step of one, ``[n, C]``.
        y: classes, ``[n]``.
        weights: of the rows, whose sum over all devices is one, ``[n]``.
        block: rows at a time.
        penalty_slope: slope of the penalty at the start.
        penalty_curvature: its second derivative, >= 0.

    Returns:
        The step, a scalar: the mean cross-entropy plus penalty is convex along it.
    """
    right = jnp.take_along_axis(along, y[:, None], axis=1)[:, 0]
    linear = jax.lax.psum(weights @ right, "rows")

    def slope_and_curvature(step):
        def part(rows):
            p = jax.nn.softmax(rows(logits) + step * rows(along), axis=1)
            first = (p * rows(along)).sum(axis=1)
            second = (p * rows(along) ** 2).sum(axis=1) - first**2
            return jnp.stack([rows(weights) @ first, rows(weights) @ second])

        first, second = summed(part, len(y), block)
        slope = first - linear + penalty_slope + step * penalty_curvature
        return slope, second + penalty_curvature

    start, curvature = slope_and_curvature(0.0)

    def unfinished(carry):
        _, _, _, slope, _, tries = carry
        return (tries == 0) | ((jnp.abs(slope) > -0.3 * start) & (tries < 12))

    def improve(carry):
        step, low, high, slope, curvature, tries = carry
        low = jnp.where(slope < 0, step, low)
        high = jnp.where(slope < 0, high, step)
        newton = step - slope / curvature
        # From a flat stretch a Newton step overshoots by orders of magnitude.
        furthest = jnp.minimum(high, 10.0 * jnp.maximum(step, 1.0))
        middle = jnp.where(jnp.isinf(high), furthest, 0.5 * (low + high))
        step = jnp.where((newton > low) & (newton < furthest), newton, middle)
        return step, low, high, *slope_and_curvature(step), tries + 1

    zero = jnp.zeros_like(start)
    carry = zero, zero, zero + jnp.inf, start, curvature, 0
    return jax.lax.while_loop(unfinished, improve, carry)[0]


def summed(part: Callable[..., jax.Array], count: int, block: int) -> jax.Array:
    """Sum ``part`` over blocks of this device's rows, and over the devices.

    Args:
        part: takes a function that selects the block's rows of an array.
        count: number of rows on this device.
        block: rows at a time, so that what ``part`` makes of them stays small.
    """

    def selected(first, size, array, axis=0):
        return jax.lax.dynamic_slice_in_dim(array, first, size, axis)

    whole, rest = divmod(count, block)
    if not whole or (whole, rest) == (1, 0):
        return jax.lax.psum(part(lambda array, axis=0: array), "rows")
    end = part(partial(selected, whole * block, rest)) if rest else None

    def add(i, total):
        return total + part(partial(selected, i * block, block))

    first = part(partial(selected, 0, block))
    total = jax.lax.fori_loop(1, whole, add, first)
    return jax.lax.psum(total if end is None else total + end, "rows")
