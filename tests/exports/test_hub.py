"""Hugging Face repositories, against a stand-in that keeps them in a folder."""

import shutil
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from encoders import old_run

import ssljax
from ssljax.commands.main import main
from ssljax.config.checks import ConfigError
from ssljax.exports import hub
from ssljax.exports.comparison import generated


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return old_run(tmp_path_factory.mktemp("hub"))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder with repositories, and huggingface_hub as far as it is used."""
    root = tmp_path / "site"

    class HfApi:
        def create_repo(self, repo_id, *, exist_ok):
            assert exist_ok
            (root / repo_id).mkdir(parents=True, exist_ok=True)

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            if not (root / repo_id).is_dir():
                raise RuntimeError("404 Client Error.\n\nRepository not found.")
            shutil.copytree(folder_path, root / repo_id, dirs_exist_ok=True)
            (root / "log").write_text(commit_message)

    def snapshot_download(repo_id, *, allow_patterns):
        if not (root / repo_id).is_dir():
            raise RuntimeError("404 Client Error.\n\nRepository not found.")
        copy = tmp_path / "cache" / repo_id
        for path in (root / repo_id).iterdir():
            if any(Path(path.name).match(pattern) for pattern in allow_patterns):
                copy.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
        return str(copy)

    module = types.ModuleType("huggingface_hub")
    module.HfApi, module.snapshot_download = HfApi, snapshot_download  # pyright: ignore
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.chdir(tmp_path)
    return root


def test_the_stand_in_has_the_signatures_of_the_package():
    """Else the tests here would show nothing."""
    import inspect

    package = pytest.importorskip("huggingface_hub")
    create = inspect.signature(package.HfApi.create_repo).parameters
    upload = inspect.signature(package.HfApi.upload_folder).parameters
    download = inspect.signature(package.snapshot_download).parameters
    assert {"repo_id", "exist_ok"} <= set(create) and list(create)[1] == "repo_id"
    assert {"repo_id", "folder_path", "commit_message"} <= set(upload)
    assert {"repo_id", "allow_patterns"} <= set(download)


def test_pushed_and_loaded_again(run, site, tmp_path, capsys):
    words = ["export", str(run), "--format", "flax", "--out", str(tmp_path / "out")]
    assert main([*words, "--push", "someone/shapes-byol"]) == 0
    out = capsys.readouterr().out
    assert "uploaded to https://huggingface.co/someone/shapes-byol" in out
    repository = site / "someone" / "shapes-byol"
    names = {path.name for path in repository.iterdir()}
    assert names == {"encoder.msgpack", "README.md", "ssljax.json"}
    assert (site / "log").read_text() == "ssljax: micro, byol"
    images, _ = generated(12, 3)
    np.testing.assert_array_equal(
        ssljax.load_encoder("someone/shapes-byol")(images),
        ssljax.load_encoder(run)(images),
    )


def test_a_folder_of_that_name_comes_first(run, site, tmp_path):
    ssljax.export(run, format="flax", out=tmp_path / "someone" / "net")
    images, _ = generated(12, 3)
    assert ssljax.load_encoder("someone/net")(images).shape == (8, 4)


def test_a_repository_that_is_not_there(site):
    with pytest.raises(ConfigError) as caught:
        ssljax.load_encoder("someone/nothing")
    assert str(caught.value) == (
        "someone/nothing is neither a folder here nor a Hugging Face repository that "
        "can be read (404 Client Error.); check the name"
    )


def test_an_upload_that_fails_keeps_the_export(run, site, tmp_path, monkeypatch):
    def refuse(self, repo_id, *, exist_ok):
        raise RuntimeError("401 Unauthorized\nmore")

    monkeypatch.setattr(sys.modules["huggingface_hub"].HfApi, "create_repo", refuse)
    out = tmp_path / "out"
    with pytest.raises(
        ConfigError, match="written but not uploaded .*401 Unauth.*login"
    ):
        ssljax.export(run, format="flax", out=out, push="a/b")
    assert (out / "ssljax.json").is_file()


def test_without_the_package_the_extra_is_named(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"runs/no is not a folder .*ssljax\[export\]"
    ):
        ssljax.load_encoder("runs/no")
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=r"--push needs .*ssljax\[export\]"):
        ssljax.export(run, format="flax", out=out, push="a/b")
    assert not out.exists()


def test_names_of_repositories():
    assert hub.is_name("a/b-c.d_1")
    for name in ("a", "/a/b", "./a/b", "../b", "a/b/c", "a/", "-a/b", "a b/c"):
        assert not hub.is_name(name), name
