"""Write a run's metrics: JSON lines and CSV always, other loggers if asked for."""

import contextlib
import csv
import importlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax.config import Config, LogConfig
from ssljax.config.checks import ConfigError
from ssljax.config.paths import in_bucket
from ssljax.config.serialize import flatten
from ssljax.runs import files
from ssljax.runs.appending import Appended, append
from ssljax.runs.folder import RunFolder
from ssljax.runs.loggers import Logger, TensorBoard, WeightsAndBiases, histograms
from ssljax.runs.records import Alarm


class MetricWriter:
    """Write the metrics and alarms of a run; no step ever has two lines.

    Opening drops the lines after ``resume_step``, since the resumed run writes those
    steps again.

    Args:
        folder: the run's folder.
        resume_step: step of the restored checkpoint; 0 for a new run.
        tensorboard: also write TensorBoard events, into ``tensorboard/``.
        wandb: also write to Weights & Biases; WANDB_MODE is respected.
        config: the settings, for the loggers' name, group and tags, and to show.

    Raises:
        ConfigError: if a requested logger's package is missing.

    >>> import tempfile
    >>> folder = RunFolder(tempfile.mkdtemp())
    >>> with MetricWriter(folder, resume_step=0) as writer:
    ...     writer.write(10, {"loss": 0.5})
    >>> folder.metrics.read_text()
    '{"step": 10, "loss": 0.5}\\n'
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        resume_step: int,
        tensorboard: bool = False,
        wandb: bool = False,
        config: Config | None = None,
    ):
        self._folder = folder
        self._last_step = resume_step if resume_step > 0 else -1
        self._loggers: list[Logger] = []
        self._metrics: Appended | None = None
        # First, so that a missing package leaves the files unchanged.
        modules = check_loggers(folder, tensorboard=tensorboard, wandb=wandb)
        folder.path.mkdir(parents=True, exist_ok=True)
        _drop_after(folder.metrics, resume_step)
        _drop_after(folder.alarms, resume_step)
        self._metrics = Appended(folder.metrics)
        log = LogConfig() if config is None else config.log
        if tensorboard:
            self._loggers.append(
                TensorBoard(
                    modules["tensorboardX"], folder, log, resume_step=resume_step
                )
            )
        if wandb:
            settings = None if config is None else flatten(config)
            self._loggers.append(
                WeightsAndBiases(modules["wandb"], folder, log, settings=settings)
            )

    def write(self, step: int, record: Mapping[str, Any]) -> None:
        """Append one line of metrics.

        Args:
            step: optimizer steps made so far; larger than that of the line before.
            record: names with numbers, texts or small arrays; NaN and infinity are
                written as null.

        Raises:
            ValueError: if the step does not increase.
        """
        step = int(step)
        if step <= self._last_step:
            raise ValueError(
                f"step {step} was written after step {self._last_step}; "
                "steps must increase"
            )
        values = {k: v for k, v in files.plain(record).items() if k != "step"}
        assert self._metrics is not None
        self._metrics.write(files.json_lines([{"step": step, **values}]))
        self._last_step = step
        scalars = {k: v for k, v in values.items() if _is_number(v)}
        for logger in self._loggers:
            logger.record(step, scalars, histograms(values))

    @property
    def shows_pictures(self) -> bool:
        """Whether some logger takes pictures."""
        return bool(self._loggers)

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Give the loggers a picture, uint8 ``[H, W, 3]``."""
        for logger in self._loggers:
            logger.picture(step, name, pixels)

    def alarm(self, step: int, kind: str, message: str, advice: str) -> None:
        """Append one line to ``alarms.jsonl``: what was seen and what to do."""
        record = Alarm(int(step), kind, message, advice)
        append(self._folder.alarms, files.json_lines([record.as_object()]))

    def store(self) -> None:
        """Write the metrics to a bucket; on this machine they are written already."""
        if self._metrics is not None:
            self._metrics.store()

    def write_csv(self) -> None:
        """Rebuild ``metrics.csv`` from the JSON lines: a column for every scalar."""
        self.store()
        records = self._folder.load_metrics()
        # A column that is null at first is a scalar; one that is ever a list is not.
        columns: dict[str, bool] = {}
        for record in records:
            for name, value in record.items():
                columns[name] = columns.get(name, True) and not isinstance(
                    value, list | dict
                )
        names = [name for name, scalar in columns.items() if scalar] or ["step"]
        text = io.StringIO()
        table = csv.DictWriter(
            text, names, restval="", extrasaction="ignore", lineterminator="\n"
        )
        table.writeheader()
        table.writerows(records)
        files.write_atomically(self._folder.metrics_csv, text.getvalue())

    def close(self) -> None:
        """Rebuild the CSV and close every logger; a second call does nothing.

        A logger that fails to close, as on a full disk, does not keep the others open.
        """
        if self._metrics is None:
            return
        metrics, self._metrics = self._metrics, None
        with contextlib.ExitStack() as last_first:
            for logger in reversed(self._loggers):
                last_first.callback(logger.close)
            last_first.callback(self.write_csv)
            last_first.callback(metrics.close)

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class DelayedMetrics:
    """Hold device metrics for one step, so that logging never waits for the device.

    When they are read, the next step is already queued, and the device does not idle
    while the host reads.

    >>> held = DelayedMetrics()
    >>> held.push(1, {"loss": jax.numpy.float32(0.5)}, {"epoch": 0.1})
    >>> held.pop()
    (1, {'epoch': 0.1, 'loss': 0.5})
    >>> held.pop() is None
    True
    """

    def __init__(self):
        self._held: tuple[int, dict[str, Any], dict[str, Any]] | None = None

    def push(
        self,
        step: int,
        device_metrics: Mapping[str, Any],
        host_metrics: Mapping[str, Any],
    ) -> None:
        """Keep the metrics of a step.

        Args:
            step: the step they belong to.
            device_metrics: arrays by name, which may still be in computation.
            host_metrics: numbers by name that are known already.

        Raises:
            RuntimeError: if another step is still held, which would be lost.
        """
        if self._held is not None:
            raise RuntimeError(
                f"metrics of step {self._held[0]} are still held; pop them first"
            )
        self._held = (step, dict(device_metrics), dict(host_metrics))

    def pop(self) -> tuple[int, dict[str, Any]] | None:
        """Wait for the held metrics and return the step and its numbers, or None.

        NaN and infinity are kept, so that the caller can look for them.
        """
        if self._held is None:
            return None
        step, device_metrics, host_metrics = self._held
        self._held = None
        fetched = jax.tree.map(np.asarray, jax.device_get(device_metrics))
        return step, {
            **host_metrics,
            **{k: v.item() if v.ndim == 0 else v for k, v in fetched.items()},
        }


def check_loggers(
    folder: RunFolder | None, *, tensorboard: bool, wandb: bool
) -> dict[str, Any]:
    """Import the packages of the requested loggers and return them by name.

    Args:
        folder: the run's folder, where there is one.
        tensorboard: TensorBoard events are asked for.
        wandb: Weights & Biases is asked for.

    Raises:
        ConfigError: if one is missing (the message says how to install it) or cannot
            write into the folder.
    """
    if tensorboard and folder is not None and in_bucket(folder.path):
        raise ConfigError(
            f"log.tensorboard cannot write to a bucket ({folder.path}), because its "
            "files grow; turn it off: --log.no-tensorboard"
        )
    wanted = (("tensorboardX", tensorboard), ("wandb", wandb))
    return {name: _import(name) for name, asked in wanted if asked}


def _drop_after(path: Path, step: int) -> None:
    if path.exists():
        lines = files.read_json_lines(path)
        kept = [line for line in lines if line.get("step", 0) <= step]
        files.write_atomically(path, files.json_lines(kept))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f'{name} is not installed; pip install "ssljax[log]" or turn it off'
        ) from error
