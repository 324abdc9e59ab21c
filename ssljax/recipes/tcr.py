"""Total coding rate (Tong et al. 2023; NMCE, Li et al. 2022).

ssljax pretrain cifar10/tcr --workdir runs/tcr
"""

from dataclasses import replace

from ssljax.config import Config, MethodConfig, OptimizerConfig
from ssljax.recipes.datasets import CIFAR10, Dataset
from ssljax.recipes.recipe import NOT_MEASURED, Recipe


def tcr(dataset: Dataset) -> Config:
    """Build the config of NMCE's CIFAR-10 script."""
    return Config(
        method=MethodConfig(
            "tcr", projector="4096-128", projector_bias=True, forward="joint"
        ),
        data=dataset.data,
        # Its augmentations (cifar_simclr_norm) have half of SimCLR's jitter.
        augment=replace(dataset.augment, jitter_strength=0.5),
        model=dataset.model,
        optimizer=OptimizerConfig(
            name="lars_clip",
            learning_rate=0.3,
            scale_by_batch=False,
            weight_decay=1e-4,
            warmup_epochs=10,
        ),
        monitor=dataset.monitor,
        epochs=600,
        batch_size=1024,
    )


RECIPES = (
    Recipe(
        "cifar10/tcr",
        "Total coding rate",
        CIFAR10,
        tcr,
        expected=NOT_MEASURED,
        source="NMCE's CIFAR-10 script",
        notes=(
            "Projector 4096-128, LARS clipped, eta 0.02, rate 0.3, 10 warm-up epochs, "
            "600 epochs of batch 1024, jitter .4/.4/.4/.1. As at the source, the views "
            "pass through the network together.",
        ),
    ),
)
