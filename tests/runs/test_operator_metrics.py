"""What an operator looks at: step times, memory, traces, and the loggers' pictures."""

import sys
import threading
import types
from dataclasses import replace

import jax
import numpy as np
import pytest
from faulty import TINY, Runs, images

from ssljax.config import Config, ConfigError, LogConfig, MonitorConfig
from ssljax.methods import resolve
from ssljax.runs import progress, step_trace
from ssljax.runs.folder import RunFolder
from ssljax.runs.loggers import histograms
from ssljax.runs.setup import prepare
from ssljax.runs.step_times import StepTimes
from ssljax.runs.step_trace import StepTrace


class Pending:
    """A result that a device has not computed yet."""

    def __init__(self):
        self.done = threading.Event()

    def block_until_ready(self):
        assert self.done.wait(10)
        return self


def test_the_loop_never_waits_for_a_step_to_be_timed():
    times, steps = StepTimes(), [Pending(), Pending()]
    for number, step in enumerate(steps):
        times.add(float(number), {"loss": step})  # returns at once
    assert times.take(patience=0) == {}
    for step in steps:
        step.done.set()
    assert len(times.take(patience=10)) == 3


def test_a_step_lasts_from_the_end_of_the_one_before(monkeypatch):
    clock = iter([12.0, 13.5, 27.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    times = StepTimes()
    # Queued ahead, and after a pause in which the device had nothing to do.
    for queued in (10.0, 10.1, 25.0):
        times.add(queued, np.zeros(()))
    times.close(patience=10)
    assert times._seconds == [2.0, 1.5, 2.0]
    assert times.take()["step_seconds_p50"] == 2.0


def test_memory_is_that_of_the_fullest_device(monkeypatch):
    def device(**stats):
        return types.SimpleNamespace(memory_stats=lambda: stats or None)

    full = device(bytes_in_use=2**30, peak_bytes_in_use=3 * 2**30)
    empty = device(bytes_in_use=0, peak_bytes_in_use=2**30)
    monkeypatch.setattr(jax, "local_devices", lambda: [empty, full])
    expected = {"device_memory_gib": 1.0, "device_memory_peak_gib": 3.0}
    assert progress.device_memory() == expected
    monkeypatch.setattr(jax, "local_devices", lambda: [full, device()])
    assert progress.device_memory() == {}


@pytest.mark.parametrize("span", ["5:3", "3", "a:b", "3:3", "-1:2", "1:2:3", ""])
def test_a_range_to_trace_that_makes_no_sense_is_refused(span):
    with pytest.raises(ConfigError, match="allowed: START:STOP, such as 100:105"):
        LogConfig(profile_steps=span)


@pytest.mark.slow
def test_steps_to_trace_must_be_those_of_the_run():
    late = replace(TINY, log=LogConfig(profile_steps="10:13"))
    with pytest.raises(ConfigError, match="'10:13', but the run has 12 steps; allowed"):
        prepare(resolve(late), images())


def test_a_trace_that_fails_does_not_end_the_run(monkeypatch, capsys, tmp_path):
    def fail(*_, **__):
        raise RuntimeError("no space\nleft")

    stopped = []
    monkeypatch.setattr(step_trace.jax.profiler, "start_trace", fail)
    monkeypatch.setattr(step_trace.jax.profiler, "stop_trace", stopped.append)
    with StepTrace(range(2, 4), tmp_path) as trace:
        for step in range(6):
            trace.before(step)
            trace.after(step, ())
    assert capsys.readouterr().out == f"no trace in {tmp_path}: no space left\n"
    assert not stopped


@pytest.mark.parametrize(("first", "last"), [(0, 6), (3, 6), (0, 3)])
def test_a_trace_has_the_steps_of_its_range(first, last, monkeypatch, tmp_path):
    """Also of a run that resumes in it, or stops in it."""
    seen = []
    for name in ("start_trace", "stop_trace"):
        monkeypatch.setattr(
            step_trace.jax.profiler, name, lambda *_, name=name, **__: seen.append(name)
        )
    with StepTrace(range(2, 4), tmp_path) as trace:
        for step in range(first, last):
            trace.before(step)
            seen.append(step)
            trace.after(step, ())
    begin, end = seen.index("start_trace"), seen.index("stop_trace")
    expected = [step for step in (2, 3) if first <= step < last]
    assert seen[begin + 1 : end] == expected
    assert seen.count("start_trace") == seen.count("stop_trace") == 1


def test_histograms_are_of_the_eigenvalues_alone():
    record = {"spectrum/eigenvalues": [100.0, None, 0.0], "panel": [1.0], "loss": 2.0}
    (name,) = histograms(record)
    assert name == "spectrum/eigenvalues_log10"
    assert histograms(record)[name].tolist() == [2.0]


class _Package(types.ModuleType):
    """A logger's package that notes every call."""

    def __init__(self, name):
        super().__init__(name)
        self.calls = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*words, **options):
            self.calls.append((name, words, options))
            return self

        return call

    def of(self, name):
        return [(words, options) for n, words, options in self.calls if n == name]


@pytest.mark.slow
def test_a_run_shows_all_of_it(monkeypatch, tmp_path):
    packages = [_Package("wandb"), _Package("tensorboardX")]
    for package in packages:
        monkeypatch.setitem(sys.modules, package.__name__, package)
    wandb, board = packages
    log = LogConfig(
        every_steps=4,
        tensorboard=True,
        wandb=True,
        group="seeds",
        tags=("a", "b"),
        profile_steps="5:7",
    )
    monitor = MonitorConfig(every_epochs=3, examples=32, eigenvalues=4, knn_examples=0)
    Runs(tmp_path / "first")(replace(TINY, log=log, monitor=monitor))
    folder = RunFolder(tmp_path / "first")
    assert list((folder.path / "profile").rglob("*.xplane.pb"))
    records = folder.load_metrics()
    assert "startup_seconds" in records[0] and "step_seconds_p50" not in records[0]
    for record in records[1:]:
        assert 0 < record["step_seconds_p50"] <= record["step_seconds_p99"]
        assert "input_wait" in record and "device_memory_gib" not in record
    ((_, about),) = wandb.of("init")
    assert about["name"] == "first" and about["group"] == "seeds"
    assert about["tags"] == ("a", "b") and about["project"] == "ssljax"
    (((name, text, step), _),) = board.of("add_text")
    assert name == "run" and step == 0 and "group: seeds" in text
    # Twelve images, each with three draws of two views.
    ((_, pixels, step), options), *rest = board.of("add_image")
    assert pixels.shape == (12 * 12, 7 * 12, 3) and pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[:12, :12], images().images[0])
    assert step == 0 and options == {"dataformats": "HWC"} and not rest
    assert [words[0].shape for words, _ in wandb.of("Image")] == [pixels.shape]
    drawn = {words[0] for words, _ in board.of("add_histogram")}
    assert "spectrum/eigenvalues_log10" in drawn
    assert len(wandb.of("Histogram")) == len(board.of("add_histogram"))
    steps = [options["step"] for _, options in wandb.of("log")]
    assert steps == sorted(steps)
    # A run that is resumed does not draw its views again.
    Runs(tmp_path / "first")(replace(TINY, log=log, monitor=monitor))
    assert len(board.of("add_image")) == 1 and len(wandb.of("init")) == 2


def test_tags_may_come_from_a_file():
    assert LogConfig(tags=["a"]).tags == ("a",)  # type: ignore[arg-type]
    assert Config().log.traced == range(0)
