"""`ssljax list recipes` and `ssljax list methods`."""

from ssljax.commands.tables import columns
from ssljax.config.checks import ConfigError, nearest

_KINDS = ("recipes", "methods")
_USAGE = """usage: ssljax list recipes | ssljax list methods

recipes  names for `ssljax pretrain`: epochs, expected result, time, source
methods  names for --method.name: family, loss, paper"""


def run(words: list[str]) -> int:
    """Run the command; return its exit code."""
    if {"-h", "--help"} & set(words):
        print(_USAGE)
        return 0
    if len(words) != 1 or words[0] not in _KINDS:
        hint = nearest(words[0], _KINDS) if words else ""
        raise ConfigError(f"list needs one of: {', '.join(_KINDS)}{hint}")
    print(_recipes() if words == ["recipes"] else _methods())
    return 0


def _recipes() -> str:
    from ssljax.recipes import RECIPES
    from ssljax.recipes.recipe import NOT_MEASURED

    def known(text: str) -> str:
        return "-" if text == NOT_MEASURED else text

    rows = [("name", "epochs", "expected result", "time", "source")]
    for name, recipe in RECIPES.items():
        epochs = f"{recipe.epochs:g}"
        expected, time = known(recipe.expected), known(recipe.time)
        rows.append((name, epochs, expected, time, recipe.source))
    legend = (
        f"-: {NOT_MEASURED}. `ssljax pretrain NAME --help` prints a recipe's notes."
    )
    return f"{columns(rows, right=[1])}\n\n{legend}"


def _methods() -> str:
    from ssljax.methods import METHODS

    rows = [("name", "family", "loss", "paper")]
    rows += [(n, m.family, m.loss_name, m.paper) for n, m in METHODS.items()]
    return columns(rows)
