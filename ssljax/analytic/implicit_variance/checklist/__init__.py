"""Checklist of Halvagal, Laborieux and Zenke (2023) on implicit variance."""

from ssljax.analytic.checklist import Theory
from ssljax.analytic.implicit_variance.checklist import (
    closed,
    collapse,
    coupled,
    settings,
)
from ssljax.analytic.implicit_variance.checklist.pictures import pictures

THEORY = Theory(
    name="implicit-variance",
    paper=(
        "Halvagal, Laborieux and Zenke, Implicit variance regularization in "
        "non-contrastive SSL, NeurIPS 2023"
    ),
    items=(*closed.ITEMS, *coupled.ITEMS, *collapse.ITEMS, *settings.ITEMS),
    pictures=pictures,
)
