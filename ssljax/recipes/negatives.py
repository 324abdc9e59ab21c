"""SimCLR's variants: other negatives, or positives left out of the denominator.

    ssljax pretrain cifar10/dcl --workdir runs/dcl

All have solo-learn's CIFAR settings of SimCLR, and differ in loss and temperature, so
that their accuracies can be compared: SimCLR itself under these settings is
`cifar10/simclr_sololearn`.
"""

from dataclasses import replace
from functools import partial

from ssljax.config import Config, MethodConfig, OptimizerConfig
from ssljax.recipes.datasets import CIFAR10_PADDED, Dataset
from ssljax.recipes.recipe import NOT_MEASURED, Recipe

SOURCE = "solo-learn's CIFAR script of SimCLR"
SETTINGS = f"{SOURCE}: LARS clipped, eta 0.02, 1000 epochs of batch 256."


def variant(dataset: Dataset, *, method: str, temperature: float) -> Config:
    """Build the config of one loss of the SimCLR kind."""
    return Config(
        method=MethodConfig(
            method,
            options={"temperature": temperature},
            projector="2048-256",
            projector_norm="off",
            projector_bias=True,
            forward="separate",
        ),
        data=dataset.data,
        augment=replace(dataset.augment, blur=0.5, interpolation="bicubic"),
        model=dataset.model,
        optimizer=OptimizerConfig(
            name="lars_clip", learning_rate=0.4, weight_decay=1e-4, warmup_epochs=10
        ),
        monitor=dataset.monitor,
        epochs=1000,
        batch_size=256,
    )


def _recipe(method: str, words: str, temperature: float) -> Recipe:
    return Recipe(
        f"cifar10/{method}",
        words,
        CIFAR10_PADDED,
        partial(variant, method=method, temperature=temperature),
        expected=NOT_MEASURED,
        source=SOURCE,
        notes=(SETTINGS,),
    )


RECIPES = (
    Recipe(
        "cifar10/simclr_sololearn",
        "SimCLR with the settings of its variants",
        CIFAR10_PADDED,
        partial(variant, method="simclr", temperature=0.2),
        expected="90.74 % online (solo-learn)",
        source=SOURCE,
        notes=(
            "solo-learn reports 90.74 / 65.78 % online accuracy on CIFAR-10 / "
            "CIFAR-100; ours is not yet measured.",
            f"{SETTINGS} lightly's settings are in cifar10/simclr.",
        ),
    ),
    _recipe("simclr_sq", "SimCLR with squared negatives", 0.2),
    _recipe("simclr_abs", "SimCLR with absolute negatives", 0.2),
    _recipe("dcl", "Decoupled contrastive learning", 0.1),
    _recipe("dcl_sq", "DCL with squared negatives", 0.1),
    _recipe("dcl_abs", "DCL with absolute negatives", 0.1),
    _recipe("dclw", "DCL with weighted positives", 0.1),
)
