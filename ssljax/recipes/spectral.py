"""A spectral transformation of your choice (Weng et al. 2024).

ssljax pretrain cifar10/spectral --method.options.g 'x ** -0.25' --workdir runs/g
"""

from dataclasses import replace

from ssljax.config import Config, MethodConfig, OptimizerConfig
from ssljax.recipes.datasets import CIFAR10_PADDED, Dataset
from ssljax.recipes.recipe import NOT_MEASURED, Recipe


def spectral(dataset: Dataset) -> Config:
    """Build the config of INTL's script with a function of the eigenvalues."""
    return Config(
        method=MethodConfig(
            "spectral",
            options={"g": "x ** -0.5", "axis": "channel"},
            projector="2048-2048-2048",
        ),
        data=dataset.data,
        augment=replace(dataset.augment, interpolation="bicubic"),
        model=dataset.model,
        optimizer=OptimizerConfig(
            name="sgd",
            learning_rate=0.3,
            weight_decay=1e-4,
            final_fraction=1e-3,
            decay_norm_and_bias=True,
            warmup_epochs=2,
        ),
        monitor=dataset.monitor,
        epochs=1000,
        batch_size=256,
    )


RECIPES = (
    Recipe(
        "cifar10/spectral",
        "A spectral transformation of your choice",
        CIFAR10_PADDED,
        spectral,
        expected=NOT_MEASURED,
        source="the released script of INTL",
        notes=(
            "--method.options.g takes a name or an expression of the eigenvalue x.",
            "SGD, rate 0.3 x batch / 256, 2 warm-up epochs.",
        ),
    ),
)
