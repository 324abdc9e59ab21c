"""The generated set: its images never change, and no shortcut leads to its classes."""

import hashlib

import numpy as np
import pytest

from ssljax.data import shapes

# The set is part of published results: these digests may not change, ever.
DIGESTS = {
    "train": "c6546eda181965d562842185af0702046441b4f7612ae835bb8885334b20f6df",
    "test": "331a2c0f2520399f5d36a21097a8bc79974ced0151227595b67e8bcb493b0f0b",
}
WHOLE_TEST = "5688d18cd13639fa00a337b7ba0eca6e61ad37d65b92be38fd0dca3adafc62c4"


def nearest_mean_accuracy(features, labels, test_features, test_labels):
    means = np.stack([features[labels == c].mean(0) for c in range(12)])
    distance = ((test_features[:, None] - means) ** 2).sum(-1)
    return (distance.argmin(1) == test_labels).mean()


@pytest.fixture(scope="module")
def train():
    """Drawing images takes the time, so all tests here use these."""
    return shapes.generate("train", 1200)


@pytest.fixture(scope="module")
def test():
    return shapes.generate("test")


def test_the_images_never_change(train, test):
    for split, (images, _) in (("train", train), ("test", test)):
        digest = hashlib.sha256(images[:64].tobytes()).hexdigest()
        assert digest == DIGESTS[split], split


def test_sizes_types_and_balance(test):
    images, labels = test
    # Eight chunks, drawn by several threads.
    assert hashlib.sha256(images.tobytes()).hexdigest() == WHOLE_TEST
    assert images.shape == (2000, 32, 32, 3) and images.dtype == np.uint8
    assert labels.shape == (2000,) and labels.dtype == np.int32
    counts = np.bincount(labels)
    assert len(counts) == len(shapes.CLASS_NAMES) == 12
    assert counts.max() - counts.min() <= 1
    assert shapes.SIZES == {"train": 10_000, "test": 2_000}


@pytest.mark.parametrize("size", [1, 250, 251])  # around the size of a chunk
def test_a_smaller_set_is_a_prefix_of_a_larger_one(size, train):
    images, labels = shapes.generate("train", size)
    more_images, more_labels = train
    np.testing.assert_array_equal(images, more_images[:size])
    np.testing.assert_array_equal(labels, more_labels[:size])


def test_single_images_are_those_of_the_whole_set(train):
    rows = (0, 3, 249, 250, 999, 1_001, 1_199)
    images, labels = shapes.generate("train", rows=rows)
    np.testing.assert_array_equal(images, train[0][list(rows)])
    np.testing.assert_array_equal(labels, train[1][list(rows)])


def test_no_image_occurs_twice_within_or_across_splits(train, test):
    images = [*train[0], *test[0]]
    assert len({image.tobytes() for image in images}) == len(images)


def test_cached_arrays_cannot_be_written(test):
    images, labels = test
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        labels[0] = 0


def test_templates_differ_under_every_rotation_and_reflection():
    # Two classes could not be distinguished if one were the other turned or mirrored.
    t = shapes.templates()[:, 160:352:2, 160:352:2].astype(np.float32)
    flat, area = t.reshape(12, -1), t.sum((1, 2))
    spin = np.arange(0, 64) * 2 * np.pi / 64
    grid = np.arange(96) - 47.5
    x, y = grid[None, :], grid[:, None]
    for flip in (1, -1):
        for angle in spin:
            u = np.rint(np.cos(angle) * x * flip - np.sin(angle) * y + 47.5)
            v = np.rint(np.sin(angle) * x * flip + np.cos(angle) * y + 47.5)
            u, v = (np.clip(w, 0, 95).astype(int) for w in (u, v))
            turned = t[:, v, u].reshape(12, -1)
            both = turned @ flat.T  # [class turned, class upright]
            overlap = both / (turned.sum(1)[:, None] + area[None] - both)
            assert (overlap - np.eye(12) * overlap).max() < 0.85


def test_a_class_cannot_be_read_from_pixels_colours_or_contrast(train, test):
    # The classifier learns from the split that has more images here.
    (train, labels), (test, test_labels) = test, train

    def pixels(images):
        return images[:, ::4, ::4].reshape(len(images), -1) / 255.0

    def colours(images):
        flat = images.reshape(len(images), -1, 3) / 255.0
        return np.concatenate([flat.mean(1), flat.std(1)], axis=1)

    for features in (pixels, colours):
        accuracy = nearest_mean_accuracy(
            features(train), labels, features(test), test_labels
        )
        assert accuracy < 0.17  # chance is 0.083


def test_copies_of_one_image_stand_out_from_their_ground():
    # Contrast in brightness, or greyscale views would hide the class.
    below = np.arange(256)
    ground = np.stack([below] * 3, axis=-1)
    for value in range(256):
        colour = np.full((len(below), 3), value)
        chosen = shapes._contrasting(colour, ground)
        assert abs(chosen[:, 0] - below).min() >= 80
