"""The device mesh, and how state and batches lie on it."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax.config.checks import ConfigError, near_multiples


def make_mesh(
    *, count: int | None, batch_size: int, microbatch: int | None = None
) -> Mesh:
    """A 1-D mesh with axis ``data`` over the devices of all processes.

    Args:
        count: devices to use; None takes all.
        batch_size: global batch, which the devices share equally.
        microbatch: part of it that they share at a time, or None.

    Raises:
        ConfigError: more devices than there are, or a batch that does not divide.
    """
    # In the order of the processes, so that each has its rows of a batch together.
    available = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    several = jax.process_count() > 1
    if several and count not in (None, len(available)):
        raise ConfigError(
            f"devices.count is {count}; allowed: None with several processes, which "
            f"use all their {len(available)} devices"
        )
    if several and microbatch is not None:
        raise ConfigError(
            f"devices.microbatch is {microbatch}; allowed: None with several processes"
        )
    if count is not None and count > len(available):
        raise ConfigError(
            f"devices.count is {count}; allowed: 1 to {len(available)}, the devices "
            "of this machine"
        )
    devices = available[: count or len(available)]
    name, shared = ("batch_size", batch_size)
    if microbatch is not None:
        name, shared = ("devices.microbatch", microbatch)
    if shared % len(devices):
        raise ConfigError(
            f"{name} is {shared}, which {len(devices)} devices cannot share "
            f"equally; nearest: {near_multiples(shared, len(devices))}"
        )
    # Auto axes: under Explicit ones every Gram matrix of a sharded batch is an error.
    return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, P())


def over_batch(mesh: Mesh) -> NamedSharding:
    """Rows are shared out over the devices."""
    return NamedSharding(mesh, P("data"))


def place(tree: Any, sharding: NamedSharding) -> Any:
    """Put host arrays on the devices, explicitly, so that a transfer guard can stand.

    >>> mesh = make_mesh(count=1, batch_size=2)
    >>> place(np.arange(2), over_batch(mesh)).shape
    (2,)
    """
    host = jax.tree.map(np.asarray, tree)
    if jax.process_count() == 1:
        return jax.device_put(host, sharding)
    # Sharded rows are this process's own; what is replicated is whole in each.
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, x), host
    )


def abstract(tree: Any, sharding: NamedSharding) -> Any:
    """Shapes, types and placement of a state, for restoring into."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
    )
