"""The folder of a run: where its files lie, and how they are written whole."""

import contextlib
import datetime
import errno
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.config.serialize import differences, from_json, to_json

_PACKAGES = (
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


class RunFolder:
    """All paths of a run in one place.

    With several processes on a shared file system, process 0 alone writes.

    Args:
        path: the folder; it need not exist before `claim`.

    >>> RunFolder("runs/first").metrics.name
    'metrics.jsonl'
    """

    def __init__(self, path: str | Path):
        # Absolute, since orbax takes nothing else and a later chdir changes nothing.
        self.path = Path(path).expanduser().absolute()
        self.config = self.path / "config.json"
        self.metrics = self.path / "metrics.jsonl"
        self.metrics_csv = self.path / "metrics.csv"
        self.environment = self.path / "environment.json"
        self.data = self.path / "data.json"
        self.evaluation = self.path / "evaluation.json"
        self.alarms = self.path / "alarms.jsonl"
        self.skipped = self.path / "skipped_files.txt"
        self.checkpoints = self.path / "checkpoints"
        self.failure = self.path / "failure"

    def claim(
        self, config: Config, *, fill_gaps: Callable[[Config], Config] = lambda c: c
    ) -> bool:
        """Make the folder for a new run, or check that an old one may go on.

        Args:
            config: the settings wanted, every default filled in; a new run keeps
                them in ``config.json``.
            fill_gaps: fills in settings that are newer than the saved file.

        Returns:
            True if the run existed, False if it was made now.

        Raises:
            ConfigError: if the saved settings differ where they decide the
                trajectory, if the folder holds something else, or if it cannot be
                written.
        """
        with self.refusing():
            self.path.mkdir(parents=True, exist_ok=True)
            existed = self.config.exists()
            others = [] if existed else sorted(os.listdir(self.path))
            # What a kill between the temporary file and its renaming leaves behind.
            others = [n for n in others if not n.startswith(".config.json.")]
            if others:
                raise ConfigError(
                    f"{self.path} is not empty and holds no run (it has "
                    f"{others[0]!r} but no config.json); use another --workdir"
                )
            if not existed:
                write_text_atomically(self.config, to_json(config))
                return False
            # Asking for the permission would not say why it is refused.
            tempfile.TemporaryFile(dir=self.path).close()
        changed = differences(fill_gaps(self.load_config()), config)
        if changed:
            raise ConfigError(
                f"{self.path} holds a run with other settings "
                f"({'; '.join(changed)}); use another --workdir or the same settings"
            )
        return True

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """While entered, an error of the disk becomes a `ConfigError` of one line."""
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise ConfigError(
                f"run folder {self.path} cannot be written "
                f"({error.strerror or type(error).__name__}); "
                f"{'free some space or ' if full else ''}use another --workdir"
            ) from error

    def load_config(self) -> Config:
        """The settings the run was made with.

        Raises:
            ConfigError: if ``config.json`` is missing or cannot be used.
        """
        try:
            return from_json(self.config.read_text("utf-8"))
        except FileNotFoundError:
            raise ConfigError(
                f"{self.path} holds no run (no config.json); "
                f"`ssljax pretrain RECIPE --workdir {self.path}` makes one"
            ) from None
        except ConfigError as error:
            raise ConfigError(
                f"{self.config}: {error}; use the version of ssljax that wrote it "
                "or another --workdir"
            ) from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{self.config} cannot be read ({type(error).__name__}); "
                "restore the file or use another --workdir"
            ) from error

    def write_environment(self, command: Sequence[str]) -> None:
        """Add this launch to ``environment.json``: command, commit, device, versions.

        Args:
            command: the command line, word by word.
        """
        saved = _read_object(self.environment).get("launches")
        launches = saved if isinstance(saved, list) else []
        write_json_atomically(
            self.environment, {"launches": [*launches, this_launch(command)]}
        )

    def write_data(self, info: Mapping[str, Any]) -> None:
        """Keep what is known of the data set in ``data.json``."""
        write_json_atomically(self.data, dict(info))

    def load_data(self) -> dict[str, Any]:
        """What `write_data` kept; empty if nothing was kept or the file is damaged."""
        return _read_object(self.data)

    def write_skipped(self, skipped: Sequence[tuple[str | Path, str]]) -> None:
        """List files that could not be used, one a line: path, tab, reason."""
        write_text_atomically(self.skipped, "".join(map(skipped_line, skipped)))


def this_launch(command: Sequence[str]) -> dict[str, Any]:
    """What made a result: command, commit, device, versions and the time.

    Args:
        command: the command line, word by word.

    >>> this_launch(["ssljax", "pretrain"])["command"]
    ['ssljax', 'pretrain']
    """
    device = jax.local_devices()[0]
    return {
        "command": list(command),
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device.device_kind,
        "device_count": jax.device_count(),
        "process_count": jax.process_count(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def plain(value: Any) -> Any:
    """A value as strict JSON can hold it; NaN and infinity become None.

    Arrays and their scalars become lists, floats and ints.

    >>> plain({"loss": np.float32(0.5), "panel": np.array([1.0, np.nan])})
    {'loss': 0.5, 'panel': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        array = np.asarray(value)
        # bfloat16 has no Python scalar of its own; float32 holds it exactly.
        if array.dtype.kind == "V":
            array = array.astype(np.float32)
        return plain(array.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value


def write_text_atomically(path: Path, text: str) -> None:
    """Replace a file in one move, so that a kill leaves the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with temporary.open("w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            # Without it, a power cut after the renaming can leave an empty file.
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json_atomically(path: Path, obj: Any) -> None:
    """Replace a file by an object as strict, indented JSON."""
    text = json.dumps(plain(obj), indent=2, allow_nan=False)
    write_text_atomically(path, text + "\n")


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Objects of a JSON-lines file; a half-written last line is left out.

    Args:
        path: the file; a missing one counts as empty.

    Raises:
        ConfigError: if a line before the last is damaged.
    """
    try:
        lines = path.read_text("utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return []
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError("not an object")
        except ValueError as error:
            if number == len(lines):
                break
            raise ConfigError(
                f"{path} line {number} is damaged; remove the line to go on"
            ) from error
        # Only the line feed makes a line whole: "12" may be the start of "123".
        if number < len(lines):
            records.append(record)
    return records


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def skipped_line(each: tuple[str | Path, str]) -> str:
    """A line of ``skipped_files.txt``."""
    return f"{_one_line(each[0])}\t{_one_line(each[1])}\n"


def _one_line(text: str | Path) -> str:
    return " ".join(str(text).split())


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Commit of the checkout this package lies in, None for an installed one."""
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
