"""The leaderboard: equal settings for every method, and a record that is resumed."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from leaderboard_page import page
from paths import ROOT

from ssljax.config import Config
from ssljax.methods import METHODS, resolve

SCRIPT = ROOT / "experiments" / "leaderboard" / "run.py"


def leaderboard():
    spec = importlib.util.spec_from_file_location("leaderboard", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def widths(head):
    return [int(part) for part in (head or "").split("-") if part.isdigit()]


def test_all_methods_have_equal_settings_and_narrow_heads():
    module = leaderboard()
    size = module.SIZES["cpu"]
    configs = [resolve(module.config_of(name, size, 3)) for name in METHODS]
    for config in configs:
        assert config.seed == 3
        assert (config.data, config.model) == (configs[0].data, configs[0].model)
        assert (config.epochs, config.batch_size) == (20, 128)
        heads = config.method.projector, config.method.predictor
        assert max([*widths(heads[0]), *widths(heads[1])], default=0) <= 256
        rates = config.optimizer.learning_rate, config.optimizer.name
        assert rates == (0.002, "adamw")
    assert len({config.method.name for config in configs}) == len(METHODS)
    assert isinstance(configs[0], Config)


def test_the_table_has_means_and_the_baseline_and_starts_with_the_best():
    module = leaderboard()
    numbers = {"knn": 1.0, "effective_rank": 2.0, "seconds": 3.0}
    runs = [
        {"method": "byol", "seed": 0, "linear": 50.0, **numbers},
        {"method": "byol", "seed": 1, "linear": 54.0, **numbers},
        {"method": "simclr", "seed": 0, "linear": 55.0, **numbers}
        | {"untrained_linear": 9.0, "untrained_knn": 8.0},
    ]
    rows = module.table_of(runs)
    assert [row["method"] for row in rows] == ["simclr", "byol", "untrained"]
    assert [row["linear"] for row in rows] == [55.0, 52.0, 9.0]
    assert [row["seeds"] for row in rows] == [1, 2, 1]
    assert rows[1]["linear_sd"] == pytest.approx(2.8284)


def call(folder, *words):
    environment = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--size", "toy", *words]
        + ["--json", str(folder / "record.json")],
        env={**environment, "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done


@pytest.mark.slow
def test_a_run_is_kept_in_the_record_and_repeats_to_the_digit(tmp_path):
    first = call(tmp_path, "--methods", "simclr", "--out", str(tmp_path / "a"))
    assert first.returncode == 0, first.stderr[-3000:]
    record = json.loads((tmp_path / "record.json").read_text("utf-8"))
    (run,) = record["runs"]
    assert run["untrained_effective_rank"] > 1 and run["effective_rank"] > 1
    assert list(record["configs"]) == ["cifar10/simclr"]
    text = page(tmp_path / "record.json")
    assert "| simclr | 1 |" in text and "| untrained | 1 |" in text

    # In another folder: nothing is trained again.
    second = call(tmp_path, "--methods", "simclr", "--out", str(tmp_path / "b"))
    assert second.returncode == 0 and not (tmp_path / "b").exists()

    again = call(tmp_path, "--again", "simclr", "--out", str(tmp_path / "c"))
    assert again.returncode == 0 and again.stdout.rstrip().endswith("same")

    record["runs"][0]["linear"] += 0.05
    (tmp_path / "record.json").write_text(json.dumps(record))
    planted = call(tmp_path, "--again", "simclr", "--out", str(tmp_path / "c"))
    assert planted.returncode == 1 and "DIFFERS" in planted.stdout
