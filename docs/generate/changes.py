"""What has changed in a recipe since a result was measured with it."""

import json
from collections.abc import Mapping
from typing import Any

from ssljax import methods
from ssljax.config.resuming import INCIDENTAL, continued, differences
from ssljax.config.serialize import from_json
from ssljax.recipes import RECIPES, Recipe, load_recipe


def today_name(recipe: str, recipes: Mapping[str, Recipe] = RECIPES) -> str:
    """Return today's name of a recipe in a stamp: earlier ones were files.

    >>> today_name("experiments/configs/imagenet_byol.py"), today_name("imagenet_byol")
    ('imagenet/byol', 'imagenet/byol')
    """
    stem = recipe.rpartition("/")[2].removesuffix(".py")
    old = recipe.endswith(".py") or "/" not in recipe
    names = (name for name in recipes if old and name.replace("/", "_") == stem)
    return next(names, recipe)


def changed_settings(saved: Mapping[str, Any], recipe: str) -> list[str]:
    """Return the settings of a recipe that are not those of a result.

    Settings that do not decide the training (files, devices, cadence of the monitor) do
    not count, as when a run is resumed.

    Args:
        saved: the config of then, in the form of ``config.json``. Settings that it does
            not have yet are what they were before they existed.
        recipe: name, of then or of today.

    Returns:
        Lines such as ``epochs: 100 -> 200``; empty if the recipe is the same. Of a
        recipe that no longer exists, one line that says so.

    Raises:
        ConfigError: if ``saved`` has a setting that no longer exists.

    >>> from ssljax.config.serialize import to_json
    >>> saved = json.loads(to_json(load_recipe("shapes/quickstart")))
    >>> changed_settings(saved | {"batch_size": 100}, "shapes/quickstart")
    ['batch_size: 100 -> 128']
    """
    name = today_name(recipe)
    if name not in RECIPES:
        return [f"recipe: {name!r} -> None"]
    then = methods.resolve(from_json(json.dumps(saved)))
    now = methods.resolve(load_recipe(name))
    return differences(then, continued(then, now), allowed=INCIDENTAL)


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config by dotted keys in the form of ``config.json``.

    >>> nested({"epochs": 1, "method.options.mu": 2})
    {'epochs': 1, 'method': {'options': {'mu': 2}}}
    """
    whole: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, name = key.split(".")
        inner = whole
        for section in sections:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return whole
