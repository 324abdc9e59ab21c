"""TFDS sets: read without TensorFlow, refused with the command that helps."""

import io
import json
import os
import shutil
from pathlib import Path

import micro  # noqa: F401
import numpy as np
import pytest
import tensorflow_datasets as tfds
from faulty import ended, on_the_page
from in_memory import images_of, labels_of
from PIL import Image

import ssljax
from ssljax.config import (
    Config,
    DataConfig,
    DevicesConfig,
    MethodConfig,
    ModelConfig,
    MonitorConfig,
)
from ssljax.data import DataError, channel_statistics, file_names, load, subset
from ssljax.data.encoded import encoded_set
from ssljax.data.smaller import write_smaller
from ssljax.data.tfds import _keys, tfds_dir
from ssljax.protocols.evaluate import evaluate
from ssljax.runs.setup import load_split


class SslTinyScenes(tfds.core.GeneratorBasedBuilder):
    """Images of many sizes, whose first pixel is the example's number."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=["low", "high"]),
            "caption": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {
            "train": self._examples(0, 40),
            "validation": self._examples(40, 12),
            "unlabelled": self._examples(60, 9, labelled=False),
        }

    def _generate_examples(self):
        raise NotImplementedError

    def _examples(self, start, count, labelled=True):
        for i in range(start, start + count):
            buffer = io.BytesIO()
            pixels = np.full((70 + i % 5, 90, 3), i, np.uint8)
            Image.fromarray(pixels).save(buffer, "PNG")
            buffer.seek(0)
            label = i % 2 if labelled else -1
            yield i, {"image": buffer, "label": label, "caption": str(i)}


class SslTinyDigits(tfds.core.GeneratorBasedBuilder):
    """One channel, fixed size, no labels."""

    VERSION = tfds.core.Version("2.0.0")

    def _info(self):
        features = {"image": tfds.features.Image(shape=(28, 28, 1))}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(5):
            buffer = io.BytesIO()
            Image.fromarray(np.full((28, 28), 9 * i, np.uint8)).save(buffer, "PNG")
            buffer.seek(0)
            yield i, {"image": buffer}


class SslTinyDepths(tfds.core.GeneratorBasedBuilder):
    """Images of 12 bits in 16, of which the test images are the brightest."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name=name) for name in ("grey", "colour", "real")
    ]

    def _info(self):
        name = self.builder_config.name
        dtype = np.float32 if name == "real" else np.uint16
        image = tfds.features.Image(
            shape=(32, 32, 3 if name == "colour" else 1),
            dtype=dtype,
            encoding_format="png",
        )
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"image": image})
        )

    def _split_generators(self, dl_manager):
        return {"train": self._images(1000), "test": self._images(4095)}

    def _generate_examples(self):
        raise NotImplementedError

    def _images(self, white):
        for i in range(1, 5):
            buffer = io.BytesIO()
            pixels = np.full((32, 32), white * i // 4, np.uint16)
            Image.fromarray(pixels).save(buffer, "PNG")
            buffer.seek(0)
            yield i, {"image": buffer}


class SslTinyText(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({"text": tfds.features.Text()}),
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"text": "words"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("tfds"))
    for made in (SslTinyScenes, SslTinyDigits, SslTinyText):
        made(data_dir=folder, file_format="array_record").download_and_prepare()
    for name in ("grey", "colour"):
        SslTinyDepths(
            config=name, data_dir=folder, file_format="array_record"
        ).download_and_prepare()
    return folder


@pytest.mark.parametrize("store", ["memory", "stream"])
def test_images_of_many_sizes_become_one_size(data_dir, store):
    source = load("ssl_tiny_scenes", data_dir=data_dir, store=store)
    assert (source.size, source.image_shape) == (40, (64, 64, 3))
    assert "64 x 64" in source.note
    assert source.labelled and source.num_classes == 2
    assert source.class_names == ("low", "high")
    assert (source.images is None) == (store == "stream")
    images, labels = source.take(np.arange(40))
    numbers = images[:, 0, 0, 0]
    assert sorted(numbers) == list(range(40))
    np.testing.assert_array_equal(labels, numbers % 2)
    assert labels.dtype == np.int32
    assert images.min((1, 2, 3)).tolist() == images.max((1, 2, 3)).tolist()


def test_memory_and_stream_and_subset_agree(data_dir):
    def get(**options):
        return load("ssl_tiny_scenes", data_dir=data_dir, image_size=16, **options)

    memory, stream = get(store="memory"), get(store="stream")
    assert memory.fingerprint() == stream.fingerprint()
    assert channel_statistics(memory) == channel_statistics(stream)
    parts = [
        get(store="memory", examples=7, seed=2),
        get(store="stream", examples=7, seed=2),
        subset(memory, 7, seed=2),
        subset(stream, 7, seed=2),
    ]
    assert len({p.fingerprint() for p in parts}) == 1
    for part in parts:
        np.testing.assert_array_equal(
            part.take(np.arange(7))[0], parts[0].take(np.arange(7))[0]
        )


def test_only_the_asked_examples_are_decoded(data_dir, monkeypatch):
    from ssljax.data import decode

    calls, whole = [], decode.decode
    monkeypatch.setattr(
        decode, "decode", lambda *a, **k: calls.append(1) or whole(*a, **k)
    )
    load("ssl_tiny_scenes", data_dir=data_dir, image_size=16, examples=6)
    assert len(calls) == 6


def test_test_means_the_held_out_split_whatever_its_name(data_dir):
    source = load("ssl_tiny_scenes", split="test", data_dir=data_dir)
    assert source.size == 12 and source.split == "test"
    assert "'validation'" in source.note


def test_an_unlabelled_split_has_no_classes(data_dir):
    for split in ("unlabelled", "unlabeled"):
        for store in ("memory", "stream"):
            source = load(
                "ssl_tiny_scenes", split=split, data_dir=data_dir, store=store
            )
            assert source.size == 9 and not source.labelled
            assert source.num_classes is None and source.class_names is None
            assert set(source.take(np.arange(9))[1].tolist()) == {-1}


def test_split_expressions_are_tfds_business(data_dir):
    source = load("ssl_tiny_scenes", split="train[:25%]", data_dir=data_dir)
    assert source.size == 10
    both = load("ssl_tiny_scenes", split="train+validation", data_dir=data_dir)
    assert both.size == 52


def test_one_channel_without_labels(data_dir):
    source = load("ssl_tiny_digits", data_dir=data_dir)
    assert source.image_shape == (28, 28, 1) and not source.labelled
    assert source.note == ""
    assert sorted(images_of(source)[:, 3, 3, 0]) == [0, 9, 18, 27, 36]
    resized = load("ssl_tiny_digits", data_dir=data_dir, image_size=14)
    assert resized.image_shape == (14, 14, 1) == images_of(resized).shape[1:]


def test_sixteen_bits_have_one_scale_for_all_splits(data_dir):
    train, test = (
        load("ssl_tiny_depths/grey", split=s, data_dir=data_dir)
        for s in ("train", "test")
    )
    assert train.note == test.note and "white at 4095 in integer images" in train.note
    for source, white in ((train, 1000), (test, 4095)):
        found = np.sort(images_of(source)[:, 5, 5, 0])
        expected = [round(white * i // 4 * 255 / 4095) for i in range(1, 5)]
        assert found.tolist() == expected


def test_floating_point_images_are_refused(data_dir):
    """By its features alone: a set of floats can be written by TensorFlow only."""
    made = SslTinyDepths(config="real", data_dir=data_dir)
    with pytest.raises(DataError, match="are float32; choose .* 8-bit images, or"):
        _keys(made, "x")


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("ssl_tiny_depths/colour", {}, "are 3-channel uint16; choose .* 8-bit"),
        ("cifar100", {}, "not in.*prepare cifar100 --data-dir .*TFDS_DATA_DIR"),
        ("cifer10", {}, "did you mean 'cifar10'"),
        ("folders", {}, "did you mean 'folder'"),
        ("cifar10:9.9.9", {}, "version 9.9.9"),
        ("ssl_tiny_text", {}, "no image feature, only text; choose"),
        ("ssl_tiny_scenes", {"split": "dev"}, "no split 'dev'; it has train,"),
        ("ssl_tiny_scenes", {"examples": 41}, "41 examples.*use 1 to 40"),
        ("ssl_tiny_digits", {"split": "test"}, "no split 'test'; it has train"),
    ],
)
def test_what_is_missing_is_named_with_the_fix(data_dir, name, options, message):
    with pytest.raises(DataError, match=message) as caught:
        load(name, data_dir=data_dir, **options)
    assert "\n" not in str(caught.value)


def test_other_file_formats_are_refused_with_the_fix(tmp_path, data_dir):
    old = Path(data_dir, "ssl_tiny_digits", "2.0.0")
    new = tmp_path / "ssl_tiny_digits" / "2.0.0"
    new.mkdir(parents=True)
    for file in old.iterdir():
        (new / file.name).write_bytes(file.read_bytes())
    info = json.loads((new / "dataset_info.json").read_text())
    info["fileFormat"] = "tfrecord"
    (new / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match="tfrecord files.*random access.*data prepare"):
        load("ssl_tiny_digits", data_dir=str(tmp_path))


def test_imagenet_test_is_validation():
    from ssljax.data.tfds import _resolve_split

    class Made:
        class info:
            splits = {"train": 1, "test": 1, "validation": 1}

    assert _resolve_split(Made, "imagenet2012", "test")[0] == "validation"
    assert _resolve_split(Made, "imagenet2012:5.1.0", "test")[0] == "validation"
    assert _resolve_split(Made, "another", "test") == ("test", "")


def test_known_sets_are_understood_from_their_code():
    with tfds.testing.mock_data(num_examples=3):
        for name in ("cifar10", "cifar100", "stl10", "imagenet2012"):
            assert _keys(tfds.builder(name), name) == ("image", "label")
        name = "imagenet_resized/64x64"
        assert _keys(tfds.builder(name), name) == ("image", "label")


def test_the_directory_comes_from_the_argument_then_the_environment(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "/from/environment")
    assert tfds_dir("/given") == "/given"
    assert tfds_dir(None) == "/from/environment"
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert tfds_dir(None) == os.path.expanduser("~/tensorflow_datasets")
    assert tfds_dir("gs://bucket/sets") == "gs://bucket/sets"


@pytest.mark.skipif(
    not Path(tfds_dir(None), "cifar10", "3.0.2", "dataset_info.json").exists(),
    reason="CIFAR-10 is not prepared in TFDS_DATA_DIR; ssljax data prepare cifar10",
)
def test_real_cifar10():
    source = load("cifar10", split="test", examples=2000)
    assert images_of(source).shape == (2000, 32, 32, 3)
    assert source.class_names is not None and source.class_names[0] == "airplane"
    assert np.bincount(labels_of(source), minlength=10).min() > 140
    mean, std = channel_statistics(source)
    np.testing.assert_allclose(mean, (0.494, 0.485, 0.451), atol=0.01)
    np.testing.assert_allclose(std, (0.247, 0.243, 0.262), atol=0.01)


@pytest.mark.slow
def test_classifiers_are_fitted_on_the_labelled_split(data_dir, tmp_path):
    """STL-10's protocol: train on everything, fit and score on what has labels."""
    config = Config(
        data=DataConfig(
            "ssl_tiny_scenes",
            data_dir=data_dir,
            split="train+unlabelled",
            labelled_split="train",
            image_size=16,
        ),
        model=ModelConfig("micro"),
        method=MethodConfig("simclr", projector="16-8"),
        monitor=MonitorConfig(examples=16, knn_k=3),
        devices=DevicesConfig(count=1),
        epochs=1,
        batch_size=16,
    )
    assert load_split(config, train=True).size == 49
    assert load_split(config, train=True, labelled=True).size == 40
    run = ssljax.pretrain(config, tmp_path / "run", quiet=True)
    records = (run.workdir / "metrics.jsonl").read_text().splitlines()
    assert any("knn_accuracy" in record for record in records)
    evaluate(run.workdir, protocols=("knn",))
    written = json.loads((run.workdir / "evaluation.json").read_text())
    assert written["data"]["train"] == "ssl_tiny_scenes (train), 40 images"


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_files_that_cannot_be_read_are_one_line(
    how, data_dir, tmp_path, capfd, monkeypatch
):
    # The reader cuts its message off after some hundred characters of path.
    monkeypatch.chdir(tmp_path)
    root = Path(shutil.copytree(data_dir, "here"))
    (file,) = root.glob("ssl_tiny_scenes/*/*train.array_record*")
    if how == "gone":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[72:104] = bytes(32)  # of the header of the first block
        file.write_bytes(content)

    def begin():
        return load("ssl_tiny_scenes", data_dir=str(root), store="stream")

    code, line = ended(begin, capfd, monkeypatch)
    assert code == 2 and "run `ssljax data prepare ssl_tiny_scenes --data-dir " in line
    assert ("No such file" if how == "gone" else "Corrupted") in line
    assert on_the_page(line, code, {root: "DATA", "ssl_tiny_scenes": "NAME"}), line


def test_a_smaller_copy_is_a_folder_of_the_same_images(data_dir, tmp_path):
    out, name = tmp_path / "copy", "ssl_tiny_scenes"
    settings = {"size": 16, "quality": 95, "data_dir": data_dir, "quiet": True}
    assert write_smaller(name, out, **settings) == (61, [])

    def classes_of(source):
        """The class of each image, by the number that is its colour."""
        images, labels = source.take(np.arange(source.size))
        names = [source.class_names[y] if y >= 0 else None for y in labels]
        return dict(zip(images[:, 0, 0, 0].tolist(), names, strict=True))

    unlabelled = dict.fromkeys(range(60, 69))
    for split, more in (("train", unlabelled), ("test", {})):
        original = load(name, data_dir=data_dir, split=split, image_size=16)
        copy = load("folder", path=str(out), split=split, image_size=16)
        assert classes_of(copy) == classes_of(original) | more
    # The copy is continued where a number is missing.
    lost = next((out / "train").rglob("00000007.jpg"))
    content = lost.read_bytes()
    lost.unlink()
    assert encoded_set(name, data_dir).missing(out).tolist() == [7]
    write_smaller(name, out, **settings)
    assert lost.read_bytes() == content


def test_names_of_files_are_read_where_the_records_keep_them(data_dir, monkeypatch):
    options = {"data_dir": data_dir, "store": "stream", "image_size": 8}
    source = load("ssl_tiny_scenes", **options)
    assert file_names.file_names(source) is None
    monkeypatch.setattr(file_names, "KEYS", ("caption",))
    monkeypatch.setattr(file_names, "_CHUNK", 7)
    assert file_names.file_names(source, quick=True) is None
    for each in (source, load("ssl_tiny_scenes", examples=9, **options)):
        numbers = each.take(np.arange(each.size))[0][:, 0, 0, 0]
        assert file_names.file_names(each) == tuple(map(str, numbers.tolist()))
