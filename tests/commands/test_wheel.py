"""The wheel has the recipes and works in an empty directory, away from the checkout."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from paths import ROOT

from ssljax.recipes import RECIPES

QUIET = ["-q", "--disable-pip-version-check"]


def run(words, **options):
    done = subprocess.run(words, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def can_build_here():
    """Whether this environment's setuptools builds wheels by itself, as from 70.1."""
    try:
        version = importlib.metadata.version("setuptools")
    except importlib.metadata.PackageNotFoundError:
        return False
    return tuple(map(int, version.split(".")[:2])) >= (70, 1)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # A copy, since building leaves folders in the source.
    source = tmp_path_factory.mktemp("source")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "ssljax", source / "ssljax", ignore=ignored)
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", *QUIET, "--no-deps"]
    if can_build_here():
        build.append("--no-build-isolation")
    run([*build, "--wheel-dir", str(folder), str(source)])
    (file,) = folder.glob("ssljax-*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Runs Python on the installed package, in an empty directory."""
    target = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "pip", "install", *QUIET, "--no-deps"]
    run([*install, "--target", str(target), str(wheel)])
    empty = tmp_path_factory.mktemp("empty")
    environment = os.environ | {
        "PYTHONPATH": str(target),
        "JAX_PLATFORMS": "cpu",
        "TFDS_DATA_DIR": str(tmp_path_factory.mktemp("no_data")),
    }

    def python(*words):
        out = run([sys.executable, *words], cwd=empty, env=environment)
        assert not list(empty.iterdir())
        return out

    where = python("-c", "import ssljax; print(ssljax.__file__)")
    assert where.startswith(str(target))
    return python


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_package(wheel):
    packed = {n for n in zipfile.ZipFile(wheel).namelist() if n.startswith("ssljax/")}
    here = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "ssljax").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == here


@pytest.mark.slow
def test_recipes_run_by_name_from_the_wheel(installed):
    out = installed("-m", "ssljax", "pretrain", "shapes/quickstart", "--dry-run")
    assert "effective learning rate" in out and "method.name = 'simclr'" in out


@pytest.mark.slow
def test_the_wheel_lists_all_recipes(installed):
    lines = installed("-m", "ssljax", "list", "recipes").splitlines()
    assert set(RECIPES) <= {line.split(" ")[0] for line in lines}


@pytest.mark.slow
def test_a_cifar10_recipe_of_the_wheel_asks_for_its_data(installed):
    program = """
from ssljax.commands.main import main
assert main(["pretrain", "cifar10/simclr", "--dry-run"]) == 2
assert main(["pretrain", "cifar10/simclr", "--dry-run", "--data.name", "shapes"]) == 0
"""
    out = installed("-c", program)
    assert "method.options.temperature = 0.5" in out
