"""SIGTERM and kill -9 at random moments: the run that goes on is the same run."""

import random
import signal
import threading
import time

import pytest
from interrupted import (
    STEPS,
    finish,
    lines,
    losses,
    start,
    wait_for_step,
)

from ssljax.runs.preemption import Preemption


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Losses of the run that nobody stops."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    assert finish(start(workdir)) == [0]
    return losses(workdir)


def test_the_handler_of_before_is_put_back():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append("outer"))
    try:
        with Preemption() as preemption:
            assert not preemption.due(1)
            signal.raise_signal(signal.SIGTERM)
            assert preemption.due(2) and not seen
        signal.raise_signal(signal.SIGTERM)
        assert seen == ["outer"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_can_train_but_does_not_listen():
    told = []

    def train():
        with Preemption() as preemption:
            told.append(preemption.due(1))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert told == [False] and signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_five_random_kills_change_no_bit(whole, tmp_path):
    rng = random.Random(0)
    workdir = tmp_path / "run"
    for i, last in enumerate(sorted(rng.sample(range(1, 12), 5))):
        launched = start(workdir)
        wait_for_step(workdir, launched, last)
        time.sleep(rng.random() * 0.05)
        launched[0].send_signal((signal.SIGKILL, signal.SIGTERM)[i % 2])
        (code,) = finish(launched)
        # A signal that comes with the last step may find the run finished.
        assert code == (-9, 75)[i % 2] or (code == 0 and max(losses(workdir)) == 12)
    assert finish(start(workdir)) == [0]
    assert [record["step"] for record in lines(workdir)] == STEPS
    assert losses(workdir) == whole


@pytest.mark.slow
def test_twenty_kills_in_one_long_run_lose_no_step(tmp_path):
    epochs, rng = 25, random.Random(0)
    steps = list(range(1, 4 * epochs + 1))
    assert finish(start(tmp_path / "whole", epochs=epochs)) == [0]
    workdir = tmp_path / "killed"
    for kill in range(20):
        launched = start(workdir, epochs=epochs)
        # At least two steps on, where every second one is saved.
        wait_for_step(workdir, launched, min(4 * kill + rng.randint(3, 6), 95))
        launched[0].send_signal(rng.choice([signal.SIGKILL, signal.SIGTERM]))
        assert finish(launched) in ([-9], [75])
    assert finish(start(workdir, epochs=epochs)) == [0]
    assert [record["step"] for record in lines(workdir)] == steps
    assert losses(workdir) == losses(tmp_path / "whole")
