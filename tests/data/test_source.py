"""Sources from arrays and from the generated set; subsets and statistics."""

import pickle

import numpy as np
import pytest
from in_memory import images_of, labels_of

from ssljax.data import (
    DataError,
    channel_statistics,
    from_arrays,
    load,
    shapes,
    subset,
)


def images(n=6, side=8, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, side, side, channels), np.uint8)


def test_arrays_become_a_source():
    pixels = images()
    source = from_arrays(pixels, [0, 1, 2, 1, 0, -1], class_names=("a", "b", "c"))
    assert (source.size, source.image_shape) == (6, (8, 8, 3))
    assert source.labelled and source.num_classes == 3
    assert labels_of(source).dtype == np.int32
    image, label = source.read(2)
    np.testing.assert_array_equal(image, pixels[2])
    assert label == 2
    assert source.read(5)[1] == -1


def test_grey_arrays_get_a_channel():
    assert from_arrays(images()[..., 0]).image_shape == (8, 8, 1)


@pytest.mark.parametrize("labels", [None, [-1] * 6])
def test_without_labels_there_are_no_classes(labels):
    source = from_arrays(images(), labels)
    assert not source.labelled and source.num_classes is None
    assert source.take(np.array([1, 1]))[1].tolist() == [-1, -1]


def test_take_follows_the_indices():
    pixels = images()
    got, labels = from_arrays(pixels, np.arange(6)).take(np.array([5, 0, 5]))
    np.testing.assert_array_equal(got, pixels[[5, 0, 5]])
    assert labels.tolist() == [5, 0, 5]


@pytest.mark.parametrize("index", [-1, 6])
def test_take_refuses_indices_outside(index):
    with pytest.raises(IndexError, match="0 to 5"):
        from_arrays(images()).take(np.array([index]))


@pytest.mark.parametrize(
    "pixels, labels, message",
    [
        (images().astype(np.float32), None, "uint8.*float32"),
        (images()[0, 0], None, "2 dimensions"),
        (images()[:0], None, "size zero"),
        (images()[:, :0], None, "size zero"),
        (images()[:, :, :0], None, "size zero"),
        (images()[..., :0], None, "size zero"),
        (images(), [0, 1], r"6 images need labels \[6\], got \(2,\)"),
        (images(), [0, 1, 2, 3, 4, -2], "got -2"),
        (images(), np.zeros(6), "integers, got float64"),
        (images(side=9).transpose(0, 3, 1, 2), None, r"\[N, C, H, W\]; pass images.tr"),
        (images(), [0, 1, 2, 3, 4, 2**31], "up to 2147483648; number the classes"),
        (images(), [0, 1, 2, 3, 4, 10_000], "up to 10000; number the classes from 0"),
    ],
)
def test_wrong_arrays_are_named(pixels, labels, message):
    with pytest.raises(DataError, match=message) as caught:
        from_arrays(pixels, labels)
    assert "\n" not in str(caught.value)


def test_a_label_without_a_name_is_refused():
    with pytest.raises(DataError, match="label 2 has no name"):
        from_arrays(images(3), [0, 1, 2], class_names=("a", "b"))


def test_a_subset_is_fixed_without_repeats_and_nested():
    source = from_arrays(images(50), np.arange(50))
    small, large = subset(source, 10, seed=3), subset(source, 20, seed=3)
    assert len(set(labels_of(small).tolist())) == 10
    assert set(labels_of(small).tolist()) <= set(labels_of(large).tolist())
    assert labels_of(small).tolist() == labels_of(subset(source, 10, seed=3)).tolist()
    assert labels_of(small).tolist() != labels_of(subset(source, 10, seed=4)).tolist()
    np.testing.assert_array_equal(small.images, images_of(source)[labels_of(small)])
    assert small.num_classes == 50


@pytest.mark.parametrize("n", [0, 51])
def test_a_subset_must_fit(n):
    with pytest.raises(DataError, match=f"{n} examples.*use 1 to 50"):
        subset(from_arrays(images(50)), n, seed=0)


def test_statistics_equal_numpy():
    pixels = images(300, 8)
    mean, std = channel_statistics(from_arrays(pixels))
    np.testing.assert_allclose(mean, (pixels / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (pixels / 255).std((0, 1, 2)), rtol=1e-9)


def test_statistics_of_a_part_come_from_that_part():
    source = from_arrays(images(300, 4))
    part = channel_statistics(source, examples=40, seed=1)
    assert part == channel_statistics(subset(source, 40, seed=1))
    assert part != channel_statistics(source)


def test_the_standard_deviation_of_a_constant_is_floored():
    mean, std = channel_statistics(from_arrays(np.full((3, 4, 4, 2), 51, np.uint8)))
    assert mean == (0.2, 0.2) and std == (1 / 255, 1 / 255)


def test_the_fingerprint_sees_name_size_pixels_and_labels():
    pixels, labels = images(), np.arange(6)
    base = from_arrays(pixels, labels).fingerprint()
    assert base == from_arrays(pixels.copy(), labels).fingerprint()
    changed = pixels.copy()
    changed[-1, 0, 0, 0] ^= 1
    others = [
        from_arrays(changed, labels),
        from_arrays(pixels, labels + 1),
        from_arrays(pixels[:5], labels[:5]),
        from_arrays(pixels, labels, name="other"),
        from_arrays(pixels, labels, split="test"),
    ]
    prints = {s.fingerprint() for s in others}
    assert base not in prints and len(prints) == 5


def test_a_source_can_be_pickled():
    source = subset(from_arrays(images(), np.arange(6)), 3, seed=0)
    again = pickle.loads(pickle.dumps(source))
    assert again.fingerprint() == source.fingerprint()


def test_shapes_load_by_name():
    few = load("shapes", split="test", examples=60, seed=2)
    assert few.size == 60 and few.num_classes == 12 and few.labelled
    assert few.class_names == shapes.CLASS_NAMES
    whole = load("shapes", split="test")
    assert whole.size == 2_000 and images_of(whole).shape == (2_000, 32, 32, 3)
    picked = subset(whole, 60, seed=2)
    np.testing.assert_array_equal(few.images, picked.images)


def test_shapes_train_on_the_whole_training_set(monkeypatch):
    # Drawing all 10,000 takes seconds; the size asked for is under test.
    asked, draw = [], shapes.generate
    monkeypatch.setattr(
        shapes,
        "generate",
        lambda *split, rows: asked.append((*split, rows)) or draw("test"),
    )
    load("shapes")
    assert asked == [("train", None)] and shapes.SIZES["train"] == 10_000


def test_shapes_can_be_resized():
    small = load("shapes", split="test", examples=10, image_size=16)
    assert small.image_shape == (16, 16, 3)
    full = images_of(load("shapes", split="test", examples=10)).astype(float)
    pooled = full.reshape(10, 16, 2, 16, 2, 3).mean((2, 4))
    # Antialiased: close to the mean of each 2 x 2 block.
    assert abs(pooled - small.images).mean() < 8


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "shapes", "split": "val"}, "no split 'val'; use train or test"),
        ({"name": "shapes", "store": "stream"}, "generated in memory"),
        ({"name": "shapes", "store": "disk"}, "allowed: auto, memory, stream"),
        ({"name": "shapes", "path": "/somewhere"}, "use --data.name folder"),
        ({"name": "shapes", "image_size": 0}, "image_size is 0"),
        (
            {"name": "shapes", "split": "test", "examples": 3_000},
            "3000 examples.*use 1 to 2000",
        ),
        ({"name": "folder"}, "--data.path"),
        ({"name": "arrays"}, "from_arrays"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(DataError, match=message) as caught:
        load(**arguments)
    assert "\n" not in str(caught.value)
