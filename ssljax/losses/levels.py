"""What primitives need to be mapped by `jax.vmap`, however deep.

A primitive keeps, for every vmap around it and the innermost first, which operands are
mapped: a level. Their mapped axes are in front, that of the outermost vmap first.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

Level = tuple[bool, ...]


def mapped(function: Callable, levels: Sequence[Level]) -> Callable:
    """Map a function as the levels say.

    >>> product = mapped(jnp.dot, [(True, False)])
    >>> product(jnp.ones((2, 3)), jnp.ones(3)).tolist()
    [3.0, 3.0]
    """
    for level in levels:
        function = jax.vmap(function, tuple(0 if one else None for one in level))
    return function


def sizes_in_front(
    shapes: Sequence[tuple[int, ...]], levels: Sequence[Level]
) -> tuple[int, ...]:
    """Return the mapped sizes of a result, from the shapes of the operands.

    >>> sizes_in_front([(5, 2, 3), (5, 3)], [(True, False), (True, True)])
    (5, 2)
    """
    sizes = []
    for k, level in enumerate(levels):
        i = level.index(True)
        sizes.append(shapes[i][sum(outer[i] for outer in levels[k + 1 :])])
    return tuple(reversed(sizes))


def next_level(
    operands: Sequence[jax.Array], axes: Sequence[int | None]
) -> tuple[list[jax.Array], Level]:
    """Put newly mapped axes in front; return the operands and their level.

    >>> moved, level = next_level([jnp.ones((3, 2)), jnp.ones(3)], (1, None))
    >>> moved[0].shape, level
    ((2, 3), (True, False))
    """
    moved = [
        x if axis is None else jnp.moveaxis(x, axis, 0)
        for x, axis in zip(operands, axes, strict=True)
    ]
    return moved, tuple(axis is not None for axis in axes)
