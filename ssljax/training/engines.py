"""The two engines that run one step on many devices: jit over a mesh, and pmap.

Both compile the same pure function. Under jit the batch is one array sharded over all
devices, and the compiler inserts the communication. Under pmap every device gets its
part, and the step itself joins the parts.
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from ssljax.training import devices
from ssljax.training.global_step import global_step, resident_step
from ssljax.training.microbatch import microbatched_step
from ssljax.training.state import Setup
from ssljax.training.step import train_step

AXIS = "data"


def compiled_step(setup: Setup, mesh: Mesh, *, resident: bool) -> Callable[..., Any]:
    """Return the run's step, compiled by the engine that the config names.

    Args:
        setup: static parts of the run.
        mesh: the devices, as from `devices.make_mesh`.
        resident: whether the data set is on the devices. The step then takes it and
            the indices of the batch, otherwise it takes the batch.

    Returns:
        ``step(state, batch)`` or ``step(state, data, indices)``, which returns the
        next state and the metrics. The state passed in is donated.
    """
    settings = setup.config.devices
    if settings.microbatch is not None:
        return microbatched_step(setup, mesh, resident=resident)
    if settings.engine == "jit":
        return jax.jit(
            functools.partial(resident_step if resident else global_step, setup=setup),
            donate_argnums=0,
            out_shardings=devices.replicated(mesh),
        )
    step = resident_step if resident else train_step
    return jax.pmap(
        functools.partial(step, setup=joined(setup), axis=AXIS),
        axis_name=AXIS,
        in_axes=(None, None, 0) if resident else (None, 0),
        out_axes=None,
        devices=list(mesh.devices.flat),
        donate_argnums=0,
    )


def joined(setup: Setup) -> Setup:
    """Return the setup with BatchNorm averaged over the devices of a mapped axis."""
    parts = {
        name: getattr(setup.network, name).clone(axis_name=AXIS)
        for name in ("encoder", "projector", "predictor")
    }
    return replace(setup, network=setup.network.clone(**parts))


def place_rows(
    tree: Any, mesh: Mesh, *, engine: str = "jit", size: int | None = None
) -> Any:
    """Put this process's rows of a batch on its devices, in the engine's layout.

    Args:
        tree: host arrays ``[rows, ...]``, this process's share of the global batch.
        mesh: the devices.
        engine: ``jit`` or ``pmap``.
        size: rows per microbatch of all processes, or None.

    Returns:
        The placed tree, or with ``size`` a list of them, one per microbatch.
    """
    if size is not None:
        rows, own = len(jax.tree.leaves(tree)[0]), size // jax.process_count()
        parts = [slice(i, i + own) for i in range(0, rows, own)]
        return [
            place_rows(jax.tree.map(lambda x, part=part: x[part], tree), mesh)
            for part in parts
        ]
    if engine == "jit":
        return devices.place(tree, devices.over_batch(mesh))
    local = len(mesh.local_devices)

    def split(x: Any) -> np.ndarray:
        x = np.asarray(x)
        return x.reshape(local, -1, *x.shape[1:])

    return devices.place(jax.tree.map(split, tree), devices.over_batch(mesh))
