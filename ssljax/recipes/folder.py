"""SimCLR on a folder of your own images.

ssljax pretrain folder --data.path DIR --workdir runs/mine
"""

from ssljax.config import Config, MethodConfig, OptimizerConfig
from ssljax.recipes.datasets import FOLDER, Dataset
from ssljax.recipes.recipe import Recipe


def folder(dataset: Dataset) -> Config:
    """Build a config for small batches and images of any kind."""
    return Config(
        method=MethodConfig(
            "simclr", options={"temperature": 0.2}, projector="512-128"
        ),
        data=dataset.data,
        augment=dataset.augment,
        model=dataset.model,
        optimizer=OptimizerConfig(name="sgd", learning_rate=0.03, weight_decay=5e-4),
        monitor=dataset.monitor,
        epochs=100,
        batch_size=256,
    )


RECIPES = (
    Recipe(
        "folder",
        "SimCLR",
        FOLDER,
        folder,
        expected="no reference value",
        time="depends on the images",
        source="Chen et al. 2020; SimSiam's CIFAR rate",
        notes=(
            "The rate and weight decay of SGD are those of the SimSiam paper's CIFAR "
            "settings, which suit small batches. --dry-run prints steps, stem, crop "
            "and memory.",
        ),
    ),
)
