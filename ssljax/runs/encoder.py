"""Load a run folder as a frozen encoder, for evaluation, notebooks and exports."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.runs.checkpoint import Checkpoints
from ssljax.runs.folder import RunFolder
from ssljax.runs.monitor import encode
from ssljax.runs.records import DataRecord
from ssljax.runs.resolved import load_resolved
from ssljax.runs.setup import assemble
from ssljax.training import devices
from ssljax.training.state import Setup, TrainState, creator

Encode = Callable[[np.ndarray | jax.Array], jax.Array]


@dataclass(frozen=True)
class Restored:
    """A run's setup and state, without its data set."""

    setup: Setup
    state: TrainState
    step: int
    config: Config
    data: DataRecord


def restore(
    workdir: str | Path, *, untrained: bool = False, step: int | None = None
) -> Restored:
    """Rebuild a run from its folder alone.

    Args:
        workdir: folder of a run.
        untrained: return the state at step 0 of the same seed, not the checkpoint.
        step: the checkpoint to take; None takes the newest undamaged one.

    Returns:
        Setup, state and step of the checkpoint.

    Raises:
        ConfigError: if the folder has no run, no checkpoint yet, or none of ``step``.
    """
    folder = RunFolder(workdir)
    config = load_resolved(folder)
    data = folder.load_data()
    shape, mean, std = data.image_shape, data.mean, data.std
    if shape is None or data.examples is None or mean is None or std is None:
        raise ConfigError(
            f"{folder.data} is missing or damaged; rerun the same ssljax pretrain "
            "command to write it again"
        )
    setup = assemble(
        config,
        image_shape=(shape[0], shape[1], shape[2]),
        num_classes=data.num_classes,
        examples=data.examples,
        mean=mean,
        std=std,
    )
    create = creator(setup)
    if untrained:
        return Restored(setup, create(), 0, config, data)
    place = devices.replicated(devices.make_mesh(count=1, batch_size=1))
    wanted = devices.abstract(jax.eval_shape(create), place)
    found = None
    if folder.checkpoints.exists():
        checkpoints = Checkpoints(folder.checkpoints, keep=1, read_only=True)
        try:
            if step is None:
                found = checkpoints.restore_latest(wanted)
            else:
                found = (*checkpoints.restore_step(step, wanted), [])
        finally:
            checkpoints.close()
    if found is None:
        raise ConfigError(
            f"{folder.path} has no checkpoint yet; run `ssljax pretrain` on it first"
        )
    state, meta, notes = found
    for note in notes:
        print(note)
    return Restored(setup, state, int(meta["step"]), config, data)


def step_of(workdir: str | Path, checkpoint: int | str | None) -> int | None:
    """Return the step of the checkpoint that is asked for, None for the newest.

    Args:
        workdir: folder of a run.
        checkpoint: a step, ``best``, or None.

    Raises:
        ConfigError: if it is another word, or the run keeps no best checkpoint.
    """
    if checkpoint is None or isinstance(checkpoint, int):
        return checkpoint
    if checkpoint != "best":
        raise ConfigError(f"checkpoint is {checkpoint!r}; allowed: a step, or best")
    folder = RunFolder(workdir)
    column = folder.load_config().checkpoint.best_column
    found = None
    if column is not None and folder.checkpoints.exists():
        checkpoints = Checkpoints(
            folder.checkpoints, keep=1, best=column, read_only=True
        )
        try:
            found = checkpoints.best()
        finally:
            checkpoints.close()
    if found is None:
        raise ConfigError(
            f"{folder.path} has no best checkpoint; name a step, or resume it with "
            "--checkpoint.best knn_accuracy"
        )
    return found[0]


def load_encoder(workdir: str | Path, *, untrained: bool = False) -> Encode:
    """Return the frozen encoder of a run as a pure function.

    Args:
        workdir: folder of a run, see `ssljax.pretrain`.
        untrained: return the same network before its first step, as a baseline.

    Returns:
        ``encode(images)``: features ``[N, F]`` float32 of uint8 images
        ``[N, H, W, C]``; BatchNorm uses its running statistics. It composes with
        ``jax.jit``, ``jax.vmap`` and other code.

    Raises:
        ConfigError: if the folder has no run or no checkpoint yet.
    """
    return as_function(restore(workdir, untrained=untrained))


def as_function(restored: Restored) -> Encode:
    """Return ``encode(images)`` of a restored run, compiled once per batch shape."""
    setup, state = restored.setup, restored.state
    compiled = jax.jit(lambda params, stats, x: encode(params, stats, x, setup=setup))

    return of_images(lambda x: compiled(state.params, state.batch_stats, x))


def of_images(compute: Callable[[jax.Array], jax.Array]) -> Encode:
    """Return a function of uint8 images that refuses all others.

    Args:
        compute: takes ``[N, H, W, C]`` uint8.
    """

    def run(images: np.ndarray | jax.Array) -> jax.Array:
        images = jnp.asarray(images)
        if images.dtype != jnp.uint8 or images.ndim != 4:
            raise ValueError(
                f"images are {images.dtype} {images.shape}; allowed: uint8 [N, H, W, C]"
            )
        return compute(images)

    return run
