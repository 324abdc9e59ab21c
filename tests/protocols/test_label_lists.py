"""The labelled images of semi-supervised training: drawn, written, published."""

import coloured
import numpy as np
import pytest
from PIL import Image

from ssljax.config.checks import ConfigError
from ssljax.data import from_arrays, load
from ssljax.data.file_names import file_names
from ssljax.data.subsets import rows_of
from ssljax.protocols.images import labels
from ssljax.protocols.label_lists import balanced, check_classes, read_list, write_list


def uneven(counts, **options):
    y = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    return from_arrays(np.zeros((len(y), 4, 4, 3), np.uint8), y, **options)


def drawn(source, share, seed=0):
    return balanced(source.labels, share, source, seed=seed)


def test_classes_are_balanced_and_smaller_shares_are_nested():
    source = uneven((700, 200, 90, 3))
    for share, expected in ((0.01, 10), (0.1, 99), (0.2, 199)):
        rows = drawn(source, share)
        counts = np.bincount(source.labels[rows])
        # The smallest class gives all that it has.
        quota, extra = divmod(expected, 4)
        assert counts.min() >= min(3, quota) and counts.max() <= quota + bool(extra)
        assert len(np.unique(rows)) == len(rows)
    shares = [set(drawn(source, share)) for share in (0.01, 0.02, 0.1, 0.35, 1.0)]
    assert all(a <= b for a, b in zip(shares, shares[1:], strict=False))
    assert set(drawn(source, 0.1)) != set(drawn(source, 0.1, seed=1))


def test_unlabelled_images_are_never_drawn():
    y = np.arange(300) % 3
    y[::2] = -1
    source = from_arrays(np.zeros((300, 4, 4, 3), np.uint8), y)
    rows = drawn(source, 0.2)
    assert len(rows) == 30 and (y[rows] >= 0).all()


def test_fewer_images_than_classes_are_refused_with_a_share_that_is_enough():
    source = uneven((40, 40, 40))
    with pytest.raises(ConfigError) as refused:
        drawn(source, 0.01)
    line = str(refused.value)
    assert "1 % of the 120 labelled images of arrays (train) is 1, fewer than" in line
    assert line.endswith("use --fractions 0.025")
    assert len(drawn(source, 0.025)) == 3


def test_a_class_without_an_image_is_named():
    source = uneven((10, 10, 10), class_names=("cat", "dog", "fox"))
    rows = np.flatnonzero(source.labels != 1)
    with pytest.raises(ConfigError, match="on 1 % has no image of class 'dog' of"):
        check_classes(rows, source.labels, source, "1 %")
    rows = np.flatnonzero(source.labels == 0)
    with pytest.raises(ConfigError, match="no image of class 'dog' and 1 other of"):
        check_classes(rows, source.labels, source, "list.txt")


def test_a_list_of_indices_is_read_back(tmp_path):
    source, path = uneven((20, 20)), tmp_path / "lists" / "list.txt"
    rows = drawn(source, 0.25)
    write_list(path, rows, source, "25 %, class-balanced, seed 0")
    head, *lines = path.read_text().splitlines()
    assert "10 of the 40 images of arrays (train), one index, from 0" in head
    assert lines == [str(row) for row in rows]
    np.testing.assert_array_equal(read_list(path, source), rows)
    with pytest.raises(ConfigError, match="lines of label list .* are not images of"):
        read_list(path, uneven((2, 2)))


@pytest.fixture
def photos(tmp_path):
    for name in ("n01", "n02"):
        (tmp_path / "photos" / "train" / name).mkdir(parents=True)
        for i in range(6):
            file = tmp_path / "photos" / "train" / name / f"{name}_{i}.png"
            Image.new("RGB", (16, 16), (40 * i, 0, 0)).save(file)
    return tmp_path / "photos"


@pytest.mark.parametrize("store", ["memory", "stream"])
def test_published_lists_name_the_files_of_a_folder(photos, tmp_path, store):
    # One file that cannot be read: the rows after it move up.
    (photos / "train" / "n01" / "n01_0.png").write_bytes(b"not an image")
    source = load("folder", path=str(photos), store=store, image_size=16)
    published = tmp_path / "1percent.txt"
    published.write_text("n02_3.png\nn01_1.png\n\n")
    rows = read_list(published, source)
    names = file_names(source)
    assert [names[row].rpartition("/")[2] for row in rows] == ["n01_1.png", "n02_3.png"]
    assert labels(source)[rows].tolist() == [0, 1]
    # Of a subset too, and written with the folders, as names may repeat in them.
    part = rows_of(source, np.arange(source.size)[::-1])
    assert [file_names(part)[row] for row in read_list(published, part)] == [
        names[row] for row in rows[::-1]
    ]
    write_list(tmp_path / "own.txt", rows, source, "1 %")
    assert (tmp_path / "own.txt").read_text().splitlines()[1:] == [
        names[row] for row in rows
    ]
    np.testing.assert_array_equal(read_list(tmp_path / "own.txt", source), rows)


def test_names_that_are_unknown_or_of_two_files_are_counted(photos, tmp_path):
    for name in ("n01", "n02"):
        Image.new("RGB", (16, 16)).save(photos / "train" / name / "same.png")
    source = load("folder", path=str(photos), image_size=16)
    file = tmp_path / "list.txt"
    file.write_text("n01_1.png\nsame.png\nn03_7.png\n")
    with pytest.raises(ConfigError, match="2 of the 3 lines .* first is 'same.png'"):
        read_list(file, source)
    file.write_text("\n")
    with pytest.raises(ConfigError, match="is empty; put an image name on every line"):
        read_list(file, source)
    with pytest.raises(ConfigError, match="cannot be read .No such file"):
        read_list(tmp_path / "nowhere.txt", source)
    file.write_text("a.png\n")
    with pytest.raises(ConfigError, match="but the images of colours have none"):
        read_list(file, coloured.train_images())


def test_labels_of_a_streamed_set_are_read_without_decoding(photos, monkeypatch):
    source = load("folder", path=str(photos), store="stream", image_size=16)
    expected = source.take(np.arange(source.size))[1]
    part = rows_of(source, np.array([7, 2]))
    hidden = part.__class__(**{**part.__dict__, "labels": None})
    monkeypatch.setattr(type(source.read), "many", None)
    assert labels(hidden).tolist() == expected[[7, 2]].tolist()
