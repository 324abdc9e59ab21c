"""The config that a recipe's name, or the path of a user's own file, leads to."""

import re
import traceback
import types
from pathlib import Path

from ssljax.config import Config
from ssljax.config.checks import ConfigError, nearest, similar
from ssljax.recipes.registry import RECIPES
from ssljax.recipes.smoke import shrink


def load_recipe(recipe: str, *, smoke: bool = False) -> Config:
    """Return the config of a recipe.

    Args:
        recipe: a name of `RECIPES`, or a Python file with a function ``config()`` and
            perhaps a function ``smoke()``, both without arguments.
        smoke: the small version, for a CPU: the file's own, or made by `shrink`.

    Raises:
        ConfigError: no such recipe or file, a file without ``config()``, or a setting
            that is not allowed.
    """
    if recipe in RECIPES:
        return RECIPES[recipe].config(smoke=smoke)
    file = Path(recipe)
    if not file.is_file():
        raise ConfigError(_not_found(recipe))
    return _from_file(file, recipe, smoke=smoke)


def _not_found(recipe: str) -> str:
    renamed = _new_name(recipe)
    if renamed:
        return f"{recipe} is now the recipe {renamed}: ssljax pretrain {renamed}"
    if recipe.endswith(".py"):
        return f"no recipe {recipe!r}: there is no such file"
    near = _nearest_names(recipe)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"no recipe {recipe!r}{hint} (`ssljax list recipes` prints all of them)"


def _new_name(path: str) -> str | None:
    """Return the name of what was once ``experiments/configs/DATASET_METHOD.py``."""
    file = Path(path)
    if file.suffix != ".py" or file.parent.name != "configs":
        return None
    return next((n for n in RECIPES if n.replace("/", "_") == file.stem), None)


def _nearest_names(recipe: str) -> list[str]:
    """Return up to three names that may have been meant."""
    recipe = recipe.lower()
    # A method without its data set, or with an underscore in place of the slash.
    same = [n for n in RECIPES if n.partition("/")[2] == recipe]
    same += [n for n in RECIPES if "/" in n and n.replace("/", "_") == recipe]
    return same[:3] or similar(recipe, RECIPES, count=3)


def _from_file(file: Path, path: str, *, smoke: bool) -> Config:
    module = types.ModuleType("ssljax_recipe")
    module.__file__ = str(file)
    try:
        # Not imported, since that would leave a __pycache__ beside the recipe.
        source = file.read_text("utf-8")
        exec(compile(source, str(file), "exec", dont_inherit=True), vars(module))
        make = getattr(module, "config", None)
        if make is None:
            raise ConfigError(f"{path} has no function config() that returns a Config")
        own_smoke = getattr(module, "smoke", None)
        config = own_smoke() if smoke and own_smoke else make()
    except TypeError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error
    except ConfigError:
        raise
    except Exception as error:
        line = _line_of(error, str(file))
        message = " ".join(str(error).split())
        raise ConfigError(f"{path}{line}: {type(error).__name__}: {message}") from error
    if not isinstance(config, Config):
        raise ConfigError(f"{path}: config() must return a Config, got {config!r}")
    return shrink(config) if smoke and own_smoke is None else config


def _line_of(error: Exception, file: str) -> str:
    """Return where in a recipe an error came from, as `` line 3``."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f" line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    return f" line {lines[-1]}" if lines else ""


def _explain(error: TypeError) -> str:
    """Name the nearest key where a config class was called with an unknown one."""
    match = re.search(r"(\w+)\.__init__\(\) got an unexpected .*'(\w+)'", str(error))
    if not match:
        return str(error)
    from ssljax import config

    known = getattr(config, match[1], Config).__dataclass_fields__
    return f"unknown key {match[2]!r} in {match[1]}{nearest(match[2], known)}"
