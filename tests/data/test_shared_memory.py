"""Workers whose batches do not fit into shared memory are refused beforehand."""

import re

import pytest
from faulty import on_the_page

from ssljax.data import DataError, shared_memory

MIB = 2**20


@pytest.mark.parametrize("workers, fits", [(0, True), (1, True), (4, False)])
def test_the_64_megabytes_of_a_container_are_explained(workers, fits, monkeypatch):
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: 64 * MIB)
    if fits:
        shared_memory.check_shared_memory(9 * MIB, workers=workers)
        return
    with pytest.raises(DataError) as caught:
        shared_memory.check_shared_memory(9 * MIB, workers=workers)
    line = str(caught.value)
    assert "need 171 MiB of shared memory, but /dev/shm has 64 MiB free" in line
    assert "--shm-size 171m, or use --data.workers 1" in line
    assert on_the_page(f"ssljax: {line}", 2, {})
    # What it advises is enough.
    fit = int(re.findall(r"--data.workers (\d+)", line)[-1])
    shared_memory.check_shared_memory(9 * MIB, workers=fit)


def test_a_system_without_that_folder_is_not_refused(monkeypatch):
    monkeypatch.setattr(shared_memory, "PLACE", "/nowhere")
    assert shared_memory.free_bytes() is None
    shared_memory.check_shared_memory(2**50, workers=4)
