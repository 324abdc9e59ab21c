"""Two processes with four devices each give one run with the numbers of one device."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from interrupted import (
    STEPS,
    environment,
    finish,
    free_port,
    lines,
    losses,
    start,
    wait_for_step,
)
from small_runs import WIRINGS
from trained_alike import gap_between, reference

from ssljax.methods import METHODS

pytestmark = pytest.mark.slow
CHOSEN = (*WIRINGS, "w_mse", "supervised")
AGREE = """
import pickle, sys
import jax
jax.config.update("jax_disable_most_optimizations", True)
jax.config.update("jax_num_cpu_devices", 4)
index, port, out = int(sys.argv[1]), sys.argv[2], sys.argv[3]
from ssljax.config import DevicesConfig
from ssljax.runs import processes
processes.join(
    DevicesConfig(coordinator=f"localhost:{port}", processes=2, process=index)
)
from trained_alike import parameters_after
found = {}
for name in sys.argv[4].split():
    for engine in ("jit", "pmap") if name == "simclr" else ("jit",):
        found[engine, name] = parameters_after(name, engine, None)
if index == 0:
    with open(out, "wb") as file:
        pickle.dump(found, file)
"""


def test_methods_train_as_on_one_device(tmp_path):
    # One of each wiring, one that draws a random key and one that uses labels, or all
    # methods (ten minutes) with SSLJAX_ALL_ENGINES=1.
    names = METHODS if os.environ.get("SSLJAX_ALL_ENGINES") else CHOSEN
    port, out = str(free_port()), tmp_path / "found.pickle"
    launched = [
        subprocess.Popen(
            [sys.executable, "-c", AGREE, str(index), port, str(out), " ".join(names)],
            env=environment(),
        )
        for index in (0, 1)
    ]
    assert finish(launched, within=1500) == [0, 0]
    import pickle

    with out.open("rb") as file:
        found = pickle.load(file)
    assert {name for _, name in found} == set(names)
    gaps = {
        key: gap_between(key[1], reference(key[1]), other)
        for key, other in found.items()
    }
    assert max(gaps.values()) < 1e-5, gaps


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the losses of two processes that are not stopped."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    assert finish(start(workdir, processes=2)) == [0, 0]
    return losses(workdir)


def test_two_processes_train_like_one_and_write_once(whole, tmp_path):
    workdir = tmp_path / "one"
    assert finish(start(workdir)) == [0]
    alone = losses(workdir)
    assert sorted(alone) == sorted(whole) == STEPS
    # In float32 a ReLU that flips moves the later losses, but not the first one.
    np.testing.assert_allclose(whole[1], alone[1], rtol=1e-5)
    np.testing.assert_allclose(
        [whole[s] for s in STEPS], [alone[s] for s in STEPS], rtol=2e-2
    )


def test_random_kills_of_two_processes_change_no_bit(whole, tmp_path):
    rng = random.Random(0)
    workdir = tmp_path / "run"
    kills = 3 if os.environ.get("SSLJAX_NIGHTLY") else 1
    for i, last in enumerate(sorted(rng.sample(range(1, 11), kills))):
        launched = start(workdir, processes=2)
        wait_for_step(workdir, launched, last)
        time.sleep(rng.random() * 0.05)
        if i % 2:
            # One process gets the signal; both stop after the same step.
            launched[rng.randint(0, 1)].send_signal(signal.SIGTERM)
            ended = finish(launched)
            assert ended == [75, 75] or (ended == [0, 0] and max(losses(workdir)) == 12)
        else:
            for process in launched:
                process.send_signal(signal.SIGKILL)
            assert finish(launched) == [-9, -9]
    assert finish(start(workdir, processes=2)) == [0, 0]
    assert [record["step"] for record in lines(workdir)] == STEPS
    assert losses(workdir) == whole


def test_a_run_of_two_processes_resumes_in_one(whole, tmp_path):
    workdir = tmp_path / "run"
    launched = start(workdir, processes=2)
    wait_for_step(workdir, launched, 4)
    launched[0].send_signal(signal.SIGTERM)
    assert finish(launched) == [75, 75]
    kept = max(losses(workdir))
    assert finish(start(workdir)) == [0]
    assert [record["step"] for record in lines(workdir)] == STEPS
    np.testing.assert_allclose(losses(workdir)[kept + 1], whole[kept + 1], rtol=1e-5)


def stderr_of(folder, index):
    return (folder / f"{index}.txt").read_text()


def test_if_one_process_is_killed_the_other_stops_with_a_message(tmp_path):
    workdir = tmp_path / "run"
    launched = start(workdir, processes=2, epochs=200, said=tmp_path)
    wait_for_step(workdir, launched, 2)
    launched[1].send_signal(signal.SIGKILL)
    code, _ = finish(launched, within=150)
    assert code not in (0, "hung")
    message = stderr_of(tmp_path, 0)
    assert "lost" in message or "distributed service" in message


def test_if_one_process_does_not_join_the_other_stops_with_a_message(tmp_path):
    launched = start(
        tmp_path / "run", processes=2, only=[0], said=tmp_path, patience=20
    )
    (code,) = finish(launched, within=150)
    assert code not in (0, "hung")
    message = stderr_of(tmp_path, 0)
    assert "20 s" in message or "DEADLINE" in message


def test_an_error_in_process_zero_stops_both(tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "thesis.tex").write_text("not a run")
    launched = start(workdir, processes=2, said=tmp_path)
    assert finish(launched, within=150) == [2, 2]
    assert all("holds no run" in stderr_of(tmp_path, index) for index in (0, 1))
    assert [path.name for path in workdir.iterdir()] == ["thesis.tex"]
