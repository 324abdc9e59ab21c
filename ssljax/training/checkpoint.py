"""Checkpoints that are verified when read: a damaged one is noticed and passed over."""

import gc
import inspect
import json
import logging
import os
import sys
import time
import traceback
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax.training.run_folder import plain, write_json_atomically
from ssljax.validation import ConfigError

_logger = logging.getLogger(__name__)
_OURS = ("digest", "leaves", "seal")
# After these the checkpoint may well be good; the cause lies elsewhere.
_NOT_DAMAGE = (ConfigError, MemoryError, PermissionError, jax.errors.JaxRuntimeError)


class Checkpoints:
    """Saves the state of a run in the background and restores the newest good one.

    A state is kept as a flat table of named arrays, whatever containers it is made
    of. A digest of all bytes goes with it, because a lost chunk file is otherwise
    read as zeros without a word. Every process calls every method.

    Args:
        folder: where the checkpoints lie, one folder a step; made if missing.
        keep: how many of the newest stay.
    """

    def __init__(self, folder: Path, *, keep: int):
        import orbax.checkpoint as ocp

        _quieten_orbax()
        self._folder = Path(folder).absolute()
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                max_to_keep=keep, create=True, cleanup_tmp_directories=True
            ),
        )

    def steps(self) -> list[int]:
        """Steps of the finished checkpoints, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, meta: Mapping[str, Any]) -> None:
        """Start saving a state; a step that is saved already is left as it is.

        The arrays are copied before the call returns, so they may be donated next.

        Args:
            step: optimizer steps made so far.
            state: any tree of arrays.
            meta: what JSON can hold; a digest is added to it.
        """
        import orbax.checkpoint as ocp

        if step in self._manager.all_steps():
            return
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_not_empty(_table(state))),
                meta=ocp.args.JsonSave(_record(state, meta)),
            ),
        )

    def restore_latest(
        self, abstract_state: Any
    ) -> tuple[Any, dict[str, Any], list[str]] | None:
        """The newest state that is undamaged.

        Damaged checkpoints newer than it are moved aside to ``<folder>_damaged``.

        Args:
            abstract_state: tree of `jax.ShapeDtypeStruct` with shardings; the devices
                need not be those the state was saved from.

        Returns:
            The state, its meta and one line for every checkpoint that was passed
            over; None if there is no checkpoint.

        Raises:
            ConfigError: if every checkpoint is damaged (all stay where they are), or
                if the checkpoint is that of another model, method or optimizer.
        """
        damaged: list[tuple[int, str]] = []
        for step in reversed(self.steps()):
            found, reason = _attempt(lambda s=step: self._restore(s, abstract_state))
            if found is None:
                damaged.append((step, reason))
                continue
            notes = [
                f"checkpoint {bad} is damaged ({reason}): using {step}"
                for bad, reason in damaged
            ]
            self._move_aside([bad for bad, _ in damaged])
            return *found, notes
        if not damaged:
            return None
        told = "; ".join(f"{step}: {reason}" for step, reason in damaged)
        raise ConfigError(
            f"every checkpoint in {self._folder} is damaged ({told}); put back a copy "
            "or delete that folder to train from the start"
        )

    def wait(self) -> None:
        """Return once what was saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish saving and stop the background threads."""
        self._manager.wait_until_finished()
        self._manager.close()

    def _restore(self, step: int, abstract_state: Any) -> tuple[Any, dict[str, Any]]:
        import orbax.checkpoint as ocp

        record = self._manager.restore(
            step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())
        )["meta"]

        def read(abstract: dict[str, jax.ShapeDtypeStruct]) -> dict[str, jax.Array]:
            return self._manager.restore(
                step,
                args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract)),
            )["state"]

        return _verified(self._folder / str(step), record, abstract_state, read)

    def _move_aside(self, steps: list[int]) -> None:
        if not steps:
            return
        if jax.process_index() == 0:
            aside = self._folder.with_name(self._folder.name + "_damaged")
            aside.mkdir(exist_ok=True)
            for step in steps:
                target, count = aside / str(step), 1
                while target.exists():
                    count += 1
                    target = aside / f"{step}-{count}"
                os.rename(self._folder / str(step), target)
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("ssljax_damaged_moved")
        # The manager keeps its own list of steps.
        self._manager.reload()


def digest(state: Any) -> int:
    """CRC-32 over name, dtype, shape and bytes of every leaf, in tree order.

    >>> digest({"w": np.zeros(2)}) == digest({"w": np.zeros(3)})
    False
    """
    crc = 0
    for name, leaf in _table(jax.device_get(state)).items():
        array = np.ascontiguousarray(leaf)
        head = f"{name} {array.dtype.name} {leaf.shape};"
        crc = zlib.crc32(head.encode(), crc)
        # As bytes, since bfloat16 does not speak the buffer protocol.
        crc = zlib.crc32(array.reshape(-1).view(np.uint8).tobytes(), crc)
    return crc


def save_failure(folder: Path, state: Any, info: Mapping[str, Any]) -> None:
    """Keep the state of a failed step; a former one in the folder is replaced.

    Args:
        folder: gets ``state/`` and ``info.json``.
        state: any tree of arrays.
        info: what is known of the failure; NaN and infinity become null.
    """
    import orbax.checkpoint as ocp

    _quieten_orbax()
    folder = Path(folder).absolute()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "state", _not_empty(_table(state)), force=True)
        checkpointer.wait_until_finished()
    # Last, so that info.json says that the state beside it is whole.
    if jax.process_index() == 0:
        write_json_atomically(folder / "info.json", _record(state, info))


def load_failure(folder: Path, abstract_state: Any) -> tuple[Any, dict[str, Any]]:
    """What `save_failure` kept: the state and the info.

    Args:
        folder: the folder that was given to `save_failure`.
        abstract_state: tree of `jax.ShapeDtypeStruct` with shardings.

    Raises:
        ConfigError: if there is nothing, or it is damaged or of another state.
    """
    import orbax.checkpoint as ocp

    _quieten_orbax()
    folder = Path(folder).absolute()
    if not (folder / "info.json").exists():
        raise ConfigError(f"{folder} holds no failure (no info.json)")

    def restore() -> tuple[Any, dict[str, Any]]:
        record = json.loads((folder / "info.json").read_text("utf-8"))
        with ocp.StandardCheckpointer() as checkpointer:
            return _verified(
                folder,
                record,
                abstract_state,
                lambda abstract: checkpointer.restore(folder / "state", abstract),
            )

    found, reason = _attempt(restore)
    if found is None:
        raise ConfigError(f"{folder} is damaged ({reason})")
    return found


class _Damage(ValueError):
    """A checkpoint that can be read but is not what was saved."""


def _table(state: Any) -> dict[str, Any]:
    """Leaves by name. Empty subtrees and None vanish; the reader's tree has them."""
    flat, _ = jax.tree_util.tree_flatten_with_path(state)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in flat]
    # A dot inside a key could make two paths one name.
    if len(set(names)) < len(names):
        names = [jax.tree_util.keystr(path) for path, _ in flat]
    return dict(zip((n or "state" for n in names), (v for _, v in flat), strict=True))


def _layout(table: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {
        name: [np.dtype(leaf.dtype).name, *leaf.shape] for name, leaf in table.items()
    }


def _not_empty(table: Mapping[str, Any]) -> dict[str, Any]:
    """Without arrays of size zero, which orbax refuses and nobody misses."""
    return {name: leaf for name, leaf in table.items() if 0 not in leaf.shape}


def _sharding(leaf: Any) -> jax.sharding.Sharding:
    given = getattr(leaf, "sharding", None)
    return given or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])


def _record(state: Any, meta: Mapping[str, Any]) -> dict[str, Any]:
    """Meta together with what it takes to verify it and the state."""
    record = {k: v for k, v in plain(meta).items() if k not in _OURS}
    record["leaves"] = _layout(_table(state))
    record["digest"] = digest(state)
    return {**record, "seal": _seal(record)}


def _verified(
    where: Path,
    record: Any,
    abstract_state: Any,
    read: Callable[[dict[str, jax.ShapeDtypeStruct]], Mapping[str, jax.Array]],
) -> tuple[Any, dict[str, Any]]:
    """The state that `read` gives and its meta, if they are what was saved."""
    if not isinstance(record, dict) or record.get("seal") != _seal(record):
        raise _Damage("meta differs from its seal")
    table = _table(abstract_state)
    if record["leaves"] != _layout(table):
        raise ConfigError(
            f"{where} holds another state "
            f"({_first_difference(record['leaves'], _layout(table))}); use the "
            "settings it was made with or another --workdir"
        )
    arrays = read(
        {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=_sharding(leaf))
            for name, leaf in _not_empty(table).items()
        }
    )
    leaves = [
        arrays[name]
        if name in arrays
        else jax.device_put(np.zeros(leaf.shape, leaf.dtype), _sharding(leaf))
        for name, leaf in table.items()
    ]
    state = jax.tree.unflatten(jax.tree.structure(abstract_state), leaves)
    if digest(state) != record["digest"]:
        raise _Damage("content differs from its digest")
    return state, {k: v for k, v in record.items() if k not in ("leaves", "seal")}


def _seal(record: Mapping[str, Any]) -> int:
    rest = {k: v for k, v in record.items() if k != "seal"}
    return zlib.crc32(json.dumps(rest, sort_keys=True).encode())


def _first_difference(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    for name in sorted(saved.keys() | wanted.keys()):
        a, b = saved.get(name, "nothing"), wanted.get(name, "nothing")
        if a != b:
            return f"{name}: saved {a}, wanted {b}"
    return "the order of its arrays"


def _reason(error: Exception) -> str:
    # Orbax's own words are paragraphs, and its kinds of exception say little.
    return str(error) if isinstance(error, _Damage) else "a file is missing or broken"


def _attempt(
    restore: Callable[[], tuple[Any, dict[str, Any]]],
) -> tuple[tuple[Any, dict[str, Any]] | None, str]:
    """What `restore` returns, or None and in a few words how it is damaged.

    When one read fails, orbax abandons the others while they run. Python would print
    pages for each, so they are let end and collected here, in silence.
    """
    previous = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if not inspect.iscoroutine(unraisable.object) and (
            str(unraisable.exc_value) != "Event loop is closed"
        ):
            previous(unraisable)

    sys.unraisablehook = hook
    try:
        try:
            return restore(), ""
        except _NOT_DAMAGE:
            raise
        except Exception as error:  # orbax raises many kinds for damage
            reason = _reason(error)
            # As text, since the error itself would keep the abandoned reads alive.
            _logger.debug("restoring failed: %s", traceback.format_exc())
        time.sleep(0.2)
        gc.collect()
        return None, reason
    finally:
        sys.unraisablehook = previous


def _only_errors_from_orbax(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR or "orbax" not in record.pathname


def _quieten_orbax() -> None:
    """Orbax tells every step of a save through absl; other absl users still speak."""
    import absl.logging

    # Adding the same filter again changes nothing.
    absl.logging.get_absl_logger().addFilter(_only_errors_from_orbax)
