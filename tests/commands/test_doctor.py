"""`ssljax doctor`: what would stop a run is one line with its fix, before it starts."""

import errno
import os
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from contents import contents
from faulty import on_the_page
from interrupted import environment, finish, free_port
from PIL import Image

from ssljax.benchmark import pace
from ssljax.commands.main import main
from ssljax.config.checks import ConfigError
from ssljax.data import shared_memory
from ssljax.runs import processes
from ssljax.runs.folder import RunFolder
from ssljax.runs.surroundings import check_clocks, check_shared
from ssljax.runs.verdicts import Check, merge

TINY = """--model.arch micro --method.projector 16-8 --augment.preset supervised
    --batch-size 16 --devices.count 1""".split()
PROGRAM = "import micro, ssljax.commands.main as cli; raise SystemExit(cli.main())"


@pytest.fixture
def doctor(elsewhere, capfd):
    """Call the command on a folder of images; returns code, rows and stderr."""
    rng = np.random.default_rng(0)
    for index in range(36):
        split = "train" if index < 32 else "test"
        path = elsewhere / "photos" / split / "ab"[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(path)

    def call(*words, recipe="folder"):
        if recipe == "folder":
            words = ("--data.path", str(elsewhere / "photos"), *words)
        before = contents(elsewhere)
        capfd.readouterr()
        code = main(["doctor", recipe, *TINY, *words])
        out, err = capfd.readouterr()
        assert contents(elsewhere) == before  # nothing is left behind
        return code, out, err

    return call


def row(table, name):
    (line,) = (line for line in table.splitlines() if line.startswith(f"{name} "))
    return line.removeprefix(name).split(None, 1)


STREAM = ["--data.store", "stream"]


@pytest.mark.slow
def test_a_run_that_can_start(doctor):
    words = ["--workdir", "run", *STREAM, "--data.workers", "0", "--steps", "2"]
    code, out, err = doctor(*words)
    assert (code, err) == (0, "")
    for name in ("versions", "devices", "run folder", "clock", "/dev/shm", "memory"):
        assert row(out, name)[0] == "ok"
    assert "32 images 32x32x3, streamed" in row(out, "data")[1]
    assert "images/s" in row(out, "step")[1] and "the step takes" in out


def refused(monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)


def unrenamed(monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr("pathlib.Path.rename", refuse)


def little(monkeypatch):
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 2**12)


def narrow(monkeypatch):
    monkeypatch.setattr(pace, "room_of_a_device", lambda: 2**14)


# What is wrong, the check that finds it, and its line.
BROKEN = {
    "no data": (
        ["--data.name", "cifar10"],
        None,
        "data",
        "the folder that has it",
    ),
    "shared memory": (
        [*STREAM, "--data.workers", "2"],
        little,
        "/dev/shm",
        "/dev/shm has 1 MiB free; start the container with --shm-size 1m",
    ),
    "read-only folder": (
        ["--workdir", "run"],
        refused,
        "run folder",
        "cannot be written (Read-only file system); use another --workdir",
    ),
    "a mount that renames no folder": (
        ["--workdir", "run"],
        unrenamed,
        "run folder",
        "cannot be renamed (Operation not supported), which checkpoints need; mount it "
        "with --rename-dir-limit, or use another --workdir",
    ),
    "a batch larger than the data": (
        ["--batch-size", "64"],
        None,
        "settings",
        "batch_size 64 exceeds the 32 images of folder:photos (train); allowed: 2 to "
        "32",
    ),
    "a batch larger than the memory": (
        ["--steps", "1"],
        narrow,
        "memory",
        "MiB on a device, which has 0; use --devices.microbatch, a smaller --batch-size"
        " or --model.dtype bfloat16",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", BROKEN)
def test_what_would_stop_a_run_is_one_line(case, doctor, monkeypatch):
    words, fault, name, expected = BROKEN[case]
    if fault is not None:
        fault(monkeypatch)
    steps = [] if "--steps" in words else ["--steps", "0"]
    recipe = "cifar10/simclr" if case == "no data" else "folder"
    code, out, err = doctor(*words, *steps, recipe=recipe)
    assert code == 2
    assert err.startswith("ssljax: ") and err.count("\n") == 1
    assert expected in err
    verdict, rest = row(out, name)
    assert verdict == "fail"
    # The table has both halves of the line.
    what, _, fix = err.removeprefix("ssljax: ").strip().rpartition("; ")
    assert rest.startswith(what) and rest.endswith(fix)
    assert out.count(" fail ") == 1
    if "memory" in case or "rename" in case:
        assert on_the_page(err.strip(), 2, {os.getcwd(): "DIR"})


@pytest.mark.slow
def test_two_processes_that_disagree(tmp_path):
    port, launched = str(free_port()), []
    words = ["doctor", "shapes/quickstart", *TINY[:-2], "--data.examples", "64"]
    words += ["--workdir", str(tmp_path / "run"), "--devices.processes", "2"]
    words += ["--devices.coordinator", f"localhost:{port}"]
    for index in (0, 1):
        own = ["--devices.process", str(index), "--seed", str(index)]
        with open(tmp_path / f"{index}.txt", "w") as said:
            launched.append(
                subprocess.Popen(
                    [sys.executable, "-c", PROGRAM, *words, *own],
                    env=environment(),
                    stdout=said,
                    stderr=subprocess.STDOUT,
                )
            )
    assert finish(launched, within=100) == [2, 2]
    first, second = ((tmp_path / f"{i}.txt").read_text() for i in (0, 1))
    (line,) = (each for each in first.splitlines() if each.startswith("ssljax: "))
    assert line == (
        "ssljax: processes differ in seed: 0 in process 0, 1 in process 1; start all "
        "of them with the same command, code and data"
    )
    assert row(first, "processes")[0] == "fail"
    assert row(first, "shared folder")[0] == "ok"
    assert "ssljax: " not in second and "versions" not in second
    assert not [p for p in tmp_path.iterdir() if p.suffix != ".txt"]


def test_rows_that_differ_are_named_by_process():
    same, one, other = Check("clock", "now"), Check("data", "5"), Check("data", "4")
    rows = merge([[same, one], [same, one], [same, other], [same, one]])
    assert rows == [("all", same), ("0-1, 3", one), ("2", other)]


@pytest.mark.parametrize(
    ("reads", "workers", "cores", "fix"),
    [
        (400.0, 2, 4, ""),
        (390.0, 2, 4, ""),
        (200.0, 2, 4, "use --data.workers 4"),
        (100.0, 2, 4, "use --data.workers 4, or store smaller copies"),
        (100.0, 4, 4, "store smaller copies"),
    ],
)
def test_slow_reading_says_what_would_help(reads, workers, cores, fix):
    check = pace.judged(reads, 400.0, workers=workers, cores=cores)
    assert check.verdict == ("slow" if fix else "ok")
    assert check.fix.startswith(fix)


@pytest.mark.slow
@pytest.mark.parametrize("words", [["--steps", "-1"], ["--steps"], ["--stepz", "1"]])
def test_bad_options_are_one_line(words, refused):
    line = refused("doctor", "shapes/quickstart", *words)
    assert "--step" in line


def test_clocks_that_differ_are_refused(monkeypatch):
    apart = {"by": 30.0}
    monkeypatch.setattr(processes, "gather", lambda value: [value, value + apart["by"]])
    assert "at most 30 s apart" in check_clocks(None)
    apart["by"] = 3600.0
    with pytest.raises(ConfigError) as caught:
        check_clocks(None)
    assert on_the_page(f"ssljax: {caught.value}", 2, {})


def test_a_folder_that_is_not_shared_is_refused(monkeypatch, tmp_path):
    folder, theirs = RunFolder(tmp_path / "run"), tmp_path / ".ssljax.theirs"
    monkeypatch.setattr(processes, "is_first", lambda: False)
    monkeypatch.setattr(processes, "gather", lambda _: [str(theirs), None])
    with pytest.raises(ConfigError) as caught:
        check_shared(folder)
    line = f"ssljax: process 1: {caught.value}"
    assert on_the_page(line, 2, {tmp_path: "DIR"})
    theirs.touch()
    assert check_shared(folder) == "every process sees what process 0 writes"
