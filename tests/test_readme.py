"""Every command and example of README.md runs here, at a tiny scale."""

import configparser
import importlib.util
import re
import shlex
from pathlib import Path

import micro  # noqa: F401
import pytest
from paths import ROOT

from ssljax.commands.main import COMMANDS, main
from ssljax.config import Config
from ssljax.config.serialize import flatten
from ssljax.methods import METHODS

README = (ROOT / "README.md").read_text("utf-8")
TINY = """--data.name shapes --data.image-size 16 --data.examples 128
    --data.test-examples 64
    --batch-size 32 --epochs 0.5 --model.arch micro --augment.preset supervised
    --method.projector 16-8 --monitor.examples 64 --monitor.knn-examples 64
    --monitor.knn-test-examples 32 --devices.count 1""".split()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def commands(program):
    """The commands of all bash blocks that start with ``program``, in order."""
    lines = "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
    split = [shlex.split(line, comments=True) for line in lines]
    return [words for words in split if words and words[0] == program]


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty current directory, as for somebody who has installed the package."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_data(tmp_path_factory, monkeypatch):
    """No prepared data set, and no TensorFlow to prepare one with."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.mktemp("no_data")))
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "tensorflow" else find(name, *rest),
    )


def test_every_command_is_of_a_kind_that_is_checked_here():
    known = [words for p in ("ssljax", "make", "pip") for words in commands(p)]
    lines = [
        line
        for line in "\n".join(blocks("bash")).replace("\\\n", " ").splitlines()
        if shlex.split(line, comments=True)
    ]
    assert len(known) == len(lines)


def test_the_main_commands_are_shown():
    assert {words[1] for words in commands("make")} >= {"quickstart", "test"}
    shown = {words[1] for words in commands("ssljax")}
    assert shown == COMMANDS.keys() - {"replay"}  # which only failed runs need


def test_make_targets_exist():
    targets = re.findall(
        r"^([\w-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    named = {word for words in commands("make") for word in words[1:]}
    named |= set(re.findall(r"`make ([\w-]+)`", README))
    assert named and named <= set(targets)


def test_extras_exist():
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    named = re.findall(r'"(?:ssljax|\.)\[(\w+)\]"', README)
    assert named and set(named) <= set(extras)


@pytest.mark.slow
def test_commands_work_in_the_order_shown(empty, no_data, capfd):
    missing = []
    for words in commands("ssljax"):
        capfd.readouterr()
        words = words[1:]
        assert words[0] in COMMANDS
        tiny = TINY if words[0] in ("pretrain", "bench", "doctor") else []
        code = main([*words, *tiny])
        out, err = capfd.readouterr()
        if words[:2] == ["data", "prepare"]:
            assert code == 2 and err.count("\n") == 1 and "TensorFlow" in err
            missing.append(words)
            continue
        assert code == 0, (words, err)
        assert out.strip(), words
        if words[0] == "evaluate":
            assert "untrained network" in out and "raw pixels" in out
        if words[0] == "report":
            assert Path(out.strip().splitlines()[-1]).is_file()
    assert len(missing) < len(commands("ssljax"))


def test_without_the_data_set_a_command_is_one_line(empty, no_data, capfd):
    """As they stand in README, for somebody who has prepared nothing."""
    before = sorted(empty.rglob("*"))
    for words in commands("ssljax"):
        if words[1] not in ("pretrain", "evaluate", "report"):
            continue
        capfd.readouterr()
        assert main(words[1:]) == 2, words
        out, err = capfd.readouterr()
        assert out == "" and err.startswith("ssljax: ") and err.count("\n") == 1
        if words[1] == "pretrain":
            assert "run `ssljax data prepare cifar10`" in err
    assert sorted(empty.rglob("*")) == before


@pytest.mark.slow
def test_with_the_data_set_a_dry_run_works_as_it_stands(empty, capfd):
    from ssljax.data.catalogue import catalogue

    here = {entry.name for entry in catalogue() if entry.present}
    if "cifar10" not in here:
        pytest.skip("cifar10 is not prepared; set TFDS_DATA_DIR")
    dry = [words[1:] for words in commands("ssljax") if "--dry-run" in words]
    dry = [words for words in dry if words[0] == "pretrain"]
    assert dry
    for words in dry:
        assert main([*words, "--data.examples", "1000"]) == 0
        assert "effective learning rate" in capfd.readouterr().out
    assert not (empty / "runs").exists()


@pytest.mark.slow
def test_python_blocks_run(empty):
    namespace = {}
    for source in blocks("python"):
        exec(compile(source, "README.md", "exec"), namespace)
    assert {"loss", "gradient", "features", "table", "page"} <= namespace.keys()
    assert (empty / "runs" / "arrays" / "config.json").is_file()


def test_settings_and_methods_that_are_named_exist():
    keys = flatten(Config())
    for flag in set(re.findall(r"`(?:--)((?:\w+\.)[\w.-]+)", README)):
        assert flag.replace("-", "_") in keys, flag


def test_the_number_of_methods_is_that_of_the_table():
    (count,) = re.findall(r"(\d+) methods", README)
    assert int(count) == len([m for m in METHODS.values() if not m.labels])


def test_the_list_of_methods_is_the_table(capsys):
    assert main(["list", "methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(METHODS)
    assert all(
        method.paper in line
        for method, line in zip(METHODS.values(), lines[1:], strict=True)
    )
