import csv
import json
import math
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.config import Config, LogConfig
from ssljax.config.checks import ConfigError
from ssljax.runs.files import read_json_lines
from ssljax.runs.folder import RunFolder
from ssljax.runs.writers import DelayedMetrics, MetricWriter


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def _refuse_constant(name):
    raise AssertionError(f"{name} is not strict JSON")


def test_lines_are_strict_json_with_the_step_first(folder):
    with MetricWriter(folder, resume_step=0) as writer:
        writer.write(
            5,
            {
                "loss": np.float32(0.5),
                "n": jnp.int32(3),
                "bad": float("nan"),
                "worse": jnp.float32(math.inf),
                "panel": np.array([1.0, np.nan]),
                "text": "x",
            },
        )
        # Every line is written at once, so that a kill loses none.
        line = folder.metrics.read_text()
    assert line.startswith('{"step": 5, ') and line.endswith("\n")
    assert json.loads(line, parse_constant=_refuse_constant) == {
        "step": 5,
        "loss": 0.5,
        "n": 3,
        "bad": None,
        "worse": None,
        "panel": [1.0, None],
        "text": "x",
    }


def test_steps_must_increase(folder):
    with MetricWriter(folder, resume_step=0) as writer:
        writer.write(0, {})
        writer.write(2, {})
        for step in (2, 1):
            with pytest.raises(ValueError, match=f"step {step} .* after step 2"):
                writer.write(step, {})
    with MetricWriter(folder, resume_step=2) as writer:
        with pytest.raises(ValueError, match="after step 2"):
            writer.write(2, {})


def test_resuming_drops_records_after_the_resumed_step(folder):
    with MetricWriter(folder, resume_step=0) as writer:
        for step in (10, 20, 30):
            writer.write(step, {"loss": step / 10})
            writer.alarm(step, "collapse", "rank fell", "lower the rate")
    with folder.metrics.open("a") as file:
        file.write('{"step": 40, "lo')
    with folder.alarms.open("a") as file:
        file.write('{"st')
    with MetricWriter(folder, resume_step=20) as writer:
        assert [r["step"] for r in read_json_lines(folder.metrics)] == [10, 20]
        writer.write(30, {"loss": 7.0})
    assert read_json_lines(folder.metrics) == [
        {"step": 10, "loss": 1.0},
        {"step": 20, "loss": 2.0},
        {"step": 30, "loss": 7.0},
    ]
    alarms = read_json_lines(folder.alarms)
    assert [a["step"] for a in alarms] == [10, 20]
    assert alarms[0] == {
        "step": 10,
        "kind": "collapse",
        "message": "rank fell",
        "advice": "lower the rate",
    }


def test_starting_from_scratch_drops_all_records_but_step_zero(folder):
    with MetricWriter(folder, resume_step=0) as writer:
        writer.write(0, {"rank": 3.0})
        writer.write(1, {"loss": 1.0})
    with MetricWriter(folder, resume_step=0):
        # Records up to the restored step stay, so the monitor's at step 0 is kept.
        assert [r["step"] for r in read_json_lines(folder.metrics)] == [0]


def test_csv_has_a_column_for_every_scalar(folder):
    with MetricWriter(folder, resume_step=0) as writer:
        writer.write(1, {"loss": 1.5, "panel": [1, 2]})
        writer.write_csv()
        assert folder.metrics_csv.read_text() == "step,loss\n1,1.5\n"
        writer.write(2, {"loss": math.nan, "knn": 0.25, "panel": None})
    with folder.metrics_csv.open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"step": "1", "loss": "1.5", "knn": ""},
        {"step": "2", "loss": "", "knn": "0.25"},
    ]


def test_csv_without_records_has_a_header(folder):
    writer = MetricWriter(folder, resume_step=0)
    writer.close()
    writer.close()
    assert folder.metrics_csv.read_text() == "step\n"


@pytest.mark.parametrize(
    "option, module", [("tensorboard", "tensorboardX"), ("wandb", "wandb")]
)
def test_a_missing_logger_is_one_line_and_changes_nothing(
    folder, monkeypatch, option, module
):
    with MetricWriter(folder, resume_step=0) as writer:
        writer.write(1, {"loss": 1.0})
    before = folder.metrics.read_text()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError) as caught:
        MetricWriter(folder, resume_step=0, **{option: True})
    assert f'{module} is not installed; pip install "ssljax[log]"' in str(caught.value)
    assert "\n" not in str(caught.value)
    assert folder.metrics.read_text() == before


class _Recorder(types.ModuleType):
    """Fake package of a logger that records the calls."""

    def __init__(self, name):
        super().__init__(name)
        self.inits, self.logged, self.finished = [], [], 0

    def init(self, **settings):
        self.inits.append(settings)
        return self

    def log(self, record, step):
        self.logged.append((step, record))

    def finish(self):
        self.finished += 1


def test_wandb_resumes_the_same_run(folder, monkeypatch):
    wandb = _Recorder("wandb")
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for resume_step in (0, 1):
        with MetricWriter(
            folder,
            resume_step=resume_step,
            wandb=True,
            config=Config(seed=5, log=LogConfig(wandb_project="p")),
        ) as writer:
            writer.write(resume_step + 1, {"loss": 0.5, "panel": [1], "nan": math.nan})
    first, second = wandb.inits
    assert first == second
    assert first["id"] == (folder.path / "wandb_run_id.txt").read_text().strip()
    assert first["resume"] == "allow" and first["project"] == "p"
    assert "mode" not in first  # left to WANDB_MODE
    assert first["config"]["seed"] == 5
    assert wandb.logged == [(1, {"loss": 0.5}), (2, {"loss": 0.5})]
    assert wandb.finished == 2


def test_tensorboard_events_are_purged_beyond_the_resumed_step(folder, monkeypatch):
    tensorboard = types.ModuleType("tensorboardX")
    made, scalars = [], []

    class SummaryWriter:
        def __init__(self, path, purge_step):
            made.append((path, purge_step))

        def add_text(self, name, text, step):
            assert name == "run" and text == "name: run"

        def add_scalar(self, *values):
            scalars.append(values)

        def flush(self):
            pass

        def close(self):
            made.append("closed")

    setattr(tensorboard, "SummaryWriter", SummaryWriter)  # noqa: B010
    monkeypatch.setitem(sys.modules, "tensorboardX", tensorboard)
    for resume_step in (0, 7):
        with MetricWriter(folder, resume_step=resume_step, tensorboard=True) as writer:
            writer.write(resume_step + 1, {"loss": 0.5, "text": "x"})
    path = str(folder.path / "tensorboard")
    assert made == [(path, None), "closed", (path, 8), "closed"]
    assert scalars == [("loss", 0.5, 1), ("loss", 0.5, 8)]


def test_tensorboard_writes_an_event_file(folder):
    pytest.importorskip("tensorboardX")
    with MetricWriter(folder, resume_step=0, tensorboard=True) as writer:
        writer.write(1, {"loss": 0.5})
    (events,) = (folder.path / "tensorboard").iterdir()
    assert b"loss" in events.read_bytes()


def test_delayed_metrics_are_host_numbers():
    held = DelayedMetrics()
    assert held.pop() is None
    metrics = {
        "loss": jnp.float32(jnp.nan),
        "half": jnp.bfloat16(1.5),
        "rate": 0.1,
        "panel": jnp.arange(2),
    }
    # Nothing may wait for the device while a step is being queued.
    with jax.transfer_guard_device_to_host("disallow"):
        held.push(3, metrics, {"epoch": 0.5})
    with pytest.raises(RuntimeError, match="step 3 are still held"):
        held.push(4, metrics, {})
    popped = held.pop()
    assert popped is not None
    step, record = popped
    assert step == 3 and record["epoch"] == 0.5
    assert type(record["loss"]) is float and math.isnan(record["loss"])
    assert type(record["half"]) is float and record["half"] == 1.5
    assert type(record["rate"]) is float and record["rate"] == 0.1
    np.testing.assert_array_equal(record["panel"], [0, 1])
    assert held.pop() is None
