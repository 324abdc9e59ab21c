"""The device mesh, and the placement of state and batches on it."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax.config.checks import ConfigError, near_multiples


def make_mesh(
    *, count: int | None, batch_size: int, microbatch: int | None = None
) -> Mesh:
    """Return a 1-D mesh with axis ``data`` over the devices of all processes.

    Args:
        count: number of devices to use; None takes all.
        batch_size: global batch size, a multiple of the number of devices.
        microbatch: if given, this must be the multiple instead.

    Raises:
        ConfigError: more devices than there are, or a batch that does not divide.
    """
    # Sorted by process, so that each process has adjacent rows of a batch.
    available = sorted(jax.devices(), key=lambda d: (d.process_index, d.id))
    several = jax.process_count() > 1
    if several and count not in (None, len(available)):
        raise ConfigError(
            f"devices.count is {count}; allowed: None with several processes, which "
            f"always use all {len(available)} devices"
        )
    if count is not None and count > len(available):
        raise ConfigError(
            f"devices.count {count} exceeds the {len(available)} devices of this "
            f"machine; allowed: 1 to {len(available)}"
        )
    devices = available[: count or len(available)]
    name, shared = ("batch_size", batch_size)
    if microbatch is not None:
        name, shared = ("devices.microbatch", microbatch)
    if shared % len(devices):
        raise ConfigError(
            f"{name} is {shared}, not a multiple of the {len(devices)} devices; "
            f"nearest: {near_multiples(shared, len(devices))}"
        )
    # With Explicit axes, every Gram matrix of a sharded batch would be an error.
    return Mesh(np.array(devices), ("data",), axis_types=(AxisType.Auto,))


def replicated(mesh: Mesh) -> NamedSharding:
    """Return the sharding that puts the whole array on every device."""
    return NamedSharding(mesh, P())


def over_batch(mesh: Mesh) -> NamedSharding:
    """Return the sharding that splits the rows over the devices."""
    return NamedSharding(mesh, P("data"))


def place(tree: Any, sharding: NamedSharding) -> Any:
    """Put host arrays on the devices, explicitly, as a transfer guard requires.

    >>> mesh = make_mesh(count=1, batch_size=2)
    >>> place(np.arange(2), over_batch(mesh)).shape
    (2,)
    """
    host = jax.tree.map(np.asarray, tree)
    if jax.process_count() == 1:
        return jax.device_put(host, sharding)
    # Each process passes its own rows of a sharded array, but all of a replicated one.
    return jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(sharding, x), host
    )


def place_whole(tree: Any, sharding: NamedSharding) -> Any:
    """Put host arrays, all rows of which every process has, on the devices.

    >>> mesh = make_mesh(count=1, batch_size=2)
    >>> place_whole(np.arange(2), over_batch(mesh)).shape
    (2,)
    """
    host = jax.tree.map(np.asarray, tree)
    if jax.process_count() == 1:
        return jax.device_put(host, sharding)
    return jax.tree.map(
        lambda x: jax.make_array_from_callback(x.shape, sharding, x.__getitem__), host
    )


def abstract(tree: Any, sharding: NamedSharding) -> Any:
    """Return shapes, types and sharding of a state, as `restore_latest` takes them."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
    )
