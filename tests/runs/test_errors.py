"""Every fault ends with the one line in docs/faults.md, and the run resumes."""

import errno
import os
import re
import tempfile
from dataclasses import replace

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest
from faulty import (
    TINY,
    Runs,
    can_mount,
    ended,
    meets,
    on_a_small_disk,
    on_the_page,
    only_line,
    raises,
    saved,
    unreadable,
)
from interrupted import STEPS, images, lines, losses

from ssljax.config import MethodConfig
from ssljax.data import DataError
from ssljax.data.tfds import TfdsReader, open_records
from ssljax.methods import resolve
from ssljax.runs import files, loop
from ssljax.runs.errors import explain
from ssljax.runs.folder import RunFolder
from ssljax.runs.pretrain import pretrain
from ssljax.runs.records import DataRecord
from ssljax.runs.writers import MetricWriter

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
READ_ONLY = OSError(errno.EROFS, os.strerror(errno.EROFS))
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED: Out of memory allocating 70368744177664 bytes."


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the losses of a run without a fault."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    pretrain(TINY, workdir, train=images(), quiet=True)
    return losses(workdir)


@pytest.fixture
def run(tmp_path):
    return Runs(tmp_path / "run")


def resumes(run, whole):
    """Rerun the same call, and check that the losses are those without a fault."""
    run()
    assert [record["step"] for record in lines(run.workdir)] == STEPS
    assert losses(run.workdir) == whole


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error, words",
    [
        (FULL, "no space left to write .*run .*free some space, then rerun"),
        (OSError(errno.EDQUOT, "Quota", "/tmp/other"), "left to write /tmp/other"),
        (READ_ONLY, "run cannot be written .*Read-only file system.*writable again"),
        (OSError(errno.EIO, "I/O"), "does not respond"),
        (caused(ValueError("orbax says"), FULL), "no space left"),
        (MemoryError(), "host is out of memory .*--data.workers"),
        (jax.errors.JaxRuntimeError(OUT_OF_MEMORY), "allocating 703.* bytes.*microb"),
        (
            RuntimeError(
                "Worker process was terminated unexpectedly with exit code -7"
            ),
            "shared memory /dev/shm is full.*larger --shm-size or lower --data.workers",
        ),
        (DataError("x.png is gone; bring it back"), "^data: x.png is gone"),
    ],
)
def test_a_known_error_is_one_line_with_advice(tmp_path, error, words):
    folder = RunFolder(tmp_path / "run")
    folder.claim(TINY)
    text = explain(error, folder)
    assert text is not None and "\n" not in text
    assert re.search(words, text), text
    assert text.endswith("nothing was saved yet, so it starts from step 0")
    for name in ("4", "12", "16.orbax-checkpoint-tmp"):
        (folder.checkpoints / name).mkdir(parents=True)
    assert str(explain(error, folder)).endswith("same command to resume from step 12")


class Failing(TfdsReader):
    """A reader of the same encoded image, or of the same error, again and again."""

    def __init__(self, item):
        super().__init__(4, 12, 3, "NAME", "DATA", "train", "image", None, None)
        self.records = self if isinstance(item, Exception) else None
        self.item = item

    def __getitems__(self, indices):
        raise self.item

    def fetch(self, indices):
        if self.records is not None:
            return super().fetch(indices)
        return [(self.item, 7) for _ in indices]


class Unopened:
    """A prepared data set whose files cannot be opened."""

    class info:
        full_name = "NAME/1.0.0"

    def as_data_source(self, split, decoders):
        raise OSError("file header; checksum")


# Every message of a `DataError` that reading images can raise during training.
WHILE_TRAINING = {
    "missing": (
        lambda: Failing("DATA/a.png").many([0]),
        r"DATA/a.png cannot be opened \(No such file or directory\); bring it back",
    ),
    "damaged": (
        lambda: Failing(b"text").many([0]),
        r"no image of class 7 can be read \(.*: not an image\); replace the damaged "
        "images",
    ),
    "records": (
        lambda: Failing(RuntimeError("hash; mismatch")).many([0]),
        r"the files of 'NAME' in DATA cannot be read \(hash; mismatch\); bring them "
        "back, or delete that data set and run `ssljax data prepare NAME --data-dir "
        "DATA`",
    ),
    "split": (
        lambda: open_records(Unopened(), "train", "image"),
        r"cannot read split 'train' of NAME/1.0.0 \(file header; checksum\); check how "
        "the split is written and that the files are in place",
    ),
}


@pytest.mark.parametrize("name", WHILE_TRAINING)
def test_an_error_of_the_data_says_what_to_do_before_the_rerun(name, tmp_path):
    read, words = WHILE_TRAINING[name]
    with pytest.raises(DataError) as caught:
        read()
    line = str(explain(caught.value, RunFolder(tmp_path)))
    assert re.fullmatch(f"data: {words}, then rerun the same command; .*", line), line


def test_an_error_without_advice_is_followed_by_the_rerun(tmp_path):
    line = explain(DataError("x.png (a; b) is empty"), RunFolder(tmp_path))
    assert str(line).startswith("data: x.png (a; b) is empty; rerun the same command")


def test_a_full_disk_in_tensorstore_is_not_taken_for_lack_of_memory(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.claim(TINY)
    text = f'RESOURCE_EXHAUSTED: Error writing "{folder.path}/checkpoints/4": Failed '
    said = explain(ValueError(text + "to write: No space left on device"), folder)
    assert said is not None and said.startswith("no space left")
    # In an unrelated error the words may mean anything.
    assert explain(ValueError("No space left on device in a poem"), folder) is None


@pytest.mark.parametrize(
    "error",
    [
        TypeError("a bug"),
        KeyError("a bug"),
        FileNotFoundError(errno.ENOENT, "gone", "x"),
        jax.errors.JaxRuntimeError("INTERNAL: a bug"),
        RuntimeError("Worker process was terminated unexpectedly with exit code 1."),
    ],
)
def test_an_unknown_error_keeps_its_traceback(tmp_path, error):
    folder = RunFolder(tmp_path / "run")
    folder.claim(TINY)
    assert explain(error, folder) is None
    # A bug raised while a full disk is handled is still a bug.
    mistake = TypeError("a bug")
    mistake.__context__ = FULL
    assert explain(mistake, folder) is None


def test_a_bug_in_the_step_is_raised_unchanged(run, monkeypatch):
    meets(monkeypatch, 3, raises(TypeError("a bug")))
    with pytest.raises(TypeError, match="a bug"):
        run()


def test_a_missing_run_folder_is_reported(tmp_path):
    folder = RunFolder(tmp_path / "run")
    missing = FileNotFoundError(errno.ENOENT, "gone", str(folder.path / "metrics.csv"))
    assert "run has vanished; bring it back" in str(explain(missing, folder))


class Wall:
    """A file on a disk that becomes full half-way through the next line."""

    def __init__(self, file):
        self.file = file

    def write(self, text):
        self.file.write(text[: len(text) // 2])
        raise FULL

    def store(self):
        raise FULL

    def close(self):
        self.file.close()
        raise OSError(errno.EIO, "a second error that must not hide the first")


@pytest.mark.slow
def test_a_disk_that_fills_up_under_the_metrics(run, whole, capfd, monkeypatch):
    write = MetricWriter.write

    def full_at_seven(self, step, record):
        if step == 7:
            self._metrics = Wall(self._metrics)
        write(self, step, record)

    with monkeypatch.context() as patch:
        patch.setattr(MetricWriter, "write", full_at_seven)
        code, line = ended(run, capfd, patch)
    assert code == 1 and "no space left" in line and "from step 6" in line
    assert on_the_page(line, code, {run.workdir: "DIR"})
    assert not (run.workdir / "metrics.jsonl").read_text().endswith("\n")
    assert saved(run.workdir) == [4, 6]
    resumes(run, whole)


def test_a_disk_that_fills_up_under_a_checkpoint(run, whole, capfd, monkeypatch):
    save, close = ocp.CheckpointManager.save, ocp.CheckpointManager.close

    def full_at_six(self, step, **options):
        if step == 6:
            raise ValueError(f'Failed writing "{run.workdir}/x": {FULL.strerror}')
        return save(self, step, **options)

    def again(self):
        close(self)
        raise OSError(errno.EIO, "a second error that must not hide the first")

    with monkeypatch.context() as patch:
        patch.setattr(ocp.CheckpointManager, "save", full_at_six)
        patch.setattr(ocp.CheckpointManager, "close", again)
        code, line = ended(run, capfd, patch)
    assert code == 1 and "no space left" in line and "from step 4" in line
    assert on_the_page(line, code, {run.workdir: "DIR"})
    assert saved(run.workdir) == [2, 4]
    resumes(run, whole)


@pytest.mark.parametrize("name", ["config.json", "data.json", "skipped_files.txt"])
def test_a_disk_that_is_full_when_the_run_starts(name, run, whole, capfd, monkeypatch):
    write = files.write_atomically

    def full(path, content):
        if path.name == name:
            raise FULL
        write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomically", full)
        code, line = ended(run, capfd, patch)
    assert code == 2 and "free some space or use another --workdir" in line
    assert on_the_page(line, code, {run.workdir: "DIR"})
    if name == "data.json":
        resumes(run, whole)


@pytest.mark.slow
def test_a_folder_that_is_read_only(run, whole, capfd, monkeypatch):
    def refuse(*args, dir=None, **options):
        assert dir in (run.workdir, run.workdir / "checkpoints")
        raise READ_ONLY

    RunFolder(run.workdir).claim(resolve(TINY))
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", refuse)
        code, line = ended(run, capfd, patch)
    assert code == 2 and "(Read-only file system); use another --workdir" in line
    assert on_the_page(line, code, {run.workdir: "DIR"})
    # The folder becomes read-only after the start.
    with monkeypatch.context() as patch:
        meets(
            patch, 5, lambda state: patch.setattr(tempfile, "mkdtemp", refuse) or state
        )
        code, line = ended(run, capfd, patch)
    assert code == 1 and "writable again, then rerun the same command to" in line
    assert "to resume from step 4" in line
    assert on_the_page(line, code, {run.workdir: "DIR"})
    assert saved(run.workdir) == [2, 4]
    resumes(run, whole)


@pytest.mark.parametrize("name", ["environment.json", "data.json"])
def test_a_file_of_the_run_that_cannot_be_read(name, run, capfd, monkeypatch):
    folder = RunFolder(run.workdir)
    folder.claim(resolve(TINY))
    folder.write_environment(["ssljax", "pretrain"])
    folder.write_data(DataRecord(name="arrays"))
    before = {path: path.read_bytes() for path in (folder.environment, folder.data)}
    with monkeypatch.context() as patch:
        unreadable(patch, name)
        code, line = ended(run, capfd, patch)
    assert code == 2 and f"{name} cannot be read (Input/output error)" in line
    assert on_the_page(line, code, {run.workdir: "DIR", name: "data.json"})
    assert {path: path.read_bytes() for path in before} == before


def spoil(state):
    nan = jax.jit(lambda tree: jax.tree.map(lambda x: x * jnp.nan, tree))
    return state.replace(params=nan(state.params))


@pytest.mark.parametrize("full", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_loss_that_becomes_nan(full, run, whole, capfd, monkeypatch):
    with monkeypatch.context() as patch:
        meets(patch, 7, spoil)
        if full:
            # An error in saving the state for `ssljax replay` must not hide the line.
            patch.setattr(loop, "save_failure", lambda *args: raises(FULL)(None))
        code, line = ended(run, capfd, patch)
    assert code == 1 and "step 6: the loss or its gradient is not finite" in line
    assert "lower the learning rate" in line and ("no space left" in line) == full
    assert on_the_page(line, code, {run.workdir: "DIR"})
    assert saved(run.workdir) == [4, 6]
    resumes(run, whole)


@pytest.mark.slow
def test_memory_that_runs_out_in_a_step(run, whole, capfd, monkeypatch):
    def too_much(state):
        # XLA refuses this, even on a CPU.
        return jax.jit(lambda: jnp.zeros(2**46, jnp.uint8) + jnp.uint8(1))()

    with monkeypatch.context() as patch:
        meets(patch, 7, too_much)
        code, line = ended(run, capfd, patch)
    assert code == 1 and "out of memory (Out of memory allocating" in line
    for word in ("--devices.microbatch", "--batch-size", "bfloat16", "from step 6"):
        assert word in line
    assert on_the_page(line, code, {run.workdir: "DIR"})
    assert saved(run.workdir) == [4, 6]
    resumes(run, whole)


def test_a_network_that_never_fits_into_memory(run, capfd, monkeypatch):
    huge = replace(TINY, method=MethodConfig("simclr", projector="4096-200000000"))
    code, line = ended(lambda: run(huge), capfd, monkeypatch)
    assert code == 1 and "out of memory (Out of memory allocating" in line
    assert "nothing was saved yet" in line
    assert on_the_page(line, code, {run.workdir: "DIR"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault, code, words, kept",
    [
        ("full_claim", 2, "No space left .*free some space", []),
        ("full_metrics", 1, "no space left .*from step 4", [4]),
        ("full_checkpoint", 1, "no space left .*from step 4", [2, 4]),
        ("read_only_start", 2, "Read-only file system.*another --workdir", []),
        ("read_only_run", 1, "Read-only file system.*from step 4", [2, 4]),
    ],
)
def test_on_a_disk_of_its_own(fault, code, words, kept, tmp_path):
    if not can_mount():
        pytest.skip("no file system can be mounted here (unshare, mount)")
    result = on_a_small_disk(fault, tmp_path)
    first, said = result["first"]
    line = only_line(said)
    assert first == code and re.search(words, line), line
    assert on_the_page(line, code, {tmp_path / "run": "DIR"}), line
    assert result["saved"] == kept
    # The line that did not fit on the disk is cut, and dropped when the run resumes.
    assert result["tail"].endswith("\n") == (fault != "full_metrics") or not kept
    assert result["again"] == [0, ""]
    assert len(result["whole"]) == 12 and result["losses"] == result["whole"]
