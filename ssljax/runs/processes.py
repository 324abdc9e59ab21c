"""Several processes as one run: how they meet, agree, and notice that one is gone."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ssljax.config import DevicesConfig
from ssljax.config.checks import ConfigError

HEARTBEAT = 100  # seconds without a sign of life after which a process counts as lost


class ProcessLost(RuntimeError):
    """Another process of the run died, or never came; the message is one line."""


def join(settings: DevicesConfig, *, quiet: bool = False) -> None:
    """Meet the other processes, where the settings say that there are any.

    Must come before anything else touches a device. A second call does nothing.

    Args:
        settings: coordinator, number and index of this process; what is None comes
            from the environment (TPU pod, SLURM, GKE, Open MPI).
        quiet: print nothing.

    Raises:
        ConfigError: the environment names no cluster, or JAX has started already.
        ProcessLost: not all processes came within ``settings.timeout`` seconds.
    """
    wanted = settings.distributed or settings.coordinator is not None
    if not wanted or jax.distributed.is_initialized():
        return
    if not quiet:
        where = settings.coordinator or "the coordinator that the environment names"
        print(f"joining {where}, at most {settings.timeout} s", flush=True)
    try:
        jax.distributed.initialize(
            coordinator_address=settings.coordinator,
            num_processes=settings.processes,
            process_id=settings.process,
            initialization_timeout=settings.timeout,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=HEARTBEAT,
        )
    except (ValueError, RuntimeError) as error:
        told = _first_line(error)
        if "DEADLINE" in told or "UNAVAILABLE" in told or "timed out" in told.lower():
            raise ProcessLost(
                f"not all processes came within {settings.timeout} s ({told}); start "
                "every process, or raise --devices.timeout"
            ) from error
        raise ConfigError(
            f"the processes cannot meet: {told}; outside a TPU pod, SLURM, GKE or Open "
            "MPI give --devices.coordinator HOST:PORT --devices.processes N "
            "--devices.process I"
        ) from error
    if not quiet:
        print(
            f"process {jax.process_index()} of {jax.process_count()}; when one is lost "
            f"the others stop within {HEARTBEAT} s",
            flush=True,
        )


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return jax.process_index() == 0


def on_first(action: Callable[[], Any]) -> Any:
    """What ``action`` gives in process 0, in every process; refusals too.

    Args:
        action: returns what JSON can hold.

    Raises:
        ConfigError: in every process, where process 0 raised it.

    >>> on_first(lambda: {"existed": False})
    {'existed': False}
    """
    if jax.process_count() == 1:
        return action()
    told: dict[str, Any] = {}
    raised: Exception | None = None
    if is_first():
        try:
            told = {"value": action()}
        except (ConfigError, OSError) as error:
            told, raised = {"refused": str(error)}, error
    answer = json.loads(_from_first(json.dumps(told)))
    if raised is not None:
        raise raised
    if "refused" in answer:
        raise ConfigError(answer["refused"])
    return answer["value"]


def lost(error: Exception) -> ProcessLost | None:
    """The error of a collective that another process left open, as one line."""
    if jax.process_count() == 1 or not isinstance(error, jax.errors.JaxRuntimeError):
        return None
    return ProcessLost(
        f"process {jax.process_index()} of {jax.process_count()} lost another one "
        f"({_first_line(error)}); start all of them again with the same command, they "
        "go on from the last checkpoint"
    )


def leave_if_several(code: int) -> None:
    """End this process at once where it is one of several.

    The usual farewell waits for all, and the others may be waiting for this one in a
    computation; an open connection keeps them there.
    """
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _from_first(text: str) -> str:
    from jax.experimental import multihost_utils

    encoded = np.frombuffer(text.encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(encoded))))
    padded = np.zeros(size, np.uint8)
    if is_first():
        padded[:] = encoded
    return bytes(multihost_utils.broadcast_one_to_all(padded).astype(np.uint8)).decode()


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:197] + "..."
