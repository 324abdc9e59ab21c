"""SIGTERM and kill -9 at random moments do not change the losses of a resumed run."""

import os
import random
import signal
import sys
import threading
import time

import pytest
from interrupted import (
    finish,
    lines,
    losses,
    start,
    wait_for_step,
)

from ssljax.runs.preemption import Preemption


def test_the_previous_handler_is_restored():
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


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGHUP"])
def test_every_request_is_named_and_one_that_is_ignored_stays_so(name):
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with Preemption() as preemption:
            signal.raise_signal(number)
            assert preemption.requested() and preemption.reason == f"stopped by {name}"
        signal.signal(number, signal.SIG_IGN)
        with Preemption() as preemption:
            signal.raise_signal(number)
            assert not preemption.requested()
    finally:
        signal.signal(number, before)


def test_an_interruption_that_python_drops_is_raised_again():
    class Closing:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    dropped = []
    hook, sys.unraisablehook = sys.unraisablehook, dropped.append
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Preemption() as preemption:
            Closing()
            assert [one.exc_type for one in dropped] == [KeyboardInterrupt]
            with pytest.raises(KeyboardInterrupt):
                preemption.due(1)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_another_handler_of_interruptions_is_left_alone(handler):
    before = signal.signal(signal.SIGINT, handler)
    try:
        with Preemption() as preemption:
            assert signal.getsignal(signal.SIGINT) is handler
            signal.raise_signal(signal.SIGINT)
            assert not preemption.due(1)
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_can_train_but_installs_no_handler():
    answers = []

    def train():
        with Preemption() as preemption:
            answers.append(preemption.due(1))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert answers == [False] and signal.getsignal(signal.SIGTERM) is before


@pytest.mark.slow
def test_random_kills_lose_no_step_and_change_no_bit(tmp_path):
    kills = 10 if os.environ.get("SSLJAX_NIGHTLY") else 5
    epochs, rng = kills + 3, random.Random(0)
    steps = list(range(1, 4 * epochs + 1))
    assert finish(start(tmp_path / "whole", epochs=epochs)) == [0]
    workdir = tmp_path / "killed"
    for kill in range(kills):
        launched = start(workdir, epochs=epochs)
        # At least two steps later, because only every second step is saved.
        wait_for_step(
            workdir, launched, min(4 * kill + rng.randint(3, 6), 4 * epochs - 5)
        )
        time.sleep(rng.random() * 0.05)
        launched[0].send_signal(rng.choice([signal.SIGKILL, signal.SIGTERM]))
        assert finish(launched) in ([-9], [75])
    assert finish(start(workdir, epochs=epochs)) == [0]
    assert [record["step"] for record in lines(workdir)] == steps
    assert losses(workdir) == losses(tmp_path / "whole")
