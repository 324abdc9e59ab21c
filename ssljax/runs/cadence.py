"""Decide at which steps a run saves a checkpoint."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from ssljax.config import Config
from ssljax.runs import processes


class Cadence:
    """Say after each step whether to save: by epochs, minutes, or the best measurement.

    Every process must ask about every step, and all get the same answer.

    Args:
        config: the settings of the run.
        epoch: steps in an epoch.
        total: the last step.
        best: largest measurement that a checkpoint has so far.
        clock: returns seconds; that of the first process decides.

    >>> cadence = Cadence(Config(epochs=3), epoch=10, total=30)
    >>> [step for step in range(1, 31) if cadence.due(step, {})]
    [10, 20, 30]
    """

    def __init__(
        self,
        config: Config,
        *,
        epoch: int,
        total: int,
        best: float = -math.inf,
        clock: Callable[[], float] = time.monotonic,
    ):
        settings = config.checkpoint
        self._total, self._best, self._clock = total, best, clock
        self._column = settings.best_column
        self.period = steps_of(settings.keep_period, epoch)
        lengths = settings.every_epochs, settings.keep_period
        steps = (steps_of(length, epoch) for length in lengths)
        self._steps = [each for each in steps if each is not None]
        minutes = settings.every_minutes
        self._seconds = None if minutes is None else 60 * minutes
        self._logged = config.log.every_steps
        self._saved_at = clock()

    def due(self, step: int, measured: Mapping[str, Any]) -> bool:
        """Return whether to save after this step.

        Args:
            step: steps done.
            measured: what the monitor measured after this step.
        """
        improved, late = self._improved(measured), self._late(step)
        regular = step == self._total or any(step % n == 0 for n in self._steps)
        if not (improved or late or regular):
            return False
        self._saved_at = self._clock()
        return True

    def score(self, measured: Mapping[str, Any]) -> dict[str, float] | None:
        """Return what a checkpoint is chosen by, None where it was not measured."""
        value = math.nan if self._column is None else measured.get(self._column)
        if self._column is None or value is None or not math.isfinite(value):
            return None
        return {self._column: float(value)}

    def _improved(self, measured: Mapping[str, Any]) -> bool:
        found = self.score(measured)
        # All agree on whether a number is there, but perhaps not on its last digit.
        better = found is not None and processes.on_first(
            lambda: max(found.values()) > self._best
        )
        if found is not None and better:
            self._best = max(found.values())
        return better

    def _late(self, step: int) -> bool:
        seconds = self._seconds
        if seconds is None or (processes.several() and step % self._logged):
            return False
        return processes.on_first(lambda: self._clock() - self._saved_at >= seconds)


def steps_of(epochs: float | None, epoch: int) -> int | None:
    """Return a number of epochs in steps, at least one; None for none.

    >>> steps_of(0.5, 9), steps_of(0.01, 9), steps_of(0.0, 9)
    (4, 1, None)
    """
    return max(1, round(epochs * epoch)) if epochs else None
