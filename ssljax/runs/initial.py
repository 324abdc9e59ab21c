"""Start a run from another run's encoder (`model.init_from`)."""

from typing import Any

import jax

from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.runs.checkpoint import saved_steps
from ssljax.runs.encoder import restore
from ssljax.runs.folder import RunFolder
from ssljax.runs.resolved import load_resolved
from ssljax.training.state import Setup, TrainState

_SAME = ("arch", "width", "stem_padding")
"""Settings of the model that decide which weights fit."""


def check_initial(config: Config, folder: RunFolder) -> None:
    """Refuse a run to start from that does not exist or has another encoder.

    Args:
        config: of the run that begins.
        folder: of the run that begins; one that has begun does not look again.

    Raises:
        ConfigError: the line names what differs.
    """
    path = config.model.init_from
    if path is None or folder.checkpoints.exists():
        return
    source = RunFolder(path)
    model = load_resolved(source).model
    for name in _SAME:
        theirs, ours = getattr(model, name), getattr(config.model, name)
        if theirs != ours:
            raise ConfigError(
                f"model.init_from is {path}, whose model.{name} is {theirs!r}, not "
                f"{ours!r}; use its --model.{name.replace('_', '-')} {theirs}"
            )
    if not source.checkpoints.exists():
        raise ConfigError(
            f"model.init_from is {path}, which has no checkpoint yet; name another run"
        )
    step = config.model.init_step
    kept = saved_steps(source.checkpoints)
    if step is not None and step not in kept:
        raise ConfigError(
            f"model.init_step is {step}, but {path} has no checkpoint of that step; "
            f"kept are {', '.join(map(str, kept)) or 'none'}"
        )


def start_from(state: TrainState, setup: Setup) -> TrainState:
    """Return the state at step 0 with the encoder that the config names, if any.

    The target network begins with the same encoder. Heads begin as they were drawn.

    Raises:
        ConfigError: if that run has no checkpoint, or its encoder another stem.
    """
    path = setup.config.model.init_from
    if path is None:
        return state
    source = restore(path, step=setup.config.model.init_step)
    if source.setup.stem != setup.stem:
        raise ConfigError(
            f"model.init_from is {path}, whose stem is {source.setup.stem!r}, not "
            f"{setup.stem!r}; use --model.stem {source.setup.stem}"
        )
    return with_encoder(
        state,
        {
            "params": source.state.params["encoder"],
            "batch_stats": source.state.batch_stats["encoder"],
        },
    )


def with_encoder(state: TrainState, variables: Any) -> TrainState:
    """Return a state with another encoder, also in the target network.

    Args:
        state: of a run.
        variables: ``{"params": ..., "batch_stats": ...}`` of the encoder alone, on the
            host or on other devices.

    Raises:
        ConfigError: if an array has another shape, such as for other channels.
    """

    def changed(before: Any, after: Any) -> Any:
        shapes = jax.tree.map(lambda x: x.shape, (before, after))
        if shapes[0] != shapes[1]:
            raise ConfigError(
                "the encoder to start from has arrays of other shapes; use its "
                "architecture and images of as many channels"
            )
        # A copy each time, since one buffer cannot be donated twice.
        return jax.tree.map(
            lambda old, new: jax.device_put(jax.device_get(new), old.sharding),
            before,
            after,
        )

    def part(tree: Any, name: str) -> dict[str, Any]:
        return {**tree, "encoder": changed(tree["encoder"], variables[name])}

    names = ("params", "batch_stats")
    found: dict[str, Any] = {name: part(getattr(state, name), name) for name in names}
    if state.target:
        found["target"] = {name: part(state.target[name], name) for name in names}
    return state.replace(**found)  # pyright: ignore[reportAttributeAccessIssue]
