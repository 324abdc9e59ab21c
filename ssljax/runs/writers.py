"""Where the numbers of a run go: JSON lines and CSV always, other loggers on wish."""

import contextlib
import csv
import importlib
import io
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.config.serialize import flatten
from ssljax.runs.folder import RunFolder, plain, read_json_lines, write_text_atomically


class MetricWriter:
    """Writes the metrics and alarms of a run; no step ever has two lines.

    Opening drops what lies beyond ``resume_step``, since the resumed run writes those
    steps again.

    Args:
        folder: the run's folder.
        resume_step: step of the restored checkpoint; 0 for a run from the start.
        tensorboard: also write TensorBoard events, into ``tensorboard/``.
        wandb: also write to Weights & Biases; WANDB_MODE is respected.
        wandb_project: the project there.
        config: the settings, shown by Weights & Biases.

    Raises:
        ConfigError: if a wanted logger's package is missing.

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
        wandb_project: str = "ssljax",
        config: Config | None = None,
    ):
        self._folder = folder
        self._last_step = resume_step if resume_step > 0 else -1
        self._events: Any = None
        self._wandb: Any = None
        self._metrics: io.TextIOBase | None = None
        # First, so that a missing package leaves the files as they are.
        modules = check_loggers(tensorboard=tensorboard, wandb=wandb)
        folder.path.mkdir(parents=True, exist_ok=True)
        _drop_after(folder.metrics, resume_step)
        _drop_after(folder.alarms, resume_step)
        self._metrics = folder.metrics.open("a", encoding="utf-8")
        if tensorboard:
            self._events = modules["tensorboardX"].SummaryWriter(
                str(folder.path / "tensorboard"),
                purge_step=resume_step + 1 if resume_step > 0 else None,
            )
        if wandb:
            self._wandb = modules["wandb"].init(
                project=wandb_project,
                id=_wandb_run_id(folder),
                resume="allow",
                dir=str(folder.path),
                config=None if config is None else flatten(config),
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
        values = {k: v for k, v in plain(record).items() if k != "step"}
        line = json.dumps({"step": step, **values}, allow_nan=False)
        assert self._metrics is not None
        self._metrics.write(line + "\n")
        self._metrics.flush()
        self._last_step = step
        scalars = {k: v for k, v in values.items() if _is_number(v)}
        if self._events is not None:
            for name, value in scalars.items():
                self._events.add_scalar(name, value, step)
            self._events.flush()
        if self._wandb is not None:
            self._wandb.log(scalars, step=step)

    def alarm(self, step: int, kind: str, message: str, advice: str) -> None:
        """Append one line to ``alarms.jsonl``: what was seen and what to do."""
        record = {"step": int(step), "kind": kind, "message": message, "advice": advice}
        with self._folder.alarms.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def write_csv(self) -> None:
        """Rebuild ``metrics.csv`` from the JSON lines: a column for every scalar."""
        records = read_json_lines(self._folder.metrics)
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
        write_text_atomically(self._folder.metrics_csv, text.getvalue())

    def close(self) -> None:
        """Rebuild the CSV and close every logger; a second call does nothing.

        One that cannot be closed, as on a full disk, does not keep the others open.
        """
        if self._metrics is None:
            return
        metrics, self._metrics = self._metrics, None
        with contextlib.ExitStack() as last_first:
            if self._wandb is not None:
                last_first.callback(self._wandb.finish)
            if self._events is not None:
                last_first.callback(self._events.close)
            last_first.callback(self.write_csv)
            last_first.callback(metrics.close)

    def __enter__(self) -> "MetricWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class DelayedMetrics:
    """Holds device metrics until a step later, so that logging never waits for one.

    By the time they are asked for, the next step is already queued and the device
    does not stand idle while the host reads.

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
        """Hold the metrics of a step.

        Args:
            step: the step they belong to.
            device_metrics: names with arrays, which may still be computed.
            host_metrics: names with numbers known already.

        Raises:
            RuntimeError: if another step is still held; it would be lost.
        """
        if self._held is not None:
            raise RuntimeError(
                f"metrics of step {self._held[0]} are still held; pop them first"
            )
        self._held = (step, dict(device_metrics), dict(host_metrics))

    def pop(self) -> tuple[int, dict[str, Any]] | None:
        """The held step and its numbers, None if nothing is held; waits for them.

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


def check_loggers(*, tensorboard: bool, wandb: bool) -> dict[str, Any]:
    """The packages of the wanted loggers, by name.

    Raises:
        ConfigError: if one is missing; the message says how to install it.
    """
    wanted = (("tensorboardX", tensorboard), ("wandb", wandb))
    return {name: _import(name) for name, asked in wanted if asked}


def _drop_after(path: Path, step: int) -> None:
    if path.exists():
        kept = [r for r in read_json_lines(path) if r.get("step", 0) <= step]
        text = "".join(json.dumps(r, allow_nan=False) + "\n" for r in map(plain, kept))
        write_text_atomically(path, text)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _wandb_run_id(folder: RunFolder) -> str:
    """The run's id, made on first use, so that a resumed run goes on in its plot."""
    path = folder.path / "wandb_run_id.txt"
    if path.exists() and path.read_text("utf-8").strip():
        return path.read_text("utf-8").strip()
    run_id = uuid.uuid4().hex[:12]
    write_text_atomically(path, run_id + "\n")
    return run_id


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f'{name} is not installed; pip install "ssljax[log]" or leave it off'
        ) from error
