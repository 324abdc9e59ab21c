"""A grid of runs: what it starts, what it skips, and where it stops."""

import functools
import json
from pathlib import Path

import pytest
from written_run import write_run

from ssljax.commands import sweep
from ssljax.commands.main import main
from ssljax.commands.pretrain import asked_for

RATES = ["--set", "optimizer.learning-rate=0.1,0.3"]


@functools.cache
def _asked_for(words):
    return asked_for(list(words))


@pytest.fixture
def started(monkeypatch):
    """Commands that were started; each leaves the files that the real one leaves."""
    words, codes = [], {}
    # Parsing takes a fifth of a second.
    monkeypatch.setattr(sweep, "asked_for", lambda words: _asked_for(tuple(words)))

    def imitate(*command):
        words.append(command)
        code = codes.get(len(words), 0)
        if command[0] == "pretrain" and not code:
            asked = _asked_for(command[1:])
            assert asked.workdir is not None
            if not (asked.workdir / "config.json").exists():
                write_run(
                    asked.workdir,
                    asked.config,
                    steps=(5, round(5 * asked.config.epochs)),
                )
        if command[0] == "evaluate" and not code:
            folder = Path(command[1])
            last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
            rows = [
                {"representation": "encoder", "protocol": f"{p} (x)", "accuracy": 50.0}
                for p in command[3:] or ["knn", "linear"]
            ]
            text = json.dumps({"step": last["step"], "rows": rows})
            (folder / "evaluation.json").write_text(text)
        return code

    monkeypatch.setattr(sweep, "_ssljax", imitate)
    return words, codes


def run(folder, *words):
    recipe = ["sweep", "shapes/quickstart", "--workdir", str(folder)]
    return main([*recipe, *RATES, "--epochs", "2", *words])


NAMES = [
    "learning-rate=0.1_seed=0",
    "learning-rate=0.1_seed=1",
    "learning-rate=0.3_seed=0",
    "learning-rate=0.3_seed=1",
]


def test_every_setting_is_run_with_every_seed_and_compared(started, tmp_path, capsys):
    words, _ = started
    assert run(tmp_path, "--seeds", "2") == 0
    assert [w[0] for w in words] == ["pretrain", "evaluate"] * 4
    trained = [_asked_for(w[1:]) for w in words[::2]]
    assert [asked.workdir.name for asked in trained] == NAMES
    configs = [asked.config for asked in trained]
    found = [(config.optimizer.learning_rate, config.seed) for config in configs]
    assert found == [(0.1, 0), (0.1, 1), (0.3, 0), (0.3, 1)]
    assert all(config.epochs == 2 for config in configs)
    assert all(len(w) == 2 for w in words[1::2])
    said = capsys.readouterr().out
    assert "run 4 of 4: learning-rate=0.3_seed=1" in said
    assert "learning_rate=0.1" in said and "50.00 ± 0.00" in said
    assert (tmp_path / "comparison.html").is_file()


def test_what_is_done_is_not_done_again(started, tmp_path):
    words, _ = started
    assert run(tmp_path, "--seeds", "2") == 0
    del words[:]
    assert run(tmp_path, "--seeds", "2") == 0
    assert words == []
    # A further protocol, and a run that was evaluated before its last step.
    assert run(tmp_path, "--seeds", "2", "--protocol", "knn", "spectrum") == 0
    assert [w[0] for w in words] == ["pretrain", "evaluate"] * 4
    del words[:]
    lines = (tmp_path / NAMES[1] / "metrics.jsonl").read_text().splitlines()
    (tmp_path / NAMES[1] / "metrics.jsonl").write_text(lines[0] + "\n")
    assert run(tmp_path, "--seeds", "2", "--protocol", "knn", "spectrum") == 0
    assert [w[0] for w in words] == ["pretrain", "evaluate"]


@pytest.mark.parametrize(("code", "ended"), [(75, 75), (130, 130), (2, 2)])
def test_a_stop_or_bad_input_ends_the_sweep(started, tmp_path, capsys, code, ended):
    words, codes = started
    codes[3] = code
    assert run(tmp_path, "--seeds", "2") == ended
    assert len(words) == 3
    assert ("rerun the same command to continue" in capsys.readouterr().out) == (
        code > 2
    )
    codes.clear()
    assert run(tmp_path, "--seeds", "2") == 0
    assert [w[0] for w in words[3:]] == ["pretrain", "evaluate"] * 3


def test_a_run_that_fails_does_not_stop_the_others(started, tmp_path, capsys):
    words, codes = started
    codes[1] = 1
    assert run(tmp_path, "--seeds", "2") == 1
    assert [w[0] for w in words] == ["pretrain", *(["pretrain", "evaluate"] * 3)]
    said = capsys.readouterr()
    assert f"failed: {NAMES[0]} (exit code 1); rerun the same command" in said.err
    assert "50.00" in said.out


def test_a_task_of_an_array_runs_one_and_compares_nothing(started, tmp_path):
    words, _ = started
    for task in range(4):
        assert run(tmp_path, "--seeds", "2", "--only", str(task)) == 0
        assert len(words) == 2 * (task + 1)
        assert not (tmp_path / "comparison.html").exists()
    assert run(tmp_path, "--seeds", "2") == 0
    assert len(words) == 8 and (tmp_path / "comparison.html").exists()


def test_a_dry_run_prints_the_commands(started, tmp_path, capsys):
    folder = tmp_path / "new"
    assert run(folder, "--seeds", "2", "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].startswith("3  ssljax pretrain shapes/quickstart --epochs 2 ")
    assert len(lines) == 4 and started[0] == [] and not folder.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "0"], "--seeds is 0; allowed: 1 and more"),
        (["--seeds", "x"], "invalid int value: 'x'"),
        (["--set", "optimizer.learning-rate"], "names no values; write KEY=VALUE"),
        (["--set", "seed=0,0"], "the same; a value is listed twice"),
        (["--set", "optimizer.learning-rate=1"], "--set has a key twice"),
        (["--set", "optimzer.momentum=0.9"], "did you mean '--optimizer.momentum'"),
        (["--set", "optimizer.momentum=2"], "optimizer.momentum is 2"),
        (["--only", "9"], "--only is 9; the grid has runs 0 to 1"),
        (["--seed", "3"], "--seed is set by the sweep; use --seeds or --set"),
        (["--protocol", "svm"], "invalid choice: 'svm'"),
    ],
)
def test_bad_input_is_one_line_before_any_run(
    started, tmp_path, capsys, words, message
):
    assert run(tmp_path, *words) == 2
    said = capsys.readouterr().err.strip()
    assert message in said and "\n" not in said and started[0] == []


def test_a_folder_of_other_settings_is_refused_before_any_run(
    started, tmp_path, capsys
):
    assert run(tmp_path) == 0
    words, _ = started
    del words[:]
    assert run(tmp_path, "--batch-size", "64") == 2
    assert "holds a run with different settings" in capsys.readouterr().err
    assert words == []


def test_a_command_runs_in_a_process_of_its_own():
    assert sweep._ssljax("--version") == 0
    assert sweep._ssljax("nonsense") == 2
