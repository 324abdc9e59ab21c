"""The registry of recipes: names, records, and what importing it costs."""

import subprocess
import sys

import pytest

from ssljax.config import Config
from ssljax.methods import METHODS, resolve
from ssljax.recipes import RECIPES, load_recipe


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_loads_and_says_how_it_is_run(name):
    recipe = RECIPES[name]
    config = load_recipe(name)
    assert isinstance(config, Config)
    assert resolve(config).method.options.keys() >= config.method.options.keys()
    assert recipe.name == name
    for column in (recipe.expected, recipe.time, recipe.source):
        assert 0 < len(column) <= 45, column
    text = recipe.describe()
    for heading in ("Command:", "Time:", "Result:", "Source:"):
        assert f"\n{heading} " in text, heading
    assert f"ssljax pretrain {name} " in text
    assert text.startswith(recipe.method) and recipe.dataset.title in text


def test_every_method_has_a_recipe():
    named = {
        recipe.config().method.name
        for name, recipe in RECIPES.items()
        if name.startswith("cifar10/")
    }
    assert named == set(METHODS)


@pytest.mark.parametrize("name", RECIPES)
def test_the_name_says_which_data_and_method(name):
    config = RECIPES[name].config()
    dataset, _, method = name.partition("/")
    data = {
        "shapes": "shapes",
        "folder": "folder",
        "cifar10": "cifar10",
        "stl10": "stl10",
        "imagenet64": "imagenet_resized/64x64",
        "imagenet": "imagenet2012",
    }
    assert config.data.name == data[dataset]
    plain = {"": "simclr", "quickstart": "simclr"}
    variants = {"simclr_tuned": "simclr", "simclr_sololearn": "simclr"}
    assert config.method.name == (plain | variants).get(method, method)


def test_what_a_recipe_says_about_accuracies_is_in_its_notes():
    """A number in the list comes with a sentence on where it is from."""
    for name, recipe in RECIPES.items():
        number = recipe.expected.split(" %")[0].split(" to ")[0]
        if "%" in recipe.expected:
            assert number in " ".join(recipe.notes), name


def test_importing_and_listing_recipes_needs_no_jax():
    program = """
import sys
from ssljax.recipes import RECIPES
assert RECIPES["cifar10/simclr"].config().epochs == 200
assert all(recipe.describe() for recipe in RECIPES.values())
assert "jax" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
