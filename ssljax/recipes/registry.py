"""All recipes by name."""

from ssljax.recipes import (
    barlow_twins,
    byol,
    closed_form,
    cw_rgp,
    folder,
    intl,
    negatives,
    offdiagonal_head,
    quickstart,
    shuffled_dbn,
    simclr,
    simsiam,
    spectral,
    spectral_contrastive,
    supervised,
    tcr,
    vicreg,
    w_mse,
)
from ssljax.recipes.recipe import Recipe

# In the order of `ssljax list methods`: contrastive, dimension-contrastive,
# asymmetric, whitening, baseline; the two for a first try come before them.
_FAMILIES = (
    quickstart,
    folder,
    simclr,
    negatives,
    spectral_contrastive,
    barlow_twins,
    vicreg,
    tcr,
    byol,
    simsiam,
    offdiagonal_head,
    closed_form,
    intl,
    w_mse,
    cw_rgp,
    shuffled_dbn,
    spectral,
    supervised,
)

# A data set's recipes together.
_DATASETS = ("shapes", "folder", "cifar10", "stl10", "imagenet64", "imagenet")


def _registry() -> dict[str, Recipe]:
    every = [recipe for family in _FAMILIES for recipe in family.RECIPES]
    every.sort(key=lambda recipe: _DATASETS.index(recipe.name.partition("/")[0]))
    return {recipe.name: recipe for recipe in every}


RECIPES: dict[str, Recipe] = _registry()
