"""SimSiam (Chen and He 2021): a predictor and a stop-gradient, no target network.

ssljax pretrain cifar10/simsiam --workdir runs/simsiam
"""

from dataclasses import replace
from functools import partial

from ssljax.config import AugmentConfig, Config, MethodConfig, OptimizerConfig
from ssljax.recipes.datasets import CIFAR10_PADDED, IMAGENET, Dataset
from ssljax.recipes.recipe import Recipe


def simsiam(
    dataset: Dataset,
    *,
    augment: AugmentConfig | None = None,
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
            "simsiam", projector="2048-2048-2048", predictor="512-2048"
        ),
        data=dataset.data,
        augment=augment or dataset.augment,
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
        "cifar10/simsiam",
        "SimSiam",
        CIFAR10_PADDED,
        partial(
            simsiam,
            augment=AugmentConfig(
                crop_scale_min=0.08, blur=0.5, interpolation="bicubic"
            ),
            learning_rate=0.5,
            weight_decay=1e-5,
            warmup_epochs=10,
            epochs=1000,
            batch_size=256,
        ),
        expected="90.51 % online (solo-learn)",
        source="solo-learn's CIFAR script",
        notes=(
            "solo-learn reports 90.51 / 66.04 % online accuracy on CIFAR-10 / "
            "CIFAR-100; ours is not yet measured. SGD, rate 0.5, 1000 epochs of batch "
            "256.",
        ),
    ),
    Recipe(
        "imagenet/simsiam",
        "SimSiam",
        IMAGENET,
        partial(
            simsiam,
            learning_rate=0.05,
            weight_decay=1e-4,
            warmup_epochs=0,
            epochs=100,
            batch_size=512,
            zero_init_residual=True,
        ),
        expected="68.1 % linear (its README)",
        source="facebookresearch/simsiam",
        notes=(
            "The official README reports 68.1 % (linear, 100 epochs, batch 512); ours "
            "is not yet measured. SGD, rate 0.05 x batch / 256, no warm-up; the "
            "predictor's rate stays constant.",
        ),
    ),
)
