"""Images of a bucket are those of the same folder on a disk, and follow its changes."""

import shutil

import fake_bucket
import numpy as np
import pytest
from fsspec.registry import _registry
from PIL import Image

from ssljax.data import DataError, bucket_copy, load


@pytest.fixture(autouse=True)
def bucket(tmp_path, monkeypatch):
    """Return the folder with the objects of the bucket ``images``."""
    monkeypatch.setenv(fake_bucket.FOLDER, str(tmp_path / "buckets"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for scheme in fake_bucket.FakeBucket.protocol:  # undone after the test
        monkeypatch.setitem(_registry, scheme, fake_bucket.FakeBucket)
    yield tmp_path / "buckets" / "images"
    bucket_copy._copied.cache_clear()


def photos(folder):
    rng = np.random.default_rng(0)
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{i}.png")


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_a_folder_in_a_bucket_is_the_folder(scheme, bucket, tmp_path, monkeypatch):
    photos(tmp_path / "photos")
    shutil.copytree(tmp_path / "photos", bucket / "photos")
    here, there = str(tmp_path / "photos"), f"{scheme}://images/photos"
    ours, theirs = (load("folder", path=path) for path in (here, there))
    assert theirs.fingerprint() == ours.fingerprint()
    np.testing.assert_array_equal(theirs.images, ours.images)
    # An image is removed, one replaced, one added; the others are not copied again.
    for folder in (tmp_path / "photos", bucket / "photos"):
        (folder / "a" / "0.png").unlink()
        Image.new("RGB", (8, 8), "red").save(folder / "a" / "1.png")
        Image.new("RGB", (8, 8), "blue").save(folder / "b" / "new.png")
    bucket_copy._copied.cache_clear()
    fetched = []
    get = fake_bucket.FakeBucket.get_file

    def counted(self, source, target, **options):
        fetched.append(source.rpartition("/")[2])
        get(self, source, target, **options)

    monkeypatch.setattr(fake_bucket.FakeBucket, "get_file", counted)
    ours, theirs = (load("folder", path=path) for path in (here, there))
    assert theirs.fingerprint() == ours.fingerprint()
    assert sorted(fetched) == ["1.png", "new.png"]


def test_an_empty_folder_and_a_full_disk_are_refused(bucket, monkeypatch):
    with pytest.raises(DataError, match="gs://images/none holds no files"):
        load("folder", path="gs://images/none")
    bucket.mkdir(parents=True)
    (bucket / "a.png").write_bytes(b"an image")
    full = shutil.disk_usage("/")._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: full)
    with pytest.raises(DataError, match="where 0.0 GB are free; set XDG_CACHE_HOME"):
        load("folder", path="gs://images")
