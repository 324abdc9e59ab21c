"""Checklist of Halvagal, Laborieux and Zenke (2023) on implicit variance."""

from ssljax.analytic.checklist import Theory
from ssljax.analytic.checklists import _implicit_variance_closed as closed
from ssljax.analytic.checklists import _implicit_variance_collapse as collapse
from ssljax.analytic.checklists import _implicit_variance_coupled as coupled
from ssljax.analytic.checklists import _implicit_variance_settings as settings
from ssljax.analytic.checklists._implicit_variance_pictures import pictures

THEORY = Theory(
    name="implicit-variance",
    paper=(
        "Halvagal, Laborieux and Zenke, Implicit variance regularization in "
        "non-contrastive SSL, NeurIPS 2023"
    ),
    items=(*closed.ITEMS, *coupled.ITEMS, *collapse.ITEMS, *settings.ITEMS),
    pictures=pictures,
)
