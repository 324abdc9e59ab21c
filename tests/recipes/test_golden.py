"""Every recipe's config equals the one recorded before the recipes became families.

`golden.json` keeps the default config once, and for each recipe the settings that
differ from it, at full size and with `--smoke`.
"""

import json
from pathlib import Path

import pytest

from ssljax.config import Config
from ssljax.config.serialize import flatten
from ssljax.recipes import RECIPES, load_recipe

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text("utf-8"))
RECORDED = GOLDEN["recipes"]


def as_read_back(config):
    """The flat config as JSON returns it: lists in place of tuples."""
    return json.loads(json.dumps(flatten(config)))


def test_the_defaults_are_those_that_were_recorded():
    assert as_read_back(Config()) == GOLDEN["default"]


def test_all_recipes_were_recorded():
    assert len(RECORDED) == 66 and RECORDED.keys() == RECIPES.keys()


@pytest.mark.parametrize("size", ["full", "smoke"])
@pytest.mark.parametrize("name", RECORDED)
def test_the_config_is_the_one_that_was_recorded(name, size):
    config = load_recipe(name, smoke=size == "smoke")
    assert as_read_back(config) == GOLDEN["default"] | RECORDED[name][size]
