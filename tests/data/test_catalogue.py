"""The catalogue of data sets, and preparing one without TensorFlow."""

import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow_datasets as tfds
from PIL import Image

import ssljax.data
from ssljax.data import DataError
from ssljax.data.catalogue import catalogue, prepare

without_tensorflow = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None,
    reason="TensorFlow is installed, so nothing is missing",
)


class SslTinyMarks(tfds.core.GeneratorBasedBuilder):
    """A set that can be prepared without TensorFlow: its images come encoded."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = {"image": tfds.features.Image(shape=(8, 8, 3))}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features)
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for i in range(5):
            buffer = io.BytesIO()
            Image.new("RGB", (8, 8), (i, i, i)).save(buffer, "PNG")
            buffer.seek(0)
            yield i, {"image": buffer}


def write_set(root, name, *, file_format="array_record", features=None):
    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    splits = [{"name": "train", "shardLengths": ["30", "12"]}]
    info = {"fileFormat": file_format, "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    features = features or {
        "image": {"image": {"shape": {"dimensions": ["48", "40", "3"]}}},
        "label": {"classLabel": {"numClasses": "7"}},
    }
    described = {"featuresDict": {"features": features}}
    (folder / "features.json").write_text(json.dumps(described))


def test_the_catalogue_lists_known_sets_and_their_presence(tmp_path):
    write_set(tmp_path, "cifar10")
    write_set(tmp_path, "imagenet_resized/64x64")
    rows = {row.name: row for row in catalogue(str(tmp_path))}
    assert rows["shapes"].present and rows["shapes"].classes == 12
    assert rows["folder"].present
    assert rows["cifar10"].present and rows["imagenet_resized/64x64"].present
    assert rows["cifar10"].splits == {"train": 50_000, "test": 10_000}
    assert not rows["cifar100"].present
    assert "ssljax data prepare cifar100" in rows["cifar100"].how
    assert rows["imagenet2012"].image_size == "varies"


def test_the_catalogue_finds_other_prepared_image_sets(tmp_path):
    write_set(tmp_path, "my_birds")
    varying = {"image": {"image": {"shape": {"dimensions": ["-1", "-1", "3"]}}}}
    write_set(tmp_path, "my_scenes/large", features=varying)
    write_set(tmp_path, "old", file_format="tfrecord")
    write_set(tmp_path, "words", features={"text": {"text": {}}})
    (tmp_path / "broken" / "1.0.0").mkdir(parents=True)
    (tmp_path / "broken" / "1.0.0" / "dataset_info.json").write_text("{")
    rows = {row.name: row for row in catalogue(str(tmp_path))}
    birds, scenes = rows["my_birds"], rows["my_scenes/large"]
    assert birds.present and birds.splits == {"train": 42}
    assert (birds.image_size, birds.classes) == ("48 x 40", 7)
    assert (scenes.image_size, scenes.classes) == ("varies", None)
    assert not {"old", "words", "broken"} & rows.keys()


def test_the_catalogue_needs_no_directory(tmp_path):
    rows = catalogue(str(tmp_path / "absent"))
    assert [row.name for row in rows if row.present] == ["shapes", "folder"]


def test_importing_and_listing_load_nothing_heavy():
    code = (
        "import sys; from ssljax.data.catalogue import catalogue; catalogue();"
        "heavy = {'tensorflow', 'tensorflow_datasets', 'grain', 'PIL'};"
        "found = heavy & sys.modules.keys(); assert not found, found"
    )
    root = Path(ssljax.data.__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=120)


@without_tensorflow
@pytest.mark.parametrize("name", ["cifar100", "stl10", "imagenet_resized/64x64"])
def test_preparing_says_that_tensorflow_is_needed_before_downloading(tmp_path, name):
    with pytest.raises(DataError, match=r'pip install "ssljax\[prepare\]"') as caught:
        prepare(name, str(tmp_path))
    assert "\n" not in str(caught.value)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


@pytest.mark.parametrize("name", ["shapes", "folder"])
def test_some_sets_need_no_preparation(name):
    with pytest.raises(DataError, match="needs no preparation"):
        prepare(name)


def test_an_unknown_set_is_named(tmp_path):
    with pytest.raises(DataError, match="did you mean 'cifar10'"):
        prepare("cifar-10", str(tmp_path))


def test_preparing_writes_array_record_once(tmp_path, monkeypatch):
    first = prepare("ssl_tiny_marks", str(tmp_path))
    monkeypatch.setattr(
        SslTinyMarks, "_generate_examples", lambda self: pytest.fail("prepared twice")
    )
    assert prepare("ssl_tiny_marks", str(tmp_path)) == first
    rows = {row.name: row for row in catalogue(str(tmp_path))}
    assert rows["ssl_tiny_marks"].present
    assert rows["ssl_tiny_marks"].splits == {"train": 5}


@pytest.mark.parametrize(
    "error, message",
    [
        (ModuleNotFoundError("No module named 'tensorflow'"), "needs TensorFlow"),
        (ModuleNotFoundError("No module named 'scipy'", name="scipy"), "install scipy"),
        (AssertionError("Manual directory\n/x absent"), "by hand: Manual directory /x"),
        (ConnectionError("no route\nto host"), "failed: no route to host"),
    ],
)
def test_failures_are_one_line(tmp_path, monkeypatch, error, message):
    def fail(self, *args, **options):
        raise error

    monkeypatch.setattr(SslTinyMarks, "download_and_prepare", fail)
    with pytest.raises(DataError, match=message) as caught:
        prepare("ssl_tiny_marks", str(tmp_path))
    assert "\n" not in str(caught.value)
