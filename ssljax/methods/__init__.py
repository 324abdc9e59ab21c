"""Methods by name: each pairs networks and views with a loss of `ssljax.losses`."""

from ssljax.methods.resolve import bind_loss, bind_predictors, get, resolve
from ssljax.methods.table import METHODS, Head, Method
from ssljax.models import Outputs

__all__ = [
    "METHODS",
    "Head",
    "Method",
    "Outputs",
    "bind_loss",
    "bind_predictors",
    "get",
    "resolve",
]
