"""A wait for input or for the compiler ends when a stop is requested."""

import threading
import time
from concurrent.futures import Future

import pytest

from ssljax.runs import waiting
from ssljax.runs.waiting import Stopped, Waiting, wait_for


def test_items_and_the_error_after_them_come_in_order():
    def items():
        yield 1
        yield 2
        raise KeyError("third")

    with Waiting(items(), lambda: False) as found:
        assert [found.next(), found.next()] == [1, 2]
        with pytest.raises(KeyError, match="third"):
            found.next()


@pytest.mark.parametrize("ready", [True, False])
def test_nothing_is_read_before_it_is_asked_for(ready):
    read = []
    with Waiting(map(read.append, range(9)), lambda: False, ready=ready) as found:
        found.next()
        time.sleep(0.05)
    assert read == [0]


def test_a_request_ends_the_wait_and_the_iterator_is_closed_later():
    gate, closed = threading.Event(), threading.Event()

    def items():
        try:
            gate.wait()
            yield 1
        finally:
            closed.set()

    requested = threading.Event()
    threading.Timer(0.1, requested.set).start()
    found = Waiting(items(), requested.is_set)
    with pytest.raises(Stopped):
        found.next()
    gate.set()
    found.close()
    assert closed.wait(1)


def test_an_error_after_a_request_is_a_consequence_of_the_signal():
    requested = []

    def items():
        requested.append(True)
        raise RuntimeError("a worker was killed")
        yield

    with Waiting(items(), lambda: bool(requested)) as found, pytest.raises(Stopped):
        found.next()


def test_a_reader_that_never_returns_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(waiting, "_PATIENCE", 0.1)
    gate, requested = threading.Event(), []

    def items():
        requested.append(True)
        gate.wait()
        yield

    began = time.monotonic()
    with Waiting(items(), lambda: bool(requested)) as found, pytest.raises(Stopped):
        found.next()
    assert time.monotonic() - began < 2
    gate.set()


def test_a_future_is_waited_for_and_its_own_timeout_is_an_error():
    future: Future[int] = Future()
    threading.Timer(0.15, lambda: future.set_result(3)).start()
    assert wait_for(future, lambda: False) == 3
    failed: Future[int] = Future()
    failed.set_exception(TimeoutError("of the compiler"))
    with pytest.raises(TimeoutError, match="of the compiler"):
        wait_for(failed, lambda: False)
    with pytest.raises(Stopped):
        wait_for(Future(), lambda: True)
