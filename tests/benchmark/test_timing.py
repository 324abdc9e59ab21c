"""Clocks: what they include and what they leave out."""

import time

import jax
import jax.numpy as jnp
import pytest

from ssljax.benchmark.ceilings import measure_ceilings
from ssljax.benchmark.timing import (
    Compilations,
    Laps,
    process_age,
    spread,
    step_seconds,
    total_seconds,
)


@jax.jit
def counted(state, x):
    return state + 1, {"loss": x.sum()}


def slow(state, x):
    """A step whose device takes 10 ms."""
    time.sleep(0.01)
    return counted(state, x)


def test_every_step_is_timed_and_the_state_moves_on():
    times, state = step_seconds(slow, jnp.int32(0), (jnp.ones(4),), steps=5)
    assert len(times) == 5 and all(0.01 <= t < 1 for t in times)
    assert int(state) == 8  # two steps before the first time, and one to begin it


def test_the_wait_for_inputs_is_part_of_the_total():
    def inputs():
        for _ in range(4):
            time.sleep(0.02)
            yield (jnp.ones(4),)

    seconds, waited, steps, state = total_seconds(slow, jnp.int32(0), inputs())
    assert steps == int(state) == 4
    # The first inputs are there before the clock starts.
    assert 0.06 <= waited < seconds and seconds >= 0.1


def test_no_input_is_refused():
    with pytest.raises(ValueError, match="no inputs"):
        total_seconds(slow, jnp.int32(0), [])
    with pytest.raises(ValueError, match="no measurement"):
        spread([])


def test_compilations_are_counted_only_inside():
    f = jax.jit(lambda x: x * 17 + 3)
    with Compilations() as found:
        f(jnp.ones(3))
        first = found.count
        f(jnp.ones(3))
        assert found.count == first > 0
        f(jnp.ones(5))
        assert found.count > first
    last = found.count
    f(jnp.ones(7))
    assert found.count == last


def test_laps_begin_with_the_process():
    before = process_age()
    laps = Laps("imports")
    time.sleep(0.02)
    assert 0.02 <= laps.lap("images") < 5
    assert list(laps.parts) == ["imports", "images"]
    assert before > 0.1  # importing JAX alone takes longer
    assert laps.total >= before + 0.02


def test_ceilings_are_the_best_of_the_sizes_that_were_tried():
    found = measure_ceilings("bfloat16", sides=(16, 128), mebibytes=(1, 2), repeats=2)
    assert found.dtype == "bfloat16" and found.matmul_size in (16, 128)
    assert found.copy_bytes in (2**20, 2**21)
    assert 1e6 < found.matmul < 1e15 and 1e7 < found.copy < 1e14
