"""Every recipe, full and with `--smoke`, on shapes alone: nothing is computed.

A step has two parts that meet at the features `[N, F]`. The encoder sees no method, so
each distinct one is traced once. The rest (views, heads, loss, optimizer, probe) is
traced for every recipe at its own batch, image size and widths, with an encoder of one
block in place of the deep one, of the same feature width.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from ssljax.config import ConfigError
from ssljax.methods import resolve
from ssljax.models.resnet import ARCHS, Arch
from ssljax.recipes import RECIPES
from ssljax.runs import setup as runs

# Image shape, classes and training images of the data sets, which are not here.
DATA = {
    "shapes": ((32, 32, 3), 12, 12_000),
    "folder": ((96, 64, 3), 7, 3_000),
    "cifar10": ((32, 32, 3), 10, 50_000),
    "stl10": ((96, 96, 3), 10, 105_000),
    "imagenet_resized/64x64": ((64, 64, 3), 1000, 1_281_167),
    "imagenet2012": ((256, 256, 3), 1000, 1_281_167),
}
CASES = [(name, smoke) for name in RECIPES for smoke in (False, True)]


def assembled(config):
    """The static setup of a config, without its data set."""
    shape, classes, examples = DATA[config.data.name]
    if config.data.image_size is not None:
        shape = (config.data.image_size,) * 2 + (3,)
    return runs.assemble(
        resolve(config),
        image_shape=shape,
        num_classes=classes,
        examples=config.data.examples or examples,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
    )


@pytest.fixture
def one_block(monkeypatch):
    """From a config to the same one with an encoder of a single block."""

    def shallow(config):
        model = config.model
        deep = ARCHS[model.arch]
        features = deep.stage_widths[-1] * (4 if deep.bottleneck else 1)
        name = f"one_block_{features}"
        monkeypatch.setitem(ARCHS, name, Arch((1,), (features,), False, stem_stride=2))
        return replace(config, model=replace(model, arch=name))

    return shallow


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "smoke"), CASES, ids=[n + " --smoke" * s for n, s in CASES]
)
def test_a_step_fits_together(name, smoke, one_block):
    config = RECIPES[name].config(smoke=smoke)
    features = assembled(config).network.encoder.feature_dim
    setup = assembled(one_block(config))
    assert setup.network.encoder.feature_dim == features
    runs._check_step(setup)


def test_a_recipe_that_does_not_fit_is_noticed(one_block):
    config = one_block(RECIPES["cifar10/byol"].config())
    config = replace(config, method=replace(config.method, predictor="4096-128"))
    with pytest.raises(ConfigError, match="'byol' cannot run with these settings"):
        runs._check_step(assembled(config))


def encoders():
    """Each distinct encoder, with the sizes of the views that it sees."""
    found = {}
    for name, smoke in CASES:
        setup = assembled(RECIPES[name].config(smoke=smoke))
        for size in setup.view_sizes:
            found.setdefault((setup.network.encoder, size), name + " --smoke" * smoke)
    return found


@pytest.mark.slow
def test_every_encoder_gives_features_of_every_view():
    found = encoders()
    for (encoder, size), name in found.items():
        images = jax.ShapeDtypeStruct((4, size, size, 3), jnp.float32)

        def features(images, encoder=encoder):
            variables = encoder.init(jax.random.key(0), images, train=True)
            return encoder.apply(
                variables, images, train=True, mutable=["batch_stats"]
            )[0]

        shape = jax.eval_shape(features, images)
        assert shape.shape == (4, encoder.feature_dim), name
        assert shape.dtype == jnp.float32, name
    assert len({encoder for encoder, _ in found}) > 5
