"""Two processes that cut crops out of photographs give the run of one process."""

import subprocess
import sys

import numpy as np
import pytest
from interrupted import environment, finish, free_port, lines
from PIL import Image

pytestmark = pytest.mark.slow
RECIPE = """
from dataclasses import replace
from interrupted import CONFIG
from ssljax.config import AugmentConfig, DataConfig, MonitorConfig

def config():
    data = DataConfig(
        "folder", path={photos!r}, image_size=16, store="stream", crop="original"
    )
    return replace(
        CONFIG,
        data=replace(data, workers=0),
        augment=AugmentConfig("simclr", size=12),
        monitor=MonitorConfig(every_epochs=1, examples=32, knn_k=3),
        epochs=2,
    )
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """A recipe for 64 photographs of many sizes, one colour to a class."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for split, count in (("train", 64), ("test", 16)):
        for i in range(count):
            path = root / "photos" / split / "ab"[i % 2] / f"{i:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(0, 120, (40 + 3 * i % 17, 60 - 2 * i % 13, 3))
            noise[..., i % 2] += 130
            Image.fromarray(noise.astype(np.uint8)).save(path)
    path = root / "photos.py"
    path.write_text(RECIPE.format(photos=str(root / "photos")))
    return path


def trained(recipe, workdir, *, processes):
    """Train with the command line, and return the metrics."""
    command = [sys.executable, "-m", "ssljax", "pretrain", str(recipe)]
    command += ["--workdir", str(workdir)]
    where = ["--devices.coordinator", f"localhost:{free_port()}"]
    where += ["--devices.processes", str(processes)]
    given = environment() | {"JAX_NUM_CPU_DEVICES": str(8 // processes)}
    launched = [
        subprocess.Popen(
            command + (where + ["--devices.process", str(i)] if processes > 1 else []),
            env=given,
            stdout=subprocess.DEVNULL,
        )
        for i in range(processes)
    ]
    assert finish(launched) == [0] * processes
    return lines(workdir)


def test_losses_panels_and_accuracies_are_those_of_one_process(recipe, tmp_path):
    one = trained(recipe, tmp_path / "one", processes=1)
    two = trained(recipe, tmp_path / "two", processes=2)
    assert [r["step"] for r in two] == [r["step"] for r in one] == list(range(1, 9))
    # The same boxes, whichever process cuts them.
    assert two[0]["loss"] == pytest.approx(one[0]["loss"], rel=1e-5)
    # Later a ReLU may flip, whose effect grows.
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=2e-2)
    measured = [key for key in one[0] if key.startswith("spectrum/")]
    assert "spectrum/rankme" in measured and "knn_accuracy" in one[0]
    for key in [*measured, "knn_accuracy"]:
        np.testing.assert_allclose(two[0][key], one[0][key], rtol=1e-3, atol=1e-4)
