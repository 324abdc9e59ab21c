"""Trace some steps of a run with JAX's profiler, in process 0: all do the same."""

from pathlib import Path
from typing import Any

import jax

from ssljax.runs import processes


class StepTrace:
    """Trace the steps of a range into a folder; use as a context manager.

    A trace that cannot be written is reported, and the run continues.

    Args:
        steps: the steps, counted from 0; an empty range traces nothing.
        folder: gets the trace, for TensorBoard, XProf or Perfetto.
    """

    def __init__(self, steps: range, folder: Path):
        self._steps = steps if processes.is_first() else range(0)
        self._folder = folder
        self._tracing = False

    def __enter__(self) -> "StepTrace":
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def before(self, step: int) -> None:
        """Start the trace if the step that comes is in the range."""
        if self._tracing or step not in self._steps:
            return
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # its events would crowd out the device's
        try:
            jax.profiler.start_trace(self._folder, profiler_options=options)
        except Exception as error:
            self._give_up(error)
        else:
            self._tracing = True

    def after(self, step: int, state: Any) -> None:
        """End the trace if the range is done, once the device is."""
        if self._tracing and step + 1 not in self._steps:
            # Steps that still run would be missing.
            jax.block_until_ready(state)
            self._stop()

    def _stop(self) -> None:
        if not self._tracing:
            return
        self._tracing = False
        try:
            jax.profiler.stop_trace()
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._steps = range(0)
        print(f"no trace in {self._folder}: {' '.join(str(error).split())}", flush=True)
