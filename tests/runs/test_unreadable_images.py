"""Data faults: missing files, damaged images, killed reader processes."""

import multiprocessing
import shutil
from dataclasses import replace

import numpy as np
import pytest
from faulty import TINY, Runs, ended, meets, on_the_page, saved
from interrupted import STEPS, losses
from PIL import Image

from ssljax.config import DataConfig
from ssljax.data import DataError, batches, from_arrays, load
from ssljax.runs.pretrain import pretrain


@pytest.fixture
def run(tmp_path):
    return Runs(tmp_path / "run")


def test_floats_with_nan_are_refused(run, capfd, monkeypatch):
    floats = np.zeros((4, 8, 8, 3), np.float32)
    floats[1, 2, 3, 0], floats[2] = np.inf, np.nan

    code, line = ended(lambda: from_arrays(floats), capfd, monkeypatch)
    assert code == 2 and "193 values that are NaN or infinite" in line
    assert on_the_page(line, code, {run.workdir: "DIR"})
    with pytest.raises(DataError, match="if they lie in 0..1, .*round"):
        from_arrays(np.zeros((4, 8, 8, 3), np.float32))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a folder of 64 images in two classes."""
    root = tmp_path_factory.mktemp("files") / "images"
    rng = np.random.default_rng(0)
    for i in range(64):
        path = root / "train" / "ab"[i % 2] / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).save(path)
    (root / "test").mkdir()
    return root


@pytest.fixture
def mine(files, tmp_path):
    return shutil.copytree(files, tmp_path / "images")


def stream(root):
    return load("folder", path=str(root), image_size=12, store="stream")


def damage(path):
    """Overwrite pixels of a PNG, but not its header or its end."""
    data = bytearray(path.read_bytes())
    begin = data.index(b"IDAT") + 8
    data[begin : begin + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_missing_file_and_a_damaged_one(
    workers, run, mine, tmp_path, capfd, monkeypatch
):
    damage(mine / "train" / "b" / "07.png")
    config = replace(TINY, data=DataConfig("arrays", workers=workers))
    pretrain(config, tmp_path / "whole", train=stream(mine), quiet=True)
    lost, away = mine / "train" / "a" / "10.png", tmp_path / "away.png"

    def lose(state):
        lost.rename(away)
        return state

    with monkeypatch.context() as patch:
        # Early, since workers read several batches ahead.
        meets(patch, 2, lose)
        code, line = ended(lambda: run(config, stream(mine)), capfd, patch)
    assert code == 1 and f"{lost} cannot be opened (No such file" in line
    assert "bring it back, then rerun the same command to resume from step" in line
    assert on_the_page(line, code, {mine: "DATA", run.workdir: "DIR"})
    assert saved(run.workdir)[-1] >= 2
    # Without that file it is a different data set, which is refused.
    code, line = ended(lambda: run(config, stream(mine)), capfd, monkeypatch)
    assert code == 2 and "(examples: 64 -> 63); restore that data" in line
    assert on_the_page(line, code, {run.workdir: "DIR"})
    away.rename(lost)
    capfd.readouterr()
    run(config, stream(mine), quiet=False)
    assert losses(run.workdir) == losses(tmp_path / "whole")
    assert sorted(losses(run.workdir)) == STEPS
    said = capfd.readouterr().out
    for workdir in (run.workdir, tmp_path / "whole"):
        (listed,) = (workdir / "skipped_files.txt").read_text().splitlines()
        assert listed.startswith("train/b/07.png\t")
    (message,) = [line for line in said.splitlines() if "replaced by another" in line]
    assert message.startswith("train/b/07.png cannot be read (")
    assert on_the_page(message, 0, {run.workdir: "DIR"})
    assert "1 damaged images were replaced by others" in said


def test_a_damaged_image_changes_no_other_example(files, mine):
    damage(mine / "train" / "b" / "07.png")
    replaced = []
    settings = {"seed": 0, "batch_size": 16, "start_step": 0, "stop_step": 4}
    good = list(batches(stream(files), **settings))
    bad = list(
        batches(
            stream(mine), on_replaced=lambda *each: replaced.append(each), **settings
        )
    )
    differ = [
        (x["image"] != y["image"]).any((1, 2, 3)).sum()
        for x, y in zip(good, bad, strict=True)
    ]
    assert sorted(differ) == [0, 0, 0, 1]
    for x, y in zip(good, bad, strict=True):
        np.testing.assert_array_equal(x["label"], y["label"])
    assert [name for name, _ in replaced] == ["train/b/07.png"]


@pytest.mark.slow
def test_a_killed_reader_process(run, mine, tmp_path, capfd, monkeypatch):
    config = replace(TINY, data=DataConfig("arrays", workers=1))

    def kill(state):
        (reader,) = multiprocessing.active_children()
        reader.kill()
        return state

    pretrain(config, tmp_path / "whole", train=stream(mine), quiet=True)
    with monkeypatch.context() as patch:
        meets(patch, 5, kill)
        code, line = ended(lambda: run(config, stream(mine)), capfd, patch)
    assert code == 1 and "killed by signal 9" in line and "--data.workers" in line
    assert on_the_page(line, code, {run.workdir: "DIR"})
    run(config, stream(mine))
    assert losses(run.workdir) == losses(tmp_path / "whole")
