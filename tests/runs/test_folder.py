import dataclasses
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from faulty import unreadable

from ssljax import methods
from ssljax.config import (
    Config,
    DevicesConfig,
    LogConfig,
    MethodConfig,
    ModelConfig,
    OptimizerConfig,
)
from ssljax.config.checks import ConfigError
from ssljax.runs.environment import Launch
from ssljax.runs.files import plain, read_json_lines, write_atomically, write_json
from ssljax.runs.folder import RunFolder
from ssljax.runs.records import DataRecord, Evaluation, EvaluationRow, SkippedFile


def test_claim_creates_the_folder_then_recognises_it(tmp_path):
    folder = RunFolder(tmp_path / "a" / "run")
    config = Config(seed=3, optimizer=OptimizerConfig(learning_rate=0.1))
    assert folder.claim(config) is False
    assert folder.load_config() == config
    assert folder.claim(config) is True
    assert os.listdir(folder.path) == ["config.json"]


@pytest.mark.parametrize("name", methods.METHODS)
def test_claim_resumes_the_run_of_an_older_version(name, tmp_path):
    """Settings added later take the value that the older version used."""
    folder = RunFolder(tmp_path / "run")
    config = methods.resolve(Config(method=MethodConfig(name)))
    folder.claim(config)
    saved = json.loads(folder.config.read_text())
    biased = ("simsiam", "intl", "intl_ema", "spectral", "supervised")
    bias = saved["method"]["projector_bias"], saved["method"]["predictor_bias"]
    assert any(bias) == (name in biased)
    for later in ("projector_norm", "projector_bias", "predictor_bias"):
        del saved["method"][later]
    del saved["model"]["stem_padding"]
    folder.config.write_text(json.dumps(saved))
    assert folder.claim(config, fill_gaps=methods.resolve) is True
    other = dataclasses.replace(config, model=ModelConfig(stem_padding=2))
    with pytest.raises(ConfigError, match="model.stem_padding: None -> 2"):
        folder.claim(other, fill_gaps=methods.resolve)


def test_claim_names_every_setting_that_differs(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.claim(Config())
    with pytest.raises(ConfigError) as caught:
        folder.claim(Config(seed=1, batch_size=128))
    text = str(caught.value)
    assert "\n" not in text
    assert "seed: 0 -> 1" in text and "batch_size: 256 -> 128" in text
    assert "use the same settings or another --workdir" in text
    assert folder.load_config() == Config()


def test_claim_accepts_differences_that_do_not_matter(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.claim(Config())
    other = dataclasses.replace(
        Config(), log=LogConfig(every_steps=7), devices=DevicesConfig(count=1)
    )
    assert folder.claim(other) is True


def test_claim_refuses_a_folder_with_other_files(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty.*'thesis.txt'.*--workdir"):
        RunFolder(tmp_path).claim(Config())
    assert os.listdir(tmp_path) == ["thesis.txt"]


def test_claim_works_after_a_kill_during_a_write(tmp_path):
    (tmp_path / ".config.json.0123abcd").write_text("{")
    assert RunFolder(tmp_path).claim(Config()) is False


def test_claim_reports_that_it_cannot_write(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(ConfigError, match="cannot be written .*--workdir"):
            RunFolder(path).claim(Config())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("existing", [False, True])
def test_claim_reports_a_read_only_folder(tmp_path, existing):
    folder = RunFolder(tmp_path)
    if existing:
        folder.claim(Config())
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match="Permission denied"):
            folder.claim(Config())
    finally:
        tmp_path.chmod(0o700)


def test_load_config_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(ConfigError, match="`ssljax pretrain RECIPE --workdir"):
        RunFolder(tmp_path).load_config()


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"model": 3}', '{"sed": 1}'])
def test_load_config_reports_a_damaged_file_in_one_line(tmp_path, text):
    folder = RunFolder(tmp_path)
    folder.config.write_text(text)
    with pytest.raises(ConfigError, match="config.json") as caught:
        folder.claim(Config())
    assert "\n" not in str(caught.value)


def test_environment_grows_by_one_launch_at_a_time(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_environment(["ssljax", "pretrain"])
    folder.write_environment(["ssljax", "pretrain", "--epochs", "2"])
    launches = json.loads(folder.environment.read_text())["launches"]
    assert [len(launch["command"]) for launch in launches] == [2, 4]
    last = launches[-1]
    assert last["device_count"] == jax.device_count()
    assert last["process_count"] == 1
    assert last["versions"]["jax"] == jax.__version__
    assert last["versions"]["numpy"] == np.__version__
    assert last["started"].endswith("+00:00")
    assert last["commit"] is None or len(last["commit"].split("-")[0]) == 40


def test_a_damaged_environment_file_is_replaced(tmp_path):
    folder = RunFolder(tmp_path)
    folder.environment.write_text('{"launches": [{"comm')
    folder.write_environment(["ssljax"])
    assert len(json.loads(folder.environment.read_text())["launches"]) == 1
    notes = []
    folder.environment.write_text('{"launches": [{"comm')
    assert folder.load_environment(notes).launches == ()
    assert len(notes) == 1 and "environment.json could not be read" in notes[0]


@pytest.mark.parametrize("name", ["environment.json", "data.json"])
def test_an_unreadable_file_is_refused_and_only_noted_in_a_report(
    name, tmp_path, monkeypatch
):
    folder = RunFolder(tmp_path)
    folder.write_environment(["ssljax", "pretrain"])
    folder.write_data(DataRecord(name="shapes"))
    load = {
        "environment.json": folder.load_environment,
        "data.json": folder.load_data,
    }[name]
    before = load()
    with monkeypatch.context() as patch:
        unreadable(patch, name)
        with pytest.raises(ConfigError, match=f"{name} cannot be read .Input/output"):
            load()
        notes = []
        assert load(notes) == type(before)()
        assert len(notes) == 1 and f"{name} could not be read" in notes[0]
        if name == "environment.json":
            # A new launch must not replace the earlier ones.
            with pytest.raises(ConfigError, match="cannot be read"):
                folder.write_environment(["ssljax", "again"])
    assert load() == before


def test_data_and_skipped_files(tmp_path):
    folder = RunFolder(tmp_path)
    assert folder.load_data() == DataRecord()
    folder.write_data(DataRecord(num_classes=np.int64(10), mean=np.array([0.5, 0.25])))
    assert folder.load_data() == DataRecord(num_classes=10, mean=(0.5, 0.25))
    folder.write_skipped([(tmp_path / "a b.png", "not an\nimage"), ("c.jpg", "empty")])
    assert folder.skipped.read_text().split("\n") == [
        f"{tmp_path}/a b.png\tnot an image",
        "c.jpg\tempty",
        "",
    ]
    assert folder.load_skipped()[1] == SkippedFile("c.jpg", "empty")
    # File names need not be text.
    folder.write_skipped([(os.fsdecode(b"\xff.png"), "empty")])
    assert folder.skipped.read_bytes() == b"\xff.png\tempty\n"
    assert folder.load_skipped() == [SkippedFile(os.fsdecode(b"\xff.png"), "empty")]


def test_records_survive_writing_and_reading(tmp_path):
    folder = RunFolder(tmp_path)
    row = EvaluationRow("encoder", "knn k=5", "test", 60, 30, 0, 81.25, None, "")
    folder.write_evaluation(Evaluation(step=3, rows=(row, row)))
    assert folder.load_evaluation() == Evaluation(step=3, rows=(row, row))
    folder.write_environment(["ssljax", "two words"])
    (launch,) = folder.load_environment().launches
    assert launch.command == ("ssljax", "two words")
    assert Launch.from_object(json.loads(json.dumps(plain(launch)))) == launch


def test_keys_of_another_version_are_kept_and_missing_ones_are_none(tmp_path):
    folder = RunFolder(tmp_path)
    old = {"command": ["ssljax"], "gpu_driver": "12.3", "device_count": "many"}
    folder.environment.write_text(json.dumps({"launches": [old, 5], "host": "a"}))
    folder.data.write_text('{"name": "shapes", "examples": true, "mean": [0.5, "x"]}')
    (launch,) = folder.load_environment().launches
    assert launch == Launch(command=("ssljax",), extra={"gpu_driver": "12.3"})
    assert folder.load_data() == DataRecord(name="shapes")
    folder.write_environment(["ssljax", "again"])
    kept = json.loads(folder.environment.read_text())
    assert kept["host"] == "a" and kept["launches"][0]["gpu_driver"] == "12.3"
    assert len(kept["launches"]) == 2


def test_plain_makes_strict_json():
    value = plain(
        {
            "a": np.float32(0.5),
            "b": jnp.bfloat16(1.5),
            "c": jnp.arange(3),
            "d": (float("nan"), np.float64("inf"), 1, True, "x", None),
            "e": np.zeros((1, 2), np.float16),
            "f": np.bool_(True),
        }
    )
    assert json.loads(json.dumps(value, allow_nan=False)) == {
        "a": 0.5,
        "b": 1.5,
        "c": [0, 1, 2],
        "d": [None, None, 1, True, "x", None],
        "e": [[0.0, 0.0]],
        "f": True,
    }


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    with pytest.raises(TypeError):
        write_atomically(path, 3)
    assert json.loads(path.read_text()) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.json"]


def test_json_lines_ignore_only_a_broken_last_line(tmp_path):
    path = tmp_path / "m.jsonl"
    assert read_json_lines(path) == []
    path.write_text('{"step": 1}\n\n{"step": 2}\n{"step": 3, "lo')
    assert read_json_lines(path) == [{"step": 1}, {"step": 2}]
    # A line without its line feed is incomplete, even if it is valid JSON.
    path.write_text('{"step": 1}\n{"step": 2}')
    assert read_json_lines(path) == [{"step": 1}]
    path.write_text('{"step": 1}\n{"st\n{"step": 2}\n')
    with pytest.raises(ConfigError, match="line 2 is damaged"):
        read_json_lines(path)
    notes = []
    path.write_text('{"step": 1}\n{"st\n5\n{"step": 2}\n{"step": 3')
    assert read_json_lines(path, notes) == [{"step": 1}, {"step": 2}]
    assert notes == ["m.jsonl: 2 damaged lines were left out."]
