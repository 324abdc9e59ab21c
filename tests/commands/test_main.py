"""The command line, in process: bad input is one line and changes nothing."""

import os
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from paths import CONFIGS

from ssljax.commands import main as cli
from ssljax.commands.main import load_recipe, main, shrink
from ssljax.config import Config, DataConfig, MethodConfig
from ssljax.data import DataError, from_arrays
from ssljax.methods import METHODS, resolve
from ssljax.runs.folder import RunFolder

SHAPES = str(CONFIGS / "shapes_quickstart.py")
SMALL = ["--data.examples", "512", "--batch-size", "64", "--epochs", "2"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """An empty current directory, and no prepared data set."""
    (tmp_path / "cwd").mkdir()
    (tmp_path / "no_data").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no_data"))
    # Python would not tell a recipe's __pycache__ from a file that we write.
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    return tmp_path


def contents(root):
    """Every path below, with the bytes and the time of change of the files."""
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns) if path.is_file() else None
        for path in sorted(Path(root).rglob("*"))
    }


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
def answered(capfd):
    """Run a command that must succeed; returns what it prints."""

    def run(*words):
        capfd.readouterr()
        assert main([str(word) for word in words]) == 0
        out, err = capfd.readouterr()
        assert err == ""
        return out

    return run


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
        "batch_size is 128, but shapes (train) has 100 images; allowed: 2 to 100"
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
        CONFIGS / "folder.py",
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
        (["pretrain", "--help"], "name a recipe first"),
        (["pretrain", "nowhere.py"], "no recipe 'nowhere.py'"),
        (["pretrain", SHAPES], "--workdir is not set"),
        (["pretrain", SHAPES, "more"], "unknown option 'more'"),
        (["pretrain", SHAPES, "--epochs"], "Missing value for argument '--epochs'"),
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
            ["pretrain", str(CONFIGS / "folder.py"), "--workdir", "run"],
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
        (["evaluate"], "Missing from ssljax evaluate"),
        (["evaluate", "nowhere"], "nowhere holds no run"),
        (["evaluate", "nowhere", "--protocol", "svm"], "'knn', 'linear', 'spectrum'"),
        (["evaluate", "nowhere", "--protocl", "knn"], "did you mean '--protocol'?"),
        (["report", "nowhere"], "nowhere holds no run"),
        (["replay", "nowhere"], "nowhere holds no run"),
        (["data"], "ssljax data needs one of: list, prepare NAME"),
        (["data", "lst"], "ssljax data needs one of: list, prepare NAME"),
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


def test_errors_that_are_not_ours_keep_their_traceback(monkeypatch):
    def broken(words):
        raise ValueError("from a library below")

    monkeypatch.setitem(cli.COMMANDS, "report", broken)
    with pytest.raises(ValueError, match="from a library below"):
        main(["report", "run"])


# What is printed when all is well.


def test_dry_run_says_what_would_be_done_and_touches_nothing(answered, elsewhere):
    Path("mine.py").write_text(Path(SHAPES).read_text())
    before = contents(elsewhere)
    out = answered(
        "pretrain",
        "mine.py",
        "--workdir",
        "run",
        "--dry-run",
        *SMALL,
        "--optimizer.scale-by-batch",
    )
    assert contents(elsewhere) == before and not Path("run").exists()
    rows = dict(
        line.strip().split("  ", 1) for line in out.split("\n\n")[1].splitlines()
    )
    assert float(rows["effective learning rate"]) == pytest.approx(2e-3 * 64 / 256)
    assert rows["global batch"].strip() == "64"
    assert rows["steps"].strip() == "16 (8 per epoch)"
    assert rows["stem"].strip() == "small (for 32 px)"
    assert rows["crop"].strip() == "area 0.3 to 1, antialiased"
    # Linear without bias, BatchNorm, linear without bias, BatchNorm.
    projector = 64 * 256 + 2 * 256 + 256 * 64 + 2 * 64
    assert rows["parameters"].strip().endswith(f"projector {projector:,}")
    assert float(rows["memory estimate"].split()[0].replace(",", "")) > 0
    # Every setting in use, resolved.
    assert "method.forward = 'joint'" in out
    assert "data.examples = 512" in out


def test_help_after_a_recipe_lists_the_settings_with_its_values(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["pretrain", SHAPES, "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    for flag in (
        "--workdir",
        "--dry-run",
        "--smoke",
        "--optimizer.learning-rate",
        "--method.options.temperature",
        "--monitor.collapse",
        "--data.path",
    ):
        assert flag in out, flag
    assert "(default: 0.2)" in out  # the recipe's temperature


@pytest.mark.parametrize("words", [["--help"], ["-h"]])
def test_help_names_the_commands(answered, words):
    out = answered(*words)
    for command in ("pretrain", "evaluate", "report", "data list", "replay"):
        assert f"  {command}" in out


def test_no_command_prints_the_usage_and_fails(capsys):
    assert main([]) == 2
    assert capsys.readouterr().out.startswith("usage: ssljax")


def test_version(answered):
    import ssljax

    assert answered("--version").strip() == ssljax.__version__


@pytest.mark.parametrize(
    "words",
    [
        ["--method.name", "byol"],
        ["--method.name=byol"],
        ["--method.name", "simclr", "--method.name", "byol"],
    ],
)
def test_another_method_brings_its_own_heads_and_options(answered, words):
    out = answered("pretrain", SHAPES, "--dry-run", *SMALL, *words)
    lines = out.splitlines()
    assert "method.name = 'byol'" in lines
    assert "method.projector = '4096-256'" in lines
    assert "method.predictor = '4096-256'" in lines
    assert "method.forward = 'separate'" in lines
    assert "method.target_momentum = 0.99" in lines
    assert "augment.preset = 'byol'" in lines
    assert "temperature" not in out
    # What is not the method's stays as the recipe says.
    assert "optimizer.learning_rate = 0.002" in lines


def test_the_same_method_keeps_the_recipes_options(answered):
    out = answered("pretrain", SHAPES, "--dry-run", *SMALL, "--method.name", "simclr")
    assert "method.options.temperature = 0.2" in out
    assert "method.projector = '256-64'" in out


def test_flags_beat_the_recipe(answered):
    out = answered(
        "pretrain",
        SHAPES,
        "--dry-run",
        *SMALL,
        "--method.options.temperature",
        "0.7",
        "--method.projector",
        "32-16",
    )
    assert "method.options.temperature = 0.7" in out
    assert "method.projector = '32-16'" in out


def test_smoke_shrinks_a_recipe_and_uses_its_own_where_there_is_one():
    small = load_recipe(SHAPES, smoke=True)
    assert small == shrink(load_recipe(SHAPES))
    assert small.epochs == 5 and small.data.examples == 4000
    cifar = CONFIGS / "cifar10_simclr.py"
    own = load_recipe(str(cifar), smoke=True)
    assert own != shrink(load_recipe(str(cifar)))
    assert own.model.arch == "resnet_tiny" and own.data.name == "cifar10"


@pytest.mark.parametrize("recipe", sorted(CONFIGS.glob("*.py")), ids=lambda p: p.stem)
def test_every_recipe_loads_and_says_how_it_is_run(recipe):
    config = load_recipe(str(recipe))
    assert isinstance(config, Config)
    assert resolve(config).method.options.keys() >= config.method.options.keys()
    text = recipe.read_text()
    for heading in ("Command:", "Time:", "Result:", "Source:"):
        assert heading in text, heading
    assert f"experiments/configs/{recipe.name}" in text


def test_every_method_has_a_recipe():
    named = {load_recipe(str(r)).method.name for r in CONFIGS.glob("cifar10_*.py")}
    assert named == set(METHODS)


@pytest.mark.parametrize(
    "layers, narrow",
    [("2048-512-128", "256-256-128"), ("classes", "classes"), ("none", "none")],
)
def test_a_smoke_run_narrows_the_heads_it_can(layers, narrow):
    config = Config(method=MethodConfig("simclr", projector=layers))
    assert shrink(config).method.projector == narrow


def test_arrays_exist_in_python_only(refused):
    Path("mine.py").write_text(
        "from ssljax.config import *\n\n\n"
        "def config():\n    return Config(data=DataConfig('arrays'))\n"
    )
    line = refused("pretrain", "mine.py", "--workdir", "run")
    assert "from_arrays" in line
    assert Config(data=DataConfig("arrays"), method=MethodConfig()).epochs == 100


def test_data_list_shows_what_is_here_and_how_to_get_the_rest(answered):
    rows = {line.split()[0]: line for line in answered("data", "list").splitlines()}
    assert " here " in rows["shapes"] and "32 x 32" in rows["shapes"]
    assert "12 classes" in rows["shapes"] and "None" not in rows["folder"]
    assert "not here" in rows["cifar10"]
    assert "ssljax data prepare cifar10" in rows["cifar10"]
    assert os.listdir() == []


def test_crops_of_several_sizes_are_flags(answered):
    words = """--augment.sizes 24 24 12 --augment.crop-scale-min None
        --augment.crop-scales 0.2 1 0.2 1 0.05 0.3""".split()
    out = answered("pretrain", SHAPES, "--dry-run", *SMALL, *words)
    assert "2 of 24 px + 1 of 12 px" in out
    assert "augment.crop_scales = ((0.2, 1.0), (0.2, 1.0), (0.05, 0.3))" in out


def test_crops_that_grow_are_refused(refused):
    line = refused("pretrain", SHAPES, "--dry-run", "--augment.sizes", "12", "24")
    assert "augment.sizes is (12, 24); allowed: two or more sides" in line


@pytest.mark.parametrize(
    ("recipe", "sizes"),
    [
        ("imagenet_intl_ema", (32, 32, 27, 23, 18, 14)),
        ("imagenet_byol", (32, 32)),
        ("stl10_byol", (None, None)),
    ],
)
def test_the_smoke_preset_of_a_large_recipe_is_small(recipe, sizes):
    config = load_recipe(str(CONFIGS / f"{recipe}.py"), smoke=True)
    augment = config.augment
    assert (augment.sizes or (augment.size,) * 2) == sizes
    assert config.data.image_size in (None, 37, 32)
    assert config.batch_size <= 128 and config.model.arch == "resnet_tiny"
