"""Reads that fail for a moment are repeated; a lost disk ends them soon."""

import errno
import os
import pickle
import time

import numpy as np
import pytest

from ssljax.data import DataError, decode, retry
from ssljax.data.folder import FolderReader
from ssljax.data.opening import Unreachable
from ssljax.data.retry import Retries, TransientDataError, is_transient
from ssljax.data.tfds import TfdsReader


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(retry, "WAITS", (0.01, 0.02, 0.04))


def failing(error, times):
    """Return a function that raises that often before it returns 7, and its calls."""
    calls = []

    def read():
        calls.append(time.monotonic())
        if len(calls) <= times:
            raise error
        return 7

    return read, calls


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_an_error_that_passes_is_tried_again_after_longer_and_longer_waits(number):
    read, calls = failing(OSError(number, os.strerror(number)), 3)
    assert Retries().call(read) == 7
    waits = np.diff(calls)
    assert len(calls) == 4 and (waits >= [0.01, 0.02, 0.04]).all()


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "gone"),
        PermissionError(errno.EACCES, "no"),
        Unreachable("No such file or directory"),
        RuntimeError("Corrupted Riegeli/records file at byte 503"),
        KeyError("HTTP error 503"),
    ],
)
def test_an_error_that_stays_is_raised_at_once(error):
    read, calls = failing(error, 9)
    with pytest.raises(type(error)):
        Retries().call(read)
    assert len(calls) == 1


@pytest.mark.parametrize(
    "text", ["HTTP error 503", "HTTP/1.1 502", "500 Internal Server Error"]
)
def test_a_server_that_is_busy_is_asked_again(text):
    assert is_transient(RuntimeError(text))


def test_a_batch_on_a_lost_disk_does_not_wait_for_each_of_its_images(monkeypatch):
    monkeypatch.setattr(retry, "WAITS", (0.2, 0.2))
    reader = FolderReader(64, 8, 3, "DATA", ("a.png",) * 64, np.zeros(64, np.int32))

    def lost(data, **options):
        raise Unreachable(os.strerror(errno.EIO))

    monkeypatch.setattr(decode, "decode", lost)
    began = time.monotonic()
    with pytest.raises(TransientDataError) as caught:
        reader.many(np.arange(64))
    # One image after the other would take 26 s.
    assert time.monotonic() - began < 5
    assert str(caught.value) == (
        "DATA/a.png cannot be read (Input/output error), tried 3 times in 0 s; check "
        "the disk or the network"
    )
    # It comes from a worker process.
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_the_records_of_a_tfds_set_are_read_again():
    class Records:
        fails = 2

        def __getitems__(self, indices):
            if Records.fails:
                Records.fails -= 1
                raise RuntimeError("Stale file handle; reading x.array_record")
            return [{"image": b"x"} for _ in indices]

    reader = TfdsReader(4, 12, 3, "NAME", "DATA", "train", "image", None, None)
    reader.records = Records()
    assert reader.fetch(np.arange(2)) == [(b"x", -1)] * 2
    Records.fails = 99
    with pytest.raises(TransientDataError, match="'NAME' in DATA .*tried 4 times"):
        reader.fetch(np.arange(2))
    assert issubclass(TransientDataError, DataError)
