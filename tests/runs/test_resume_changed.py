"""A run resumed with other settings: same losses, or a refusal that loses nothing."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from contents import contents
from faulty import TINY, on_the_page
from interrupted import losses
from PIL import Image

from ssljax.config import (
    AugmentConfig,
    CheckpointConfig,
    DataConfig,
    LogConfig,
    MonitorConfig,
)
from ssljax.config.checks import ConfigError
from ssljax.runs.folder import RunFolder
from ssljax.runs.pretrain import pretrain
from ssljax.runs.setup import load_split

CHANGES = {
    "log": LogConfig(every_steps=2),
    "checkpoint": CheckpointConfig(every_epochs=2, keep=3),
    "monitor": MonitorConfig(
        every_epochs=1, examples=16, eigenvalues=2, knn_examples=8, knn_k=3
    ),
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return a folder of 32 images for training and 8 for testing."""
    root = tmp_path_factory.mktemp("data") / "photos"
    rng = np.random.default_rng(0)
    for split, count in (("train", 32), ("test", 8), ("val", 8)):
        for i in range(count):
            path = root / split / "ab"[i % 2] / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    return root


@pytest.fixture(scope="module")
def config(photos):
    data = DataConfig("folder", path=str(photos), image_size=16, store="memory")
    return replace(
        TINY,
        data=data,
        augment=AugmentConfig("simclr", size=12),
        checkpoint=CheckpointConfig(every_epochs=1.5),
    )


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """Return the folder of a run that was not stopped."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    pretrain(config, workdir, quiet=True)
    return workdir


@pytest.fixture
def cut(whole, tmp_path):
    """Return a copy of the run without its last checkpoint."""
    folder = shutil.copytree(whole, tmp_path / "run")
    last = max(int(path.name) for path in (folder / "checkpoints").iterdir())
    shutil.rmtree(folder / "checkpoints" / str(last))
    return folder


def refused(config, workdir, **options):
    """Expect a refusal that docs/faults.md lists and that changes no file."""
    before = contents(workdir)
    with pytest.raises(ConfigError) as error:
        pretrain(config, workdir, quiet=True, **options)
    assert contents(workdir) == before
    line = str(error.value)
    for name in re.findall(r"fingerprint: (\w+) -> (\w+)", line):
        line = line.replace(name[0], "BEFORE").replace(name[1], "NOW")
    assert on_the_page(line, 2, {workdir: "RUN"}), line
    return line


def launches(folder):
    return json.loads((folder / "environment.json").read_text())["launches"]


@pytest.mark.slow
def test_everything_that_may_change_leaves_the_losses_bit_equal(
    config, photos, whole, cut, tmp_path
):
    moved = shutil.copytree(photos, tmp_path / "elsewhere" / "images")
    data = replace(
        config.data, path=str(moved), store="stream", workers=0, test_split="val"
    )
    pretrain(replace(config, data=data, **CHANGES), cut, quiet=True)
    again = losses(cut)
    assert again == {step: losses(whole)[step] for step in again}
    assert list(again) == [1, 2, 3, 4, 6]
    # Evaluations find the images where they are now, and the launch says what changed.
    kept = RunFolder(cut).load_config()
    assert load_split(kept, train=True).size == 32 and kept.data.path == str(moved)
    first, second = launches(cut)
    assert first["changed"] == []
    assert f"data.path: '{photos}' -> '{moved}'" in second["changed"]
    assert "monitor.examples: 1024 -> 16" in second["changed"]


def others(photos, tmp_path):
    """Return a copy of the images in which one differs."""
    moved = shutil.copytree(photos, tmp_path / "photos")
    Image.new("RGB", (16, 16)).save(moved / "train" / "a" / "00.png")
    return {"path": str(moved)}


def large(photos, tmp_path):
    """Return a copy whose images are large enough for crops of the originals."""
    moved = tmp_path / "photos"
    for path in photos.rglob("*.png"):
        (moved / path.relative_to(photos)).parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.resize((100, 100)).save(moved / path.relative_to(photos))
    return {"path": str(moved), "image_size": 100}


@pytest.mark.slow
def test_other_images_are_refused_and_the_run_keeps_its_files(
    config, photos, cut, tmp_path
):
    data = replace(config.data, **others(photos, tmp_path))
    assert "fingerprint" in refused(replace(config, data=data), cut)
    faster = replace(config.optimizer, learning_rate=0.1)
    assert "learning_rate" in refused(replace(config, optimizer=faster), cut)


@pytest.mark.slow
def test_a_store_that_would_crop_other_images_is_refused(config, photos, tmp_path):
    data = replace(config.data, **large(photos, tmp_path))
    config = replace(config, data=data, epochs=0.25)
    streamed = replace(config, data=replace(data, store="stream", workers=0))
    run, file = tmp_path / "run", tmp_path / "run" / "data.json"
    pretrain(config, run, quiet=True)
    pretrain(replace(config, data=replace(data, store="auto")), run, quiet=True)
    assert "out of stored images" in refused(streamed, run)
    # Older versions did not record it.
    saved = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in saved.items() if k != "crop"}))
    with pytest.raises(ConfigError, match="out of other images"):
        pretrain(streamed, run, quiet=True)


@pytest.mark.slow
def test_more_epochs_need_the_flag_and_say_what_happens_to_the_schedule(
    config, cut, capsys
):
    longer = replace(config, epochs=6)
    assert "--extend" in refused(longer, cut)
    shorter = replace(config, epochs=2)
    assert "shortened" in refused(shorter, cut, extend=True)
    pretrain(longer, cut, extend=True)
    line = (
        "extended from 3 to 6 epochs: the schedule was planned to end at step 6 with "
        "learning rate 0, and now ends at step 12; at step 3 the learning rate jumps "
        "from 0.0267 to 0.0305"
    )
    assert line in capsys.readouterr().out.splitlines()
    assert launches(cut)[-1]["changed"] == ["epochs: 3 -> 6", line]
    assert max(losses(cut)) == 12
    # The same command resumes it; the one of before would shorten it.
    pretrain(longer, cut, quiet=True, extend=True)
    assert launches(cut)[-1]["changed"] == []
    assert "epochs: 6 -> 3" in refused(config, cut, extend=True)
