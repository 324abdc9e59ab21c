"""W-MSE (Ermolov et al. 2021): whiten the batch, then align the views.

ssljax pretrain cifar10/w_mse --workdir runs/w_mse
"""

from dataclasses import replace
from functools import partial

from ssljax.config import Config, MethodConfig, OptimizerConfig
from ssljax.recipes.datasets import CIFAR10, IMAGENET64, STL10, Dataset
from ssljax.recipes.recipe import Recipe
from ssljax.recipes.smoke import shrink


def w_mse(
    dataset: Dataset,
    *,
    size: int | None = None,
    options: dict[str, float | int | str],
    projector: str = "1024-128",
    learning_rate: float = 2e-3,
    warmup_epochs: float,
    epochs: int,
) -> Config:
    """Build the config of the released script, which has no blur."""
    return Config(
        method=MethodConfig("w_mse", options=dict(options), projector=projector),
        data=dataset.data,
        augment=replace(
            dataset.augment,
            size=size,
            blur=0.0,
            grayscale=0.1,
            interpolation="bicubic",
        ),
        model=dataset.model,
        optimizer=OptimizerConfig(
            name="adamw",
            learning_rate=learning_rate,
            scale_by_batch=False,
            weight_decay=1e-6,
            warmup_epochs=warmup_epochs,
        ),
        monitor=dataset.monitor,
        epochs=epochs,
        batch_size=512,
    )


def narrow_smoke(full: Config) -> Config:
    """Keep fewer dimensions than samples per sub-batch, which the batch limits."""
    small = shrink(full)
    options = small.method.options | {"sub_batch": 128}
    method = replace(small.method, options=options, projector="256-64")
    return replace(small, method=method)


REPEATED: dict[str, float | int | str] = {"sub_batch": 256, "repetitions": 4}
ADAM = "Ours decouples the weight decay from Adam and follows a cosine schedule."
SOURCE = "the released script of W-MSE"
# Also of CW-RGP's code, which is derived from W-MSE's.
ORDER = (
    "The source jitters and greys the whole image before it crops; ours crops first, "
    "so that contrast is about the crop's mean grey."
)
HEAD = (
    "At the source the encoder sees each view alone and the head all views together: "
    "the head's BatchNorm spans them, ours one view."
)
VIEWS = (
    "Views of 64 pixels, as at the source, cut out of images of 96. The stem is that "
    "of 96 pixels too: 3x3 and a max-pool. Evaluation resizes the image to 64 pixels; "
    "the source resizes it to 70 and cuts out the centre."
)

RECIPES = (
    Recipe(
        "cifar10/w_mse",
        "W-MSE",
        CIFAR10,
        partial(
            w_mse,
            options={"sub_batch": 128},
            projector="1024-64",
            learning_rate=3e-3,
            warmup_epochs=5,  # 500 steps
            epochs=1000,
        ),
        expected="91.55 % linear (the paper)",
        source=SOURCE,
        notes=(
            "The paper reports 91.55 / 66.10 % (linear), 89.69 / 56.69 % (5-NN) on "
            "CIFAR-10 / CIFAR-100; ours is not yet measured.",
            "Adam, rate 3e-3, 1000 epochs of batch 512, 500 steps of warm-up, no blur. "
            f"{ADAM}",
            f"{ORDER} {HEAD}",
        ),
    ),
    Recipe(
        "stl10/w_mse",
        "W-MSE",
        STL10,
        partial(w_mse, size=64, options=REPEATED, warmup_epochs=2.5, epochs=2000),
        expected="90.36 % linear (the paper)",
        source=SOURCE,
        notes=(
            "The paper reports 90.36 % (linear), 87.10 % (5-NN) on STL-10; ours is not "
            "yet measured.",
            "Adam, rate 2e-3, 2000 epochs of batch 512, 128 dimensions whitened 256 "
            f"samples at a time, in 4 permutations. {ADAM}",
            VIEWS,
            f"{ORDER} {HEAD}",
        ),
        make_smoke=narrow_smoke,
    ),
    Recipe(
        "imagenet64/w_mse",
        "W-MSE",
        IMAGENET64,
        partial(w_mse, options=REPEATED, warmup_epochs=0.2, epochs=1000),
        expected="48.20 % linear (Tiny-ImageNet)",
        source=SOURCE,
        notes=(
            "The paper reports 48.20 % (linear), 34.16 % (5-NN) on Tiny-ImageNet, a "
            "different data set; ours is not yet measured.",
            "Adam, rate 2e-3, 1000 epochs of batch 512, 128 dimensions whitened 256 "
            f"samples at a time, in 4 permutations. {ADAM}",
            f"{ORDER} {HEAD}",
        ),
        make_smoke=narrow_smoke,
    ),
)
