"""A run of seconds on the generated set, and small folders of coloured images."""

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
    ProbeConfig,
)

COLOURS = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}


def trained(folder, *, epochs=4, keep=4, probe=True, **method):
    """Pretrain SimCLR on 48 images of `shapes`, one checkpoint per epoch."""
    config = Config(
        method=MethodConfig("simclr", **({"projector": "8-6-4"} | method)),
        data=DataConfig("shapes", image_size=12, examples=48, test_examples=36),
        augment=AugmentConfig("supervised"),
        model=ModelConfig("micro"),
        monitor=MonitorConfig(every_epochs=0),
        probe=ProbeConfig(enabled=probe),
        checkpoint=CheckpointConfig(every_epochs=1, keep=keep),
        devices=DevicesConfig(count=1),
        epochs=epochs,
        batch_size=24,
    )
    ssljax.pretrain(config, folder, quiet=True)
    return folder


def write_images(folder, count, *, seed, colours=COLOURS):
    """Write noise around one colour per class as PNG, in a folder per class."""
    rng = np.random.default_rng(seed)
    for name in colours:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            noise = rng.integers(-40, 41, (16, 16, 3))
            pixels = (np.array(COLOURS[name]) + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder
