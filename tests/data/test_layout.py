"""Folders as people have them: which of them are splits, and what is said."""

import os
import shutil

import numpy as np
import pytest
from in_memory import images_of, labels_of
from PIL import Image

from ssljax.config import DataConfig
from ssljax.data import DataError, load
from ssljax.data.layout import role


def write(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((36, 40, 3), value, np.uint8)).save(path)


def fill(root, *folders, count=3):
    """Write images of different grey into each folder; return the next grey."""
    for k, name in enumerate(folders):
        for i in range(count):
            write(root / name / f"{i}.png", 10 * k + i)


def folder(path, split="train", **options):
    return load("folder", path=str(path), split=split, **options)


@pytest.mark.parametrize(
    ("train", "held_out"),
    [
        ("Train", "Test"),
        ("Training", "Testing"),
        ("training_set", "test_set"),
        ("TRAIN", "VAL"),
        ("train-images", "val-images"),
        ("trainset", "validation_data"),
        ("train", "dev"),
    ],
)
def test_usual_spellings_of_splits(tmp_path, train, held_out):
    fill(tmp_path, f"{train}/a", f"{train}/b", f"{held_out}/a", f"{held_out}/b")
    found, test = folder(tmp_path), folder(tmp_path, "test")
    assert found.class_names == test.class_names == ("a", "b")
    assert (found.size, test.size) == (6, 6)
    assert folder(tmp_path, held_out).size == 6


def test_a_name_that_only_begins_like_a_split_is_a_class(tmp_path):
    assert [role(n) for n in ("trainer", "tester", "settest", "deviant")] == [None] * 4
    fill(tmp_path, "trainer", "valley", count=20)
    assert folder(tmp_path).class_names == ("trainer", "valley")


@pytest.mark.parametrize("name", ["unlabeled", "Unlabelled_images"])
def test_unlabelled_images_are_training_images(tmp_path, name):
    fill(tmp_path, "train/a", "train/b", "test/a", f"{name}/x", f"{name}/y")
    source = folder(tmp_path)
    assert labels_of(source).tolist() == [0] * 3 + [1] * 3 + [-1] * 6
    assert source.class_names == ("a", "b")
    assert f"6 images of {name} are used without labels" in source.note
    assert folder(tmp_path, "test").size == 3


def test_unlabelled_beside_train_alone(tmp_path):
    fill(tmp_path, "train/a", "train/b", count=30)
    fill(tmp_path, "unlabeled", count=4)
    source, test = folder(tmp_path), folder(tmp_path, "test")
    assert (labels_of(source) == -1).sum() == 4
    assert source.size + test.size == 64 and 0 < test.size < 20


def test_a_held_out_folder_with_labels_wins(tmp_path):
    fill(tmp_path, "train/a", "train/b", "test", "val/a", "val/b")
    test = folder(tmp_path, "test")
    assert labels_of(test).tolist() == [0] * 3 + [1] * 3
    shutil.rmtree(tmp_path / "val")
    assert "no accuracy: test has no class folders" in folder(tmp_path, "test").note


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        (("train", "car"), "train counts as a class: no folder beside it is held out"),
        (("test", "car"), "test counts as a class: there is no folder named train"),
        (("train/a", "test/a", "car"), "not read: car, beside the splits test and"),
    ],
)
def test_a_class_that_looks_like_a_split_is_said(tmp_path, folders, said):
    fill(tmp_path, *folders, count=20)
    assert said in folder(tmp_path).note


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("test/a", "val/a"), "has test and val and no folder for training; rename"),
        (("Train/a", "training/a", "test/a"), "both for the train split; rename or"),
        (("photos/train/a", "photos/test/a"), "use --data.path .*photos$"),
    ],
)
def test_what_cannot_be_decided_is_refused(tmp_path, folders, message):
    fill(tmp_path, *folders)
    with pytest.raises(DataError, match=message):
        folder(tmp_path)


def test_copies_stay_on_one_side_of_a_drawn_split(tmp_path):
    for i in range(40):
        write(tmp_path / "a" / f"{i}.png", i)
        shutil.copy(tmp_path / "a" / f"{i}.png", tmp_path / "a" / f"copy-{i}.png")
        write(tmp_path / "b" / f"{i}.png", 100 + i)
    sides = [
        set(images_of(folder(tmp_path, split))[:, 0, 0, 0].tolist())
        for split in ("train", "test")
    ]
    assert sides[0] and sides[1] and not sides[0] & sides[1]


def test_a_copy_of_a_held_out_image_is_no_training_image(tmp_path):
    fill(tmp_path, "train/a", "train/b", "test/c")
    copy = tmp_path / "train" / "b" / "again.png"
    shutil.copy(tmp_path / "test" / "c" / "1.png", copy)
    source = folder(tmp_path)
    assert source.size == 6
    assert "1 training images are left out: exact copies of images in test" in (
        source.note
    )


def test_what_differs_in_the_middle_only_is_no_copy(tmp_path):
    """As scans with black margins do, whose sizes and ends are the same."""
    for name, value in (("train/0.bmp", 1), ("train/1.bmp", 2), ("test/2.bmp", 3)):
        pixels = np.zeros((72, 72, 3), np.uint8)
        pixels[30:40] = value
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name)
    shutil.copy(tmp_path / "test" / "2.bmp", tmp_path / "train" / "3.bmp")
    for name in ("train/empty.jpg", "test/empty.jpg"):
        (tmp_path / name).write_bytes(b"")
    source = folder(tmp_path)
    assert source.size == 2
    assert "1 training images are left out: exact copies of" in source.note
    assert source.skipped == (("train/empty.jpg", "empty file"),)


def test_what_is_no_image_is_counted(tmp_path):
    fill(tmp_path, "a", "b", count=20)
    for name in ("a/x.txt", "a/y.TXT", "b/z.csv", "b/README", "a/.hidden", "Thumbs.db"):
        (tmp_path / name).write_text("x")
    write(tmp_path / "a" / "@eaDir" / "0.png")
    write(tmp_path / "thumbnails" / "0.png")
    source = folder(tmp_path)
    assert source.class_names == ("a", "b")
    assert (
        "passed over: 2 .txt, 1 .csv, 1 without suffix, folders named @eaDir, "
        "thumbnails" in source.note
    )


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "ppm", "pgm", "avif"])
def test_more_suffixes(tmp_path, suffix):
    for i in range(20):
        path = tmp_path / f"{i}.{suffix}"
        grey = suffix == "pgm"
        image = Image.fromarray(np.full((36, 40, 3), 12 * i, np.uint8))
        kind = {"jfif": "jpeg", "jpe": "jpeg", "avif": "avif"}.get(suffix, "ppm")
        (image.convert("L") if grey else image).save(path, format=kind)
    total = folder(tmp_path).size + folder(tmp_path, "test").size
    assert total == 20


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    fill(tmp_path, "a", "b")
    scandir = os.scandir

    def refused(path):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(DataError, match="b' cannot be listed .Permission denied."):
        folder(tmp_path)


def test_names_that_are_not_utf8_can_be_printed(tmp_path):
    for name in (b"caf\xe9", b"b"):
        for i in range(20):
            write(
                tmp_path / "train" / os.fsdecode(name) / f"{i}.png", 10 * i + len(name)
            )
    write(tmp_path / "test" / "b" / "0.png", 255)
    odd = tmp_path / "train" / os.fsdecode(b"caf\xe9")
    (odd / os.fsdecode(b"\xff.png")).write_bytes(b"no image")
    source = folder(tmp_path, store="stream")
    assert source.class_names == ("b", "caf\ufffd")
    source.take(np.arange(source.size))
    for text in (repr(source), source.note, source.read.describe(source.size - 1)):
        text.encode()
    assert [name for name, _ in source.skipped] == ["train/caf\ufffd/\ufffd.png"]


def test_the_home_folder_is_expanded(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    fill(tmp_path / "photos", "a", "b", count=20)
    assert DataConfig("folder", path="~/photos").path == str(tmp_path / "photos")
    assert folder("~/photos").class_names == ("a", "b")
