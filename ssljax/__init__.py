"""Self-supervised learning in JAX: pure losses, one jitted step, honest numbers."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ssljax import analytic as analytic
    from ssljax import config as config
    from ssljax import data as data
    from ssljax import evaluation as evaluation
    from ssljax import losses as losses
    from ssljax import methods as methods
    from ssljax import models as models
    from ssljax import recipes as recipes
    from ssljax.config import Config as Config
    from ssljax.exports.exporting import export as export
    from ssljax.exports.importing import import_weights as import_weights
    from ssljax.exports.load import load_encoder as load_encoder
    from ssljax.protocols.evaluate import evaluate as evaluate
    from ssljax.reports.comparison_page import compare as compare
    from ssljax.reports.report import report as report
    from ssljax.runs.pretrain import pretrain as pretrain
    from ssljax.runs.replay import replay as replay

# Loaded on first use, so that `import ssljax` and `from ssljax import losses` stay
# quick and need nothing but JAX.
_LAZY = {
    "Config": "ssljax.config",
    "compare": "ssljax.reports.comparison_page",
    "evaluate": "ssljax.protocols.evaluate",
    "export": "ssljax.exports.exporting",
    "import_weights": "ssljax.exports.importing",
    "load_encoder": "ssljax.exports.load",
    "pretrain": "ssljax.runs.pretrain",
    "replay": "ssljax.runs.replay",
    "report": "ssljax.reports.report",
}

_PACKAGES = (
    "analytic",
    "config",
    "data",
    "evaluation",
    "losses",
    "methods",
    "models",
    "recipes",
)

__all__ = [
    "Config",
    "analytic",
    "compare",
    "config",
    "data",
    "evaluate",
    "evaluation",
    "export",
    "import_weights",
    "load_encoder",
    "losses",
    "methods",
    "models",
    "pretrain",
    "recipes",
    "replay",
    "report",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _PACKAGES:
        return importlib.import_module(f"ssljax.{name}")
    raise AttributeError(f"module 'ssljax' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, those that are not loaded yet included."""
    return sorted({*__all__, "__version__"})
