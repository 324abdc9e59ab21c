"""A linear prediction head that trains off its diagonal only (Wen and Li 2022).

ssljax pretrain cifar10/offdiagonal_head --workdir runs/offdiagonal_head
"""

from ssljax.config import Config, MethodConfig, OptimizerConfig
from ssljax.recipes.datasets import CIFAR10, Dataset
from ssljax.recipes.recipe import NOT_MEASURED, Recipe


def offdiagonal_head(dataset: Dataset) -> Config:
    """Build the config of SimSiam's CIFAR settings with the linear head."""
    return Config(
        method=MethodConfig(
            "offdiagonal_head", projector="2048-64", predictor="off_diagonal"
        ),
        data=dataset.data,
        augment=dataset.augment,
        model=dataset.model,
        # Vectors and the linear head do not decay (the default): decay would pull the
        # head to the identity.
        optimizer=OptimizerConfig(
            name="sgd", learning_rate=0.03, weight_decay=5e-4, warmup_epochs=0
        ),
        monitor=dataset.monitor,
        epochs=800,
        batch_size=512,
    )


RECIPES = (
    Recipe(
        "cifar10/offdiagonal_head",
        "SimSiam with a trained off-diagonal linear head",
        CIFAR10,
        offdiagonal_head,
        expected=NOT_MEASURED,
        source="SimSiam's CIFAR settings",
        notes=(
            "SGD, rate 0.03 x batch / 256, 800 epochs, but no decay of vectors and of "
            "the linear head, which decay would pull to the identity. The paper's own "
            "recipe is not public.",
            "Arms of the experiment: --method.predictor identity, diagonal, symmetric, "
            "full, random, or widths such as 512-64; --method.target-momentum 0.99 "
            "adds a moving target.",
        ),
    ),
)
