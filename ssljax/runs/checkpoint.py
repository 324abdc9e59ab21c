"""Checkpoints that are verified when read: a damaged one is noticed and passed over."""

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
from ssljax.runs.digest import Damage, not_empty, record_of, table, verified

_logger = logging.getLogger(__name__)
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
        read_only: look only: nothing is made, moved or cleaned up, so that a run that
            is training now is not disturbed.
    """

    def __init__(self, folder: Path, *, keep: int, read_only: bool = False):
        import orbax.checkpoint as ocp

        quieten_orbax()
        self._folder = Path(folder).absolute()
        self._read_only = read_only
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                # A read-only manager may not be given a number to keep.
                max_to_keep=None if read_only else keep,
                create=not read_only,
                cleanup_tmp_directories=not read_only,
                read_only=read_only,
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
        # Where orbax cannot make its folder, its threads wait five minutes for it.
        os.rmdir(tempfile.mkdtemp(prefix=".", dir=self._folder))
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(not_empty(table(state))),
                meta=ocp.args.JsonSave(record_of(state, meta)),
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
            found, reason = attempt(lambda s=step: self._restore(s, abstract_state))
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
        """Finish saving and stop the background threads, also where saving failed."""
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

    def _move_aside(self, steps: list[int]) -> None:
        if not steps or self._read_only:
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


def attempt(
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


def _reason(error: Exception) -> str:
    # Orbax's own words are paragraphs, and its kinds of exception say little.
    return str(error) if isinstance(error, Damage) else "a file is missing or broken"


def _only_errors_from_orbax(record: logging.LogRecord) -> bool:
    # Pages of traceback come with an error that is raised as well.
    told = record.levelno >= logging.ERROR and not record.exc_info
    return told or "orbax" not in record.pathname


def _not_of_orbax(record: logging.LogRecord) -> bool:
    # When one write fails, those beside it fail too, and nobody asks them why.
    if "never retrieved" not in record.getMessage():
        return True
    trace = record.exc_info[2] if record.exc_info else None
    files = [frame.filename for frame in traceback.extract_tb(trace)]
    return "orbax" not in record.getMessage() + " ".join(files)


class _Unraised:
    """An unraisable hook for writes that end after the one that failed."""

    def __init__(self, previous: Callable[[Any], Any]):
        self._previous = previous

    def __call__(self, unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            self._previous(unraisable)


def quieten_orbax() -> None:
    """Orbax tells every step of a save through absl; other absl users still speak.

    What it raises is raised; the pages that are printed beside it are not.
    """
    import absl.logging

    # Adding the same filter again changes nothing.
    absl.logging.get_absl_logger().addFilter(_only_errors_from_orbax)
    logging.getLogger("asyncio").addFilter(_not_of_orbax)
    # To the end of the process, since the threads that write may live as long.
    if not isinstance(sys.unraisablehook, _Unraised):
        sys.unraisablehook = _Unraised(sys.unraisablehook)
