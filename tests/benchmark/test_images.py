"""Images of noise in place of a data set that is not prepared."""

import pickle

import numpy as np
import pytest

from ssljax import methods
from ssljax.benchmark.images import load_or_imitate
from ssljax.config.checks import ConfigError
from ssljax.data import DataError
from ssljax.recipes import load_recipe


@pytest.fixture(autouse=True)
def nothing_prepared(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))


def imitated(recipe, **which):
    config = methods.resolve(load_recipe(recipe))
    source, synthetic = load_or_imitate(config, **which)
    assert synthetic and source.labelled
    return source


def test_a_small_set_is_in_memory_with_its_own_size():
    source = imitated("cifar10/simclr", train=False)
    assert source.images is not None and source.images.shape == (10_000, 32, 32, 3)
    assert source.num_classes == 10 and source.images.std() > 60


def test_a_large_set_is_streamed_and_can_be_sent_to_workers():
    source = imitated("imagenet/simclr", train=True)
    assert source.images is None and source.size == 1_281_167
    assert source.image_shape == (256, 256, 3) and source.num_classes == 1000
    images, labels = pickle.loads(pickle.dumps(source)).take(np.array([5, 1_281_166]))
    assert images.shape == (2, 256, 256, 3) and labels.tolist() == [5, 166]
    image, label = source.read(5)
    assert label == 5 and np.array_equal(image, images[0])


def test_splits_are_summed_and_the_labelled_one_is_its_own():
    assert imitated("stl10/byol", train=True).size == 105_000
    assert imitated("stl10/byol", train=True, labelled=True).size == 5_000


def test_a_set_that_is_there_is_loaded():
    config = methods.resolve(load_recipe("shapes/quickstart", smoke=True))
    source, synthetic = load_or_imitate(config, train=False)
    assert not synthetic and source.name == "shapes"


def test_a_misspelt_set_and_a_folder_without_a_path_are_refused():
    config = load_recipe("folder")
    with pytest.raises(ConfigError, match="--data.path"):
        load_or_imitate(config, train=True)
    from dataclasses import replace

    wrong = replace(config, data=replace(config.data, name="cifar11"))
    with pytest.raises(DataError, match="no data set is called 'cifar11'"):
        load_or_imitate(wrong, train=True)
