"""Methods by name: each pairs networks and views with a loss of `ssljax.losses`."""

from ssljax.methods.resolve import (
    closed_form_predictors,
    get,
    has_target,
    loss_of,
    resolve,
)
from ssljax.methods.table import METHODS, Head, Method
from ssljax.methods.views_to_loss import Outputs

__all__ = [
    "METHODS",
    "Head",
    "Method",
    "Outputs",
    "closed_form_predictors",
    "get",
    "has_target",
    "loss_of",
    "resolve",
]
