"""The spectral contrastive loss (HaoChen et al. 2021).

ssljax pretrain cifar10/spectral_contrastive --workdir runs/spectral_contrastive
"""

from dataclasses import replace
from functools import partial

from ssljax.config import Config, MethodConfig, OptimizerConfig
from ssljax.recipes.datasets import CIFAR10, IMAGENET, Dataset
from ssljax.recipes.recipe import NOT_MEASURED, Recipe


def spectral_contrastive(
    dataset: Dataset,
    *,
    mu: float,
    projector: str | None = None,
    learning_rate: float,
    weight_decay: float,
    warmup_epochs: int,
    epochs: int,
    batch_size: int,
    zero_init_residual: bool = False,
) -> Config:
    """Build a config with SGD, which decays vectors too."""
    return Config(
        method=MethodConfig(
            "spectral_contrastive", options={"mu": mu}, projector=projector
        ),
        data=dataset.data,
        augment=dataset.augment,
        model=replace(dataset.model, zero_init_residual=zero_init_residual),
        optimizer=OptimizerConfig(
            name="sgd",
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            decay_norm_and_bias=True,
            warmup_epochs=warmup_epochs,
        ),
        monitor=dataset.monitor,
        epochs=epochs,
        batch_size=batch_size,
    )


RECIPES = (
    Recipe(
        "cifar10/spectral_contrastive",
        "Spectral contrastive loss",
        CIFAR10,
        partial(
            spectral_contrastive,
            mu=1.0,
            projector="2048-1000",
            learning_rate=0.03,
            weight_decay=5e-4,
            warmup_epochs=10,
            epochs=800,
            batch_size=512,
        ),
        expected=NOT_MEASURED,
        source="the released code",
        notes=("SGD, rate 0.03 x batch / 256, 10 warm-up epochs, mu 1.",),
    ),
    Recipe(
        "imagenet/spectral_contrastive",
        "Spectral contrastive loss",
        IMAGENET,
        partial(
            spectral_contrastive,
            mu=10.0,
            learning_rate=0.05,
            weight_decay=1e-4,
            warmup_epochs=0,
            epochs=100,
            batch_size=384,
            zero_init_residual=True,
        ),
        expected="no published result",
        source="the released code, ImageNet",
        notes=(
            "SGD, rate 0.05 x batch / 256, three layers of 8192, mu 10. We know of no "
            "published result for these settings; ours is not yet measured.",
            "The source's file has 100 epochs in its name and trains for 101. Its "
            "BatchNorm and its negatives are those of one GPU (DataParallel); ours are "
            "of the whole batch.",
        ),
    ),
)
