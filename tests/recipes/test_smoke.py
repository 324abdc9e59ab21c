"""`--smoke`: every recipe at the scale of a CPU."""

import pytest

from ssljax.config import Config, MethodConfig
from ssljax.recipes import load_recipe, shrink

SHAPES = "shapes/quickstart"


def test_smoke_shrinks_a_recipe_and_uses_its_own_where_there_is_one():
    small = load_recipe(SHAPES, smoke=True)
    assert small == shrink(load_recipe(SHAPES))
    assert small.epochs == 5 and small.data.examples == 4000
    own = load_recipe("cifar10/simclr", smoke=True)
    assert own != shrink(load_recipe("cifar10/simclr"))
    assert own.model.arch == "resnet_tiny" and own.data.name == "cifar10"


@pytest.mark.parametrize(
    "layers, narrow",
    [("2048-512-128", "256-256-128"), ("classes", "classes"), ("none", "none")],
)
def test_a_smoke_run_narrows_the_heads_it_can(layers, narrow):
    config = Config(method=MethodConfig("simclr", projector=layers))
    assert shrink(config).method.projector == narrow


@pytest.mark.parametrize(
    ("recipe", "sizes"),
    [
        ("imagenet/intl_ema", (32, 32, 27, 23, 18, 14)),
        ("imagenet/byol", (32, 32)),
        ("stl10/byol", (None, None)),
    ],
)
def test_the_smoke_preset_of_a_large_recipe_is_small(recipe, sizes):
    config = load_recipe(recipe, smoke=True)
    augment = config.augment
    assert (augment.sizes or (augment.size,) * 2) == sizes
    assert config.data.image_size in (None, 37, 32)
    assert config.batch_size <= 128 and config.model.arch == "resnet_tiny"
