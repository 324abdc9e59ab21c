"""The page of all recipes, from the list that `ssljax list recipes` prints."""

from collections.abc import Mapping

from tables import table

from ssljax.recipes import RECIPES, Recipe
from ssljax.recipes.recipe import NOT_MEASURED

_HEAD = """\
<!-- Written by `python docs/generate/write_pages.py` from ssljax/recipes/. -->

# Recipes

A recipe is a complete configuration with a name:

```bash
ssljax pretrain cifar10/simclr --dry-run    # print its settings and what would be done
ssljax pretrain cifar10/simclr --workdir runs/simclr
ssljax pretrain cifar10/simclr --workdir runs/smoke --smoke    # minutes on a CPU
```

Every setting is a flag, and `ssljax pretrain NAME --help` prints a recipe's notes:
where its source leaves something open, or differs. The *expected result* is the figure
of the source, by the evaluation named, unless it says "measured". What this package has
measured is in [Results](results.md). A hyphen means not measured, or not published.
"""
_TITLES = {"shapes": "Generated shapes", "folder": "Your own images"}


def page(recipes: Mapping[str, Recipe] = RECIPES) -> str:
    """Return the page.

    >>> "| `shapes/quickstart` |" in page()
    True
    """
    by_data: dict[str, list[Recipe]] = {}
    for name, recipe in recipes.items():
        by_data.setdefault(name.partition("/")[0], []).append(recipe)
    heads = ("recipe", "method", "epochs", "expected result", "time", "settings of")
    parts = [_HEAD]
    for name, group in by_data.items():
        title = _TITLES.get(name, group[0].dataset.title)
        parts.append(f"## {title}\n\n{table(heads, map(_row, group))}\n")
    return "\n".join(parts)


def _row(recipe: Recipe) -> tuple[str, ...]:
    def known(text: str) -> str:
        return "-" if text in (NOT_MEASURED, "no published result") else text

    return (
        f"`{recipe.name}`",
        recipe.method,
        f"{recipe.epochs:g}",
        known(recipe.expected),
        known(recipe.time),
        recipe.source,
    )
