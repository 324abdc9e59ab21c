"""Compiled programs are kept where a run asks, and nowhere that belongs to others."""

import os

import jax
import pytest

from ssljax.runs.programs import keep_programs

NAMES = "jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"


@pytest.fixture(autouse=True)
def no_cache(monkeypatch):
    """JAX as in a new process: without a folder of its own."""
    before = {name: jax.config.values[name] for name in NAMES}
    monkeypatch.setattr(os, "access", lambda *_: True)
    jax.config.update(NAMES[0], None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def in_use():
    return jax.config.values["jax_compilation_cache_dir"]


def test_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = keep_programs("auto")
    assert folder == tmp_path / "ssljax" / "programs" and folder.is_dir()
    assert in_use() == str(folder)


def test_a_folder_that_is_named(tmp_path):
    assert keep_programs(str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert in_use() == str(tmp_path / "a" / "b")


@pytest.mark.parametrize("word", [None, "None", "none"])
def test_none_keeps_none(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert keep_programs(word) is None and in_use() is None
    assert not os.listdir(tmp_path)


def test_a_folder_that_jax_has_stays(tmp_path):
    jax.config.update(NAMES[0], str(tmp_path))
    assert keep_programs("auto") == tmp_path and in_use() == str(tmp_path)


def test_a_folder_that_cannot_be_written_is_left_alone(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    assert keep_programs(str(tmp_path / "file" / "under")) is None
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert keep_programs(str(tmp_path / "read_only")) is None and in_use() is None
