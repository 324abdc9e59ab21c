"""Checkpoints that are verified when read, so that a damaged one is skipped."""

import gc
import inspect
import logging
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from ssljax.config.checks import ConfigError
from ssljax.config.paths import absolute_path, in_bucket
from ssljax.runs import files
from ssljax.runs.digest import Damage, not_empty, record_of, table, verified

_COMMITTED = "commit_success.txt"
_logger = logging.getLogger(__name__)
# These errors have other causes, so they do not mean that the checkpoint is damaged.
_NOT_DAMAGE = (ConfigError, MemoryError, PermissionError, jax.errors.JaxRuntimeError)


class Checkpoints:
    """Save states in the background and restore the newest undamaged one.

    A state is stored as a flat table of named arrays, whatever its containers. A digest
    of all bytes is stored with it, because a lost chunk file would otherwise be read
    as zeros without an error. Every process must call every method.

    Args:
        folder: contains one folder per step; created if missing.
        keep: number of latest checkpoints to keep.
        read_only: create, move and delete nothing, so that a run in progress is not
            disturbed.
    """

    def __init__(self, folder: Path, *, keep: int, read_only: bool = False):
        import orbax.checkpoint as ocp

        quieten_orbax()
        self._folder = absolute_path(folder)
        self._read_only = read_only
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                # Orbax rejects max_to_keep for a read-only manager.
                max_to_keep=None if read_only else keep,
                create=not read_only,
                cleanup_tmp_directories=not read_only,
                read_only=read_only,
            ),
        )

    def steps(self) -> list[int]:
        """Return the steps of the finished checkpoints, oldest first."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, state: Any, meta: Mapping[str, Any]) -> None:
        """Start saving a state, unless that step is already saved.

        The arrays are copied before the call returns, so they may be donated next.

        Args:
            step: number of optimizer steps done.
            state: any tree of arrays.
            meta: JSON-serialisable; a digest is added to it.
        """
        import orbax.checkpoint as ocp

        if step in self._manager.all_steps():
            return
        # Fail now if the folder cannot be written: orbax would wait five minutes for
        # its own folder to appear. On a bucket folders need not exist.
        if not in_bucket(self._folder):
            os.rmdir(tempfile.mkdtemp(prefix=".", dir=self._folder))
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(not_empty(table(state))),
                meta=ocp.args.JsonSave(record_of(state, meta)),
            ),
        )

    def restore_step(
        self, step: int, abstract_state: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Restore the state of one step, and its meta.

        Raises:
            ConfigError: if that step was not kept, or its checkpoint is damaged.
        """
        kept = self.steps()
        if step not in kept:
            raise ConfigError(
                f"no checkpoint of step {step} in {self._folder}; "
                f"kept are {', '.join(map(str, kept)) or 'none'}"
            )
        found, reason = attempt(lambda: self._restore(step, abstract_state))
        if found is None:
            raise ConfigError(
                f"checkpoint {step} in {self._folder} is damaged ({reason}); choose "
                "another step"
            )
        return found

    def restore_latest(
        self, abstract_state: Any
    ) -> tuple[Any, dict[str, Any], list[str]] | None:
        """Restore the newest undamaged state.

        Damaged checkpoints newer than it are moved to ``<folder>_damaged``.

        Args:
            abstract_state: tree of `jax.ShapeDtypeStruct` with shardings, on any
                devices.

        Returns:
            The state, its meta and one line per skipped checkpoint; None if there is
            no checkpoint.

        Raises:
            ConfigError: if every checkpoint is damaged (none is moved), or if the
                checkpoint belongs to another model, method or optimizer.
        """
        damaged: list[tuple[int, str]] = []
        for step in reversed(self.steps()):
            found, reason = attempt(lambda s=step: self._restore(s, abstract_state))
            if found is None:
                damaged.append((step, reason))
                continue
            notes = [
                f"checkpoint {bad} is damaged ({reason}): using {step}"
                for bad, reason in damaged
            ]
            self._move_damaged([bad for bad, _ in damaged])
            return *found, notes
        if not damaged:
            return None
        reasons = "; ".join(f"{step}: {reason}" for step, reason in damaged)
        raise ConfigError(
            f"every checkpoint in {self._folder} is damaged ({reasons}); restore a "
            "copy or delete that folder to train from the start"
        )

    def wait(self) -> None:
        """Wait until everything saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Finish saving and stop the background threads, even if saving failed."""
        try:
            self._manager.wait_until_finished()
        finally:
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

        return verified(self._folder / str(step), record, abstract_state, read)

    def _move_damaged(self, steps: list[int]) -> None:
        if not steps or self._read_only:
            return
        if jax.process_index() == 0:
            folder = self._folder.with_name(self._folder.name + "_damaged")
            folder.mkdir(exist_ok=True)
            for step in steps:
                target, count = folder / str(step), 1
                while target.exists():
                    count += 1
                    target = folder / f"{step}-{count}"
                files.move_folder(self._folder / str(step), target)
        if jax.process_count() > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices("ssljax_damaged_moved")
        # The manager caches its list of steps.
        self._manager.reload()


def saved_steps(folder: Path) -> list[int]:
    """Return the steps whose checkpoints a folder has, without opening one.

    Args:
        folder: of `Checkpoints`; it need not exist.
    """
    # One that is being written, or was when its process was killed, has a longer name;
    # on a bucket it lacks the file that orbax writes last.
    found = (
        [each.parent for each in folder.glob(f"*/{_COMMITTED}")]
        if in_bucket(folder)
        else folder.glob("*")
    )
    return sorted(int(each.name) for each in found if each.name.isdigit())


def attempt(
    restore: Callable[[], tuple[Any, dict[str, Any]]],
) -> tuple[tuple[Any, dict[str, Any]] | None, str]:
    """Call `restore`, and turn an error that means damage into a short reason.

    When one read fails, orbax abandons the other reads while they run. Python would
    print a long traceback for each, so they are collected here and silenced.

    Returns:
        The result of ``restore()`` and an empty reason, or None and the reason.
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
        except Exception as error:  # orbax raises many types for damage
            reason = _reason(error)
            # Logged as text: the error object would keep the abandoned reads alive.
            _logger.debug("restoring failed: %s", traceback.format_exc())
        time.sleep(0.2)
        gc.collect()
        return None, reason
    finally:
        sys.unraisablehook = previous


def _reason(error: Exception) -> str:
    # Orbax's messages are paragraphs long, and its exception types say little.
    return str(error) if isinstance(error, Damage) else "a file is missing or broken"


def _only_errors_from_orbax(record: logging.LogRecord) -> bool:
    # An error with a traceback is also raised, so logging it would print it twice.
    is_error = record.levelno >= logging.ERROR and not record.exc_info
    return is_error or "orbax" not in record.pathname


def _not_of_orbax(record: logging.LogRecord) -> bool:
    # When one write fails, the writes beside it fail too, and asyncio reports each.
    if "never retrieved" not in record.getMessage():
        return True
    trace = record.exc_info[2] if record.exc_info else None
    files = [frame.filename for frame in traceback.extract_tb(trace)]
    return "orbax" not in record.getMessage() + " ".join(files)


class _Unraised:
    """Unraisable hook that silences writes still running after one has failed."""

    def __init__(self, previous: Callable[[Any], Any]):
        self._previous = previous

    def __call__(self, unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            self._previous(unraisable)


def quieten_orbax() -> None:
    """Silence orbax's log of every save, which it writes through absl.

    Its exceptions are still raised, and other users of absl still log.
    """
    import absl.logging

    # Adding the same filter again changes nothing.
    absl.logging.get_absl_logger().addFilter(_only_errors_from_orbax)
    logging.getLogger("asyncio").addFilter(_not_of_orbax)
    # Never removed, since orbax's writing threads may live until the process ends.
    if not isinstance(sys.unraisablehook, _Unraised):
        sys.unraisablehook = _Unraised(sys.unraisablehook)
