"""Folders of images: classes, splits, unreadable files, chosen sizes."""

import pickle
import struct
import zlib

import numpy as np
import pytest
from in_memory import images_of, labels_of
from PIL import Image

from ssljax.data import DataError, load, subset


def write(path, value=0, size=(40, 36), **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0], 3), value, np.uint8)
    Image.fromarray(pixels).save(path, **options)


@pytest.fixture
def classes(tmp_path):
    """Thirty images per class, each with pixels of a value of its own."""
    for c, name in enumerate(["cat", "ant", "bee"]):
        for i in range(30):
            write(tmp_path / name / f"{i:02}.png", 60 * c + i)
    return tmp_path


def folder(path, **options):
    return load("folder", path=str(path), **options)


@pytest.mark.parametrize("store", ["memory", "stream"])
def test_sub_folders_are_classes_in_sorted_order(classes, store):
    train, test = (folder(classes, split=s, store=store) for s in ("train", "test"))
    assert train.class_names == test.class_names == ("ant", "bee", "cat")
    assert train.num_classes == 3 and train.labelled
    assert train.image_shape == (32, 32, 3)
    assert (train.images is None) == (store == "stream")
    assert train.size + test.size == 90 and 0 < test.size < 30
    images, labels = train.take(np.arange(train.size))
    # ant was written with 60 .. 89, bee with 120 .. 149, cat with 0 .. 29.
    values = images[:, 16, 16, 0].astype(int)
    np.testing.assert_array_equal(labels, np.array([2, 0, 1])[values // 60])
    np.testing.assert_array_equal(labels, train.labels)
    assert (np.diff(labels) >= 0).all()  # sorted by path


def test_memory_and_stream_hold_the_same_set(classes):
    memory, stream = (folder(classes, store=s) for s in ("memory", "stream"))
    indices = np.array([3, 0, 40, 3])
    for a, b in zip(memory.take(indices), stream.take(indices), strict=True):
        np.testing.assert_array_equal(a, b)
    assert memory.fingerprint() == stream.fingerprint()
    again = pickle.loads(pickle.dumps(stream))
    assert again.fingerprint() == stream.fingerprint()


@pytest.mark.parametrize("store", ["memory", "stream"])
def test_examples_and_subset_agree(classes, store):
    few = folder(classes, examples=11, seed=4, store=store)
    same = subset(folder(classes, store=store), 11, seed=4)
    every = np.arange(11)
    np.testing.assert_array_equal(few.take(every)[0], same.take(every)[0])
    np.testing.assert_array_equal(few.labels, same.labels)
    np.testing.assert_array_equal(same.take(every)[1], same.labels)


def test_the_hashed_split_never_moves_an_image(classes):
    def names(split):
        return set(folder(classes, split=split, store="stream").read.paths)

    before = names("train"), names("test")
    assert not before[0] & before[1]
    write(classes / "cat" / "new.png")
    (classes / "bee" / "05.png").unlink()
    after = names("train"), names("test")
    moved = (after[0] & before[1]) | (after[1] & before[0])
    assert not moved


def test_loose_images_are_unlabelled(tmp_path):
    for i in range(40):
        write(tmp_path / f"{i}.png", i)
    source = folder(tmp_path)
    assert not source.labelled and source.labels is None
    assert source.class_names is None and source.num_classes is None


def test_a_single_sub_folder_is_not_a_class(tmp_path):
    for i in range(20):
        write(tmp_path / "images" / f"{i}.png", i)
    assert not folder(tmp_path).labelled


def test_loose_images_beside_classes_are_kept_without_label(classes):
    for i in range(30):
        write(classes / f"loose{i}.png", 200)
    source = folder(classes)
    loose = images_of(source)[:, 0, 0, 0] == 200
    assert loose.sum() > 10
    assert (
        set(labels_of(source)[loose]) == {-1} and (labels_of(source)[~loose] >= 0).all()
    )


@pytest.mark.parametrize("held_out", ["test", "val", "validation", "valid"])
def test_split_folders_are_used(tmp_path, held_out):
    for i in range(5):
        write(tmp_path / "train" / "b" / f"{i}.png", i)
        write(tmp_path / "train" / "c" / f"{i}.png", i)
    write(tmp_path / held_out / "a" / "x.png", 77)
    write(tmp_path / held_out / "c" / "x.png", 78)
    train, test = folder(tmp_path), folder(tmp_path, split="test")
    # Classes are numbered over both, so a label means the same in each.
    assert train.class_names == test.class_names == ("a", "b", "c")
    assert labels_of(train).tolist() == [1] * 5 + [2] * 5
    assert labels_of(test).tolist() == [0, 2]
    assert images_of(test)[:, 0, 0, 0].tolist() == [77, 78]


def test_train_alone_is_cut_in_two(tmp_path):
    for i in range(60):
        write(tmp_path / "train" / "ab"[i % 2] / f"{i}.png", i)
    train, test = folder(tmp_path), folder(tmp_path, split="test")
    assert train.class_names == ("a", "b")
    values = [set(images_of(s)[:, 0, 0, 0].tolist()) for s in (train, test)]
    assert values[0] | values[1] == set(range(60)) and not values[0] & values[1]


def test_a_class_may_be_called_train(tmp_path):
    for i in range(30):
        write(tmp_path / "train" / f"{i}.png")
        write(tmp_path / "car" / f"{i}.png")
    assert folder(tmp_path).class_names == ("car", "train")


def test_an_unlabelled_split_folder_is_found_by_name(tmp_path):
    write(tmp_path / "train" / "a" / "x.png")
    write(tmp_path / "train" / "b" / "x.png")
    write(tmp_path / "test" / "a" / "x.png")
    write(tmp_path / "unlabelled" / "y.png")
    source = folder(tmp_path, split="unlabelled")
    assert source.size == 1 and not source.labelled
    with pytest.raises(DataError, match="no split 'dev'; it has test, train, unlab"):
        folder(tmp_path, split="dev")


@pytest.mark.parametrize("store", ["memory", "stream"])
def test_unreadable_files_are_listed_and_never_fatal(classes, store):
    train = classes / "train"
    train.mkdir()
    for name in ("ant", "bee", "cat"):
        (classes / name).rename(train / name)
    write(classes / "test" / "ant" / "x.png", 200)
    (train / "ant" / "empty.png").write_bytes(b"")
    (train / "ant" / "text.jpg").write_text("not an image")
    whole = (train / "bee" / "03.png").read_bytes()
    (train / "bee" / "03.png").write_bytes(whole[: len(whole) // 2])
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(train / "cat" / "cut.jpg")
    whole = (train / "cat" / "cut.jpg").read_bytes()
    (train / "cat" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    bomb = bytearray((train / "cat" / "00.png").read_bytes())
    bomb[16:24] = struct.pack(">II", 20_000, 20_000)  # width and height in IHDR
    bomb[29:33] = struct.pack(">I", zlib.crc32(bomb[12:29]))
    (train / "cat" / "bomb.png").write_bytes(bomb)
    (train / "cat" / "notes.txt").write_text("no image by its name")
    (train / "cat" / ".hidden.png").write_bytes(b"")
    source = folder(classes, store=store)
    reasons = dict(source.skipped)
    assert set(reasons) == {
        "train/ant/empty.png",
        "train/ant/text.jpg",
        "train/bee/03.png",
        "train/cat/cut.jpg",
        "train/cat/bomb.png",
    }
    assert "bomb" in reasons["train/cat/bomb.png"]
    assert source.size == 89
    source.take(np.arange(89))


def damaged_body(path):
    """A PNG whose header and end are fine and whose pixels are not."""
    write(path, 9)
    data = bytearray(path.read_bytes())
    start = data.index(b"IDAT") + 8
    data[start : start + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)


def test_damage_inside_is_skipped_in_memory(classes):
    for split in ("train", "test"):
        (classes / split).mkdir()
    for name in ("ant", "bee", "cat"):
        (classes / name).rename(classes / "train" / name)
    damaged_body(classes / "train" / "bee" / "00.png")
    source = folder(classes, store="memory")
    assert source.size == 89
    assert [path for path, _ in source.skipped] == ["train/bee/00.png"]


def test_damage_inside_is_replaced_by_the_next_of_its_class_in_a_stream(classes):
    for split in ("train", "test"):
        (classes / split).mkdir()
    for name in ("ant", "bee", "cat"):
        (classes / name).rename(classes / "train" / name)
    damaged_body(classes / "train" / "ant" / "29.png")
    source = folder(classes, store="stream")
    with pytest.warns(UserWarning, match="train/ant/29.png cannot be read"):
        images, labels = source.take(np.array([29, 30]))
    # The next ant after the last one is the first one, written with 60.
    assert images[:, 0, 0, 0].tolist() == [60, 120] and labels.tolist() == [0, 1]


def test_the_size_is_chosen_from_the_median_and_said(tmp_path):
    for i, side in enumerate([30, 70, 100, 100, 300]):
        for k in range(4):
            write(tmp_path / "train" / f"{i}{k}.png", size=(side, side + 5))
    (tmp_path / "test").mkdir()
    source = folder(tmp_path)
    assert source.image_shape == (96, 96, 3)
    assert source.note == (
        "images of the folder are resized to 96 x 96, the largest of 32, 64, 96 and "
        "224 not above the median (median shorter side 100); set --data.image-size to "
        "choose another"
    )
    assert folder(tmp_path, image_size=20).image_shape == (20, 20, 3)
    assert folder(tmp_path, image_size=20).note == ""


def test_small_images_are_said_to_be_enlarged(tmp_path):
    for i in range(20):
        write(tmp_path / f"{i}.png", size=(24, 24))
    source = folder(tmp_path)
    assert source.image_shape == (32, 32, 3)
    assert "32 x 32, the smallest of 32, 64, 96 and 224 (median" in source.note
    assert "shorter side 24)" in source.note


def test_a_split_that_is_drawn_is_said_to_be(tmp_path):
    for i in range(20):
        write(tmp_path / f"{i}.png")
    held_out = "one image in ten is held out as the test split"
    assert folder(tmp_path, image_size=8).note == held_out
    (tmp_path / "train").mkdir()
    write(tmp_path / "train" / "a.png")
    (tmp_path / "test").mkdir()
    assert folder(tmp_path, image_size=8).note == ""


def test_a_file_in_place_of_the_folder_is_called_one(tmp_path):
    write(tmp_path / "a.png")
    with pytest.raises(DataError, match="a.png' is a file; set --data.path to a"):
        load("folder", path=str(tmp_path / "a.png"))


def test_links_are_followed_once(classes):
    (classes / "dog").symlink_to(classes / "ant", target_is_directory=True)
    (classes / "ant" / "loop").symlink_to(classes, target_is_directory=True)
    source = folder(classes)
    assert source.size > 60


@pytest.mark.parametrize(
    "prepare, message",
    [
        (lambda p: p / "absent", "does not exist.*data.path"),
        (lambda p: p, "no image in.*images end in .png, .jpg"),
        (lambda p: (p / "a.png").write_bytes(b"") and p or p, "can be read|no image"),
    ],
)
def test_a_missing_or_empty_folder_is_named(tmp_path, prepare, message):
    with pytest.raises(DataError, match=message) as caught:
        folder(prepare(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_folder_without_readable_image_names_the_first_reason(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    (tmp_path / "train" / "a.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="none of the 1 images.*a.png: not an image"):
        folder(tmp_path)


def test_an_unknown_split_is_named(classes):
    with pytest.raises(DataError, match="no split 'dev'; use train or test"):
        folder(classes, split="dev")
