"""The device mesh, and how state and batches lie on it."""

from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ssljax.validation import ConfigError


def make_mesh(*, count: int | None, batch_size: int) -> Mesh:
    """A 1-D mesh with axis ``data`` over the local devices.

    Args:
        count: devices to use; None takes all.
        batch_size: global batch, which the devices share equally.

    Raises:
        ConfigError: more devices than there are, or a batch that does not divide.
    """
    available = jax.local_devices()
    if count is not None and count > len(available):
        raise ConfigError(
            f"devices.count is {count}; allowed: 1 to {len(available)}, the devices "
            "of this machine"
        )
    devices = available[: count or len(available)]
    if batch_size % len(devices):
        below = batch_size // len(devices) * len(devices)
        near = " or ".join(str(b) for b in (below, below + len(devices)) if b)
        raise ConfigError(
            f"batch_size is {batch_size}, which {len(devices)} devices cannot share "
            f"equally; nearest: {near}"
        )
    # Auto axes: under Explicit ones every Gram matrix of a sharded batch is an error.
    return jax.make_mesh(
        (len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices
    )


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
    return jax.device_put(jax.tree.map(np.asarray, tree), sharding)


def abstract(tree: Any, sharding: NamedSharding) -> Any:
    """Shapes, types and placement of a state, for restoring into."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
    )
