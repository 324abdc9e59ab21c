"""When a run saves checkpoints, which of them it keeps, and which is the best."""

from dataclasses import replace

import pytest
from faulty import TINY, on_the_page
from interrupted import images

import ssljax
from ssljax.config import CheckpointConfig, Config, LogConfig, MonitorConfig
from ssljax.config.checks import ConfigError
from ssljax.data import from_arrays
from ssljax.runs import processes
from ssljax.runs.cadence import Cadence
from ssljax.runs.checkpoint import saved_steps
from ssljax.runs.encoder import step_of
from ssljax.runs.monitor import Monitor
from ssljax.runs.pretrain import pretrain

KNN = "knn_accuracy"


def saves(settings, *, measured=None, log_every=50, seconds=10.0):
    """Return the steps of 30, ten to an epoch and ``seconds`` each, that are saved."""
    now = [0.0]
    config = Config(
        checkpoint=CheckpointConfig(**settings), log=LogConfig(every_steps=log_every)
    )
    cadence = Cadence(config, epoch=10, total=30, clock=lambda: now[0])
    found = []
    for step in range(1, 31):
        now[0] += seconds
        if cadence.due(step, (measured or {}).get(step, {})):
            found.append(step)
    return found


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, [10, 20, 30]),
        ({"every_epochs": 0.5}, [5, 10, 15, 20, 25, 30]),
        ({"every_epochs": 1.2}, [12, 24, 30]),
        # A minute is six steps.
        ({"every_epochs": 0.0, "every_minutes": 1.0}, [6, 12, 18, 24, 30]),
        # Counted from the last checkpoint, whatever it was saved for.
        ({"every_minutes": 1.0}, [6, 10, 16, 20, 26, 30]),
        ({"every_minutes": 100.0}, [10, 20, 30]),
        # What is kept for good is saved, however rare the others are.
        ({"every_epochs": 2.0, "keep_period": 1.5}, [15, 20, 30]),
    ],
)
def test_steps_that_are_saved(settings, steps):
    assert saves(settings) == steps


def test_every_measurement_above_all_before_is_saved():
    numbers = {4: 10.0, 8: 12.0, 12: 11.0, 16: float("nan"), 22: 12.5, 25: None}
    measured = {step: {KNN: value} for step, value in numbers.items()}
    assert saves({"best": KNN}, measured=measured) == [4, 8, 10, 20, 22, 30]
    assert saves({"best": "rankme"}, measured=measured) == [10, 20, 30]


def test_several_processes_agree_on_the_clock_at_logged_steps(monkeypatch):
    asked = []
    monkeypatch.setattr(processes, "several", lambda: True)
    monkeypatch.setattr(
        processes, "on_first", lambda action: asked.append(True) or action()
    )
    settings = {"every_epochs": 0.0, "every_minutes": 1.0}
    assert saves(settings, log_every=4) == [8, 16, 24, 30]
    assert len(asked) == 7


@pytest.mark.parametrize(
    ("best", "monitor", "line"),
    [
        ("rankme", {"every_epochs": 0.0}, "None where monitor.every_epochs is 0"),
        (KNN, {"knn_examples": 0}, "rankme if monitor.knn_examples is 0"),
    ],
)
def test_a_best_that_the_monitor_does_not_measure_is_refused(best, monitor, line):
    with pytest.raises(ConfigError, match=f"checkpoint.best is '{best}'.*{line}"):
        Config(checkpoint=CheckpointConfig(best=best), monitor=MonitorConfig(**monitor))


CONFIG = replace(
    TINY,
    monitor=MonitorConfig(every_epochs=0.5, examples=16, eigenvalues=2, knn_k=3),
    checkpoint=CheckpointConfig(every_epochs=0.25, keep_period=1.5, best=KNN),
)


@pytest.mark.slow
def test_a_run_keeps_the_latest_some_for_good_and_the_best(tmp_path, monkeypatch):
    run, data = tmp_path / "run", images()
    # After steps 1, 2, 4, ..., 16.
    accuracies = iter([0.1, 0.3, 0.9, 0.2, 0.2, 0.4, 0.3, 0.8, 0.1])
    with monkeypatch.context() as patch:
        patch.setattr(Monitor, "knn_accuracy", lambda *_: next(accuracies))
        pretrain(CONFIG, run, train=data, test=data, quiet=True)
        assert saved_steps(run / "checkpoints") == [4, 6, 11, 12]
        assert step_of(run, "best") == 4 and step_of(run, 11) == 11
        # Also when the run is resumed, where a lower one changes nothing.
        longer = replace(CONFIG, epochs=4)
        pretrain(longer, run, train=data, test=data, quiet=True, extend=True)
    assert saved_steps(run / "checkpoints") == [4, 6, 12, 15, 16]
    ssljax.evaluate(run, train=data, test=data, checkpoint="best", protocols=["knn"])
    assert (run / "evaluation-step_4.json").exists()


@pytest.mark.slow
def test_a_best_without_labels_is_refused_before_the_folder_is_made(tmp_path):
    unlabelled = from_arrays(images().images)
    with pytest.raises(ConfigError, match="needs labelled images") as refused:
        pretrain(CONFIG, tmp_path / "run", train=unlabelled, quiet=True)
    assert on_the_page(str(refused.value), 2, {})
    assert not (tmp_path / "run").exists()
    free = replace(CONFIG, checkpoint=replace(CONFIG.checkpoint, best="rankme"))
    pretrain(replace(free, epochs=0.5), tmp_path / "run", train=unlabelled, quiet=True)
    assert step_of(tmp_path / "run", "best") in saved_steps(
        tmp_path / "run" / "checkpoints"
    )
    plain = replace(TINY, epochs=0.25)
    pretrain(plain, tmp_path / "plain", train=unlabelled, quiet=True)
    with pytest.raises(ConfigError, match="has no best checkpoint") as refused:
        step_of(tmp_path / "plain", "best")
    assert on_the_page(str(refused.value), 2, {tmp_path / "plain": "RUN"})
