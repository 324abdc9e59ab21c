"""Streamed crops: the same for any number of workers and processes, and resumed."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssljax.data import batches, from_arrays, load, subset
from ssljax.data.augment import View
from ssljax.data.host_crop import HostCrops

CROPS = HostCrops((View(), View(crop_scale=(0.2, 0.6))), (24, 16))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Return 16 photographs of different sizes, one of them damaged, as a source."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(16):
        path = root / "train" / "ab"[i % 2] / f"{i:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (60 + 7 * i, 90 - 3 * i, 3), np.uint8)
        Image.fromarray(pixels).save(path, quality=90)
    (root / "test").mkdir()
    Image.new("RGB", (64, 64)).save(root / "test" / "0.png")
    source = load("folder", path=str(root), store="stream", image_size=32)
    # After it was listed: its end is as it should be.
    broken = root / "train" / "a" / "04.jpg"
    broken.write_bytes(b"\0" * 100 + b"\xff\xd9")
    return source


def collect(source, start=0, stop=6, **options) -> list[dict[str, Any]]:
    settings: dict[str, Any] = {
        "seed": 1,
        "batch_size": 8,
        "crops": CROPS,
        "on_replaced": lambda name, reason: None,
    } | options
    return list(batches(source, start_step=start, stop_step=stop, **settings))


def assert_same(a, b):
    assert len(a) == len(b) > 0
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys() == {"views", "label"}
        np.testing.assert_array_equal(x["label"], y["label"])
        for one, other in zip(x["views"], y["views"], strict=True):
            assert one.dtype == np.uint8
            np.testing.assert_array_equal(one, other)


def test_batches_have_one_array_for_each_view(photos):
    steps = collect(photos)
    for batch in steps:
        shapes = [view.shape for view in batch["views"]]
        assert shapes == [(8, 24, 24, 3), (8, 16, 16, 3)]
        assert batch["label"].dtype == np.int32
    # Two epochs show the same images, cut elsewhere.
    first, second = (
        np.concatenate([b["views"][0] for b in steps[i : i + 2]]) for i in (0, 2)
    )
    assert not any((image == second).all((1, 2, 3)).any() for image in first)


@pytest.mark.parametrize("workers", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_workers_change_no_view(photos, workers):
    part = subset(photos, 14, seed=0)
    assert_same(collect(part, workers=workers), collect(part))


def test_two_processes_share_the_views_of_one(photos):
    parts = [collect(photos, process_index=i, process_count=2) for i in range(2)]
    joined = [
        {
            "views": tuple(
                map(np.concatenate, zip(a["views"], b["views"], strict=True))
            ),
            "label": np.concatenate([a["label"], b["label"]]),
        }
        for a, b in zip(*parts, strict=True)
    ]
    assert_same(joined, collect(photos))


def test_resuming_needs_only_the_step(photos):
    assert_same(collect(photos, 4), collect(photos)[4:])


def test_a_damaged_image_is_replaced_and_reported(photos):
    told: list[tuple[str, str]] = []
    collect(photos, 0, 2, on_replaced=lambda *what: told.append(what))
    assert told == [("train/a/04.jpg", "not an image")]


def test_images_in_memory_have_no_originals():
    source = from_arrays(np.zeros((16, 40, 40, 3), np.uint8))
    assert not source.has_originals and not subset(source, 8, seed=0).has_originals
    with pytest.raises(ValueError, match="no original images to crop; stream"):
        collect(source)


def test_a_folder_in_memory_has_no_originals(photos):
    assert photos.has_originals and subset(photos, 8, seed=0).has_originals
    resident = load("folder", path=photos.read.root, image_size=8, store="memory")
    assert not resident.has_originals
