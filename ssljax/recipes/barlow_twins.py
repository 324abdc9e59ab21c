"""Barlow Twins (Zbontar et al. 2021): decorrelate the embedding dimensions.

ssljax pretrain cifar10/barlow_twins --workdir runs/barlow_twins
"""

from dataclasses import replace
from functools import partial

from ssljax.config import Config, MethodConfig, OptimizerConfig
from ssljax.recipes.datasets import CIFAR10_PADDED, IMAGENET, Dataset
from ssljax.recipes.recipe import Recipe

DEVICES = 16
"""GPUs behind the published checkpoint, by which the original's gradients are smaller
than ours: it sums the correlation over devices without a gradient through the sum."""


def barlow_twins(
    dataset: Dataset,
    *,
    projector: str,
    optimizer: OptimizerConfig,
    batch_size: int,
    zero_init_residual: bool = False,
) -> Config:
    """Build a config for 1000 epochs."""
    return Config(
        method=MethodConfig("barlow_twins", projector=projector),
        data=dataset.data,
        augment=replace(dataset.augment, interpolation="bicubic"),
        model=replace(dataset.model, zero_init_residual=zero_init_residual),
        optimizer=optimizer,
        monitor=dataset.monitor,
        epochs=1000,
        batch_size=batch_size,
    )


RECIPES = (
    Recipe(
        "cifar10/barlow_twins",
        "Barlow Twins",
        CIFAR10_PADDED,
        partial(
            barlow_twins,
            projector="2048-2048-2048",
            optimizer=OptimizerConfig(
                name="lars_clip",
                learning_rate=0.3,
                # solo-learn multiplies the loss by 0.1. LARS rescales that away
                # except in vectors, which take a tenth of the rate instead.
                norm_and_bias_learning_rate=0.03,
                weight_decay=1e-4,
                warmup_epochs=10,
            ),
            batch_size=256,
        ),
        expected="92.10 % online (solo-learn)",
        source="solo-learn's CIFAR script",
        notes=(
            "solo-learn reports 92.10 / 70.90 % online accuracy on CIFAR-10 / "
            "CIFAR-100; ours is not yet measured.",
            "LARS clipped, eta 0.02, 1000 epochs of batch 256. solo-learn multiplies "
            "the loss by 0.1, which LARS compensates in kernels only: biases and "
            "BatchNorm have a tenth of the rate.",
        ),
    ),
    Recipe(
        "imagenet/barlow_twins",
        "Barlow Twins",
        IMAGENET,
        partial(
            barlow_twins,
            projector="8192-8192-8192",
            optimizer=OptimizerConfig(
                name="lars_byol",
                learning_rate=0.2,
                norm_and_bias_learning_rate=0.0048 / DEVICES,
                weight_decay=1e-6 * DEVICES,
                final_fraction=1e-3,
                warmup_epochs=10,
            ),
            batch_size=2048,
            zero_init_residual=True,
        ),
        expected="73.5 % linear (the paper)",
        source="facebookresearch/barlowtwins",
        notes=(
            "The paper reports 73.5 % (linear, 1000 epochs); ours is not yet measured. "
            "LARS, rate 0.2 x batch / 256, of biases and BatchNorm 0.0048 x batch / "
            "256, weight decay 1e-6.",
            "The original sums the correlation over devices without a gradient through "
            "the sum, so its gradients are smaller than ours by the number of devices, "
            f"{DEVICES} in its README (32 in the paper). We divide the rate of biases "
            "and BatchNorm by that number and multiply the decay, which is added to "
            "the gradient: then LARS takes the original's steps.",
        ),
    ),
)
