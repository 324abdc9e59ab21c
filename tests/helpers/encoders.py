"""Encoders with drawn weights: quick to make, and no statistic has its first value."""

import shutil
from pathlib import Path

import jax
import micro  # noqa: F401
import numpy as np

from ssljax.exports.description import Description
from ssljax.models.resnet import ARCHS, Arch

# Bottlenecks, shortcuts with and without projection, a strided stage.
ARCHS["micro50"] = Arch((2, 1), (4, 6), True)

OLD_RUN = Path(__file__).parents[1] / "runs" / "old_run"


def described(arch="micro50", stem="small", size=16, channels=3, **values):
    mean, std = (0.5, 0.4, 0.3)[:channels], (0.2, 0.25, 0.3)[:channels]
    values = {"stem_padding": None, "width": 1.0, "mean": mean, "std": std} | values
    return Description(arch=arch, stem=stem, size=size, **values)


def drawn(description, seed=0):
    """Return variables: kernels of He's size, the rest around its usual value."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        name = path[-1].key
        if name == "kernel":
            scale = np.sqrt(2 / np.prod(leaf.shape[:3]))
            return rng.normal(0, scale, leaf.shape).astype(np.float32)
        low, high = {"bias": (-0.2, 0.2), "mean": (-0.2, 0.2)}.get(name, (0.5, 1.5))
        return rng.uniform(low, high, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, description.variables())


def images_for(description, count=2, seed=1):
    """Return normalised images ``[N, H, W, C]``, smooth as photographs are."""
    rng = np.random.default_rng(seed)
    size = description.size
    coarse = rng.normal(size=(count, 4, 4, description.channels))
    smooth = coarse.repeat(-(-size // 4), 1).repeat(-(-size // 4), 2)[:, :size, :size]
    return (smooth + 0.1 * rng.normal(size=smooth.shape)).astype(np.float32)


def old_run(place):
    """Copy the run of an earlier version: BYOL, one block, 12 pixels, step 6."""
    return Path(shutil.copytree(OLD_RUN, Path(place) / "run"))
