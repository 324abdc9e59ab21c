"""Recipes by name (`cifar10/simclr`): full settings, with result, time and source.

Importing this package imports configs only, not JAX. One module per family of recipes;
`datasets.py` has the settings shared by a data set's recipes.
"""

from ssljax.recipes.load import load_recipe
from ssljax.recipes.recipe import Recipe
from ssljax.recipes.registry import RECIPES
from ssljax.recipes.smoke import shrink

__all__ = ["RECIPES", "Recipe", "load_recipe", "shrink"]
