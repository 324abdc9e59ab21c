"""Write a checkpoint's record in the background: its digest takes longer than a copy.

Orbax renames a checkpoint to its final name when all its parts are written, this one
included. So a checkpoint without a digest is never taken for a finished one.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import future

from ssljax.runs.digest import record_of


class RecordHandler(ocp.JsonCheckpointHandler):
    """Write the JSON of `record_of`, computed when the state has been copied."""

    async def async_save(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, directory: Any, item: Any = None, args: "RecordSave | None" = None
    ) -> list[future.Future]:
        """Fetch the state, and return the future of the file."""
        assert args is not None
        # On CPUs these are the buffers themselves, which are not donated while they are
        # held.
        state = jax.device_get(args.state) if jax.process_index() == 0 else None

        async def write() -> None:
            if state is not None:
                text = json.dumps(record_of(state, args.meta))
                (directory / "metadata").write_text(text)

        return [future.CommitFutureAwaitingContractedSignals(write(), name="record")]


@ocp.args.register_with_handler(RecordHandler, for_save=True)
@dataclass
class RecordSave(ocp.args.CheckpointArgs):
    """What to save: the record of a state.

    Attributes:
        state: any tree of arrays.
        meta: JSON-serialisable.
    """

    state: Any
    meta: Mapping[str, Any]


@ocp.args.register_with_handler(RecordHandler, for_restore=True)
@dataclass
class RecordRestore(ocp.args.JsonRestore):
    """Read a record back."""
