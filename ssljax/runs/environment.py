"""What a run was started with, and on what: written and read here, nowhere else.

``environment.json`` lists every launch of a run: the first, and one each time that it
was resumed.
"""

import datetime
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax

from ssljax.runs.records import Record

PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "chex",
    "diffrax",
    "numpy",
    "ssljax",
)
"""Packages whose versions are recorded."""


@dataclass(frozen=True)
class Launch(Record):
    """One start of a command: what was run, from which code, on which device."""

    command: tuple[str, ...] | None = None
    """The command line, word by word."""
    commit: str | None = None
    """Of the checkout, with ``-dirty`` for local changes; None for a package."""
    python: str | None = None
    platform: str | None = None
    device: str | None = None
    device_count: int | None = None
    process_count: int | None = None
    versions: Mapping[str, str | None] = field(default_factory=dict)
    started: str | None = None
    """Time in ISO format."""
    changed: tuple[str, ...] = ()
    """Settings that changed when the run was resumed, such as ``epochs: 10 -> 20``."""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Environment(Record):
    """The launches of a run, oldest first."""

    launches: tuple[Launch, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


def this_launch(command: Sequence[str], changed: Sequence[str] = ()) -> Launch:
    """Describe this process: command, commit, device, versions and the time.

    Args:
        command: the command line, word by word.
        changed: settings that are not those of the launch before, a line each.

    >>> this_launch(["ssljax", "pretrain"]).command
    ('ssljax', 'pretrain')
    """
    return Launch(
        command=tuple(command),
        commit=commit(),
        python=platform.python_version(),
        platform=platform.platform(),
        device=jax.local_devices()[0].device_kind,
        device_count=jax.device_count(),
        process_count=jax.process_count(),
        versions={name: version(name) for name in PACKAGES},
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        changed=tuple(changed),
    )


def append(path: Path, launch: Launch) -> None:
    """Add a launch to ``environment.json``; a damaged file starts afresh."""
    saved = load(path)
    replace(saved, launches=(*saved.launches, launch)).save(path)


def load(path: Path, notes: list[str] | None = None) -> Environment:
    """Read ``environment.json``; a missing or damaged file has no launches.

    Args:
        path: the file.
        notes: gets a sentence about a file that is damaged or cannot be read. None
            refuses one that cannot be read.

    Raises:
        ConfigError: if an existing file cannot be read and ``notes`` is None.
    """
    return Environment.load(path, notes)


def version(package: str) -> str | None:
    """Return the version of an installed package, None if it is not installed.

    >>> version("no-such-package") is None
    True
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> str | None:
    """Return the commit of the checkout this package is in, None if installed.

    Local changes add ``-dirty``.
    """
    root = Path(__file__).absolute().parents[2]
    # An installed package inside someone else's checkout must not take its commit.
    if not (root / ".git").exists():
        return None

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()

    try:
        dirty = "-dirty" if git("status", "--porcelain") else ""
        return git("rev-parse", "HEAD") + dirty
    except (OSError, subprocess.SubprocessError):
        return None
