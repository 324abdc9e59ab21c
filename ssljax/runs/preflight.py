"""Checks before a run, in every process: what would stop it, with the fix.

Each check calls what the run itself would call, and catches the line that it would end
with.
"""

import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from ssljax import methods
from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.data import DataError, Source
from ssljax.data.shared_memory import PLACE, check_shared_memory, free_bytes
from ssljax.runs import processes
from ssljax.runs.agreement import data_facts, disagreement, program_facts
from ssljax.runs.describe import LESS, host_bytes, needed_memory
from ssljax.runs.environment import commit, version
from ssljax.runs.folder import RunFolder
from ssljax.runs.initial import check_initial
from ssljax.runs.programs import keep_programs
from ssljax.runs.setup import load_split, prepare
from ssljax.runs.surroundings import (
    check_clocks,
    check_renaming,
    check_shared,
    neighbours,
    room_of_a_device,
)
from ssljax.runs.verdicts import Check, failed
from ssljax.runs.writers import check_loggers
from ssljax.training import devices
from ssljax.training.state import Setup

# Where Linux shows an accelerator, whether or not JAX can use it.
_ACCELERATORS = {"/dev/nvidia0": "cuda12", "/dev/accel0": "tpu", "/dev/vfio/0": "tpu"}


@dataclass
class Preflight:
    """The checks so far, and what they built."""

    checks: list[Check]
    mesh: Any = None
    source: Source | None = None
    setup: Setup | None = None

    def add(self, name: str, check: Callable[[], str | Check]) -> bool:
        """Make a check, which returns its value or raises; return whether it passed."""
        try:
            found = check()
        except (ConfigError, DataError, OSError) as error:
            self.checks.append(failed(name, error))
            return False
        self.checks.append(found if isinstance(found, Check) else Check(name, found))
        return self.checks[-1].verdict != "fail"

    def skip(self, name: str, why: str) -> None:
        """Add a check that cannot be made."""
        self.checks.append(Check(name, why, "-"))


def preflight(config: Config, workdir: Path | None) -> Preflight:
    """Make all checks that need no step of training.

    Every process must call this at the same point.

    Args:
        config: the recipe.
        workdir: the run folder; None leaves its checks out.

    Raises:
        ConfigError: settings that no check could start with.
        ProcessLost: another process did not join.
    """
    config = methods.resolve(config)
    folder = None if workdir is None else RunFolder(workdir)
    if folder is not None:
        config = folder.continued(config)
    found = Preflight([])
    cache = keep_programs(config.devices.compilation_cache)
    processes.join(config.devices)
    found.add("versions", _versions)
    alike = found.add("processes", lambda: _agreed(program_facts(config)))
    usable = found.add("devices", lambda: _devices(config, found))
    found.add("compiled programs", lambda: _programs(config, cache))
    found.add("loggers", lambda: _loggers(config, folder))
    if folder is None:
        found.skip("run folder", "no --workdir")
    elif found.add("run folder", lambda: check_renaming(folder)):
        found.add("run", lambda: _run(config, folder))
    if jax.process_count() > 1:
        found.add("shared folder", lambda: check_shared(folder))
    found.add("clock", lambda: check_clocks(folder))
    if found.add("data", lambda: _data(config, found)) and usable:
        found.add("settings", lambda: _settings(config, found))
    else:
        found.skip("settings", "needs data and devices")
    if alike:
        found.add("same data", lambda: _same_data(found))
    else:
        found.skip("same data", "needs the same settings")
    _memories(config, found)
    return found


def _versions() -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib"))
    code, dirty, _ = (commit() or "").partition("-dirty")
    of = f" of {code[:12]}{dirty}" if code else ""
    python = platform.python_version()
    return f"ssljax {version('ssljax')}{of}, {packages}, Python {python}"


def _agreed(facts: dict[str, str]) -> str:
    different = disagreement(processes.gather(facts))
    if different is not None:
        raise ConfigError(different)
    count = jax.process_count()
    return "1" if count == 1 else f"{count} with the same settings and code"


def _devices(config: Config, found: Preflight) -> str | Check:
    found.mesh = devices.make_mesh(
        count=config.devices.count,
        batch_size=config.batch_size,
        microbatch=config.devices.microbatch,
    )
    first = found.mesh.devices.flat[0]
    text = f"{found.mesh.size} x {first.device_kind}"
    extra = next((x for p, x in _ACCELERATORS.items() if os.path.exists(p)), None)
    if first.platform == "cpu" and extra is not None:
        fix = f'pip install "ssljax[{extra}]"'
        return Check("devices", f"{text}, but there is an accelerator", "look", fix)
    return text


def _programs(config: Config, cache: Any) -> str | Check:
    wanted = config.devices.compilation_cache
    if cache is not None:
        return str(cache)
    if wanted is None or wanted.lower() == "none":
        return "not kept"
    fix = "name a folder with --devices.compilation-cache"
    return Check("compiled programs", "the folder is not writable", "look", fix)


def _loggers(config: Config, folder: RunFolder | None) -> str:
    log = config.log
    found = check_loggers(folder, tensorboard=log.tensorboard, wandb=log.wandb)
    return ", ".join(["files", *found])


def _run(config: Config, folder: RunFolder) -> str:
    folder.check_claim(config, fill_gaps=methods.resolve)
    check_initial(config, folder)
    return "resumed" if folder.config.exists() else "new"


def _data(config: Config, found: Preflight) -> str:
    found.source = source = load_split(config, train=True)
    place = "in memory" if source.images is not None else "streamed"
    shape = "x".join(map(str, source.image_shape))
    text = f"{source.name} ({source.split}), {source.size:,} images {shape}, {place}"
    return text + (f", {len(source.skipped)} unreadable" if source.skipped else "")


def _settings(config: Config, found: Preflight) -> str:
    source = found.source
    assert source is not None, "data was loaded"
    # The run measures them on up to 10,000 images; they fit any setting.
    channels = source.image_shape[2]
    statistics = (0.5,) * channels, (0.25,) * channels
    found.setup = setup = prepare(config, source, statistics=statistics)
    return f"{setup.total_steps:,} steps of {config.batch_size} images"


def _same_data(found: Preflight) -> str | Check:
    facts, error = None, None
    try:
        if found.source is not None:
            facts = data_facts(found.source, (), ())
    except (DataError, OSError) as raised:
        error = raised  # until the others have been answered
    every = processes.gather(facts)
    if error is not None:
        raise error
    if None in every:
        return Check("same data", "needs data", "-")
    different = disagreement(every)
    if different is not None:
        raise ConfigError(different)
    return f"fingerprint {every[0]['data fingerprint']}"


def _memories(config: Config, found: Preflight) -> None:
    # Of all processes, whatever each of them has found.
    sharing, room = neighbours(), room_of_a_device()
    setup, source = found.setup, found.source
    if setup is None or source is None:
        found.skip(PLACE, "needs settings that fit")
        found.skip("estimated memory", "needs settings that fit")
        return
    workers = 0 if source.images is not None else config.data.workers

    def shared() -> str:
        # Every process of this machine takes its share of the same memory.
        check_shared_memory(sharing * host_bytes(setup), workers=workers)
        free = free_bytes()
        return "none here" if free is None else f"{free / 2**30:.1f} GiB free"

    found.add(PLACE, shared)
    wanted = needed_memory(setup, source)
    found.checks.append(estimate(wanted, room))


def estimate(wanted: float, room: float | None) -> Check:
    """Compare an estimate of a step's memory with that of a device.

    Args:
        wanted: bytes.
        room: bytes; None if unknown.

    >>> estimate(2**21, 2**20).verdict
    'look'
    """
    text = f"{wanted / 2**20:,.0f} MiB on a device"
    if room is None:
        return Check("estimated memory", text)
    text += f", which has {room / 2**20:,.0f}"
    if wanted <= room:
        return Check("estimated memory", text)
    return Check("estimated memory", f"{text}: it may not fit", "look", LESS)
