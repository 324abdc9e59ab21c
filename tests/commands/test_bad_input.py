"""Bad input is one line on stderr and exit code 2, and changes nothing."""

import struct
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ssljax.config import Config, DataConfig, MethodConfig
from ssljax.data import DataError, from_arrays
from ssljax.methods import resolve
from ssljax.recipes import load_recipe
from ssljax.runs.folder import RunFolder

SHAPES = "shapes/quickstart"
SMALL = ["--data.examples", "512", "--batch-size", "64", "--epochs", "2"]

# The five bad inputs.


@pytest.mark.parametrize(
    ("flag", "near"),
    [
        ("--optimizer.lerning-rate", "--optimizer.learning-rate"),
        ("--bach-size", "--batch-size"),
        ("--method.options.temprature", "--method.options.temperature"),
        ("--work-dir", "--workdir"),
    ],
)
@pytest.mark.parametrize("join", ["two words", "one word"])
@pytest.mark.parametrize("columns", ["40", "200"])
def test_an_unknown_key_is_named_with_the_nearest(
    refused, monkeypatch, flag, near, join, columns
):
    monkeypatch.setenv("COLUMNS", columns)
    words = [flag, "3"] if join == "two words" else [f"{flag}=3"]
    line = refused("pretrain", SHAPES, "--workdir", "run", *words)
    assert f"unknown option {' '.join(words).split(' ')[0]!r}" in line
    assert f"did you mean '{near}'?" in line


def test_a_key_without_its_group_is_named_with_every_group(refused):
    line = refused("pretrain", SHAPES, "--workdir", "run", "--lerning-rate", "1")
    assert "'--optimizer.learning-rate' or '--probe.learning-rate'?" in line
    line = refused("pretrain", SHAPES, "--workdir", "run", "--no-probe.enabled")
    assert "did you mean '--probe.no-enabled'?" in line
    line = refused("pretrain", SHAPES, "--workdir", "run", "--probe.enabled", "False")
    assert "a switch takes no value" in line


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("--lr", "'--optimizer.learning-rate' or '--probe.learning-rate'"),
        ("--optimizer.lr", "'--optimizer.learning-rate'"),
        ("--optimizer.wd", "'--optimizer.weight-decay'"),
        ("--bs", "'--batch-size'"),
        ("--temp", "'--method.options.temperature'"),
        ("--optimizer", "'--optimizer.name'"),
        ("--model", "'--model.arch'"),
        ("--output-dir", "'--workdir'"),
        ("--optimizer.foo", None),
        ("--optimizer.epochs", "'--epochs'"),
    ],
)
def test_an_abbreviation_of_the_field_is_understood(refused, word, near):
    line = refused("pretrain", SHAPES, "--workdir", "run", word, "3")
    assert f"unknown option {word!r}" in line
    assert (f"did you mean {near}?" in line) if near else "did you mean" not in line


def test_an_unknown_key_that_is_near_nothing_gets_no_suggestion(refused):
    line = refused("pretrain", SHAPES, "--workdir", "run", "--xyzzy", "3")
    assert "'--xyzzy'" in line and "did you mean" not in line


def test_a_batch_larger_than_the_data_set(refused):
    line = refused(
        "pretrain",
        SHAPES,
        "--workdir",
        "run",
        "--data.examples",
        100,
        *SMALL[2:],
        "--batch-size",
        128,
    )
    assert line == (
        "batch_size 128 exceeds the 100 images of shapes (train); allowed: 2 to 100"
    )


@pytest.mark.parametrize("how", ["flag", "environment"])
def test_a_data_set_that_is_not_prepared(refused, elsewhere, how):
    folder = elsewhere / "no_data"
    flag = ["--data.data-dir", folder] if how == "flag" else []
    line = refused(
        "pretrain", SHAPES, "--workdir", "run", "--data.name", "cifar100", *flag
    )
    assert f"'cifar100' is not in {folder}" in line
    assert "run `ssljax data prepare cifar100`" in line


def test_a_data_set_that_does_not_exist(refused):
    line = refused("pretrain", SHAPES, "--workdir", "run", "--data.name", "shape")
    assert "no data set is called 'shape'; did you mean 'shapes'?" in line


def test_a_run_folder_of_another_config(refused):
    words = ["pretrain", SHAPES, "--workdir", "run", *SMALL]
    base = load_recipe(SHAPES)
    saved = replace(
        base,
        data=replace(base.data, examples=512),
        batch_size=64,
        epochs=2.0,
        seed=0,
    )
    assert RunFolder("run").claim(resolve(saved)) is False
    line = refused(*words, "--seed", 5, "--optimizer.learning-rate", 0.5)
    assert "optimizer.learning_rate: 0.002 -> 0.5; seed: 0 -> 5" in line
    assert str(Path("run").absolute()) in line and "--workdir" in line


def test_a_dry_run_refuses_what_the_run_would(refused, monkeypatch):
    words = ["pretrain", SHAPES, "--workdir", "run", "--dry-run", *SMALL]
    RunFolder("run").claim(resolve(load_recipe(SHAPES)))
    assert "holds a run with different settings" in refused(*words)
    monkeypatch.setitem(sys.modules, "wandb", None)
    line = refused("pretrain", SHAPES, "--dry-run", "--log.wandb", *SMALL)
    assert "wandb is not installed" in line


def test_a_run_folder_that_holds_something_else(refused):
    Path("run").mkdir()
    Path("run/thesis.tex").write_text("mine")
    line = refused("pretrain", SHAPES, "--workdir", "run", *SMALL)
    assert "'thesis.tex' but no config.json" in line


def png(width, height):
    """A PNG whose header claims any size, zero included."""

    def chunk(kind, data):
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * (height * (1 + 3 * width)))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("content", [b"", png(0, 0), png(0, 8)])
def test_a_folder_of_images_of_size_zero(refused, elsewhere, content):
    images = elsewhere / "images"
    images.mkdir()
    for number in range(4):
        (images / f"{number}.png").write_bytes(content)
    line = refused(
        "pretrain",
        "folder",
        "--workdir",
        "run",
        "--data.path",
        images,
    )
    assert f"images in '{images}' can be read" in line and ".png: " in line


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (4, 0, 8, 3), (4, 8, 8, 0)])
def test_arrays_of_size_zero(shape):
    with pytest.raises(DataError) as refusal:
        from_arrays(np.zeros(shape, np.uint8))
    assert str(refusal.value) == f"images have size zero: shape {shape}"


# Everything else that can be misspelt.


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pretran"], "unknown command 'pretran'; allowed: pretrain, evaluate, report"),
        (["pretran"], "did you mean 'pretrain'?"),
        (["pretrain"], "the recipe comes first"),
        (["pretrain", "--dry-run", SHAPES], "the recipe comes first"),
        (["pretrain", "nowhere.py"], "no recipe 'nowhere.py'"),
        (["pretrain", SHAPES], "--workdir is not set"),
        (
            ["pretrain", SHAPES, "--workdir", "ftp://host/run"],
            "ftp://host/run cannot be used; allowed: a path of this machine, gs://",
        ),
        (["pretrain", SHAPES, "--xyz"], "(`ssljax pretrain RECIPE --help` lists all"),
        (["report", "run", "--xyz"], "(`ssljax report --help` lists all options)"),
        (["pretrain", SHAPES, "more"], "unexpected word 'more'"),
        (["pretrain", SHAPES, "--epochs"], "--epochs needs a value"),
        (["pretrain", SHAPES, "--epochs", "-1"], "epochs is -1.0; allowed: > 0"),
        (["pretrain", SHAPES, "--batch-size", "many"], "--batch-size"),
        (["pretrain", SHAPES, "--data.examples", "0"], "data.examples is 0; allowed"),
        (["pretrain", SHAPES, "--model.stem", "smal"], "'auto', 'small', 'medium'"),
        (["pretrain", SHAPES, "--method.name", "byool"], "did you mean 'byol'?"),
        (["pretrain", SHAPES, "--model.arch", "resnet19", "--dry-run"], "'resnet18'"),
        (
            ["pretrain", SHAPES, "--data.name", "folder", "--dry-run"],
            "needs --data.path DIR",
        ),
        (
            ["pretrain", "folder", "--workdir", "run"],
            "needs --data.path DIR",
        ),
        (["pretrain", SHAPES, "--seed", str(2**32)], "seed is 4294967296; allowed"),
        (["pretrain", SHAPES, "--data.image-size", "99999"], "1 to 4096 pixels"),
        (
            ["pretrain", SHAPES, "--method.options.temperature", "0", "--dry-run"],
            "temperature must be positive, got 0",
        ),
        (
            [
                "pretrain",
                SHAPES,
                *("--method.name", "byol", "--method.projector", "16-8"),
                *("--method.predictor", "16-4", "--workdir", "run"),
            ],
            "'byol' cannot run with these settings",
        ),
        (
            [
                "pretrain",
                SHAPES,
                *("--method.name", "supervised", "--method.projector", "8"),
                "--dry-run",
            ],
            "supervised needs 12 outputs",
        ),
        (["evaluate"], "DIR is missing; write: ssljax evaluate DIR"),
        (["data", "prepare"], "NAME is missing; write: ssljax data prepare NAME"),
        (
            ["evaluate", "--workdir", "run"],
            "unknown option '--workdir'; write: ssljax evaluate run",
        ),
        (["pretrain", SHAPES, "--epochs", "abc"], "must be a number, got 'abc'"),
        (["pretrain", SHAPES, "--seed", "3.5"], "must be a whole number, got '3.5'"),
        (["pretrain", SHAPES, "--data.examples", "x"], "a whole number, got 'x'"),
        (["pretrain", SHAPES, "--augment.sizes", "a", "b"], "numbers with spaces"),
        (["pretrain", SHAPES, "--epochs", "1e9", "--dry-run"], "allowed: at most"),
        (["pretrain", SHAPES, "--method.projector", ""], "layer widths"),
        (["pretrain", SHAPES, "--model.stem", "smal"], "did you mean 'small'?"),
        (["pretrain", "folder", "--data.path", __file__, "--dry-run"], "is a file"),
        (["evaluate", "nowhere"], "nowhere holds no run"),
        (
            ["evaluate", "nowhere", "--protocol", "svm"],
            "'knn', 'knn_euclidean', 'linear', 'spectrum'",
        ),
        (["evaluate", "nowhere", "--protocl", "knn"], "did you mean '--protocol'?"),
        (["report", "nowhere"], "nowhere holds no run"),
        (["replay", "nowhere"], "nowhere holds no run"),
        (["data"], "data needs one of: list, prepare NAME"),
        (["data", "lst"], "data needs one of: list, prepare NAME"),
        (["data", "prepare", "shapes"], "'shapes' needs no preparation"),
    ],
)
def test_other_bad_input_is_one_line_too(refused, words, expected):
    line = refused(*words)
    assert expected in line
    assert "----" not in line and "│" not in line


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "return Config(epocs=3)",
            "unknown key 'epocs' in Config; did you mean 'epochs'?",
        ),
        (
            "return Config(optimizer=OptimizerConfig(lerning_rate=3))",
            "unknown key 'lerning_rate' in OptimizerConfig; "
            "did you mean 'learning_rate'?",
        ),
        ("return 3", "config() must return a Config, got 3"),
        ("return Config(epochs='3')", "epochs is '3'; allowed: a number"),
    ],
)
def test_a_recipe_with_a_mistake(refused, body, expected):
    Path("mine.py").write_text(
        f"from ssljax.config import *\n\n\ndef config():\n    {body}\n"
    )
    assert expected in refused("pretrain", "mine.py", "--workdir", "run")


def test_a_recipe_without_config(refused):
    Path("mine.py").write_text("settings = 3\n")
    assert "mine.py has no function config()" in refused("pretrain", "mine.py")


def test_arrays_exist_in_python_only(refused):
    Path("mine.py").write_text(
        "from ssljax.config import *\n\n\n"
        "def config():\n    return Config(data=DataConfig('arrays'))\n"
    )
    line = refused("pretrain", "mine.py", "--workdir", "run")
    assert "from_arrays" in line
    assert Config(data=DataConfig("arrays"), method=MethodConfig()).epochs == 100


def test_crops_that_grow_are_refused(refused):
    line = refused("pretrain", SHAPES, "--dry-run", "--augment.sizes", "12", "24")
    assert "augment.sizes is (12, 24); allowed: two or more sides" in line
