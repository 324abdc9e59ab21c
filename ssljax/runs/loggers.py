"""Loggers beside the files of a run: TensorBoard, and Weights & Biases."""

import uuid
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from ssljax.config import LogConfig
from ssljax.config.paths import in_bucket
from ssljax.runs import files
from ssljax.runs.folder import RunFolder


class Logger(Protocol):
    """What a run hands to a logger."""

    def record(
        self, step: int, scalars: Mapping[str, float], spectra: Mapping[str, np.ndarray]
    ) -> None:
        """Log numbers, and sets of numbers as histograms."""

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Log a picture, uint8 ``[H, W, 3]``."""

    def close(self) -> None:
        """Finish."""


class TensorBoard:
    """Write events into ``tensorboard/`` of the run folder.

    Args:
        module: the package ``tensorboardX``.
        folder: the run's folder.
        log: has name, group and tags, which become a text.
        resume_step: step of the restored checkpoint; 0 for a new run.
    """

    def __init__(
        self, module: Any, folder: RunFolder, log: LogConfig, *, resume_step: int
    ):
        self._events = module.SummaryWriter(
            str(folder.path / "tensorboard"),
            purge_step=resume_step + 1 if resume_step > 0 else None,
        )
        about = _about(folder, log)
        # Two spaces end a line in Markdown.
        lines = [f"{key}: {value}" for key, value in about.items() if value]
        self._events.add_text("run", "  \n".join(lines), resume_step)

    def record(
        self, step: int, scalars: Mapping[str, float], spectra: Mapping[str, np.ndarray]
    ) -> None:
        """Log numbers, and sets of numbers as histograms."""
        for name, value in scalars.items():
            self._events.add_scalar(name, value, step)
        for name, values in spectra.items():
            self._events.add_histogram(name, values, step)
        self._events.flush()

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Log a picture, uint8 ``[H, W, 3]``."""
        self._events.add_image(name, pixels, step, dataformats="HWC")
        self._events.flush()

    def close(self) -> None:
        """Finish."""
        self._events.close()


class WeightsAndBiases:
    """Log to Weights & Biases; WANDB_MODE is respected.

    Args:
        module: the package ``wandb``.
        folder: the run's folder, which keeps the id of the run there.
        log: has project, name, group and tags.
        settings: of the run by dotted key, to show there.
    """

    def __init__(
        self,
        module: Any,
        folder: RunFolder,
        log: LogConfig,
        *,
        settings: dict[str, Any] | None,
    ):
        self._module = module
        self._run = module.init(
            project=log.wandb_project,
            id=_run_id(folder),
            resume="allow",
            # Its own files are a copy of what it sends.
            dir=None if in_bucket(folder.path) else str(folder.path),
            config=settings,
            **_about(folder, log),
        )

    def record(
        self, step: int, scalars: Mapping[str, float], spectra: Mapping[str, np.ndarray]
    ) -> None:
        """Log numbers, and sets of numbers as histograms."""
        drawn = {name: self._module.Histogram(x) for name, x in spectra.items()}
        self._run.log({**scalars, **drawn}, step=step)

    def picture(self, step: int, name: str, pixels: np.ndarray) -> None:
        """Log a picture, uint8 ``[H, W, 3]``."""
        self._run.log({name: self._module.Image(pixels)}, step=step)

    def close(self) -> None:
        """Finish."""
        self._run.finish()


def histograms(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the decimal logarithms of a record's positive eigenvalues.

    They span decades: a histogram of the numbers themselves would be one bar.

    >>> histograms({"spectrum/eigenvalues": [10.0, 0.1, 0.0], "loss": 1.0})
    {'spectrum/eigenvalues_log10': array([ 1., -1.])}
    """
    found = {
        f"{name}_log10": np.array([x for x in value if x is not None and x > 0])
        for name, value in values.items()
        if name.endswith("eigenvalues") and isinstance(value, list)
    }
    return {name: np.log10(x) for name, x in found.items() if x.size}


def _about(folder: RunFolder, log: LogConfig) -> dict[str, Any]:
    return {"name": log.name or folder.path.name, "group": log.group, "tags": log.tags}


def _run_id(folder: RunFolder) -> str:
    """Return the run's id, created on first use: a resumed run keeps its plot."""
    path = folder.path / "wandb_run_id.txt"
    if path.exists() and files.read_text(path).strip():
        return files.read_text(path).strip()
    run_id = uuid.uuid4().hex[:12]
    files.write_atomically(path, run_id + "\n")
    return run_id
