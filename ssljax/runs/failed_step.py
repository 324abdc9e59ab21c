"""Save and load the state of a failed step, so that the step can be replayed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from ssljax.config.checks import ConfigError
from ssljax.config.paths import absolute_path
from ssljax.runs.digest import not_empty, record_of, table, verified
from ssljax.runs.files import read_text, write_json
from ssljax.runs.quiet_orbax import attempt, quieten_orbax


def save_failure(folder: Path, state: Any, info: Mapping[str, Any]) -> None:
    """Save the state of a failed step, replacing an earlier one in the folder.

    Args:
        folder: receives ``state/`` and ``info.json``.
        state: any tree of arrays.
        info: describes the failure; NaN and infinity become null.
    """
    import orbax.checkpoint as ocp

    quieten_orbax()
    folder = absolute_path(folder)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder / "state", not_empty(table(state)), force=True)
        checkpointer.wait_until_finished()
    # Written last, so that info.json exists only beside a complete state.
    if jax.process_index() == 0:
        write_json(folder / "info.json", record_of(state, info))


def load_failure(folder: Path, abstract_state: Any) -> tuple[Any, dict[str, Any]]:
    """Load the state and the info that `save_failure` saved.

    Args:
        folder: the folder given to `save_failure`.
        abstract_state: tree of `jax.ShapeDtypeStruct` with shardings.

    Raises:
        ConfigError: if it is missing, damaged or of a different state.
    """
    import orbax.checkpoint as ocp

    quieten_orbax()
    folder = absolute_path(folder)
    if not (folder / "info.json").exists():
        raise ConfigError(
            f"{folder} has no failed step to replay (no info.json); only a run that "
            "stopped at a loss or gradient that is not finite has one"
        )

    def restore() -> tuple[Any, dict[str, Any]]:
        record = json.loads(read_text(folder / "info.json"))
        with ocp.StandardCheckpointer() as checkpointer:
            return verified(
                folder,
                record,
                abstract_state,
                lambda abstract: checkpointer.restore(folder / "state", abstract),
            )

    found, reason = attempt(restore)
    if found is None:
        raise ConfigError(
            f"{folder} is damaged ({reason}), so the step cannot be replayed; rerun "
            "ssljax pretrain to reach that step again"
        )
    return found
