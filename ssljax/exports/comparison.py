"""Run our encoder beside an exported one on real images, and compare their features."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from ssljax.config.checks import ConfigError
from ssljax.data import DataError, load
from ssljax.data.augment import for_evaluation, normalize
from ssljax.models.resnet import ResNet
from ssljax.runs.encoder import Restored
from ssljax.runs.setup import load_split

TOLERANCE = 1e-4
"""Largest difference allowed, relative to the largest feature of the image."""
COUNT = 8
"""Images compared."""


@dataclass(frozen=True)
class Check:
    """What an export was compared with, and the largest difference found."""

    against: str
    """The program that ran the exported file."""
    images: str
    difference: float
    """Over all images: the largest difference, over the image's largest feature."""
    tolerance: float = TOLERANCE


def images_of(run: Restored) -> tuple[np.ndarray, str]:
    """Return images to compare on, uint8 ``[N, H, W, C]``, and what they are.

    Images of the run's test split, or generated ones where those cannot be read here.
    """
    shape, data = run.setup.image_shape, run.config.data
    few = replace(data, test_examples=COUNT)
    try:
        source = load_split(
            replace(run.config, data=few), train=False, image_shape=shape
        )
        if source.image_shape[2] == shape[2]:
            images, _ = source.take(np.arange(min(COUNT, source.size)))
            return np.asarray(images), f"{len(images)} of {source.name} (test)"
    except (ConfigError, DataError):
        pass  # arrays, or a data set that is not on this machine
    return generated(shape[0], shape[2])


def generated(size: int, channels: int) -> tuple[np.ndarray, str]:
    """Return images of the generated set ``shapes``, and what they are.

    Args:
        size: their side in pixels.
        channels: 3 for colours; otherwise the first one repeated.
    """
    source = load("shapes", split="test", image_size=size, examples=COUNT)
    images, _ = source.take(np.arange(COUNT))
    images = np.asarray(images)
    if channels != images.shape[-1]:
        images = np.repeat(images[..., :1], channels, axis=-1)
    return images, f"{COUNT} generated images of {size} pixels"


def preprocess(
    images: np.ndarray, *, size: int, mean: Sequence[float], std: Sequence[float]
) -> np.ndarray:
    """Return uint8 images as the network takes them: float32 ``[N, H, W, C]``."""
    x = for_evaluation(jax.numpy.asarray(images), size=size)
    return np.asarray(normalize(x, mean, std))


def our_features(encoder: ResNet, variables: Any, inputs: np.ndarray) -> np.ndarray:
    """Compute features with our own network, in full float32 on the CPU.

    Args:
        encoder: of any dtype.
        variables: its parameters and statistics.
        inputs: normalised images ``[N, H, W, C]``.
    """
    exact = encoder.clone(dtype=jax.numpy.float32)
    # Accelerators multiply float32 with fewer digits unless they are asked not to.
    with jax.default_device(_cpu()), jax.default_matmul_precision("highest"):
        variables = jax.tree.map(np.asarray, variables)
        return np.asarray(_apply(exact, variables, inputs))


@functools.partial(jax.jit, static_argnums=0)
def _apply(encoder: ResNet, variables: Any, inputs: jax.Array) -> Any:
    return encoder.apply(variables, inputs, train=False)


def compare(
    ours: np.ndarray,
    theirs: np.ndarray,
    *,
    against: str,
    images: str,
) -> Check:
    """Compare features, and refuse a difference above `TOLERANCE`.

    Args:
        ours: features ``[N, F]`` of our network.
        theirs: those of the exported network.
        against: the program that ran it, for the record.
        images: what the images are, for the record.

    Raises:
        ConfigError: if features differ, or if they say nothing: not finite, or zero.
    """
    size = np.abs(ours).max(axis=1)
    if not np.isfinite(size).all() or not size.all():
        raise ConfigError(
            "the encoder's features are NaN, infinite or all zero, so an export cannot "
            "be checked; choose another step with --checkpoint"
        )
    if theirs.shape != ours.shape:
        raise ConfigError(
            f"nothing was written: run in {against}, the encoder gives "
            f"{list(theirs.shape)} features, ours {list(ours.shape)}; please report it"
        )
    differences = np.abs(theirs - ours).max(axis=1) / size
    # A NaN must not pass.
    worst = float(np.max(np.nan_to_num(differences, nan=np.inf)))
    if not worst <= TOLERANCE:
        raise ConfigError(
            f"nothing was written: run in {against}, the encoder differs from ours by "
            f"{worst:.1e} on {images} (allowed: {TOLERANCE:.0e}); please report this"
        )
    return Check(against, images, worst)


def _cpu() -> Any:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:  # JAX_PLATFORMS without cpu
        return jax.local_devices()[0]
