"""The five theories by the names that `ssljax theory` takes."""

import importlib

from ssljax.analytic.checklist import Theory

NAMES = (
    "implicit-variance",
    "stepwise",
    "prediction-head",
    "spectral-transformation",
    "duality",
)


def load(name: str) -> Theory:
    """The theory of that name, with its checklist and pictures.

    >>> load("duality").name
    'duality'
    """
    module = importlib.import_module(
        f"ssljax.analytic.{name.replace('-', '_')}.checklist"
    )
    return module.THEORY
