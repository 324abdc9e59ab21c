"""Settings of how a run is carried out: probe, monitor, checkpoints, logs, devices.

The strings below the fields are the texts of ``--help``.
"""

import re
from dataclasses import dataclass
from typing import Literal

from ssljax.config.checks import (
    as_tuples,
    at_least,
    check_types,
    fraction,
    near_multiples,
    positive,
    refuse,
)


@dataclass(frozen=True)
class ProbeConfig:
    """The online linear probe, trained on the features without affecting them."""

    enabled: bool = True
    """Train the probe, if the images have labels."""
    learning_rate: float = 0.1
    """Peak learning rate of the probe."""
    momentum: float = 0.9
    """Momentum of the probe's SGD."""

    def __post_init__(self):
        check_types(self, "probe")
        positive(self, "probe", "learning_rate")
        fraction(self, "probe", "momentum")


@dataclass(frozen=True)
class MonitorConfig:
    """The spectrum panel, the kNN monitor and the collapse alarm."""

    every_epochs: float = 1.0
    """Epochs between measurements; 0 switches the monitor off."""
    examples: int = 1024
    """Training images to measure the spectrum panel on, two views of each."""
    eigenvalues: int = 16
    """Record this many of the top covariance eigenvalues."""
    knn_k: int = 20
    """Neighbours of the kNN monitor."""
    knn_examples: int | None = None
    """Training images in the kNN bank; None takes 50 per class, at least 5,000, and 0
    switches the kNN monitor off."""
    knn_test_examples: int = 2000
    """Test images that the kNN monitor classifies."""
    collapse: Literal["warn", "stop", "off"] = "warn"
    """If the embeddings collapse: print a warning, stop the run, or do nothing."""

    def __post_init__(self):
        check_types(self, "monitor")
        at_least(self, "monitor", 0, "every_epochs", "knn_examples")
        at_least(self, "monitor", 1, "eigenvalues", "knn_k", "knn_test_examples")
        at_least(self, "monitor", 2, "examples")

    @property
    def knn(self) -> bool:
        """Whether the kNN accuracy is to be measured, where there are labels."""
        return self.every_epochs > 0 and self.knn_examples != 0


@dataclass(frozen=True)
class CheckpointConfig:
    """Checkpoints of the training state."""

    every_epochs: float = 1.0
    """Epochs between checkpoints; 0 leaves it to `every_minutes`."""
    every_minutes: float | None = None
    """Save at the latest after so many minutes as well; None for no such limit. Several
    processes look at the clock at the steps that are logged."""
    keep: int = 2
    """Keep this many of the latest checkpoints; at least 2, in case one is damaged."""
    keep_period: float | None = None
    """Epochs between checkpoints that are kept for good, besides the latest."""
    best: Literal["knn_accuracy", "rankme", "effective_rank"] | None = None
    """Save and keep the state with the largest such value of the monitor as well."""

    def __post_init__(self):
        check_types(self, "checkpoint")
        at_least(self, "checkpoint", 0, "every_epochs")
        positive(self, "checkpoint", "every_minutes", "keep_period")
        at_least(self, "checkpoint", 2, "keep")
        if not self.every_epochs and self.every_minutes is None:
            refuse(
                "checkpoint.every_epochs",
                self.every_epochs,
                "> 0, or 0 with checkpoint.every_minutes",
            )

    def check_best(self, monitor: MonitorConfig) -> None:
        """Refuse a `best` that the monitor does not measure."""
        if self.best is not None and not monitor.every_epochs:
            refuse("checkpoint.best", self.best, "None where monitor.every_epochs is 0")
        if self.best == "knn_accuracy" and not monitor.knn:
            refuse("checkpoint.best", self.best, "rankme if monitor.knn_examples is 0")

    @property
    def best_column(self) -> str | None:
        """The column of ``metrics.jsonl`` that `best` names."""
        if self.best in (None, "knn_accuracy"):
            return self.best
        return f"spectrum/{self.best}"


@dataclass(frozen=True)
class LogConfig:
    """Logging of metrics. JSONL and CSV files are always written."""

    every_steps: int = 50
    """Steps between log entries."""
    tensorboard: bool = False
    """Write TensorBoard files as well."""
    wandb: bool = False
    """Log to Weights & Biases as well."""
    wandb_project: str = "ssljax"
    """Project name on Weights & Biases."""
    name: str | None = None
    """Name of the run in these logs; None takes the run folder's."""
    group: str | None = None
    """Group of runs in these logs, such as the seeds of one setting."""
    tags: tuple[str, ...] | None = None
    """Tags of the run in these logs."""
    profile_steps: str | None = None
    """START:STOP, such as 100:105, traces the steps after the first 100 until 105 are
    done, into `profile/` of the run folder."""

    def __post_init__(self):
        object.__setattr__(self, "tags", as_tuples(self.tags))
        check_types(self, "log")
        positive(self, "log", "every_steps")
        span = self.profile_steps
        if span is not None and (not re.fullmatch(r"\d+:\d+", span) or not self.traced):
            refuse("log.profile_steps", span, "START:STOP, such as 100:105")

    @property
    def traced(self) -> range:
        """The steps to trace, counted from 0; empty without any."""
        start, _, stop = (self.profile_steps or "0:0").partition(":")
        return range(int(start), int(stop))


@dataclass(frozen=True)
class DevicesConfig:
    """The devices and processes that share the global batch."""

    count: int | None = None
    """Number of local devices to use; None uses all."""
    engine: Literal["jit", "pmap"] = "jit"
    """`jit` over one mesh of all devices, or `pmap`: same step, same results."""
    microbatch: int | None = None
    """Pass this many images through the network at a time, to save memory; a divisor of
    `batch_size`. The loss and its gradient are still those of the whole batch, but
    BatchNorm's statistics are per microbatch."""
    compilation_cache: str | None = "auto"
    """Folder that keeps compiled programs for later runs; `auto` takes the user's cache
    folder, None keeps none. JAX_COMPILATION_CACHE_DIR goes first."""
    distributed: bool = False
    """Join other processes, found from the environment: TPU pod, SLURM, GKE, MPI."""
    coordinator: str | None = None
    """HOST:PORT of process 0, if the environment does not name it."""
    processes: int | None = None
    """Number of processes, with `coordinator`."""
    process: int | None = None
    """Index of this process, from 0, with `coordinator`."""
    timeout: int = 300
    """Seconds to wait for the other processes."""

    def __post_init__(self):
        check_types(self, "devices")
        positive(self, "devices", "count", "processes", "timeout")
        at_least(self, "devices", 2, "microbatch")
        at_least(self, "devices", 0, "process")
        if self.coordinator is None and (self.processes, self.process) != (None, None):
            refuse("devices.coordinator", None, "HOST:PORT, with devices.processes")
        if self.coordinator is not None:
            self._check_explicit(self.coordinator)
        if self.microbatch is not None and self.engine == "pmap":
            refuse("devices.microbatch", self.microbatch, "None with engine pmap")

    def check_batch(self, batch_size: int) -> None:
        """Refuse a batch that microbatches do not divide."""
        part = self.microbatch
        if part is not None and batch_size % part:
            near = near_multiples(batch_size, part)
            refuse("batch_size", batch_size, f"multiples of microbatch {part}: {near}")

    def _check_explicit(self, coordinator: str) -> None:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdigit():
            refuse("devices.coordinator", coordinator, "HOST:PORT")
        if self.processes is None or self.process is None:
            missing = "processes" if self.processes is None else "process"
            refuse(f"devices.{missing}", None, "a number, with devices.coordinator")
        elif self.process >= self.processes:
            refuse("devices.process", self.process, f"0 to {self.processes - 1}")
