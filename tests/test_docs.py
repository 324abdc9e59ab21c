"""Pages of docs/: what they show runs, and what they name exists."""

import dataclasses
import math
import re

import micro  # noqa: F401
import numpy as np
import pytest
from paths import DOCS

import ssljax
from ssljax.config import Config, DataConfig, MethodConfig, ModelConfig
from ssljax.config.serialize import flatten
from ssljax.data import from_arrays
from ssljax.evaluation.collapse import Thresholds
from ssljax.methods.table import METHODS
from ssljax.protocols.settings import Settings
from ssljax.recipes import load_recipe

# The commands in results.md are those of their time.
PAGES = [page for page in DOCS.glob("*.md") if page.name != "results.md"]


@pytest.mark.slow
def test_a_new_method_trains(tmp_path, monkeypatch):
    (source,) = re.findall(
        r"^```python\n(.*?)^```", (DOCS / "new-method.md").read_text(), re.S | re.M
    )
    before = dict(METHODS)
    try:
        exec(compile(source, "new-method.md", "exec"), {})
        (name,) = METHODS.keys() - before.keys()
        images = np.random.default_rng(0).integers(0, 256, (32, 16, 16, 3), np.uint8)
        config = Config(
            data=DataConfig("arrays"),
            method=MethodConfig(name, projector="16-8"),
            model=ModelConfig("micro"),
            epochs=1,
            batch_size=16,
        )
        run = ssljax.pretrain(config, tmp_path, train=from_arrays(images), quiet=True)
    finally:
        METHODS.clear()
        METHODS.update(before)
    assert run.steps == 2 and math.isfinite(run.metrics["loss"])


def test_settings_that_the_pages_name_exist():
    # Of the commands themselves; README's test runs them.
    commands = {"dry_run", "extend", "help", "out", "protocol", "smoke", "workdir"}
    commands |= {"against", "json", "profile", "steps", "threads"}
    commands |= {"checkpoint", "data", "examples", "test_examples"}
    commands |= {field.name for field in dataclasses.fields(Settings)}
    commands |= {"only", "seeds", "set", "modes"}
    commands |= {"format", "license", "push"}  # export; and import:
    commands |= {"arch", "drop", "image_size", "mean", "prefix", "std", "stem"}
    commands |= {"shm_size"}  # of `docker run`
    options = {option for method in METHODS.values() for option in method.options}
    options.add("decorrelation_weight")  # of the page's own method
    known = flatten(Config()).keys() | commands
    for page in PAGES:
        for flag in re.findall(r"`--([\w.-]+)", page.read_text()):
            key = flag.replace("-", "_")
            last = key.rpartition(".")[2]
            assert key in known or (
                key.startswith("method.options.") and last in options
            ), flag


def test_recipes_that_the_pages_name_exist():
    named = set()
    for page in [*PAGES, DOCS.parent / "README.md"]:
        named |= set(re.findall(r"ssljax pretrain ([a-z]\S*)", page.read_text()))
    assert {"cifar10/simclr", "shapes/quickstart", "folder"} <= named
    for name in named:
        assert isinstance(load_recipe(name), Config)


def test_the_limits_of_the_collapse_alarm_are_those_of_the_code():
    limits = Thresholds()
    page = re.sub(r"\s+", " ", (DOCS / "collapse.md").read_text())
    assert f"mean cosine at least {limits.mean_cosine}" in page
    assert f"deviation per dimension at most {limits.std_per_dimension}" in page
    assert f"RankMe at most {limits.rankme}, or" in page
    assert f" {limits.rank_fraction} of `min(N, D)`" in page
    line = f"at most {limits.participation_before}, then at most {limits.participation}"
    assert line in page and limits.patience == 2
