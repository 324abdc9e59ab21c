"""Batches in order: resumed, shared among processes, decoded by workers."""

import multiprocessing
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ssljax.data import batch_indices, batches, from_arrays, load, subset


def arrays(n=20):
    pixels = np.arange(n, dtype=np.uint8)[:, None, None, None] * np.ones(
        (1, 4, 4, 3), np.uint8
    )
    return from_arrays(pixels, np.arange(n))


@pytest.fixture(scope="module")
def streamed(tmp_path_factory):
    root = tmp_path_factory.mktemp("images")
    for split in ("train", "test"):
        for i in range(24):
            path = root / split / "ab"[i % 2] / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            grey = 5 * i + (split == "test")  # no copies of each other
            Image.fromarray(np.full((36, 36, 3), grey, np.uint8)).save(path)
    return load("folder", path=str(root), store="stream")


def collect(source, start=0, stop=9, **options):
    settings: dict[str, Any] = {"seed": 1, "batch_size": 8} | options
    return list(batches(source, start_step=start, stop_step=stop, **settings))


def assert_same(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys() == {"image", "label"}
        for key in x:
            assert x[key].dtype == y[key].dtype
            np.testing.assert_array_equal(x[key], y[key])


@pytest.mark.parametrize("kind", ["memory", "stream"])
def test_batches_follow_the_order(kind, streamed):
    source = arrays() if kind == "memory" else streamed
    for step, batch in enumerate(collect(source)):
        indices = batch_indices(1, step, size=source.size, batch_size=8)
        images, labels = source.take(indices)
        np.testing.assert_array_equal(batch["image"], images)
        np.testing.assert_array_equal(batch["label"], labels)
        assert batch["image"].dtype == np.uint8
        assert batch["label"].dtype == np.int32


def test_resuming_needs_only_the_step(streamed):
    for source in (arrays(), streamed):
        whole = collect(source)
        for start in (1, 4, 8):
            assert_same(collect(source, start), whole[start:])


@pytest.mark.parametrize("count", [2, 4])
def test_processes_share_the_global_batch(count, streamed):
    for source in (arrays(), streamed):
        parts = [
            collect(source, process_index=i, process_count=count) for i in range(count)
        ]
        joined = [
            {k: np.concatenate([p[step][k] for p in parts]) for k in ("image", "label")}
            for step in range(9)
        ]
        assert_same(joined, collect(source))


def test_worker_processes_change_nothing_and_end_when_the_iterator_is_closed(streamed):
    # A subset, so that both kinds of reader have to survive pickling.
    part = subset(streamed, 16, seed=0)
    iterator: Any = batches(  # a generator, which can be closed
        part, seed=1, batch_size=8, start_step=2, stop_step=1000, workers=2
    )
    assert_same([next(iterator) for _ in range(7)], collect(part, 2))
    assert len(multiprocessing.active_children()) >= 2
    iterator.close()
    for child in multiprocessing.active_children():
        child.join(timeout=30)
    assert not multiprocessing.active_children()


def test_worker_processes_come_to_an_end(streamed):
    # Fewer steps than workers, so that one of them would have nothing to do.
    assert_same(collect(streamed, 8, workers=2), collect(streamed, 8))
    assert not multiprocessing.active_children()


def test_a_source_in_memory_starts_no_process():
    iterator = iter(
        batches(arrays(), seed=0, batch_size=4, start_step=0, stop_step=3, workers=4)
    )
    next(iterator)
    assert not multiprocessing.active_children()


def test_no_steps_give_no_batches(streamed):
    assert collect(streamed, 3, 3) == collect(arrays(), 3, 3) == []


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 21}, "batch_size 21 exceeds the 20 examples.*at most 20"),
        ({"process_count": 3}, "does not divide over 3 processes"),
        ({"start": 5, "stop": 4}, "stop_step >= start_step"),
        ({"workers": -1}, "workers"),
        ({"seed": -1}, "seed"),
    ],
)
def test_wrong_numbers_are_named_at_once(options, message):
    merged = {"seed": 0, "batch_size": 8, "start": 0, "stop": 9} | options
    start, stop = merged.pop("start"), merged.pop("stop")
    with pytest.raises(ValueError, match=message):
        batches(arrays(), start_step=start, stop_step=stop, **merged)
