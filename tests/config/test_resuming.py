"""Every setting by itself: whether a run may be resumed with another value of it."""

import dataclasses
import re
from pathlib import Path

import pytest

from ssljax.config import Config, MethodConfig
from ssljax.config.resuming import differences, refusal
from ssljax.config.serialize import flatten

PAGE = Path(__file__).parents[2] / "docs" / "pretraining.md"
ACCEPTED, REFUSED, EXTENDED = "accepted", "refused", "with `--extend`"
# A new setting has to be decided on here.
DECISIONS = {
    "method": {
        "name": REFUSED,
        "options.temperature": REFUSED,
        "projector": REFUSED,
        "projector_norm": REFUSED,
        "projector_bias": REFUSED,
        "predictor": REFUSED,
        "predictor_bias": REFUSED,
        "forward": REFUSED,
        "target_momentum": REFUSED,
    },
    "data": {
        "name": REFUSED,
        "split": REFUSED,
        "test_split": ACCEPTED,
        "labelled_split": ACCEPTED,
        "path": ACCEPTED,
        "data_dir": ACCEPTED,
        "image_size": REFUSED,
        "examples": REFUSED,
        "test_examples": ACCEPTED,
        "store": ACCEPTED,
        "crop": REFUSED,
        "workers": ACCEPTED,
    },
    "augment": {
        "preset": REFUSED,
        "variant": REFUSED,
        "size": REFUSED,
        "sizes": REFUSED,
        "crop_scales": REFUSED,
        "crop_scale_min": REFUSED,
        "interpolation": REFUSED,
        "blur": REFUSED,
        "grayscale": REFUSED,
        "jitter_strength": REFUSED,
    },
    "model": {
        "arch": REFUSED,
        "width": REFUSED,
        "stem": REFUSED,
        "stem_padding": REFUSED,
        "zero_init_residual": REFUSED,
        "dtype": REFUSED,
        "init_from": REFUSED,
        "init_step": REFUSED,
        "frozen": REFUSED,
    },
    "optimizer": {
        "name": REFUSED,
        "learning_rate": REFUSED,
        "scale_by_batch": REFUSED,
        "momentum": REFUSED,
        "weight_decay": REFUSED,
        "decay_norm_and_bias": REFUSED,
        "warmup_epochs": REFUSED,
        "final_fraction": REFUSED,
        "eta": REFUSED,
        "clip_norm": REFUSED,
        "norm_and_bias_learning_rate": REFUSED,
        "encoder_factor": REFUSED,
        "constant_predictor_rate": REFUSED,
    },
    "probe": {"enabled": REFUSED, "learning_rate": REFUSED, "momentum": REFUSED},
    "monitor": {
        "every_epochs": ACCEPTED,
        "examples": ACCEPTED,
        "eigenvalues": ACCEPTED,
        "knn_k": ACCEPTED,
        "knn_examples": ACCEPTED,
        "knn_test_examples": ACCEPTED,
        "collapse": ACCEPTED,
    },
    "checkpoint": {
        "every_epochs": ACCEPTED,
        "every_minutes": ACCEPTED,
        "keep": ACCEPTED,
        "keep_period": ACCEPTED,
        "best": ACCEPTED,
    },
    "log": {
        "every_steps": ACCEPTED,
        "tensorboard": ACCEPTED,
        "wandb": ACCEPTED,
        "wandb_project": ACCEPTED,
        "name": ACCEPTED,
        "group": ACCEPTED,
        "tags": ACCEPTED,
        "profile_steps": ACCEPTED,
    },
    "devices": {
        "count": ACCEPTED,
        "engine": ACCEPTED,
        "microbatch": REFUSED,
        "compilation_cache": ACCEPTED,
        "distributed": ACCEPTED,
        "coordinator": ACCEPTED,
        "processes": ACCEPTED,
        "process": ACCEPTED,
        "timeout": ACCEPTED,
    },
    "": {"epochs": EXTENDED, "batch_size": REFUSED, "seed": REFUSED},
}
TABLE = {
    f"{section}.{name}".lstrip("."): decision
    for section, names in DECISIONS.items()
    for name, decision in names.items()
}
SAVED = Config(method=MethodConfig(options={"temperature": 0.5}))


def changed(config, key, value):
    """Return a copy with another value, which need not be valid."""
    owner = other = dataclasses.replace(config)
    *path, leaf = key.split(".")
    for name in path:
        inner = getattr(owner, name)
        copied = dict(inner) if isinstance(inner, dict) else dataclasses.replace(inner)
        object.__setattr__(owner, name, copied)
        owner = copied
    if isinstance(owner, dict):
        owner[leaf] = value
    else:
        object.__setattr__(owner, leaf, value)
    return other


def test_every_setting_is_decided_on():
    assert set(TABLE) == set(flatten(SAVED))


@pytest.mark.parametrize("extend", [False, True])
def test_resume_accepts_and_refuses_what_the_table_says(extend):
    for key, decision in TABLE.items():
        value = 1000.0 if key == "epochs" else "something else"
        line = refusal(SAVED, changed(SAVED, key, value), extend=extend)
        may = decision == ACCEPTED or (extend and decision == EXTENDED)
        assert (line is None) == may, key
        assert may or f"({key}: " in line, line


def test_fewer_epochs_and_other_differences_are_refused_with_the_flag_too():
    shorter = refusal(SAVED, changed(SAVED, "epochs", 50.0), extend=True)
    assert "epochs: 100.0 -> 50.0); a run cannot be shortened" in shorter
    longer = changed(SAVED, "epochs", 200.0)
    assert "use --extend to train for more epochs" in refusal(SAVED, longer)
    for extend in (False, True):
        line = refusal(SAVED, changed(longer, "seed", 5), extend=extend)
        assert "seed: 0 -> 5" in line and "use the same settings" in line
        assert ("epochs: 100.0 -> 200.0" in line) != extend


def test_differences_are_sorted_and_name_both_values():
    other = changed(changed(SAVED, "seed", 5), "optimizer.learning_rate", 0.1)
    assert differences(SAVED, SAVED) == []
    assert differences(SAVED, other) == [
        "optimizer.learning_rate: 0.06 -> 0.1",
        "seed: 0 -> 5",
    ]
    options = ["method.options.temperature: None -> 0.5"]
    assert differences(Config(), SAVED) == options
    assert differences(SAVED, Config()) == ["method.options.temperature: 0.5 -> None"]


def test_the_page_has_the_same_table():
    section = PAGE.read_text("utf-8").split("## Resuming")[1].split("\n## ")[0]
    shown = {}
    for row in re.findall(r"^\| (`.*?) \| (.*?) \|", section, re.M):
        decision = next(d for d in (EXTENDED, ACCEPTED, REFUSED) if d in row[1])
        shown |= dict.fromkeys(re.findall(r"`(.*?)`", row[0]), decision)
    for key, decision in TABLE.items():
        fitting = [
            name
            for name in shown
            if name == key or (name[-1] == "*" and key.startswith(name[:-1]))
        ]
        assert shown[max(fitting, key=len)] == decision, key
        # The page names no setting that does not exist.
    assert all(any(key.startswith(name.rstrip("*")) for key in TABLE) for name in shown)
