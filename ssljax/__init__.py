"""Self-supervised learning in JAX: pure losses, one jitted step, honest numbers."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ssljax import analytic as analytic
    from ssljax import losses as losses
    from ssljax.config import Config as Config
    from ssljax.runs.encoder import load_encoder as load_encoder
    from ssljax.runs.pretrain import pretrain as pretrain
    from ssljax.runs.replay import replay as replay

# Loaded on first use, so that `import ssljax` and `from ssljax import losses` stay
# quick and need nothing but JAX.
_LAZY = {
    "Config": "ssljax.config",
    "load_encoder": "ssljax.runs.encoder",
    "pretrain": "ssljax.runs.pretrain",
    "replay": "ssljax.runs.replay",
}

__all__ = ["Config", "analytic", "load_encoder", "losses", "pretrain", "replay"]


def __getattr__(name: str) -> Any:
    import importlib

    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in ("analytic", "losses"):
        return importlib.import_module(f"ssljax.{name}")
    raise AttributeError(f"module 'ssljax' has no attribute {name!r}")
