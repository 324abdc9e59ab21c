"""`ssljax pretrain`: recipes by name or file, dry runs, help, and flags."""

from pathlib import Path

import pytest
from contents import contents

from ssljax.commands.main import main
from ssljax.recipes import RECIPES

SHAPES = "shapes/quickstart"
SMALL = ["--data.examples", "512", "--batch-size", "64", "--epochs", "2"]


def test_dry_run_says_what_would_be_done_and_touches_nothing(answered, elsewhere):
    Path("mine.py").write_text(
        "from ssljax.recipes import RECIPES\n\n\n"
        "def config():\n    return RECIPES['shapes/quickstart'].config()\n"
    )
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
    assert rows["crop"].strip() == "area 0.6 to 1, antialiased"
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


def test_crops_of_several_sizes_are_flags(answered):
    words = """--augment.sizes 24 24 12 --augment.crop-scale-min None
        --augment.crop-scales 0.2 1 0.2 1 0.05 0.3""".split()
    out = answered("pretrain", SHAPES, "--dry-run", *SMALL, *words)
    assert "2 of 24 px + 1 of 12 px" in out
    assert "augment.crop_scales = ((0.2, 1.0), (0.2, 1.0), (0.05, 0.3))" in out


# Recipes by name, by file, and by mistake.


@pytest.mark.parametrize("smoke", [[], ["--smoke"]])
def test_a_recipe_runs_by_name_in_an_empty_directory(answered, smoke):
    out = answered("pretrain", SHAPES, "--dry-run", *smoke)
    images = 4000 if smoke else 8000
    assert f"data.examples = {images}" in out and "effective learning rate" in out
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cifar10/simcrl", "did you mean 'cifar10/simclr'"),
        ("cifar10/isoloss_cosin", "'cifar10/isoloss_cosine'"),
        ("simclr", "did you mean 'cifar10/simclr' or 'imagenet/simclr'?"),
        ("stl10_byol", "did you mean 'stl10/byol'?"),
        ("CIFAR10/w_mse", "did you mean 'cifar10/w_mse'"),
        ("folders", "did you mean 'folder'?"),
    ],
)
def test_an_unknown_recipe_is_answered_with_the_nearest(refused, name, expected):
    line = refused("pretrain", name, "--workdir", "run")
    assert line.startswith(f"no recipe {name!r}; ") and expected in line
    assert "`ssljax list recipes`" in line


def test_an_unknown_recipe_near_nothing_gets_no_suggestion(refused):
    line = refused("pretrain", "xyzzy", "--workdir", "run")
    assert "did you mean" not in line and "`ssljax list recipes`" in line


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("experiments/configs/cifar10_simclr.py", "cifar10/simclr"),
        ("/home/me/ssljax/experiments/configs/folder.py", "folder"),
        ("configs/shapes_quickstart.py", "shapes/quickstart"),
        (
            "experiments/configs/imagenet64_isoloss_cosine.py",
            "imagenet64/isoloss_cosine",
        ),
    ],
)
def test_an_old_path_is_answered_with_the_new_name(refused, old, new):
    line = refused("pretrain", old, "--workdir", "run")
    assert line == f"{old} is now the recipe {new}: ssljax pretrain {new}"


def test_a_file_of_an_old_name_is_still_a_file(answered):
    Path("experiments/configs").mkdir(parents=True)
    file = Path("experiments/configs/cifar10_simclr.py")
    file.write_text(
        "from ssljax.config import *\n\n\ndef config():\n    return Config()\n"
    )
    assert "data.name = 'shapes'" in answered("pretrain", file, "--dry-run", *SMALL)


@pytest.mark.slow
def test_a_file_may_have_its_own_smoke(answered):
    Path("mine.py").write_text(
        "from ssljax.config import *\n\n\n"
        "def config():\n    return Config(seed=1)\n\n\n"
        "def smoke():\n    return Config(seed=2)\n"
    )
    assert "seed = 1" in answered("pretrain", "mine.py", "--dry-run", *SMALL)
    out = answered("pretrain", "mine.py", "--smoke", "--dry-run", *SMALL)
    assert "seed = 2" in out


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_without_a_recipe_says_how_and_names_all(answered, word):
    out = answered("pretrain", word)
    assert out.startswith("usage: ssljax pretrain RECIPE --workdir DIR")
    for flag in ("--dry-run", "--smoke", "ssljax list recipes", "RECIPE --help"):
        assert flag in out
    words = set(out.split())
    for name in RECIPES:
        assert set(name.replace("/", "/ ").split()) <= words, name
    assert max(map(len, out.splitlines())) <= 88


def test_help_after_a_recipe_says_what_is_known_of_it(capsys):
    with pytest.raises(SystemExit):
        main(["pretrain", "cifar10/directcopy_cosine", "--help"])
    out = capsys.readouterr().out
    assert out.startswith("DirectCopy, cosine on CIFAR-10, ResNet-18\n")
    assert "\nTime:     not yet measured\n" in out
    assert "\nusage: ssljax pretrain" in out
    text = " ".join(out.split())
    assert "Without a moving target: --method.target-momentum 0" in text
    assert "CIFAR-100: add --data.name cifar100" in text
