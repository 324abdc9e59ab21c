"""The configuration refuses what cannot be used, and survives its own JSON."""

import dataclasses
import json
import math
import typing

import pytest

from ssljax.config import (
    AugmentConfig,
    Config,
    DataConfig,
    MethodConfig,
    ModelConfig,
    MonitorConfig,
    OptimizerConfig,
    ProbeConfig,
)
from ssljax.config.checks import ConfigError, nearest
from ssljax.config.resuming import differences
from ssljax.config.serialize import flatten, from_json, to_json

UNUSUAL = Config(
    method=MethodConfig(
        "byol", options={}, projector="64-32", predictor="none", target_momentum=0.9
    ),
    data=DataConfig("folder", path="images", image_size=48, store="stream"),
    augment=AugmentConfig(preset="byol", blur=0.25),
    model=ModelConfig("resnet50", width=0.5, stem="large", dtype="bfloat16"),
    optimizer=OptimizerConfig("lars", learning_rate=0.3, clip_norm=1.5),
    probe=ProbeConfig(enabled=False),
    monitor=MonitorConfig(every_epochs=0.5, collapse="stop"),
    epochs=12.5,
    batch_size=48,
    seed=7,
)


def changed(config, key, value):
    """The config with one dotted key replaced."""
    head, _, rest = key.partition(".")
    new = changed(getattr(config, head), rest, value) if rest else value
    return dataclasses.replace(config, **{head: new})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        # The wrong type.
        ("epochs", "3", "epochs is '3'; allowed: a number"),
        ("batch_size", 32.0, "batch_size is 32.0; allowed: a whole number"),
        ("seed", True, "seed is True; allowed: a whole number"),
        ("data.path", 3, "data.path is 3; allowed: text or None"),
        ("probe.enabled", 1, "probe.enabled is 1; allowed: a bool"),
        ("model.width", None, "model.width is None; allowed: a number"),
        (
            "method.options",
            {"temperature": None},
            "method.options is {'temperature': None}; allowed: names with numbers or "
            "text",
        ),
        # A value that cannot be.
        ("epochs", 0, "epochs is 0; allowed: > 0"),
        ("epochs", float("nan"), "epochs is nan; allowed: finite and > 0"),
        ("epochs", float("inf"), "epochs is inf; allowed: finite and > 0"),
        ("batch_size", 1, "batch_size is 1; allowed: >= 2"),
        ("seed", -1, "seed is -1; allowed: >= 0"),
        ("data.examples", 0, "data.examples is 0; allowed: > 0"),
        ("data.workers", -1, "data.workers is -1; allowed: 0 to 1024"),
        ("augment.blur", 1.5, "augment.blur is 1.5; allowed: 0 to 1"),
        (
            "augment.crop_scale_min",
            0.0,
            "augment.crop_scale_min is 0.0; allowed: 0 < value <= 1",
        ),
        (
            "method.target_momentum",
            -0.1,
            "method.target_momentum is -0.1; allowed: 0 to 1",
        ),
        ("optimizer.momentum", 1.1, "optimizer.momentum is 1.1; allowed: 0 to 1"),
        (
            "optimizer.weight_decay",
            -1e-4,
            "optimizer.weight_decay is -0.0001; allowed: >= 0",
        ),
        ("monitor.examples", 1, "monitor.examples is 1; allowed: >= 2"),
        ("checkpoint.keep", 1, "checkpoint.keep is 1; allowed: >= 2"),
        ("log.every_steps", 0, "log.every_steps is 0; allowed: > 0"),
        ("devices.count", 0, "devices.count is 0; allowed: > 0"),
        (
            "method.projector",
            "",
            "method.projector is ''; allowed: layer widths such as 2048-2048-128, or "
            "none",
        ),
        # A choice that does not exist, with the nearest one.
        (
            "data.store",
            "memry",
            "data.store is 'memry'; allowed: 'auto', 'memory', 'stream'; "
            "did you mean 'memory'?",
        ),
        (
            "model.dtype",
            "bfloat",
            "model.dtype is 'bfloat'; allowed: 'float32', 'bfloat16'; "
            "did you mean 'bfloat16'?",
        ),
        (
            "augment.interpolation",
            "cubic",
            "augment.interpolation is 'cubic'; allowed: 'bilinear', 'bicubic'; "
            "did you mean 'bicubic'?",
        ),
        # Nothing is near, so nothing is suggested.
        (
            "monitor.collapse",
            "xyz",
            "monitor.collapse is 'xyz'; allowed: 'warn', 'stop', 'off'",
        ),
    ],
)
def test_the_message_names_key_value_and_what_is_allowed(key, value, message):
    with pytest.raises(ConfigError) as refusal:
        changed(Config(), key, value)
    assert str(refusal.value) == message


def test_a_whole_number_is_a_number_too():
    assert Config(epochs=3).epochs == 3


def test_flatten_has_every_leaf_under_its_dotted_name():
    flat = flatten(Config(method=MethodConfig(options={"temperature": 0.5})))
    assert flat["method.options.temperature"] == 0.5
    assert flat["optimizer.learning_rate"] == 0.06
    assert flat["batch_size"] == 256
    assert not any(dataclasses.is_dataclass(value) for value in flat.values())
    sections = {key.split(".")[0] for key in flat}
    assert sections == {field.name for field in dataclasses.fields(Config)}


@pytest.mark.parametrize("config", [Config(), UNUSUAL], ids=["default", "unusual"])
def test_json_there_and_back_is_the_same_config(config):
    text = to_json(config)
    assert from_json(text) == config
    assert to_json(from_json(text)) == text


def test_json_is_checked_as_a_recipe_is():
    values = json.loads(to_json(Config()))
    values["optimizer"]["lerning_rate"] = values["optimizer"].pop("learning_rate")
    with pytest.raises(ConfigError) as refusal:
        from_json(json.dumps(values))
    assert str(refusal.value) == (
        "unknown key 'optimizer.lerning_rate'; did you mean 'learning_rate'?"
    )
    with pytest.raises(ConfigError, match="epochs is 0; allowed: > 0"):
        from_json('{"epochs": 0}')


def test_a_run_from_before_the_choice_of_a_filter_was_bilinear():
    values = json.loads(to_json(UNUSUAL))
    del values["augment"]["interpolation"]
    saved = from_json(json.dumps(values))
    assert saved == UNUSUAL and saved.augment.interpolation == "bilinear"
    wanted = changed(saved, "augment.interpolation", "bicubic")
    assert differences(saved, wanted) == [
        "augment.interpolation: 'bilinear' -> 'bicubic'"
    ]


def numeric_fields():
    """Yield the dotted key of every field that takes a number, and its kind."""
    for key, value in flatten(Config(method=MethodConfig(options={}))).items():
        section, _, name = key.rpartition(".")
        owner = type(getattr(Config(), section)) if section else Config
        hint = typing.get_type_hints(owner)[name]
        kinds = {hint, *typing.get_args(hint)} & {int, float}
        if kinds and not isinstance(value, dict):
            yield key, kinds.pop()


EXTREMES = [0, -1, float("inf"), float("nan"), 1e30, 10**30]


@pytest.mark.parametrize(("key", "kind"), list(numeric_fields()))
def test_an_extreme_number_is_accepted_or_refused_in_one_line(key, kind):
    for value in EXTREMES:
        value = kind(value) if abs(value) < 2 else value
        try:
            changed(Config(), key, value)
        except ConfigError as refusal:
            text = str(refusal)
            # These two need an address before their value matters.
            alone = key in ("devices.process", "devices.processes")
            named = "devices.coordinator is" if alone else f"{key} is {value!r}"
            assert text.startswith((named, f"{key} is {value!r}")), text
            assert "\n" not in text
            if kind is float and not math.isfinite(value) and "> " in text:
                assert "finite" in text
        else:
            # What no step can count or no array can hold must not get this far.
            assert math.isfinite(value) and (kind is float or abs(value) < 2), value


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("epochs", 1e30, "at most 2147483647"),
        ("optimizer.warmup_epochs", 1e30, "at most 2147483647"),
        ("monitor.every_epochs", float("inf"), "finite and >= 0"),
        ("data.examples", 10**30, "at most 2147483647"),
        ("seed", 2**32, "at most 4294967295"),
        ("model.width", 1e30, "0 to 100"),
    ],
)
def test_a_number_that_is_too_large_names_the_limit(key, value, allowed):
    with pytest.raises(ConfigError) as refusal:
        changed(Config(), key, value)
    assert str(refusal.value) == f"{key} is {value!r}; allowed: {allowed}"


@pytest.mark.parametrize(
    ("name", "allowed", "meant"),
    [
        ("foo", ["simclr", "byol"], None),
        ("nonexist", ["mnist", "coco"], None),
        ("barlow", ["byol", "barlow_twins"], "barlow_twins"),
        ("simcrl", ["byol", "simclr"], "simclr"),
        ("x", ["xyz"], None),
    ],
)
def test_only_a_misspelling_gets_a_hint(name, allowed, meant):
    assert nearest(name, allowed) == (f"; did you mean {meant!r}?" if meant else "")
