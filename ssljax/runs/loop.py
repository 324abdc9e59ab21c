"""The training loop of one process: restore, step, log, monitor, save."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import jax

from ssljax.data import Source
from ssljax.data.retry import TransientDataError
from ssljax.runs import errors, processes
from ssljax.runs.cadence import Cadence, steps_of
from ssljax.runs.checkpoint import Checkpoints
from ssljax.runs.contact import contact_sheet
from ssljax.runs.failed_step import save_failure
from ssljax.runs.feed import Feed
from ssljax.runs.folder import RunFolder
from ssljax.runs.initial import start_from
from ssljax.runs.monitor import Monitor
from ssljax.runs.preemption import Preempted, Preemption
from ssljax.runs.progress import Progress
from ssljax.runs.step_trace import StepTrace
from ssljax.runs.unreadable_images import SkippedImages
from ssljax.runs.waiting import Stopped, Waiting, wait_for
from ssljax.runs.writers import DelayedMetrics, MetricWriter
from ssljax.training import devices
from ssljax.training.state import Setup, TrainState, creator


class TrainingFailed(RuntimeError):
    """Training cannot continue; the message is one line that names the step."""


@dataclass(frozen=True)
class Run:
    """Result of `pretrain`."""

    workdir: Path
    steps: int
    metrics: dict[str, Any]
    """The last logged record."""


class Session:
    """The training loop of one process; owns and closes its files and threads."""

    def __init__(
        self,
        setup: Setup,
        sources,
        folder: RunFolder,
        mesh,
        quiet,
        preemption: Preemption,
    ):
        self.preemption = preemption
        source, test, bank = sources
        self.setup, self.source, self.folder, self.quiet = setup, source, folder, quiet
        config = setup.config
        self.mesh, self.replicated = mesh, devices.replicated(mesh)
        self.skipped = SkippedImages(folder, quiet=quiet)
        settings = config.checkpoint
        self.checkpoints = Checkpoints(
            folder.checkpoints,
            keep=settings.keep,
            period=steps_of(settings.keep_period, self._epoch),
            best=settings.best_column,
        )
        self.writer: MetricWriter | None = None
        try:
            self._open(source, test, bank)
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def _open(self, source: Source, test: Source | None, bank: Source | None) -> None:
        config, folder = self.setup.config, self.folder
        self.feed = Feed(self.setup, source, self.mesh)
        create = creator(self.setup, out_shardings=self.replicated)
        wanted = devices.abstract(jax.eval_shape(create), self.replicated)
        self.compiling = self.feed.compile_ahead(wanted)
        self.state, self.start = self._restore(create, wanted)
        # Only the first process writes; the others take part in the computation alone.
        if processes.is_first():
            self.writer = MetricWriter(
                folder,
                resume_step=self.start,
                tensorboard=config.log.tensorboard,
                wandb=config.log.wandb,
                config=config,
            )
            if self.start == 0 and self.writer.shows_pictures:
                self.writer.picture(0, "views", contact_sheet(self.setup, source))
        self.monitor = None
        if config.monitor.every_epochs:
            self.monitor = Monitor(self.setup, source, test, self.mesh, bank=bank)
            self.monitor.history += past_panels(folder)
        self.delayed = DelayedMetrics()
        self.last: dict[str, Any] = {}
        self.alarmed = bool(folder.load_alarms())

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object):
        closing = [] if self.writer is None else [self.writer.close]
        # Closing waits for all processes. After most errors the others may be lost, or
        # still training; only these two errors stop all processes at the same step.
        together = not isinstance(error, Exception) or isinstance(
            error, TrainingFailed | Preempted
        )
        if together or jax.process_count() == 1:
            closing.append(self.checkpoints.close)
        failed = error
        for close in closing:
            try:
                close()
            except Exception as later:
                # Report the first error: later ones are usually its consequences.
                failed = failed or later
        if failed is not None and failed is not error:
            raise failed

    def run(self) -> Run:
        """Train until the last step and return its metrics.

        Raises:
            TrainingFailed: the loss or its gradient is not finite, or the embeddings
                collapsed and ``monitor.collapse`` is "stop".
            Preempted: a signal asked to stop, and the state is saved.
        """
        config, total = self.setup.config, self.setup.total_steps
        found = self.checkpoints.best()
        cadence = Cadence(
            config,
            epoch=self._epoch,
            total=total,
            best=-math.inf if found is None else found[1],
        )
        panel_every = max(1, round(config.monitor.every_epochs * self._epoch))
        # A collapse must be found within two epochs, however rare the panels are.
        early = {round(self._epoch * halves / 2) for halves in (1, 2, 3, 4)}
        stop = self.preemption.requested
        try:
            step_fn = wait_for(self.compiling, stop)
        except Stopped:
            self._stop(self.start)
        batches = self.feed.inputs(self.start, total, on_replaced=self.skipped.add)
        waiting = Waiting(batches, stop, ready=self.feed.resident)
        progress = Progress(
            total, self.start, batch_size=config.batch_size, quiet=self.quiet
        )
        trace = StepTrace(config.log.traced, self.folder.path / "profile")
        with progress, waiting, trace:
            for step in range(self.start, total):
                waited = time.perf_counter()
                try:
                    inputs = waiting.next()
                except (Stopped, TransientDataError) as error:
                    # Several processes would have to agree on the step first.
                    if not isinstance(error, Stopped) and jax.process_count() > 1:
                        raise
                    self._flush(progress)
                    self._stop(step, str(error))
                progress.waited(time.perf_counter() - waited)
                trace.before(step)
                # A hidden host transfer would stall every step, so it is an error.
                with jax.transfer_guard("disallow"):
                    self.state, metrics = step_fn(self.state, *inputs)
                progress.queued(metrics)
                trace.after(step, self.state)
                del inputs  # else a batch would still be in memory while one is awaited
                done = step + 1
                # Fetch the previous record while this step runs on the device.
                self._flush(progress)
                regular = done % panel_every == 0 or done in (1, total)
                extra: dict[str, Any] = {}
                at_panel = self.monitor is not None and (regular or done in early)
                if at_panel or done % config.log.every_steps == 0 or done == total:
                    extra = {"epoch": done / self._epoch}
                    if self.monitor is not None and at_panel:
                        # Otherwise the step still running would count as monitoring.
                        jax.block_until_ready(self.state)
                        extra |= self.monitor.measure(self.state, knn=regular)
                        progress.exclude(extra["monitor_seconds"])
                    self.delayed.push(done, metrics, extra)
                if cadence.due(done, extra):
                    self._flush(progress)
                    self._save(done, cadence.score(extra))
                progress.advance(done)
                if done < total and self.preemption.due(done):
                    self._flush(progress)
                    self._stop(done)
            self._flush(progress)
        self.skipped.sum_up()
        return Run(self.folder.path, total, self.last)

    @property
    def _epoch(self) -> int:
        return self.setup.steps_per_epoch

    def _restore(
        self, create: Callable[[], TrainState], wanted: Any
    ) -> tuple[TrainState, int]:
        found = self.checkpoints.restore_latest(wanted)
        if found is None:
            return start_from(create(), self.setup), 0
        state, meta, notes = found
        for note in notes:
            print(note)
        start = int(meta["step"])
        if not self.quiet:
            print(f"resuming {self.folder.path} at step {start}")
        return state, start

    def _flush(self, progress: Progress) -> None:
        held = self.delayed.pop()
        if held is None:
            return
        step, record = held
        failed_at = int(record.pop("failed_at"))
        record |= progress.rates(step)
        if self.writer is not None:
            self.writer.write(step, record)
        self.last = {"step": step, **record}
        progress.show(step, record)
        if failed_at >= 0:
            self._fail(failed_at, record)
        if "spectrum/rankme" in record:
            if self.writer is not None:
                self.writer.write_csv()
            self._look_for_collapse(step)

    def _fail(self, failed_at: int, record: dict[str, Any]) -> None:
        info = {"step": failed_at, "loss": str(record["loss"])}
        kept = f"`ssljax replay {self.folder.path}` reruns that step from failure/"
        try:
            save_failure(self.folder.failure, self.state, info)
        except Exception as error:
            why = errors.explain(error, self.folder)
            if why is None:
                raise
            kept = f"its state could not be kept in failure/ ({why.split(';')[0]})"
        raise TrainingFailed(
            f"step {failed_at}: the loss or its gradient is not finite; {kept}; lower "
            "the learning rate, lengthen the warm-up or set optimizer.clip_norm"
        )

    def _look_for_collapse(self, step: int) -> None:
        policy = self.setup.config.monitor.collapse
        if self.monitor is None or policy == "off" or self.alarmed:
            return
        found = self.monitor.alarm()
        if found is None:
            return
        self.alarmed = True
        if self.writer is not None:
            self.writer.alarm(step, found.kind, str(found), "; ".join(found.advice))
            print(f"\nALARM at step {step}: {found}", flush=True)
        if policy == "stop":
            raise TrainingFailed(f"step {step}: {found}")

    def _stop(self, step: int, why: str = "") -> NoReturn:
        reason = f"data: {why}" if why else self.preemption.reason
        if step == 0:
            raise Preempted(
                f"{reason}; this was before the first step, so there was nothing to "
                "save; rerun the same command to start again"
            )
        self._save(step)
        self.checkpoints.wait()
        raise Preempted(
            f"{reason}; step {step} of {self.setup.total_steps} is saved; rerun the "
            "same command to resume"
        )

    def _save(self, step: int, measured: dict[str, float] | None = None) -> None:
        # A failed state must not become the checkpoint to resume from.
        if int(self.state.failed_at) < 0:
            if self.writer is not None:
                # Before it, so that a run resumed from it lacks no line.
                self.writer.store()
            self.checkpoints.save(step, self.state, {"step": step}, measured)


def past_panels(folder: RunFolder) -> list[dict[str, float]]:
    """Return the spectrum panels logged so far, oldest first."""
    panels = []
    for record in folder.load_metrics():
        panel = {
            name.removeprefix("spectrum/"): float("nan") if value is None else value
            for name, value in record.items()
            if name.startswith("spectrum/") and not isinstance(value, list)
        }
        if panel:
            panels.append(panel)
    return panels
