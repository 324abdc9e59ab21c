"""The page on new methods is run as it stands."""

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
from ssljax.methods.table import METHODS


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
    options = {option for method in METHODS.values() for option in method.options}
    options.add("decorrelation_weight")  # of the page's own method
    known = flatten(Config()).keys()
    for page in DOCS.glob("*.md"):
        for flag in re.findall(r"`--([\w.-]+)", page.read_text()):
            key = flag.replace("-", "_")
            last = key.rpartition(".")[2]
            assert key in known or (
                key.startswith("method.options.") and last in options
            ), flag
