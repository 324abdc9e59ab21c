"""Run several processes as one: join, share results, detect a lost process."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ssljax.config import DevicesConfig
from ssljax.config.checks import ConfigError

HEARTBEAT = 100  # seconds without a heartbeat after which a process counts as lost


class ProcessLost(RuntimeError):
    """Another process of the run died or did not join; the message is one line."""


def join(settings: DevicesConfig, *, quiet: bool = False) -> None:
    """Join the other processes, if the settings name any.

    Call this before anything else touches a device. A second call does nothing.

    Args:
        settings: coordinator, number and index of this process; JAX reads those that
            are None from the environment (TPU pod, SLURM, GKE, Open MPI).
        quiet: print nothing.

    Raises:
        ConfigError: the environment names no cluster, or JAX has already started.
        ProcessLost: not all processes joined within ``settings.timeout`` seconds.
    """
    wanted = settings.distributed or settings.coordinator is not None
    if not wanted or jax.distributed.is_initialized():
        return
    if not quiet:
        where = settings.coordinator or "the coordinator that the environment names"
        print(f"joining {where}, waiting at most {settings.timeout} s", flush=True)
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
        message = _first_line(error)
        # JAX raises the same types for a timeout and for bad settings.
        timed_out = "DEADLINE" in message or "UNAVAILABLE" in message
        if timed_out or "timed out" in message.lower():
            raise ProcessLost(
                f"not all processes joined within {settings.timeout} s ({message}); "
                "start every process, or raise --devices.timeout"
            ) from error
        raise ConfigError(
            f"cannot join the other processes: {message}; outside a TPU pod, SLURM, "
            "GKE or Open MPI give --devices.coordinator HOST:PORT "
            "--devices.processes N --devices.process I"
        ) from error
    if not quiet:
        print(
            f"process {jax.process_index()} of {jax.process_count()}; if one is lost, "
            f"the others stop within {HEARTBEAT} s",
            flush=True,
        )


def is_first() -> bool:
    """Return whether this is the process that writes and prints."""
    return jax.process_index() == 0


def several() -> bool:
    """Return whether the run has more processes than this one."""
    return jax.process_count() > 1


def on_first(action: Callable[[], Any]) -> Any:
    """Run ``action`` in process 0 and return its result in every process.

    Args:
        action: returns a JSON-serialisable value.

    Raises:
        ConfigError: in every process, if process 0 raised it.

    >>> on_first(lambda: {"existed": False})
    {'existed': False}
    """
    if jax.process_count() == 1:
        return action()
    message: dict[str, Any] = {}
    raised: Exception | None = None
    if is_first():
        try:
            message = {"value": action()}
        except (ConfigError, OSError) as error:
            # Sent to the others too, which would otherwise wait for this process.
            message, raised = {"refused": str(error)}, error
    answer = json.loads(_from_first(json.dumps(message)))
    if raised is not None:
        raise raised
    if "refused" in answer:
        raise ConfigError(answer["refused"])
    return answer["value"]


def gather(value: Any) -> list[Any]:
    """Return the values of all processes, in their order, in every process.

    Args:
        value: JSON-serialisable.

    >>> gather({"seed": 0})
    [{'seed': 0}]
    """
    if jax.process_count() == 1:
        return [value]
    from jax.experimental import multihost_utils

    encoded = np.frombuffer(json.dumps(value).encode(), np.uint8)
    # All must have one size before the texts themselves can be gathered.
    sizes = multihost_utils.process_allgather(np.int32(len(encoded)))
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: len(encoded)] = encoded
    rows = np.asarray(multihost_utils.process_allgather(padded), np.uint8)
    return [
        json.loads(bytes(row[:size]).decode())
        for row, size in zip(rows, sizes.tolist(), strict=True)
    ]


def lost(error: Exception) -> ProcessLost | None:
    """Return a one-line error if a collective failed because a process was lost."""
    if jax.process_count() == 1 or not isinstance(error, jax.errors.JaxRuntimeError):
        return None
    return ProcessLost(
        f"process {jax.process_index()} of {jax.process_count()} lost another process "
        f"({_first_line(error)}); restart all of them with the same command to resume "
        "from the last checkpoint"
    )


def leave_if_several(code: int) -> None:
    """Exit at once if this is one of several processes.

    A normal exit waits for all processes, but the others may be waiting for this one in
    a computation, and its open connection keeps them there.
    """
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _from_first(text: str) -> str:
    from jax.experimental import multihost_utils

    # Every process must know the size before the text itself can be broadcast.
    encoded = np.frombuffer(text.encode(), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(encoded))))
    padded = np.zeros(size, np.uint8)
    if is_first():
        padded[:] = encoded
    return bytes(multihost_utils.broadcast_one_to_all(padded).astype(np.uint8)).decode()


def _first_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:197] + "..."
