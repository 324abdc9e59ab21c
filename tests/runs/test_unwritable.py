"""A folder that cannot be written is refused in one line, before any work."""

import errno
import json
import os
import tempfile

import pytest

from ssljax.commands.main import main
from ssljax.config import Config, ConfigError
from ssljax.protocols import evaluate as evaluations
from ssljax.reports import report as reports
from ssljax.runs.files import why_unwritable
from ssljax.runs.folder import RunFolder


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.claim(Config())
    folder.metrics.write_text('{"step": 1, "loss": 1.0}\n')
    return folder


@pytest.fixture
def no_work(monkeypatch):
    """Fail where a command starts to compute."""

    def started(*_, **__):
        raise AssertionError("the work began")

    for module in (evaluations, reports):
        monkeypatch.setattr(module, "restore", started)
    monkeypatch.setattr("ssljax.commands.theory._queue", started)


def read_only(monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)


def one_line(capsys, *words):
    assert main([str(word) for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("ssljax: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_a_read_only_run_is_refused_at_once(command, run, no_work, monkeypatch, capsys):
    read_only(monkeypatch)
    line = one_line(capsys, command, run.path)
    assert "cannot be written (Read-only file system)" in line
    assert str(run.path) in line and "--workdir" not in line


@pytest.mark.parametrize(
    ("command", "name"),
    [("evaluate", "evaluation.json"), ("report", "report.html")],
)
def test_a_folder_in_place_of_the_file(command, name, run, no_work, capsys):
    (run.path / name).mkdir()
    line = one_line(capsys, command, run.path)
    assert f"{name} is a folder, not a file" in line


def test_a_file_in_place_of_the_pictures(run, no_work, capsys):
    (run.path / "report").write_text("")
    assert "report is a file, not a folder" in one_line(capsys, "report", run.path)


@pytest.mark.parametrize("command", ["evaluate", "report", "replay"])
def test_a_file_in_place_of_the_run(command, tmp_path, capsys):
    (tmp_path / "README.md").write_text("")
    line = one_line(capsys, command, tmp_path / "README.md")
    assert "README.md is a file; name the folder of a run" in line
    assert "--workdir" not in line and "Error" not in line


@pytest.mark.parametrize("flag", ["--out", "--json"])
@pytest.mark.parametrize("how", ["read-only", "below a file"])
def test_theory_refuses_where_it_cannot_write(
    flag, how, tmp_path, no_work, monkeypatch, capsys
):
    path = tmp_path / "new" / "result"
    if how == "read-only":
        read_only(monkeypatch)
    else:
        (tmp_path / "new").write_text("")
    line = one_line(capsys, "theory", "stepwise", flag, path)
    assert f"{flag} {path} cannot be written" in line


def test_nothing_is_created_by_asking(tmp_path):
    assert why_unwritable(tmp_path / "a" / "b", folder=True) is None
    assert why_unwritable(tmp_path / "a" / "b", folder=False) is None
    assert os.listdir(tmp_path) == []


def test_a_table_that_cannot_be_saved_is_printed(run, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    row = {"representation": "encoder", "protocol": "knn k=1", "split": "test"}
    row |= {"train_examples": 9, "test_examples": 9, "accuracy": 50.0, "detail": ""}
    facts = {"labelled": True, "num_classes": 2, "split": "test", "size": 9}
    images = type("Images", (), {**facts, "name": "shapes"})()
    restored = type("Restored", (), {"step": 1, "config": Config()})()
    for name, value in {
        "restore": lambda *_, **__: restored,
        "replace": lambda *_, **__: restored,
        "evaluation_images": lambda *_: (images, images),
        "with_data": lambda *_: None,
        "check_channels": lambda *_: None,
    }.items():
        monkeypatch.setattr(evaluations, name, value)
    monkeypatch.setattr(evaluations.frozen, "rows", lambda *_: [row])
    run.evaluation.write_text("{")
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write_evaluation", full)
        with pytest.raises(ConfigError, match="table above was not saved"):
            evaluations.evaluate(run.path)
    out = capsys.readouterr().out
    assert "evaluation.json could not be read and was ignored" in out
    assert "50.00" in out
    assert run.evaluation.read_text() == "{"
    assert "50.00" in evaluations.evaluate(run.path)
    assert json.loads(run.evaluation.read_text())["rows"][0]["accuracy"] == 50.0
