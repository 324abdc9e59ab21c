"""The supervised baseline: cross-entropy on the labels, one view per image.

ssljax pretrain cifar10/supervised --workdir runs/supervised
"""

from ssljax.config import Config, MethodConfig, OptimizerConfig
from ssljax.recipes.datasets import CIFAR10, Dataset
from ssljax.recipes.recipe import NOT_MEASURED, Recipe


def supervised(dataset: Dataset) -> Config:
    """Build a config with the usual settings for CIFAR."""
    return Config(
        method=MethodConfig("supervised"),
        data=dataset.data,
        augment=dataset.augment,
        model=dataset.model,
        optimizer=OptimizerConfig(
            name="sgd", learning_rate=0.1, weight_decay=5e-4, warmup_epochs=10
        ),
        monitor=dataset.monitor,
        epochs=200,
        batch_size=128,
    )


RECIPES = (
    Recipe(
        "cifar10/supervised",
        "Supervised baseline",
        CIFAR10,
        supervised,
        expected=NOT_MEASURED,
        source="the usual CIFAR settings",
    ),
)
