"""Replay a failed step from the state in which it failed."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.config import DevicesConfig
from ssljax.config.checks import ConfigError
from ssljax.data import Source, batches
from ssljax.runs.failed_step import load_failure
from ssljax.runs.folder import RunFolder
from ssljax.runs.resolved import load_resolved
from ssljax.runs.setup import load_split, prepare
from ssljax.training import devices
from ssljax.training.engines import place_rows
from ssljax.training.microbatch import compile_parts, gradient_in_parts
from ssljax.training.state import Setup, TrainState, state_shapes
from ssljax.training.step import run_networks, view_batch


def replay(workdir: str | Path, *, train: Source | None = None) -> dict[str, float]:
    """Rerun a failed step from its saved state and report what is not finite.

    The devices of this process share the batch, however many the run had.

    Args:
        workdir: folder of a run that ended with `TrainingFailed`.
        train: the training images, if the config cannot load them.

    Returns:
        The step's metrics, and under ``nonfinite/NAME`` the number of entries of that
        parameter's gradient that are not finite.

    Raises:
        ConfigError: if the folder has no run or no failed step.
    """
    folder = RunFolder(workdir)
    config = load_resolved(folder)
    if not folder.failure.exists():
        raise ConfigError(
            f"{folder.path} has no failed step to replay; only a run that stopped at a "
            "loss or gradient that is not finite has one"
        )
    source = train if train is not None else load_split(config, train=True)
    # A batch that several machines shared may be too large for one device.
    part = config.devices.microbatch
    count = math.gcd(part or config.batch_size, jax.local_device_count())
    config = replace(config, devices=DevicesConfig(count=count, microbatch=part))
    data = folder.load_data()
    known = None if data.mean is None or data.std is None else (data.mean, data.std)
    setup = prepare(config, source, statistics=known)
    mesh = devices.make_mesh(count=count, batch_size=config.batch_size, microbatch=part)
    place = devices.replicated(mesh)
    wanted = devices.abstract(state_shapes(setup), place)
    state, info = load_failure(folder.failure, wanted)
    # A state marked as failed would not move.
    state = state.replace(failed_at=devices.place(np.int32(-1), place))
    (images,) = batches(
        source,
        seed=config.seed,
        batch_size=config.batch_size,
        start_step=info["step"],
        stop_step=info["step"] + 1,
        crops=setup.host_crops,
    )
    batch = place_rows(images, mesh, size=part)
    if part is not None:
        programs = compile_parts(setup, mesh)
        loss, gradients, _, _ = gradient_in_parts(programs, state, batch)
    else:
        loss, gradients = _gradient(setup, state, batch)
    result = {"step": int(state.step), "loss": float(loss)}
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        bad = int(jnp.sum(~jnp.isfinite(leaf)))
        if bad:
            result["nonfinite/" + jax.tree_util.keystr(path, simple=True)] = bad
    return result


def _gradient(setup: Setup, state: TrainState, batch: Any) -> tuple[jax.Array, Any]:
    def loss_of(params: Any, state: TrainState, batch: Any) -> jax.Array:
        views = view_batch(state.step, batch, setup=setup)
        outputs, _ = run_networks(params, state, views, batch["label"], setup)
        return setup.loss(outputs)

    # Not as constants of the program, which would have a copy of the whole batch.
    return jax.jit(jax.value_and_grad(loss_of))(state.params, state, batch)
