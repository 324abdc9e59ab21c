"""`model.init_from`: a run that starts from another run's encoder."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from coloured import images as coloured_images
from coloured import trained_run
from encoders import old_run
from small_runs import source

from ssljax.config import (
    AugmentConfig,
    Config,
    DataConfig,
    DevicesConfig,
    MethodConfig,
    ModelConfig,
    MonitorConfig,
    OptimizerConfig,
)
from ssljax.config.checks import ConfigError
from ssljax.methods import resolve
from ssljax.runs.encoder import restore
from ssljax.runs.folder import RunFolder
from ssljax.runs.initial import check_initial, start_from
from ssljax.runs.pretrain import pretrain
from ssljax.runs.setup import prepare
from ssljax.training.state import creator


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    return old_run(tmp_path_factory.mktemp("before"))


def config_from(folder, **model):
    return resolve(
        Config(
            method=MethodConfig("byol", projector="24-12", predictor="8-12"),
            data=DataConfig("arrays"),
            augment=AugmentConfig(blur=0.0),
            model=ModelConfig(**{"arch": "micro", "init_from": str(folder)} | model),
            monitor=MonitorConfig(every_epochs=0),
            devices=DevicesConfig(count=1),
            epochs=1,
            batch_size=32,
        )
    )


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.slow
def test_encoder_and_target_begin_as_that_encoder_and_heads_as_drawn(before):
    setup = prepare(config_from(before), source())
    drawn = creator(setup)()
    found, theirs = start_from(drawn, setup), restore(before).state
    for part in ("params", "batch_stats"):
        encoder = getattr(theirs, part)["encoder"]
        same(getattr(found, part)["encoder"], encoder)
        same(found.target[part]["encoder"], encoder)
        same(getattr(found, part)["projector"], getattr(drawn, part)["projector"])
    assert int(found.step) == 0
    same(found.opt_state, drawn.opt_state)
    kernel = found.params["encoder"]["conv1"]["kernel"]
    assert not np.array_equal(kernel, drawn.params["encoder"]["conv1"]["kernel"])


@pytest.mark.slow
def test_a_run_starts_there_and_resumes_without_it(tmp_path):
    before, folder = old_run(tmp_path), tmp_path / "new"
    config = config_from(before)
    images = source()
    pretrain(config, folder, train=images, quiet=True)
    assert restore(folder).step == 1
    # One step of SGD moves it less than another seed would.
    there = restore(before).state.params["encoder"]["conv1"]["kernel"]
    here = restore(folder).state.params["encoder"]["conv1"]["kernel"]
    drawn = restore(folder, untrained=True).state.params["encoder"]["conv1"]["kernel"]
    far = np.abs(np.asarray(there) - np.asarray(drawn)).max()
    assert 0 < np.abs(np.asarray(there) - np.asarray(here)).max() < 0.3 * far
    before.rename(tmp_path / "moved")
    assert pretrain(config, folder, train=images, quiet=True).steps == 1
    other = replace(config, model=replace(config.model, init_from=None))
    with pytest.raises(ConfigError, match="different settings .*model.init_from"):
        pretrain(other, folder, train=images, quiet=True)


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ({"arch": "resnet_tiny"}, "model.arch is 'micro', not 'resnet_tiny'"),
        ({"width": 2.0}, "model.width is 1.0, not 2.0; use its --model.width 1.0"),
        ({"init_from": "nowhere"}, "holds no run"),
    ],
)
def test_another_network_is_refused_before_anything_is_written(
    before, tmp_path, model, line
):
    with pytest.raises(ConfigError, match=line):
        pretrain(config_from(before, **model), tmp_path / "new", train=source())
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_another_stem_or_no_checkpoint_is_refused(before, tmp_path):
    setup = prepare(config_from(before, stem="medium"), source())
    with pytest.raises(ConfigError, match="whose stem is 'small', not 'medium'"):
        start_from(creator(setup)(), setup)
    empty = old_run(tmp_path)
    (empty / "checkpoints").rename(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="has no checkpoint yet"):
        check_initial(config_from(empty), RunFolder(tmp_path / "new"))


@pytest.mark.slow
def test_a_linear_evaluation_by_hand(tmp_path):
    run = trained_run(tmp_path / "run")
    config = Config(
        method=MethodConfig("supervised"),
        data=DataConfig("arrays"),
        model=ModelConfig("micro", init_from=str(run), init_step=10, frozen=True),
        optimizer=OptimizerConfig(learning_rate=2.0, weight_decay=0.1, warmup_epochs=0),
        epochs=3,
        batch_size=24,
    )
    # Other images, but normalised as those that the encoder knows.
    images = coloured_images(20, seed=5)
    found = pretrain(config, tmp_path / "linear", train=images, quiet=True)
    there, here = restore(run, step=10), restore(tmp_path / "linear")
    for part in ("params", "batch_stats"):
        same(*(getattr(each.state, part)["encoder"] for each in (there, here)))
    assert here.data.mean == there.data.mean and here.data.std == there.data.std
    newest = restore(run).state.params["encoder"]["conv1"]["kernel"]
    kernel = here.state.params["encoder"]["conv1"]["kernel"]
    assert not np.array_equal(kernel, newest)
    assert found.metrics["loss"] < np.log(3)
    missing = replace(config, model=replace(config.model, init_step=7))
    line = (
        "model.init_step is 7, but .* has no checkpoint of that step; kept are 10, 20"
    )
    with pytest.raises(ConfigError, match=line):
        pretrain(missing, tmp_path / "none", train=images)
    assert not (tmp_path / "none").exists()
