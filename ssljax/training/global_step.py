"""The step on the global batch, given or taken from a resident data set."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from ssljax.training.state import Setup, TrainState
from ssljax.training.step import Batch, take, train_step


@functools.lru_cache(maxsize=2)
def traced_once(setup: Setup) -> Callable[..., Any]:
    """Return `train_step` of the global view, which is traced once for each shape.

    The check of the settings, a streamed and a resident step all trace it, which takes
    a second or two of a large network. It is inlined, so that the compiled program is
    the same as without.
    """
    return jax.jit(functools.partial(train_step, setup=setup), inline=True)


def global_step(
    state: TrainState, batch: Batch, *, setup: Setup
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Take `train_step` on the global batch, see `traced_once`."""
    return traced_once(setup)(state, batch)


def resident_step(
    state: TrainState,
    data: Batch,
    indices: jax.Array,
    *,
    setup: Setup,
    axis: str | None = None,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Take `train_step` on rows of a data set that lives on the device."""
    batch = take(data, indices)
    if axis is None:
        return traced_once(setup)(state, batch)
    return train_step(state, batch, setup=setup, axis=axis)
