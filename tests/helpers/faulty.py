"""Runs with a fault: in this process, or on a small disk that is really full."""

import errno
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import micro  # noqa: F401
from interrupted import CONFIG, environment, images, losses

from ssljax.commands import main as cli
from ssljax.config import (
    CheckpointConfig,
    DevicesConfig,
    MethodConfig,
    ModelConfig,
    MonitorConfig,
)
from ssljax.runs.loop import Session
from ssljax.runs.pretrain import pretrain
from ssljax.runs.writers import MetricWriter
from ssljax.training import engines

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
# One block, because every fault needs two or three runs and each must compile.
TINY = replace(
    CONFIG,
    method=MethodConfig("simclr", projector="8-8"),
    model=ModelConfig("micro"),
    monitor=MonitorConfig(every_epochs=0),
    devices=DevicesConfig(count=1),
)


class Runs:
    """Call the same run repeatedly, in one folder."""

    def __init__(self, workdir):
        self.workdir = workdir

    def __call__(self, config=TINY, train=None, quiet=True):
        return pretrain(config, self.workdir, train=train or images(), quiet=quiet)


def meets(patch, number, fault):
    """Pass the state through ``fault`` before that step of a run."""
    compiled = engines.compiled_step

    def faulty(*args, **options):
        step, count = compiled(*args, **options), itertools.count(1)

        def call(state, *inputs):
            state = fault(state) if next(count) == number else state
            return step(state, *inputs)

        return call

    patch.setattr(engines, "compiled_step", faulty)


def raises(error):
    def fault(state):
        raise error

    return fault


def unreadable(patch, name):
    """Make reading files of that name fail as on a failing disk."""
    read = Path.read_text

    def fail(path, *args, **options):
        if path.name == name:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return read(path, *args, **options)

    patch.setattr(Path, "read_text", fail)


def ended(run, capfd, monkeypatch):
    """Return the exit code of ``run`` as a command, and its one line on stderr."""
    monkeypatch.setitem(cli.COMMANDS, "pretrain", lambda words: run() and 0)
    capfd.readouterr()
    code = cli.main(["pretrain"])
    return code, only_line(capfd.readouterr().err)


def only_line(said):
    (line,) = said.splitlines()
    assert line.startswith("ssljax: "), line
    return line


def saved(workdir):
    """Return the steps of the finished checkpoints."""
    names = os.listdir(Path(workdir) / "checkpoints")
    return sorted(int(name) for name in names if name.isdigit())


def on_the_page(line, code, names):
    """Return whether docs/faults.md has a row with this line and exit code.

    Args:
        line: as it was printed; numbers may differ.
        code: the exit code.
        names: maps strings or paths in the line to their placeholders on the page.
    """
    for name, other in names.items():
        line = line.replace(str(name), other)
    rows = [row for row in PAGE.read_text("utf-8").splitlines() if row[:1] == "|"]
    found = [row for row in rows if _bare(line) in _bare(row)]
    return bool(found) and all(f"| {code} |" in row for row in found)


def _bare(text):
    text = text.removeprefix("ssljax: ").replace("`", "")
    return re.sub(r"0x[0-9a-f]+|\d+", "N", text)


def can_mount():
    """Return whether this user may mount a file system in a new namespace."""
    command = ["unshare", "--map-root-user", "--mount", "mount", "-t", "tmpfs"]
    try:
        made = subprocess.run([*command, "none", "/mnt"], capture_output=True)
    except OSError:
        return False
    return made.returncode == 0


def on_a_small_disk(fault, place):
    """Cause a fault on a disk of eight megabytes, remove it, and run again.

    Args:
        fault: ``full_claim``, ``full_metrics``, ``full_checkpoint``,
            ``read_only_start``, ``read_only_run``.
        place: an empty folder to mount the disk on.

    Returns:
        ``first`` and ``again``: exit code and stderr of the run with the fault and of
        the same command afterwards; ``saved``: checkpoints after the first; ``tail``:
        the last characters of its metrics; ``losses``: those after the second;
        ``whole``: those of a run without a fault.
    """
    call = f"import faulty; faulty.scene({fault!r}, {str(place)!r})"
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", sys.executable, "-c", call],
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def scene(fault, place):
    """Play one fault in a new namespace, for `on_a_small_disk`."""
    place, workdir = Path(place), Path(place) / "run"
    _mount("-t", "tmpfs", "-o", "size=8m", "none", place)
    if fault == "full_claim":
        fill(place)
    if fault == "read_only_start":
        workdir.mkdir()
        make_read_only(workdir)
    seen: dict[str, Any] = {"first": _run(fault, workdir)}
    checkpoints = workdir / "checkpoints"
    seen["saved"] = saved(workdir) if checkpoints.exists() else []
    metrics = workdir / "metrics.jsonl"
    seen["tail"] = metrics.read_text()[-5:] if metrics.exists() else ""
    if fault.startswith("full"):
        (place / "filler").unlink()
    else:
        subprocess.run(["umount", workdir], check=True)
    seen["again"] = _run("none", workdir)
    seen["losses"] = losses(workdir)
    _run("none", place / "whole")
    seen["whole"] = losses(place / "whole")
    print(json.dumps(seen))


def _run(fault, workdir):
    call = f"import faulty; faulty.child({fault!r}, {str(workdir)!r})"
    done = subprocess.run(
        [sys.executable, "-c", call], capture_output=True, text=True, timeout=200
    )
    return done.returncode, done.stderr


def child(fault, workdir):
    """Run like the command, with a fault at the sixth step."""
    workdir, config = Path(workdir), TINY
    write, save = MetricWriter.write, Session._save

    def write_into_the_wall(self, step, record):
        if step == 6:
            fill(workdir.parent)
            # Longer than a page, because a page that is in use has room left.
            record = {**record, "long": "x" * 9000}
        write(self, step, record)

    def save_into_the_wall(self, step, measured=None):
        if step == 4:
            save(self, step, measured)
            self.checkpoints.wait()
        elif step == 6:
            if fault == "full_checkpoint":
                fill(workdir.parent)
            if fault == "read_only_run":
                make_read_only(workdir)
            save(self, step, measured)
        else:
            save(self, step, measured)

    if fault == "full_metrics":
        config = replace(TINY, checkpoint=CheckpointConfig(every_epochs=1))
        MetricWriter.write = write_into_the_wall
    Session._save = save_into_the_wall

    def run(words):
        pretrain(config, workdir, train=images(), quiet=True)
        return 0

    cli.COMMANDS["pretrain"] = run
    raise SystemExit(cli.main(["pretrain"]))


def fill(folder):
    """Fill a file system to its last block."""
    with (Path(folder) / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(65536)):
                pass
        except OSError:
            pass


def make_read_only(folder):
    """Mount the folder over itself, read-only; open files stay writable."""
    _mount("--bind", folder, folder)
    _mount("-o", "remount,ro,bind", folder)


def _mount(*words):
    subprocess.run(["mount", *map(str, words)], check=True)
