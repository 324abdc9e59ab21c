"""The folder of a run: its files, who may use it, and what they hold."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ssljax.config import Config
from ssljax.config.checks import ConfigError
from ssljax.config.paths import absolute_path, in_bucket, url_of
from ssljax.config.resuming import continued, refusal
from ssljax.config.serialize import from_json, to_json
from ssljax.runs import environment, files
from ssljax.runs.environment import Environment
from ssljax.runs.records import Alarm, DataRecord, Evaluation, SkippedFile


class RunFolder:
    """All paths of a run in one place.

    With several processes on a shared file system, only process 0 writes.

    Args:
        path: the folder; it need not exist before `claim`.

    >>> RunFolder("runs/first").metrics.name
    'metrics.jsonl'
    """

    def __init__(self, path: str | Path):
        # Absolute: orbax accepts nothing else, and a later chdir changes nothing.
        url = url_of(path)
        if url is not None and url.startswith("s3://"):
            raise ConfigError(
                f"{url} cannot be a run folder, because orbax writes no checkpoint "
                "to s3://; use gs://, or mount the bucket and use the path of the mount"
            )
        self.path = absolute_path(path)
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
        self,
        config: Config,
        *,
        fill_gaps: Callable[[Config], Config] = lambda c: c,
        extend: bool = False,
    ) -> bool:
        """Create the folder of a new run, or check that an old run can be resumed.

        Args:
            config: the settings wanted, every default filled in; a new run keeps
                them in ``config.json``.
            fill_gaps: fills in settings that are newer than the saved file.
            extend: allow more epochs than the run was planned for.

        Returns:
            True if the run existed, False if it was created now.

        Raises:
            ConfigError: if the saved settings differ where they decide the
                trajectory, if the folder holds something else, or if it cannot be
                written.
        """
        if in_bucket(self.path):
            self._check_place()
        with self.refusing():
            self.path.mkdir(parents=True, exist_ok=True)
            existed = self.config.exists()
            if not existed:
                if self.path.exists():  # a bucket has no empty folders
                    self.check_unclaimed()
                files.write_atomically(self.config, to_json(config))
                return False
            if not in_bucket(self.path):
                # A question about permissions would not say why they are refused.
                tempfile.TemporaryFile(dir=self.path).close()
        self.check_settings(config, fill_gaps=fill_gaps, extend=extend)
        return True

    def continued(self, config: Config) -> Config:
        """Return the settings with which a run in this folder would be resumed.

        Args:
            config: the settings wanted; what they leave open is decided as in the run
                that is here, if there is one.

        Raises:
            ConfigError: if ``config.json`` cannot be used.
        """
        on_disk = not in_bucket(self.path)  # where it may be unreadable
        if not (os.path.exists(self.config) if on_disk else self.config.exists()):
            return config
        return continued(self.load_config(), config)

    def check_claim(
        self,
        config: Config,
        *,
        fill_gaps: Callable[[Config], Config] = lambda c: c,
        extend: bool = False,
    ) -> None:
        """Refuse what `claim` would refuse, and write nothing."""
        self._check_place()
        if self.config.exists():
            self.check_settings(config, fill_gaps=fill_gaps, extend=extend)
        elif self.path.exists():
            self.check_unclaimed()

    def check_settings(
        self,
        config: Config,
        *,
        fill_gaps: Callable[[Config], Config] = lambda c: c,
        extend: bool = False,
    ) -> None:
        """Refuse to resume a run with settings other than those it started with.

        Raises:
            ConfigError: if the saved settings differ where they decide the trajectory.
        """
        # The file of an older version lacks settings that came later.
        why = refusal(fill_gaps(self.load_config()), config, extend=extend)
        if why is not None:
            raise ConfigError(f"{self.path} holds a run with {why}")

    def check_unclaimed(self) -> None:
        """Refuse a folder that holds something other than a run.

        Raises:
            ConfigError: if there is no run but other files.
        """
        # What a kill leaves between writing a temporary file and moving it.
        names = sorted(each.name for each in self.path.iterdir())
        left = (".config.json.", files.TRIAL)
        others = [name for name in names if not name.startswith(left)]
        if others:
            raise ConfigError(
                f"{self.path} is not empty and holds no run (it has "
                f"{others[0]!r} but no config.json); use another --workdir"
            )

    def _check_place(self) -> None:
        """Refuse a folder in which no file can be created."""
        why = files.why_unwritable(self.path, folder=True)
        if why is not None:
            raise ConfigError(
                f"run folder {self.path} cannot be written ({why}); use another "
                "--workdir"
            )

    def check_writable(self, *names: str) -> None:
        """Refuse a run whose files cannot be written, before hours are spent on them.

        Args:
            names: files that will be written, by their path in the folder.

        Raises:
            ConfigError: the line says why, such as a read-only file system.
        """
        for name in names:
            why = files.why_unwritable(self.path / name, folder=False)
            if why is not None:
                raise ConfigError(
                    f"{self.path / name} cannot be written ({why}); make the run "
                    "folder writable, or work on a copy of it"
                )

    @contextlib.contextmanager
    def refusing(self, otherwise: str = "use another --workdir") -> Iterator[None]:
        """Turn an error of the disk inside the block into a one-line `ConfigError`.

        Args:
            otherwise: what to do unless freeing space helps.
        """
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise ConfigError(
                f"run folder {self.path} cannot be written ({files.reason_of(error)}); "
                f"{'free some space or ' if full else ''}{otherwise}"
            ) from error

    def load_config(self) -> Config:
        """Read the settings that the run was created with.

        Raises:
            ConfigError: if ``config.json`` is missing or cannot be used.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path} is a file; name the folder of a run")
        try:
            return from_json(files.read_text(self.config))
        except FileNotFoundError:
            raise ConfigError(
                f"{self.path} holds no run (no config.json); "
                f"`ssljax pretrain RECIPE --workdir {self.path}` creates one"
            ) from None
        except ConfigError as error:
            raise ConfigError(
                f"{self.config}: {error}; use the version of ssljax that wrote it"
            ) from error
        except OSError as error:
            raise ConfigError(
                f"{self.config} cannot be read ({files.reason_of(error)}); make it "
                "readable again"
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(
                f"{self.config} is damaged (not the JSON object of a config); restore "
                "the file from a copy"
            ) from error

    def write_config(self, config: Config) -> None:
        """Record the settings with which the run is resumed in ``config.json``."""
        files.write_atomically(self.config, to_json(config))

    def write_environment(
        self, command: Sequence[str], changed: Sequence[str] = ()
    ) -> None:
        """Add this launch to ``environment.json``: command, commit, device, versions.

        Args:
            command: the command line, word by word.
            changed: settings that are not those of the launch before, a line each.
        """
        launch = environment.this_launch(command, changed)
        environment.append(self.environment, launch)

    def write_data(self, data: DataRecord) -> None:
        """Record the training images in ``data.json``."""
        data.save(self.data)

    def evaluation_of(self, variant: str = "") -> Path:
        """Return the file of an evaluation on other images or of another step."""
        return self.path / f"evaluation{variant}.json"

    def write_evaluation(self, evaluation: Evaluation, variant: str = "") -> None:
        """Record a table of results in ``evaluation.json``."""
        evaluation.save(self.evaluation_of(variant))

    def write_skipped(self, skipped: Sequence[tuple[str | Path, str]]) -> None:
        """List files that could not be used, one a line: path, tab, reason."""
        lines = [SkippedFile(str(name), reason).line for name, reason in skipped]
        files.write_atomically(self.skipped, "".join(lines))

    # Below, a missing or damaged file gives an empty record, and ``notes`` gets a
    # sentence about the damage: a report shows what is left. Without ``notes``, a file
    # that exists but cannot be read is a `ConfigError`.

    def load_environment(self, notes: list[str] | None = None) -> Environment:
        """Read the launches of the run."""
        return environment.load(self.environment, notes)

    def load_data(self, notes: list[str] | None = None) -> DataRecord:
        """Read what is known of the training images."""
        return DataRecord.load(self.data, notes)

    def load_evaluation(
        self, notes: list[str] | None = None, variant: str = ""
    ) -> Evaluation:
        """Read the last evaluation."""
        return Evaluation.load(self.evaluation_of(variant), notes)

    def load_skipped(self) -> list[SkippedFile]:
        """Read which files could not be used."""
        return SkippedFile.load_all(self.skipped)

    # Below, damage inside a file is refused unless ``notes`` is given: a run that is
    # resumed must not lose lines without a word.

    def load_metrics(self, notes: list[str] | None = None) -> list[dict[str, Any]]:
        """Read the logged metrics, each with its ``"step"``.

        Raises:
            ConfigError: if a line is damaged and ``notes`` is None.
        """
        return files.read_json_lines(self.metrics, notes)

    def load_alarms(self, notes: list[str] | None = None) -> list[Alarm]:
        """Read the alarms.

        Raises:
            ConfigError: if a line is damaged and ``notes`` is None.
        """
        lines = files.read_json_lines(self.alarms, notes)
        return [Alarm.from_object(line) for line in lines]
