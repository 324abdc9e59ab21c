"""A run on noise around one colour per class: seconds to train, easy to classify."""

import micro  # noqa: F401
import numpy as np
from PIL import Image

import ssljax
from ssljax.config import (
    AugmentConfig,
    CheckpointConfig,
    Config,
    DataConfig,
    DevicesConfig,
    MethodConfig,
    ModelConfig,
    MonitorConfig,
)
from ssljax.data import from_arrays

COLOURS = np.array([(40, 40, 200), (40, 200, 40), (200, 40, 40)])
NAMES = ("blue", "green", "red")


def images(count, *, seed, split="train"):
    """Return ``count`` images of each class, in turn."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count * len(COLOURS)) % len(COLOURS)
    noise = rng.integers(-90, 91, (len(labels), 12, 12, 3))
    pixels = (COLOURS[labels][:, None, None] + noise).clip(0, 255).astype(np.uint8)
    return from_arrays(pixels, labels, class_names=NAMES, name="colours", split=split)


def train_images():
    return images(40, seed=0)


def test_images():
    return images(10, seed=1, split="test")


def trained_run(folder, **settings):
    """Pretrain two epochs of ten steps, and keep both checkpoints."""
    config = Config(
        method=MethodConfig("simclr", projector="8-4"),
        data=DataConfig("arrays"),
        augment=AugmentConfig("supervised"),
        model=ModelConfig("micro"),
        monitor=MonitorConfig(every_epochs=0),
        checkpoint=CheckpointConfig(every_epochs=1, keep=2),
        devices=DevicesConfig(count=1),
        epochs=2,
        batch_size=12,
        **settings,
    )
    ssljax.pretrain(config, folder, train=train_images(), quiet=True)
    return folder


def write_images(folder):
    """Write both sets as PNG: ``folder/SPLIT/CLASS/INDEX.png``."""
    for source in (train_images(), test_images()):
        for i in range(source.size):
            pixels, label = source.read(i)
            place = folder / source.split / NAMES[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(place / f"{i}.png")
