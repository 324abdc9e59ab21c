"""The order of examples: pure in (seed, step), and never another one."""

import numpy as np
import pytest

from ssljax.data.order import batch_indices, permutation, process_share, steps_per_epoch


def epoch(seed, number, *, size, batch_size):
    steps = steps_per_epoch(size, batch_size)
    return np.concatenate(
        [
            batch_indices(seed, number * steps + i, size=size, batch_size=batch_size)
            for i in range(steps)
        ]
    )


@pytest.mark.parametrize("size, batch_size", [(10, 10), (10, 3), (97, 8), (64, 1)])
def test_an_epoch_visits_each_index_at_most_once(size, batch_size):
    seen = epoch(0, 2, size=size, batch_size=batch_size)
    assert seen.dtype == np.int32
    assert len(seen) == size - size % batch_size
    assert len(set(seen.tolist())) == len(seen)
    assert seen.min() >= 0 and seen.max() < size


def test_epochs_and_seeds_give_different_orders():
    orders = [epoch(s, e, size=50, batch_size=10) for s in (0, 1) for e in (0, 1)]
    for i, a in enumerate(orders):
        for b in orders[i + 1 :]:
            assert (a != b).any()


def test_seed_and_epoch_do_not_share_streams():
    # seed + epoch would make these equal.
    assert (permutation(1, 0, size=40) != permutation(0, 1, size=40)).any()


def test_every_index_comes_first_equally_often():
    first = [batch_indices(3, e, size=5, batch_size=5)[0] for e in range(2000)]
    counts = np.bincount(first, minlength=5)
    # Five standard deviations of a binomial with p = 1/5.
    assert abs(counts - 400).max() < 5 * np.sqrt(2000 * 0.2 * 0.8)


def test_a_step_does_not_depend_on_what_was_asked_before():
    steps = [13, 0, 7, 13, 2, 99, 0]
    once = {s: batch_indices(5, s, size=33, batch_size=4) for s in sorted(set(steps))}
    for step in steps:
        again = batch_indices(5, step, size=33, batch_size=4)
        np.testing.assert_array_equal(again, once[step])
        again[:] = -1  # a caller that writes must not spoil the cache


def test_the_order_never_changes():
    # Runs resume across versions: these numbers may not change, ever.
    assert permutation(0, 0, size=8).tolist() == GOLDEN_FIRST
    assert batch_indices(7, 5, size=20, batch_size=6).tolist() == GOLDEN_LATER


GOLDEN_FIRST = [0, 2, 1, 5, 4, 3, 6, 7]
GOLDEN_LATER = [4, 8, 18, 0, 14, 7]


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 6, 12])
def test_shares_concatenate_to_the_global_batch(processes):
    batch = batch_indices(0, 1, size=40, batch_size=12)
    shares = [
        process_share(batch, process_index=i, process_count=processes)
        for i in range(processes)
    ]
    assert {len(s) for s in shares} == {12 // processes}
    np.testing.assert_array_equal(np.concatenate(shares), batch)


def test_a_batch_larger_than_the_set_names_both_and_the_fix():
    with pytest.raises(ValueError, match="batch_size 512 exceeds the 100.*at most 100"):
        batch_indices(0, 0, size=100, batch_size=512)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: steps_per_epoch(0, 1), "at least 1"),
        (lambda: steps_per_epoch(4, 0), "at least 1"),
        (lambda: batch_indices(-1, 0, size=4, batch_size=2), "seed and step"),
        (lambda: batch_indices(0, -1, size=4, batch_size=2), "seed and step"),
        (
            lambda: process_share(np.arange(6), process_index=0, process_count=4),
            "batch_size 6 does not divide over 4",
        ),
        (
            lambda: process_share(np.arange(6), process_index=2, process_count=2),
            "process_index must be 0 to 1, got 2",
        ),
    ],
)
def test_wrong_numbers_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
