"""Evaluate a run: images from disk, other data, other checkpoints, tiny sets."""

import json
import re
import shutil

import micro  # noqa: F401
import numpy as np
import pytest
from PIL import Image
from shapes_run import COLOURS, write_images

import ssljax
from ssljax.commands.main import main
from ssljax.config import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    DataConfig,
    DevicesConfig,
    MethodConfig,
    ModelConfig,
    MonitorConfig,
)
from ssljax.config.checks import ConfigError
from ssljax.data import from_arrays
from ssljax.evaluation.features import extract_all
from ssljax.protocols import features
from ssljax.protocols.evaluate import evaluate

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a streamed folder, with the checkpoints of two steps."""
    root = tmp_path_factory.mktemp("evaluate")
    write_images(root / "photos" / "train", 12, seed=0)
    write_images(root / "photos" / "test", 5, seed=1)
    data = DataConfig(
        "folder", path=str(root / "photos"), image_size=16, store="stream", workers=0
    )
    config = Config(
        method=MethodConfig("simclr", projector="8-4"),
        data=data,
        augment=AugmentConfig("supervised"),
        model=ModelConfig("micro"),
        monitor=MonitorConfig(every_epochs=0),
        checkpoint=CheckpointConfig(every_epochs=1, keep=2),
        devices=DevicesConfig(count=1),
        epochs=2,
        batch_size=12,
    )
    ssljax.pretrain(config, root / "run", quiet=True)
    return root


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the run, which a test may write into."""
    return shutil.copytree(trained / "run", tmp_path / "run")


def accuracies(path):
    rows = json.loads(path.read_text())["rows"]
    return {(row["representation"], row["protocol"]): row["accuracy"] for row in rows}


def test_images_are_read_once_and_features_are_kept(run, monkeypatch):
    passes = []

    def counted(encoders, source, **options):
        passes.append(sorted(encoders))
        return extract_all(encoders, source, **options)

    monkeypatch.setattr(features, "extract_all", counted)
    table = evaluate(run, protocols=("knn",))
    everything = ["encoder", "raw pixels", "untrained network"]
    assert passes == [everything, everything]  # training and test images
    assert evaluate(run, protocols=("knn",)) == table
    evaluate(run, protocols=("linear",))
    assert len(passes) == 2
    # The other checkpoint needs the encoder alone.
    evaluate(run, protocols=("knn",), checkpoint=3)
    assert passes[2:] == [["encoder"], ["encoder"]]
    found = accuracies(run / "evaluation-step_3.json")
    assert found["raw pixels", "knn k=1 (cosine, T=0.1)"] == 100.0


def test_features_in_memory_and_from_disk_are_the_same(run, trained):
    from_disk = evaluate(run, protocols=("knn", "linear"))
    config = run / "config.json"
    config.write_text(config.read_text().replace('"stream"', '"memory"'))
    assert evaluate(run, protocols=("knn", "linear")) == from_disk


def test_a_changed_image_is_encoded_again(run, trained, monkeypatch):
    evaluate(run, protocols=("knn",))
    photo = trained / "photos" / "test" / "red" / "3.png"
    kept = photo.read_bytes()
    try:
        Image.new("RGB", (16, 16), COLOURS["blue"]).save(photo)
        evaluate(run, protocols=("knn",))
    finally:
        photo.write_bytes(kept)
    found = accuracies(run / "evaluation.json")
    assert found["raw pixels", "knn k=1 (cosine, T=0.1)"] == 93.33


def test_an_interrupted_pass_leaves_nothing_that_looks_finished(run, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(features, "extract_all", interrupted)
        with pytest.raises(KeyboardInterrupt):
            evaluate(run, protocols=("knn",))
    assert not list((run / "features").rglob("*.npy"))
    assert "encoder" in evaluate(run, protocols=("knn",))


def test_other_images_have_a_file_of_their_own(run, tmp_path, capsys):
    write_images(tmp_path / "other" / "train", 15, seed=2, colours=("blue", "red"))
    write_images(tmp_path / "other" / "test", 4, seed=3, colours=("blue", "red"))
    words = ["--data", str(tmp_path / "other"), "--examples", "20"]
    assert main(["evaluate", str(run), "--protocol", "knn", *words]) == 0
    assert "majority class" in capsys.readouterr().out
    found = json.loads((run / "evaluation-other-train_20.json").read_text())
    assert found["data"]["train"] == "folder:other (train), 20 images"
    assert {row["test_examples"] for row in found["rows"]} == {8}
    assert not (run / "evaluation.json").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (["--checkpoint", "5"], "no checkpoint of step 5 in .*; kept are 3, 6"),
        (["--data", "cifar01"], "no data set is called 'cifar01'"),
        (["--examples", "50"], "50 examples requested .* which has 36; use 1 to 36"),
        (["--examples", "0"], "data.examples"),
    ],
)
def test_what_is_not_there_is_one_line(run, capsys, words, said):
    assert main(["evaluate", str(run), "--protocol", "knn", *words]) == 2
    err = capsys.readouterr().err
    assert re.search(said, err) and err.count("\n") == 1, err


@pytest.mark.parametrize(
    "classes, count, computed, left_out",
    [
        (2, 8, {"knn k=1", "knn k=5"}, {"linear"}),
        (1, 12, {"knn k=1", "knn k=5", "linear (log"}, set()),
    ],
    ids=["four images of each class", "one class"],
)
def test_tiny_sets_keep_the_rows_that_can_be_computed(
    run, classes, count, computed, left_out
):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 16, 16, 3), np.uint8)
    tiny = from_arrays(images, np.arange(count) % classes, name="tiny")
    evaluate(run, train=tiny, test=tiny)
    found = accuracies(run / "evaluation.json")
    of_encoder = {p: x for (name, p), x in found.items() if name == "encoder"}
    done = {p for p, x in of_encoder.items() if x is not None}
    for start in computed:
        assert any(p.startswith(start) for p in done), (start, of_encoder)
    assert {p for p, x in of_encoder.items() if x is None} == left_out


def test_without_labels_there_is_a_row_of_rank_measures(run, tmp_path):
    for seed, split in enumerate(("train", "test")):
        write_images(tmp_path / "plain" / split, 6, seed=seed, colours=("blue",))
        for photo in (tmp_path / "plain" / split / "blue").iterdir():
            photo.rename(tmp_path / "plain" / split / photo.name)
        (tmp_path / "plain" / split / "blue").rmdir()
    table = evaluate(run, data=str(tmp_path / "plain"))
    assert "spectrum (no labels)" in table and "knn" not in table


def test_a_run_on_colour_refuses_grey_images(run):
    grey = from_arrays(np.zeros((4, 16, 16, 1), np.uint8), [0, 1, 0, 1])
    with pytest.raises(ConfigError, match="1 channels, the run was trained on 3"):
        evaluate(run, train=grey, test=grey)
