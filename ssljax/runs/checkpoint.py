"""Checkpoints that are verified when read, so that a damaged one is skipped."""

import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from ssljax.config.checks import ConfigError
from ssljax.config.paths import absolute_path, in_bucket
from ssljax.runs import files
from ssljax.runs.digest import not_empty, table, verified
from ssljax.runs.quiet_orbax import attempt, quieten_orbax

_COMMITTED = "commit_success.txt"


class Checkpoints:
    """Save states in the background and restore the newest undamaged one.

    A state is stored as a flat table of named arrays, whatever its containers. A digest
    of all bytes is stored with it, because a lost chunk file would otherwise be read
    as zeros without an error. Every process must call every method.

    Args:
        folder: contains one folder per step; created if missing.
        keep: number of latest checkpoints to keep.
        period: keep those whose step is a multiple of this as well; None for none.
        best: keep the one with the largest such measurement as well; None for none.
        read_only: create, move and delete nothing, so that a run in progress is not
            disturbed.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep: int,
        period: int | None = None,
        best: str | None = None,
        read_only: bool = False,
    ):
        import orbax.checkpoint as ocp

        quieten_orbax()
        self._folder = absolute_path(folder)
        self._read_only, self._best = read_only, best
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=_preserved(keep, period, best),
                # Without it, orbax does not store what was measured.
                best_fn=_measured(best),
                create=not read_only,
                cleanup_tmp_directories=not read_only,
                read_only=read_only,
            ),
        )

    def steps(self) -> list[int]:
        """Return the steps of the finished checkpoints, oldest first."""
        return sorted(self._manager.all_steps())

    def best(self) -> tuple[int, float] | None:
        """Return the step of the best checkpoint and its measurement, if there is one.

        Only checkpoints that were measured count.
        """
        if self._best is None:
            return None
        found = {step: self._manager.metrics(step) for step in self.steps()}
        value = _measured(self._best)
        # Of equal ones the latest, as orbax keeps it.
        scores = [(value(m), step) for step, m in found.items() if m is not None]
        score, step = max(scores, default=(-math.inf, 0))
        return None if score == -math.inf else (step, score)

    def save(
        self,
        step: int,
        state: Any,
        meta: Mapping[str, Any],
        measured: Mapping[str, float] | None = None,
    ) -> None:
        """Start saving a state, unless that step is already saved.

        The arrays are copied before the call returns, so they may be donated next.
        Digest and files are made in the background.

        Args:
            step: number of optimizer steps done.
            state: any tree of arrays.
            meta: JSON-serialisable; a digest is added to it.
            measured: numbers by name, of which ``best`` is one; None if not measured.
        """
        import orbax.checkpoint as ocp

        from ssljax.runs.background_record import RecordSave

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
                meta=RecordSave(state, meta),
            ),
            metrics=measured,
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

        from ssljax.runs.background_record import RecordRestore

        record = self._manager.restore(
            step, args=ocp.args.Composite(meta=RecordRestore())
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


def _measured(best: str | None) -> Any:
    """Return the function of the numbers that a checkpoint has the best of."""
    return None if best is None else lambda numbers: numbers.get(best, -math.inf)


def _preserved(keep: int, period: int | None, best: str | None) -> Any:
    """Return orbax's rule of which checkpoints to keep."""
    from orbax.checkpoint import checkpoint_managers as managers

    rules: list[Any] = [managers.LatestN(keep)]
    if period is not None:
        rules.append(managers.EveryNSteps(period))
    if best is not None:
        rules.append(
            managers.BestN(
                get_metric_fn=_measured(best),
                n=1,
                keep_checkpoints_without_metrics=False,
            )
        )
    return managers.AnyPreservationPolicy(rules)
