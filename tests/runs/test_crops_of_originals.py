"""Runs on crops of the original images: chosen, resumed, replayed, on many devices."""

import json
from dataclasses import replace

import numpy as np
import pytest
from faulty import TINY, meets, raises
from interrupted import losses
from PIL import Image

from ssljax import methods
from ssljax.config import AugmentConfig, DataConfig, DevicesConfig, OptimizerConfig
from ssljax.config.checks import ConfigError
from ssljax.config.serialize import from_json, to_json
from ssljax.data import Source, from_arrays
from ssljax.reports.report import report
from ssljax.runs.describe import describe
from ssljax.runs.folder import RunFolder
from ssljax.runs.pretrain import pretrain
from ssljax.runs.replay import replay
from ssljax.runs.setup import crops_on_host, load_split, prepare
from ssljax.training.step import batch_shapes


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Return the config of a run on 32 streamed photographs of different sizes."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for split, count in (("train", 32), ("test", 2)):
        for i in range(count):
            path = root / split / "ab"[i % 2] / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            size = (40 + 3 * i % 17, 60 - 2 * i % 13, 3)
            Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(path)
    return replace(
        TINY,
        data=DataConfig(
            "folder",
            path=str(root),
            image_size=16,
            store="stream",
            workers=0,
            crop="original",
        ),
        augment=AugmentConfig("simclr", size=12),
    )


def counted(patch):
    """Return a list that gets the number of images of each batch that is cut."""
    rows, read = [], Source.read_crops

    def count(self, indices, numbers, crops):
        rows.append(len(indices))
        return read(self, indices, numbers, crops)

    patch.setattr(Source, "read_crops", count)
    return rows


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """Return the folder of a run that was not stopped."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    pretrain(config, workdir, quiet=True)
    return workdir


def test_a_stopped_run_resumes_to_the_same_losses(config, whole, tmp_path, monkeypatch):
    assert len(losses(whole)) == 6
    with monkeypatch.context() as patch:
        meets(patch, 4, raises(RuntimeError("stopped")))
        with pytest.raises(RuntimeError, match="stopped"):
            pretrain(config, tmp_path / "run", quiet=True)
    pretrain(config, tmp_path / "run", quiet=True)
    assert losses(tmp_path / "run") == losses(whole)


@pytest.mark.slow
def test_crops_of_stored_images_give_other_losses(config, whole, tmp_path):
    stored = replace(config, data=replace(config.data, crop="stored"))
    pretrain(stored, tmp_path / "run", quiet=True)
    assert losses(tmp_path / "run")[1] != losses(whole)[1]


def test_a_run_that_began_before_the_setting_keeps_its_stored_images(config, tmp_path):
    run = RunFolder(tmp_path / "run")
    auto = methods.resolve(replace(config, data=replace(config.data, crop="auto")))
    assert run.continued(auto) == auto
    run.path.mkdir()
    saved = json.loads(to_json(auto))
    del saved["data"]["crop"]
    run.config.write_text(json.dumps(saved))
    assert run.load_config().data.crop == "stored"
    kept = run.continued(auto)
    assert kept.data.crop == "stored"
    # And no other setting is taken from there.
    faster = replace(kept, optimizer=OptimizerConfig(learning_rate=0.4))
    assert run.continued(faster).optimizer.learning_rate == 0.4
    assert run.claim(kept)
    asked = replace(config, data=replace(config.data, crop="original"))
    with pytest.raises(ConfigError, match="data.crop: 'stored' -> 'original'"):
        run.claim(run.continued(asked))
    assert from_json(to_json(auto)) == auto


def test_auto_takes_originals_above_96_pixels_where_there_are_any(config):
    def chosen(side, crop="auto", **data):
        settings = replace(config.data, image_size=side, crop=crop, **data)
        wanted = replace(config, data=settings)
        return crops_on_host(wanted, load_split(wanted, train=True))

    assert [chosen(side) for side in (32, 96, 97, 224)] == [False, False, True, True]
    assert not chosen(224, "stored") and chosen(32, "original")
    assert not chosen(224, store="memory")
    with pytest.raises(ConfigError, match="are in memory; use --data.store stream"):
        chosen(224, "original", store="memory")
    arrays = from_arrays(np.zeros((4, 128, 128, 3), np.uint8))
    assert not crops_on_host(replace(config, data=DataConfig("arrays")), arrays)


def test_the_plan_says_what_is_cropped(config):
    source = load_split(config, train=True)
    setup = prepare(methods.resolve(config), source)
    assert dict(describe(setup, source))["crop"].startswith(
        "area 0.08 to 1 of the original image, antialiased; "
    )
    shapes = [view.shape for view in batch_shapes(setup)["views"]]
    assert shapes == [(16, 12, 12, 3)] * 2
    # The monitor and the evaluation see the stored image.
    assert source.image_shape == (16, 16, 3)


ENGINES = {
    "jit": DevicesConfig(count=4),
    "pmap": DevicesConfig(count=4, engine="pmap"),
    "parts": DevicesConfig(count=4, microbatch=8),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ENGINES)
def test_all_engines_see_the_same_crops(config, whole, tmp_path, name):
    pretrain(replace(config, devices=ENGINES[name]), tmp_path / name, quiet=True)
    # BatchNorm sees parts of a batch in microbatches, so that their loss is another.
    close = 1e-4 if name != "parts" else 0.2
    np.testing.assert_allclose(losses(tmp_path / name)[1], losses(whole)[1], rtol=close)


@pytest.mark.slow
def test_a_failed_step_is_replayed_on_its_crops(config, tmp_path, monkeypatch):
    optimizer = replace(config.optimizer, learning_rate=1e30, warmup_epochs=0)
    bad = replace(config, optimizer=optimizer)
    with pytest.raises(RuntimeError, match="not finite"):
        pretrain(bad, tmp_path / "run", quiet=True)
    with monkeypatch.context() as patch:
        rows = counted(patch)
        result = replay(tmp_path / "run")
    assert not np.isfinite(result["loss"]) or any("nonfinite" in k for k in result)
    assert rows == [16]


@pytest.mark.slow
def test_a_report_shows_the_views_of_the_originals(whole, monkeypatch):
    rows = counted(monkeypatch)
    assert report(whole).is_file()
    assert rows == [12, 12, 12]
