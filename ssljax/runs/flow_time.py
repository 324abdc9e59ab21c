"""The theories' clock of a run: learning rate x step, summed over its schedule."""

import numpy as np

from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.data import steps_per_epoch
from ssljax.runs.build import build_schedule, total_steps


def flow_times(config: Config, examples: int | None, steps: np.ndarray) -> np.ndarray:
    """Return the theories' time after each of these steps.

    The sum of the learning rates of all steps before, with warm-up and decay. Momentum
    makes step i longer, ``(1 - momentum^(i + 1)) / (1 - momentum)`` times where the
    gradient changes slowly: it starts from rest.

    Args:
        config: with every default filled in.
        examples: number of training images, from ``data.json``.
        steps: numbers of steps done, ``[n]``, whole.

    Returns:
        ``[n]``, float64.

    Raises:
        ConfigError: if the number of images is not known.
    """
    if examples is None:
        raise ConfigError(
            "data.json does not say how many training images there are, so the "
            "learning rates of the run are not known; restore that file"
        )
    per_epoch = steps_per_epoch(examples, config.batch_size)
    total = total_steps(config, per_epoch)
    last = int(np.max(steps, initial=0))
    rate = build_schedule(config, total_steps=total, steps_per_epoch=per_epoch)
    # In float64: a sum of many float32 numbers would drift.
    rates = np.asarray(rate(np.arange(last)), np.float64)
    momentum = 0.0 if config.optimizer.name == "adamw" else config.optimizer.momentum
    longer = (1.0 - momentum ** np.arange(1, last + 1)) / (1.0 - momentum)
    passed = np.concatenate([[0.0], np.cumsum(rates * longer)])
    return passed[np.asarray(steps, int)]


def clock_note(config: Config) -> str:
    """Say where the optimizer departs from gradient flow, or return "".

    >>> clock_note(Config())
    ''
    """
    name = config.optimizer.name
    if name == "adamw":
        return (
            "adamw rescales every parameter's step, so rates have no unit and the "
            "clock is that of its learning rate alone"
        )
    if name != "sgd":
        return (
            f"{name} rescales each layer's step by the ratio of its norms, so rates "
            "compare between modes of this run only"
        )
    if config.optimizer.clip_norm:
        return (
            f"gradients are clipped to norm {config.optimizer.clip_norm:g}, which the "
            "clock does not see; steps that were clipped count in full"
        )
    return ""
