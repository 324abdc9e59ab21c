"""The arms of stepwise learning: methods that start small, and their settings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from reproduction import Size, replaced
from small_start import from_small_start

from ssljax import losses
from ssljax.config import Config
from ssljax.methods import METHODS
from ssljax.methods.views_to_loss import between_projections
from ssljax.recipes import load_recipe

RECIPE = "cifar10/barlow_twins"
PAIRS, SHAPES, USUAL = "pairs", "pairs_of_shapes", "pairs_usual_start"
COMPARED = ("barlow_twins", "simclr", "vicreg")
LINEAR = "linear_barlow_twins"
METHODS[LINEAR] = replace(
    METHODS["barlow_twins"],
    loss=between_projections(losses.linearized_barlow_twins),
    options={},
    forward="joint",
)
for _name in (LINEAR, *COMPARED, "byol"):
    METHODS[f"small_{_name}"] = from_small_start(METHODS[_name])


@dataclass(frozen=True, kw_only=True)
class Arms(Size):
    """A size, with each arm's own settings."""

    arms: Mapping[str, Mapping[str, Any]]


def arm(
    method: str,
    *,
    rate: float,
    steps: int,
    scale: float,
    bias: float = 0.0,
    fixed: bool = False,
    options: Mapping[str, float] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return an arm's settings.

    Args:
        method: one that starts as the other arguments say, see `from_small_start`.
        rate: learning rate.
        steps: of training.
        scale: ``start_scale``.
        bias: ``start_bias``.
        fixed: ``fixed_views``.
        options: of the loss.
        settings: other settings, by their flat names.
    """
    start = {"start_scale": scale, "start_bias": bias, "fixed_views": int(fixed)}
    return {
        "method.name": f"small_{method}",
        "method.options": {**(options or {}), **start},
        "optimizer.learning_rate": rate,
        "epochs": float(steps),
        **(settings or {}),
    }


_CIFAR = {
    "data.test_examples": 64,
    "data.image_size": 16,
    "model.arch": "resnet_tiny",
    "model.width": 0.5,
    "model.dtype": "float32",
    "model.stem_padding": None,
    "method.projector": "1024-6",
    "augment.crop_scale_min": 0.5,
    "data.examples": 48,
    "epochs": 800.0,
    "batch_size": 48,
}


def _arms(rates: float, lengths: float, predictor: str) -> dict[str, dict[str, Any]]:
    """Return all arms.

    Args:
        rates: factor on the learning rates.
        lengths: factor on the numbers of steps.
        predictor: of BYOL.
    """

    def pairs(
        scale: float = 1e-3, data: str = "cifar10", steps: int = 800
    ) -> dict[str, Any]:
        return arm(
            LINEAR,
            rate=8e-4 * rates,
            steps=round(steps * lengths),
            scale=scale,
            fixed=True,
            settings={"data.name": data},
        )

    def fresh(
        method: str, rate: float, steps: int = 900, **others: Any
    ) -> dict[str, Any]:
        return arm(method, rate=rate * rates, steps=round(steps * lengths), **others)

    return {
        PAIRS: pairs(),
        SHAPES: pairs(data="shapes"),
        USUAL: pairs(scale=1.0, steps=400),
        # The small start is below the epsilon of the standardisation.
        "barlow_twins": fresh(
            "barlow_twins", 5e-8, scale=1e-4, options={"off_diagonal_weight": 1.0}
        ),
        # These two losses see directions alone: they start with one for all images.
        "simclr": fresh(
            "simclr", 2e-3, scale=1e-3, bias=1.0, options={"temperature": 0.5}
        ),
        "vicreg": fresh(
            "vicreg", 1.5e-4, scale=1e-3, options={"covariance_weight": 25.0}
        ),
        "byol": fresh(
            "byol",
            1e-5,
            steps=400,
            scale=1e-3,
            bias=1.0,
            settings={"method.predictor": predictor},
        ),
    }


SIZES = {
    "cpu": Arms(
        settings=_CIFAR,
        arms=_arms(1.0, 1.0, "64-6"),
        tuned=(
            "the projector's width, rates, temperature and loss weights. With 128 "
            "hidden units instead of 1024 (64 pairs, 10 dimensions, 600 steps) the "
            "rank correlation was 0.94, not 1. VICReg's covariance weight is 25: with "
            "1, one mode was learned in 450 steps. Barlow Twins weighs all entries "
            "alike, as the theory does. A start that is small in the last block too "
            "(its BatchNorm scales times 0.1) diverged at rate 0.01 and was given up"
        ),
        notes=(
            "Fixed pairs, on CIFAR-10: the NTK before training predicts the embedding "
            "better than the one after (overlap 0.93 and 0.87). With 1024 hidden units "
            "training stays near its first kernel. For SimCLR and VICReg with new "
            "views the one after is clearly better.",
            "From the usual start the eigenvalues rise in order as well, but together, "
            "and the initial NTK no longer says when.",
            "With new views of 48 images, plateaus fluctuate and keep growing. Barlow "
            "Twins and SimCLR show their steps on the logarithmic axis; two of them "
            "pass the count, by which a mode must be half learned before the next has "
            "reached a quarter.",
            "A start below the epsilon of its standardisation is small for Barlow "
            "Twins, one direction for all images is for SimCLR and BYOL.",
            "BYOL leaves the small start within the first four steps: its predictor "
            "normalises, so that a smaller embedding has a larger gradient. That it "
            "shows no steps says little here; rates below 1e-5 were not tried.",
            "Only the projector's last layer starts small. The features h are those of "
            "a usual start and gain no dimensions with new views (with fixed pairs "
            "their participation ratio grows by 16 and 22 %).",
            "One seed. The paper trains ResNet-50 on STL-10.",
        ),
    ),
    "full": Arms(
        settings={
            "data.examples": 512,
            "data.test_examples": 512,
            "model.dtype": "float32",
            "method.projector": "2048-16",
            "augment.crop_scale_min": 0.5,
            "epochs": 4000.0,
            "batch_size": 512,
        },
        arms=_arms(0.5, 5.0, "128-16"),
        tuned="nothing; half of the rates of cpu, for a projector twice as wide",
    ),
    "toy": Arms(
        settings={
            **_CIFAR,
            "data.name": "shapes",
            "data.examples": 16,
            "data.test_examples": 8,
            "data.image_size": 8,
            "model.width": 0.125,
            "method.projector": "32-4",
            "batch_size": 16,
        },
        arms={
            PAIRS: arm(LINEAR, rate=0.05, steps=40, scale=1e-3, fixed=True),
            "simclr": arm("simclr", rate=1e-2, steps=4, scale=1e-3, bias=1.0),
        },
    ),
}


def config_of(arm: str, size: Arms, seed: int) -> Config:
    """Return the settings of one run."""
    return replaced(
        load_recipe(RECIPE),
        {
            "method.projector_norm": "hidden",
            "method.projector_bias": True,
            "augment.preset": "simclr",
            # Gradient flow, as far as steps can be.
            "optimizer.name": "sgd",
            "optimizer.momentum": 0.0,
            "optimizer.weight_decay": 0.0,
            "optimizer.scale_by_batch": False,
            "optimizer.warmup_epochs": 0.0,
            "optimizer.final_fraction": 1.0,
            "optimizer.norm_and_bias_learning_rate": None,
            "probe.enabled": False,
            "monitor.every_epochs": 0.0,
            "seed": seed,
            **size.settings,
            **size.arms[arm],
        },
    )
