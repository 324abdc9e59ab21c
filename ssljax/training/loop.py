"""The training loop: claim the run folder, restore, step, log, monitor, save."""

import functools
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ssljax import methods
from ssljax.config import Config
from ssljax.data import Source, batch_indices, batches
from ssljax.training import devices
from ssljax.training.checkpoint import Checkpoints
from ssljax.training.failure import load_failure, save_failure
from ssljax.training.monitor import Monitor
from ssljax.training.prepare import describe, load_split, prepare
from ssljax.training.progress import Progress
from ssljax.training.run_folder import RunFolder, read_json_lines
from ssljax.training.state import Setup, TrainState, init_state
from ssljax.training.step import (
    resident_step,
    run_networks,
    train_step,
    view_batch,
)
from ssljax.training.writers import DelayedMetrics, MetricWriter, check_loggers
from ssljax.validation import ConfigError


class TrainingFailed(RuntimeError):
    """Training cannot go on; the message is one line that names the step."""


@dataclass(frozen=True)
class Run:
    """What `pretrain` leaves behind."""

    workdir: Path
    steps: int
    metrics: dict[str, Any]
    """The last logged record."""


def pretrain(
    config: Config,
    workdir: str | Path,
    *,
    train: Source | None = None,
    test: Source | None = None,
    command: Sequence[str] | None = None,
    quiet: bool = False,
) -> Run:
    """Pretrain an encoder; the same call on the same folder goes on where it stopped.

    Args:
        config: the recipe.
        workdir: run folder; created, or resumed when it holds a run of this config.
        train: training images; None loads what the config names.
        test: labelled images for the kNN monitor; None loads what the config names,
            and goes without where there are none.
        command: what to record as the command that was run.
        quiet: print nothing.

    Returns:
        The run's folder, its number of steps and its last metrics.

    Raises:
        ConfigError: settings, data and folder that do not fit together.
        TrainingFailed: the loss or its gradient is not finite; ``failure/`` holds the
            state in which that step can be replayed.
    """
    if not isinstance(config, Config):
        raise ConfigError(f"config is {config!r}; allowed: a Config")
    for name, given_source in (("train", train), ("test", test)):
        if not isinstance(given_source, Source | None):
            raise ConfigError(
                f"{name} is a {type(given_source).__name__}; allowed: a Source, as "
                "ssljax.data.from_arrays(images, labels) makes"
            )
    given = train is not None
    source = train if given else load_split(config, train=True)
    setup = prepare(config, source)
    mesh = devices.make_mesh(
        count=setup.config.devices.count, batch_size=setup.config.batch_size
    )
    bank = None
    if test is None and not given and setup.config.monitor.knn_examples:
        test = _optional_test(setup, source)
        if test is not None and config.data.labelled_split is not None:
            bank = load_split(config, train=True, labelled=True)
    check_loggers(
        tensorboard=setup.config.log.tensorboard, wandb=setup.config.log.wandb
    )
    folder = RunFolder(workdir)
    record = _data_record(setup, source)
    if folder.claim(setup.config):
        _check_same_data(folder, record)
    folder.write_environment(list(command or sys.argv))
    folder.write_data(record)
    folder.write_skipped(source.skipped)
    if not quiet:
        for name, value in describe(setup, source):
            print(f"{name:>24}  {value}")
        if source.skipped:
            print(f"{len(source.skipped)} unreadable files, see {folder.skipped}")
    sources = (source, test, bank)
    with _Session(setup, sources, folder, mesh, quiet) as session:
        return session.run()


class _Session:
    """One process's pass over the steps of a run; owns what must be closed."""

    def __init__(self, setup: Setup, sources, folder: RunFolder, mesh, quiet):
        source, test, bank = sources
        self.setup, self.source, self.folder, self.quiet = setup, source, folder, quiet
        config = setup.config
        self.replicated = devices.replicated(mesh)
        self.sharded = devices.over_batch(mesh)
        self.checkpoints = Checkpoints(folder.checkpoints, keep=config.checkpoint.keep)
        self.state, self.start = self._restore()
        self.writer = MetricWriter(
            folder,
            resume_step=self.start,
            tensorboard=config.log.tensorboard,
            wandb=config.log.wandb,
            wandb_project=config.log.wandb_project,
            config=config,
        )
        self.monitor = None
        if config.monitor.every_epochs:
            self.monitor = Monitor(setup, source, test, mesh, bank=bank)
            self.monitor.history += _past_panels(folder)
        self.delayed = DelayedMetrics()
        self.last: dict[str, Any] = {}
        self.alarmed = folder.alarms.exists() and bool(read_json_lines(folder.alarms))

    def __enter__(self) -> "_Session":
        return self

    def __exit__(self, *exc: object) -> None:
        self.checkpoints.close()
        self.writer.close()

    def run(self) -> Run:
        config, total = self.setup.config, self.setup.total_steps
        every = max(1, round(config.checkpoint.every_epochs * self._epoch))
        panel_every = max(1, round(config.monitor.every_epochs * self._epoch))
        # A collapse is to be named within two epochs, however rare the panels are.
        early = {round(self._epoch * halves / 2) for halves in (1, 2, 3, 4)}
        step_fn, feed = self._feed()
        progress = Progress(
            total, self.start, batch_size=config.batch_size, quiet=self.quiet
        )
        with progress:
            for step in range(self.start, total):
                waited = time.perf_counter()
                inputs = next(feed)
                progress.waited(time.perf_counter() - waited)
                # Explicit placement only: a hidden host transfer is an error here.
                with jax.transfer_guard("disallow"):
                    self.state, metrics = step_fn(self.state, *inputs)
                done = step + 1
                # The previous record is fetched while this step runs.
                self._flush(progress)
                regular = done % panel_every == 0 or done in (1, total)
                at_panel = self.monitor is not None and (regular or done in early)
                if at_panel or done % config.log.every_steps == 0 or done == total:
                    extra = {"epoch": done / self._epoch}
                    if self.monitor is not None and at_panel:
                        # Else the step still running would count as monitoring.
                        jax.block_until_ready(self.state)
                        extra |= self.monitor.measure(self.state, knn=regular)
                        progress.aside(extra["monitor_seconds"])
                    self.delayed.push(done, metrics, extra)
                if done % every == 0 or done == total:
                    self._flush(progress)
                    self._save(done)
                progress.advance(done)
            self._flush(progress)
        return Run(self.folder.path, total, self.last)

    @property
    def _epoch(self) -> int:
        return self.setup.steps_per_epoch

    def _restore(self) -> tuple[TrainState, int]:
        create = jax.jit(
            functools.partial(init_state, self.setup), out_shardings=self.replicated
        )
        wanted = devices.abstract(jax.eval_shape(create), self.replicated)
        found = self.checkpoints.restore_latest(wanted)
        if found is None:
            return create(), 0
        state, meta, notes = found
        for note in notes:
            print(note)
        start = int(meta["step"])
        if not self.quiet:
            print(f"resuming {self.folder.path} at step {start}")
        return state, start

    def _feed(self):
        config, source = self.setup.config, self.source
        if source.images is not None:
            labels = source.labels
            if labels is None:
                labels = np.full(source.size, -1, np.int32)
            data = devices.place(
                {"image": source.images, "label": labels}, self.replicated
            )
            step = functools.partial(resident_step, setup=self.setup)
            return jax.jit(step, donate_argnums=0), self._resident(data)
        stream = batches(
            source,
            seed=config.seed,
            batch_size=config.batch_size,
            start_step=self.start,
            stop_step=self.setup.total_steps,
            workers=config.data.workers,
        )
        step = functools.partial(train_step, setup=self.setup)
        placed = ((devices.place(batch, self.sharded),) for batch in stream)
        return jax.jit(step, donate_argnums=0), placed

    def _resident(self, data: Any):
        config = self.setup.config
        for step in range(self.start, self.setup.total_steps):
            indices = batch_indices(
                config.seed, step, size=self.source.size, batch_size=config.batch_size
            )
            yield data, devices.place(indices, self.sharded)

    def _flush(self, progress: Progress) -> None:
        held = self.delayed.pop()
        if held is None:
            return
        step, record = held
        failed_at = int(record.pop("failed_at"))
        record |= progress.rates(step)
        self.writer.write(step, record)
        self.last = {"step": step, **record}
        progress.show(step, record)
        if failed_at >= 0:
            self._fail(failed_at, record)
        if "spectrum/rankme" in record:
            self.writer.write_csv()
            self._look_for_collapse(step)

    def _fail(self, failed_at: int, record: dict[str, Any]) -> None:
        info = {"step": failed_at, "loss": str(record["loss"])}
        save_failure(self.folder.failure, self.state, info)
        raise TrainingFailed(
            f"step {failed_at}: the loss or its gradient is not finite; `ssljax replay "
            f"{self.folder.path}` reruns that step from failure/; lower the "
            "learning rate, lengthen the warm-up or set optimizer.clip_norm"
        )

    def _look_for_collapse(self, step: int) -> None:
        policy = self.setup.config.monitor.collapse
        if self.monitor is None or policy == "off" or self.alarmed:
            return
        found = self.monitor.alarm()
        if found is None:
            return
        self.alarmed = True
        self.writer.alarm(step, found.kind, str(found), "; ".join(found.advice))
        print(f"\nALARM at step {step}: {found}", flush=True)
        if policy == "stop":
            raise TrainingFailed(f"step {step}: {found}")

    def _save(self, step: int) -> None:
        if int(self.state.failed_at) < 0:
            self.checkpoints.save(step, self.state, {"step": step})


def replay(workdir: str | Path, *, train: Source | None = None) -> dict[str, float]:
    """Run a failed step again from its saved state, and name what is not finite.

    Args:
        workdir: folder of a run that ended with `TrainingFailed`.
        train: the training images, where the config cannot load them.

    Returns:
        The step's metrics, and under ``nonfinite/NAME`` how many entries of that
        parameter's gradient are not finite.
    """
    folder = RunFolder(workdir)
    config = folder.load_config()
    if not folder.failure.exists():
        raise ConfigError(f"{folder.path} has no failure to replay")
    source = train if train is not None else load_split(config, train=True)
    setup = prepare(config, source)
    mesh = devices.make_mesh(count=1, batch_size=config.batch_size)
    place = devices.replicated(mesh)
    wanted = devices.abstract(jax.eval_shape(lambda: init_state(setup)), place)
    state, info = load_failure(folder.failure, wanted)
    state = state.replace(failed_at=jnp.full((), -1, jnp.int32))
    images, labels = source.take(
        batch_indices(
            config.seed, info["step"], size=source.size, batch_size=config.batch_size
        )
    )
    batch = devices.place({"image": images, "label": labels}, place)

    def loss_of(params: Any) -> jax.Array:
        views = view_batch(state.step, batch, setup=setup)
        outputs, _ = run_networks(params, state, views, batch["label"], setup)
        return methods.loss_of(outputs, setup.config)

    loss, gradients = jax.jit(jax.value_and_grad(loss_of))(state.params)
    result = {"step": int(state.step), "loss": float(loss)}
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        bad = int(jnp.sum(~jnp.isfinite(leaf)))
        if bad:
            result["nonfinite/" + jax.tree_util.keystr(path, simple=True)] = bad
    return result


def _check_same_data(folder: RunFolder, record: dict[str, Any]) -> None:
    """A resumed run must see the images it started with."""
    saved = folder.load_data()
    for key in ("fingerprint", "examples", "image_shape", "num_classes"):
        if key in saved and saved[key] != record[key]:
            raise ConfigError(
                f"{folder.path} was trained on other data ({key}: {saved[key]} -> "
                f"{record[key]}); bring back that data or use another --workdir"
            )


def _past_panels(folder: RunFolder) -> list[dict[str, float]]:
    if not folder.metrics.exists():
        return []
    panels = []
    for record in read_json_lines(folder.metrics):
        panel = {
            name.removeprefix("spectrum/"): float("nan") if value is None else value
            for name, value in record.items()
            if name.startswith("spectrum/") and not isinstance(value, list)
        }
        if panel:
            panels.append(panel)
    return panels


def _optional_test(setup: Setup, source: Source) -> Source | None:
    if not source.labelled:
        return None
    try:
        return load_split(setup.config, train=False, image_shape=source.image_shape)
    except ValueError as error:
        print(f"no kNN monitor: {error}")
        return None


def _data_record(setup: Setup, source: Source) -> dict[str, Any]:
    return {
        "name": source.name,
        "split": source.split,
        "examples": source.size,
        "image_shape": list(source.image_shape),
        "num_classes": source.num_classes,
        "class_names": list(source.class_names) if source.class_names else None,
        "mean": list(setup.mean),
        "std": list(setup.std),
        "fingerprint": source.fingerprint(),
        "skipped": len(source.skipped),
        "note": source.note,
    }
