"""Run the command in process, in an empty directory without prepared data sets."""

import pytest
from contents import contents

from ssljax.commands.main import main


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty current directory, and no prepared data set."""
    (tmp_path / "cwd").mkdir()
    (tmp_path / "no_data").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no_data"))
    # So that a __pycache__ beside a recipe would be noticed.
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    return tmp_path


@pytest.fixture
def refused(elsewhere, capfd):
    """Run a command that must be refused; returns its one line."""

    def run(*words):
        before = contents(elsewhere)
        capfd.readouterr()
        code = main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert code == 2
        assert out == ""
        assert err.endswith("\n") and err.count("\n") == 1, err
        assert err.startswith("ssljax: ")
        assert contents(elsewhere) == before
        return err.removeprefix("ssljax: ").rstrip("\n")

    return run


@pytest.fixture
def answered(elsewhere, capfd):
    """Run a command that must succeed; returns what it prints."""

    def run(*words):
        capfd.readouterr()
        assert main([str(word) for word in words]) == 0
        out, err = capfd.readouterr()
        assert err == ""
        return out

    return run


@pytest.fixture
def asked(capfd):
    """Run `ssljax theory`: its exit code and what it prints."""

    def run(*words):
        capfd.readouterr()
        code = main(["theory", *map(str, words)])
        out, err = capfd.readouterr()
        return code, out + err

    return run
