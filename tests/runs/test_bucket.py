"""Run folders on `gs://`: trained, killed, resumed, evaluated, reported and refused."""

import contextlib
import signal
from dataclasses import replace

import fake_bucket
import fsspec
import jax
import numpy as np
import pytest
from faulty import on_the_page
from fsspec.registry import _registry
from interrupted import CONFIG, STEPS, finish, images, lines, losses, start
from interrupted import wait_for_step as wait_for

import ssljax
from ssljax.commands.main import main
from ssljax.config import LogConfig
from ssljax.config.checks import ConfigError
from ssljax.config.paths import as_path
from ssljax.exports import export
from ssljax.runs import files
from ssljax.runs.appending import Appended
from ssljax.runs.checkpoint import saved_steps
from ssljax.runs.failed_step import load_failure, save_failure
from ssljax.runs.folder import RunFolder
from ssljax.runs.pretrain import pretrain


@pytest.fixture(autouse=True)
def bucket(tmp_path, monkeypatch):
    """Return the folder with the objects of ``gs://bucket``."""
    monkeypatch.setenv(fake_bucket.FOLDER, str(tmp_path / "buckets"))
    for scheme in fake_bucket.FakeBucket.protocol:  # undone after the test
        monkeypatch.setitem(_registry, scheme, fake_bucket.FakeBucket)
    fake_bucket.install()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "buckets" / "bucket"
    # No folder such as gs: was made.
    assert not list((tmp_path / "here").iterdir())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the losses of a run on a disk that is not stopped."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    pretrain(CONFIG, workdir, train=images(), quiet=True)
    return losses(workdir)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_run_resumes_and_is_evaluated_and_reported(processes, whole, bucket):
    workdir, place = "gs://bucket/runs/first", bucket / "runs" / "first"
    launched = start(workdir, processes=processes)
    wait_for(place, launched, 6)  # checkpoint 2 was finished before 4 was begun
    for process in launched:
        process.send_signal(signal.SIGKILL)
    assert finish(launched) == [-9] * processes
    # Only what came after the last checkpoint is lost.
    kept = saved_steps(RunFolder(workdir).checkpoints)
    assert kept and max(losses(place)) >= kept[-1]
    assert finish(start(workdir, processes=processes)) == [0] * processes
    check_alike(place, whole)
    if processes > 1:  # what follows is the work of one
        return
    damage(place / "checkpoints" / "12")
    pretrain(CONFIG, workdir, train=images(), quiet=True)
    check_alike(place, whole)
    assert (place / "checkpoints_damaged" / "12" / "commit_success.txt").is_file()
    table = ssljax.evaluate(
        workdir, train=images(), test=images(), protocols=["spectrum"]
    )
    assert "RankMe" in str(table) and (place / "evaluation.json").is_file()
    page = ssljax.report(workdir, train=images(), test=images())
    assert str(page) == f"{workdir}/report.html"
    assert "RankMe" in (place / "report.html").read_text()
    assert (place / "report" / "curves.png").is_file()


def check_alike(place, whole):
    assert [record["step"] for record in lines(place)] == STEPS
    # On other devices, in float32, a ReLU that flips moves the later losses.
    found = [losses(place)[step] for step in STEPS]
    np.testing.assert_allclose(found, [whole[step] for step in STEPS], rtol=2e-2)


def test_a_folder_is_moved_object_by_object(bucket):
    for name in ("run/a", "run/b/c", "runner"):
        files.write_atomically(f"gs://bucket/{name}", name)
    files.move_folder(as_path("gs://bucket/run"), as_path("gs://bucket/old/1"))
    assert sorted(as_path("gs://bucket").iterdir()) == [
        as_path("gs://bucket/old"),
        as_path("gs://bucket/runner"),
    ]
    assert as_path("gs://bucket/old/1/a").read_text() == "run/a"
    assert as_path("gs://bucket/old/1/b/c").read_text() == "run/b/c"


def damage(checkpoint):
    for path in (checkpoint / "state" / "d").iterdir():
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_lines_reach_a_bucket_when_they_are_stored(bucket):
    path = as_path("gs://bucket/log.jsonl")
    with contextlib.closing(Appended(path)) as file:
        file.write("a\n")
        assert not path.exists()
        file.store()
        file.write("b\n")
        assert (bucket / "log.jsonl").read_text() == "a\n"
    assert path.read_text() == "a\nb\n"


def test_a_checkpoint_without_its_last_file_is_not_finished(bucket):
    for step in ("1", "2"):
        (bucket / "run" / "checkpoints" / step).mkdir(parents=True)
        (bucket / "run" / "checkpoints" / step / "data").write_text("x")
    (bucket / "run" / "checkpoints" / "1" / "commit_success.txt").write_text("")
    assert saved_steps(RunFolder("gs:/bucket/run").checkpoints) == [1]


@pytest.mark.slow
def test_a_failed_step_is_kept_and_loaded(bucket):
    state = {"w": jax.numpy.arange(3.0)}
    for step in (1, 2):  # the second replaces the first
        save_failure(as_path("gs://bucket/run/failure"), state, {"step": step})
    wanted = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state)
    found, info = load_failure(as_path("gs://bucket/run/failure"), wanted)
    assert info["step"] == 2 and found["w"].tolist() == [0, 1, 2]


def refused(call):
    with pytest.raises(ConfigError) as found:
        call()
    assert "\n" not in str(found.value)
    return str(found.value)


REFUSED = {
    "s3": (
        lambda: pretrain(CONFIG, "s3://bucket/run", train=images()),
        "s3://bucket/run cannot be a run folder, because orbax writes no checkpoint",
    ),
    "another URL": (
        lambda: RunFolder("https://host/run"),
        "https://host/run cannot be used; allowed: a path of this machine, gs://",
    ),
    "no bucket": (
        lambda: RunFolder("gs://"),
        "gs:// names no bucket; write gs://BUCKET/FOLDER",
    ),
    "TensorBoard": (
        lambda: pretrain(
            replace(CONFIG, log=LogConfig(tensorboard=True)),
            "gs://bucket/run",
            train=images(),
            quiet=True,
        ),
        "log.tensorboard cannot write to a bucket (gs://bucket/run)",
    ),
    "export": (
        lambda: export("gs://bucket/run"),
        "--out, by default export/ in the run folder, cannot be in a bucket",
    ),
    "no run": (
        lambda: ssljax.evaluate("gs://bucket/none"),
        "gs://bucket/none holds no run (no config.json)",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_work_on_a_bucket_is_refused_before_the_run(what, bucket):
    call, line = REFUSED[what]
    assert line in refused(call)
    assert not bucket.exists()


@pytest.mark.slow
def test_a_command_that_writes_no_bucket_says_so(capsys):
    for words in (
        ["theory", "map", "nt_xent", "--x", "temperature", "--out", "gs://bucket/map"],
        ["data", "prepare", "cifar10", "--data-dir", "gs://bucket/sets"],
    ):
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "cannot be in a bucket (gs://bucket/" in line


def test_a_bucket_that_cannot_be_written_is_named(bucket, monkeypatch):
    def no(self, path, mode="rb", **options):
        if mode == "rb":
            raise FileNotFoundError(path)
        raise RuntimeError("403: no permission\nmore")

    monkeypatch.setattr(fake_bucket.FakeBucket, "_open", no)
    line = refused(lambda: RunFolder("gs://bucket/run").claim(CONFIG))
    assert "cannot be written (403: no permission)" in line
    assert on_the_page(line, 2, {"gs://bucket": "gs://BUCKET"})


def test_a_missing_package_is_named(monkeypatch):
    def missing(scheme):
        raise ImportError("Please install gcsfs")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    assert refused(lambda: as_path("gs://one/run")) == (
        'gs:// needs gcsfs, which is not installed; pip install "ssljax[buckets]"'
    )


def test_a_bucket_that_cannot_be_read_is_named(monkeypatch):
    def anonymous(self, path):
        raise RuntimeError("Anonymous caller\nmore")

    monkeypatch.setattr(fake_bucket.FakeBucket, "exists", anonymous)
    assert refused(lambda: as_path("gs://two/run")) == (
        "gs://two cannot be read (Anonymous caller); check the name of the bucket and "
        "the credentials of this machine"
    )
