"""The `ssljax` command: usage, exit codes, and the short commands."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time

import pytest

import ssljax
from ssljax.commands import main as cli
from ssljax.commands.main import main
from ssljax.config import ConfigError


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_names_the_commands(answered, words):
    out = answered(*words)
    for command in ("pretrain", "evaluate", "report", "data list", "replay"):
        assert f"  {command}" in out


def test_no_command_prints_the_usage_and_fails(capsys):
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("usage: ssljax")


def test_version(answered):
    assert answered("--version").strip() == ssljax.__version__


def test_errors_that_are_not_ours_keep_their_traceback(monkeypatch):
    def broken(words):
        raise ValueError("from a library below")

    monkeypatch.setitem(cli.COMMANDS, "report", broken)
    with pytest.raises(ValueError, match="from a library below"):
        main(["report", "run"])


def test_data_list_shows_what_is_here_and_how_to_get_the_rest(answered):
    rows = {line.split()[0]: line for line in answered("data", "list").splitlines()}
    assert " here " in rows["shapes"] and "32 x 32" in rows["shapes"]
    assert "12 classes" in rows["shapes"] and "None" not in rows["folder"]
    assert "train 50,000, test 10,000" in rows["cifar10"]
    assert "not here" in rows["cifar10"]
    assert "ssljax data prepare cifar10" in rows["cifar10"]
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("pretrain", "ssljax: interrupted; rerun the same command\n"),
        ("report", "ssljax: interrupted; rerun the same command\n"),
    ],
)
def test_an_interruption_says_what_to_do(monkeypatch, capsys, command, expected):
    def interrupted(words):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, command, interrupted)
    assert main([command]) == 130
    assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize(
    ("saved", "expected"),
    [
        ([], "nothing was saved yet, so it starts from step 0"),
        (["4", "6"], "to resume from step 6"),
    ],
)
def test_an_interrupted_run_names_the_step_that_is_saved(
    saved, expected, tmp_path, monkeypatch, capsys
):
    import ssljax.runs.pretrain  # noqa: F401

    def interrupted(words):
        raise KeyboardInterrupt

    for step in saved:
        (tmp_path / "checkpoints" / step).mkdir(parents=True)
    monkeypatch.setitem(cli.COMMANDS, "pretrain", interrupted)
    assert main(["pretrain", "shapes/quickstart", "--workdir", str(tmp_path)]) == 130
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("ssljax: interrupted; rerun the same command")
    assert err.endswith(f"{expected}\n")


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_disk_that_refuses_is_one_line(number, monkeypatch, capsys):
    def refused(words):
        raise OSError(number, os.strerror(number), "results/table.json")

    monkeypatch.setitem(cli.COMMANDS, "report", refused)
    assert main(["report", "run"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"ssljax: results/table.json: {os.strerror(number)}; ")


@pytest.mark.parametrize("words", ["data list", "list recipes", "list methods"])
def test_a_listing_has_help(words, answered):
    assert answered(*words.split(), "--help").startswith("usage: ssljax ")


@pytest.mark.slow
def test_an_interruption_while_compiling_leaves_nothing_behind(tmp_path):
    words = ["pretrain", "shapes/quickstart", "--smoke", "--workdir", "run"]
    # A shell's background jobs ignore the signal, and so would this one. Not by
    # preexec_fn: that forks, and JAX warns of a fork.
    program = (
        "import runpy, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "runpy.run_module('ssljax', run_name='__main__', alter_sys=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=tmp_path,
        env=os.environ
        | {"JAX_ENABLE_COMPILATION_CACHE": "false", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # The plan is printed before the first step is compiled.
    assert process.stdout is not None
    for line in process.stdout:
        if "parameters" in line or "memory" in line:
            break
    time.sleep(5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert err.count("\n") == 1 and err.startswith("ssljax: interrupted; rerun")
    names = [path.name for path in (tmp_path / "run").rglob("*")]
    assert "config.json" in names and not any(n.startswith(".") for n in names)


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_has_help(command, capsys):
    with contextlib.suppress(SystemExit):
        assert main([command, "--help"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: ssljax " + command) and err == ""


@pytest.mark.parametrize("words", [["list", "recipes"], ["pretrain", "--help"]])
def test_a_reader_that_closes_the_pipe_gets_no_traceback(words):
    command = [sys.executable, "-m", "ssljax", *words]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_another_broken_pipe_keeps_its_traceback(monkeypatch):
    def broken(words):
        raise BrokenPipeError("to a reading process")

    monkeypatch.setitem(cli.COMMANDS, "report", broken)
    with pytest.raises(BrokenPipeError, match="to a reading process"):
        main(["report", "run"])


def run_python(*words):
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_is_a_command():
    assert run_python("-m", "ssljax", "--version").strip() == ssljax.__version__


def test_importing_the_package_is_light():
    program = """
import sys
import ssljax
assert "jax" not in sys.modules and "numpy" not in sys.modules
names = dir(ssljax)
assert "jax" not in sys.modules
print(*names)
"""
    names = run_python("-c", program).split()
    assert {"pretrain", "evaluate", "report", "replay", "load_encoder"} <= set(names)
    assert {"export", "import_weights"} <= set(names)
    assert {"Config", "losses", "analytic", "data", "recipes"} <= set(names)
    assert names == sorted(names) and not any(n.startswith("_L") for n in names)


@pytest.mark.parametrize("name", ssljax.__all__)
def test_every_public_name_leads_somewhere(name):
    value = getattr(ssljax, name)
    functions = ("pretrain", "evaluate", "report", "replay", "load_encoder", "export")
    if name in functions:
        assert callable(value) and value.__name__ == name


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'pretrian'"):
        _ = ssljax.pretrian


@pytest.mark.parametrize("function", [ssljax.evaluate, ssljax.report])
def test_evaluate_and_report_refuse_a_folder_without_a_run(function, tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        function(tmp_path / "nowhere")
