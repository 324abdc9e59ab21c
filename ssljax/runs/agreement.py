"""Compare what the processes of a run were started with, before the first step.

Processes that differ in a setting, the data or the code train without an error, but not
the run that anyone asked for.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.config.serialize import flatten
from ssljax.data import Source
from ssljax.runs import processes
from ssljax.runs.environment import PACKAGES, commit, version

# What may differ between machines: paths, and how a process finds the others.
_OWN = (
    "devices.process",  # and processes, which JAX itself checks
    "devices.coordinator",
    "devices.distributed",
    "devices.timeout",
    "devices.compilation_cache",
    "data.path",
    "data.data_dir",
    "data.workers",
    "log.",
)
_SHOWN = 2  # differences that the line names


def program_facts(config: Config) -> dict[str, str]:
    """Return the settings, versions and commit of this process, by name.

    >>> program_facts(Config())["optimizer.name"]
    "'sgd'"
    """
    facts = {
        name: repr(value)
        for name, value in flatten(config).items()
        if not name.startswith(_OWN)
    }
    facts["commit"] = commit() or "none (an installed package)"
    return facts | {f"version of {name}": str(version(name)) for name in PACKAGES}


def data_facts(
    source: Source, mean: Sequence[float], std: Sequence[float]
) -> dict[str, str]:
    """Return what identifies the images of this process, by name.

    Args:
        source: the training images.
        mean: of each channel, for normalisation.
        std: of each channel.
    """
    # Nine digits are all that a float32 has: the last bit is in the compiled step too.
    digits = lambda numbers: ", ".join(  # noqa: E731
        f"{x:.9g}" for x in np.asarray(numbers, np.float32)
    )
    return {
        "number of training images": str(source.size),
        "image shape": str(tuple(source.image_shape)),
        "number of classes": str(source.num_classes),
        "data fingerprint": source.fingerprint(),
        "mean of the channels": digits(mean),
        "standard deviation of the channels": digits(std),
    }


def check_agreement(facts: Callable[[], Mapping[str, str]]) -> None:
    """Refuse, in every process with the same line, to start if the facts differ.

    Every process must call this at the same point.

    Args:
        facts: returns texts by name, and is not called in a single process; the line
            names those that differ, and their values.

    Raises:
        ConfigError: some process has another value than process 0.

    >>> check_agreement(lambda: {"seed": "0"})
    """
    if jax.process_count() == 1:
        return
    found = disagreement(processes.gather(dict(facts())))
    if found is not None:
        raise ConfigError(found)


def disagreement(all_facts: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the line that says what differs between processes, None if nothing does.

    Args:
        all_facts: those of every process, in order.

    >>> disagreement([{"seed": "0"}, {"seed": "0"}, {"seed": "1"}])
    'processes differ in seed: 0 in process 0, 1 in process 2; start all of them with \
the same command, code and data'
    """
    first = all_facts[0]
    names = list(dict.fromkeys(name for facts in all_facts for name in facts))
    parts = []
    for name in names:
        other = next(
            (i for i, f in enumerate(all_facts) if f.get(name) != first.get(name)), None
        )
        if other is not None:
            theirs = all_facts[other].get(name)
            parts.append(
                f"{name}: {first.get(name)} in process 0, {theirs} in process {other}"
            )
    if not parts:
        return None
    more = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return (
        f"processes differ in {'; '.join(parts[:_SHOWN])}{more}; start all of them "
        "with the same command, code and data"
    )
