"""Check what surrounds a run: its folder, the clocks, the memory of a device."""

import contextlib
import datetime
import os
import re
import shutil
import socket
import tempfile
import time
import uuid
from pathlib import Path

import jax

from ssljax.config.checks import ConfigError
from ssljax.config.paths import as_path, in_bucket
from ssljax.runs import files, processes
from ssljax.runs.describe import device_bytes
from ssljax.runs.files import reason_of
from ssljax.runs.folder import RunFolder

CLOCKS = 60.0
"""Seconds by which clocks may differ: buckets and logins refuse requests of old."""


def nearest(folder: RunFolder) -> Path:
    """Return the run folder, or its nearest parent that exists; a bucket has none."""
    place = folder.path
    while not in_bucket(place) and not os.path.exists(place):
        place = place.parent
    return place


def check_renaming(folder: RunFolder) -> str:
    """Write a file in a folder and rename the folder, as a checkpoint does.

    Returns:
        What was found. Nothing is left behind.

    Raises:
        ConfigError: the run folder or its nearest parent does not allow it.
    """
    place = nearest(folder)
    if in_bucket(place):
        return f"{place}, where nothing has to be renamed"  # `check_claim` writes there
    with folder.refusing():
        made = Path(tempfile.mkdtemp(prefix=files.TRIAL, dir=place))
        renamed = made.with_name(made.name + "-renamed")
        try:
            (made / "file").write_bytes(b"x")
            made.rename(renamed)
        except OSError as error:
            raise ConfigError(
                f"folders in {place} cannot be renamed ({reason_of(error)}), which "
                "checkpoints need; mount it with --rename-dir-limit, or use another "
                "--workdir"
            ) from error
        finally:
            for left in (made, renamed):
                shutil.rmtree(left, ignore_errors=True)
    return f"{place} can be written, folders renamed"


def check_shared(folder: RunFolder | None) -> str:
    """Look in every process for a file that process 0 has just written.

    Every process must call this.

    Args:
        folder: the run folder; None looks for nothing.

    Raises:
        ConfigError: in a process that does not see it.
    """
    place = None if folder is None else nearest(folder)
    written = None
    if processes.is_first() and place is not None:
        # A folder that cannot be written fails another check.
        with contextlib.suppress(OSError):
            trial = place / f"{files.TRIAL}{uuid.uuid4().hex}"
            trial.write_bytes(b"\n")
            written = trial
    name = processes.gather(None if written is None else str(written))[0]
    seen = name is None or as_path(name).exists()
    processes.gather(seen)  # until all have looked
    if written is not None:
        written.unlink()
    if not seen:
        raise ConfigError(
            f"{place} does not show what process 0 writes there; use a --workdir on a "
            "file system that all machines share"
        )
    return "not tried" if name is None else "every process sees what process 0 writes"


def check_clocks(folder: RunFolder | None) -> str:
    """Compare the clocks of the processes, and of the run folder's disk.

    Every process must call this.

    Raises:
        ConfigError: they are more than `CLOCKS` seconds apart.
    """
    processes.gather(0)  # so that all look at the same time
    now = time.time()
    times = processes.gather(now)
    apart = max(times) - min(times)
    if apart > CLOCKS:
        raise ConfigError(
            f"the clocks of the processes are {apart:.0f} s apart; set them, with "
            "`timedatectl set-ntp true` on every machine"
        )
    place = None if folder is None else nearest(folder)
    disk = 0.0
    # A folder that cannot be written fails another check.
    with contextlib.suppress(OSError):
        if place is not None and not in_bucket(place):
            with tempfile.NamedTemporaryFile(dir=place, prefix=files.TRIAL) as file:
                disk = abs(os.stat(file.name).st_mtime - time.time())
    if disk > CLOCKS:
        raise ConfigError(
            f"the clocks of this machine and of the disk of {place} are {disk:.0f} s "
            "apart; set them, with `timedatectl set-ntp true`"
        )
    shown = datetime.datetime.fromtimestamp(min(times), datetime.UTC)
    return f"{shown:%Y-%m-%d %H:%M} UTC, at most {max(1, round(apart))} s apart"


def neighbours() -> int:
    """Return how many processes of the run are on this machine, this one included.

    Every process must call this.

    >>> neighbours()
    1
    """
    return processes.gather(socket.gethostname()).count(socket.gethostname())


def room_of_a_device() -> float | None:
    """Return the bytes that the fullest device has for a run, None if nothing says.

    CPU devices share what their host has available. Every process must call this.
    """
    room: float | None = device_bytes()
    if room is None and jax.local_devices()[0].platform == "cpu":
        with contextlib.suppress(OSError):
            found = re.search(
                r"^MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text(), re.M
            )
            if found is not None:
                room = 1024 * int(found[1]) / jax.local_device_count()
    known = [each for each in processes.gather(room) if each is not None]
    return min(known, default=None)
