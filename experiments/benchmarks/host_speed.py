"""Decoding speed of one host core, and the time to write a ResNet-50's checkpoint.

Command:  python experiments/benchmarks/host_speed.py [--json FILE]
Time:     about 20 seconds on 2 CPU cores
Result:   images per second and core for JPEGs of ImageNet's usual 500 x 375 pixels
          and about its mean of 115 kB, resized to 256, or cut into two views of 224
          pixels, and the same views from copies of 256 pixels; seconds to save the
          state of a SimCLR ResNet-50 (how long the loop waits, and until it is on the
          disk) and to restore it
"""

import argparse
import functools
import io
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from ssljax import methods
from ssljax.data.augment import View
from ssljax.data.decode import decode
from ssljax.data.decode_crops import decode_crops
from ssljax.data.host_crop import HostCrops
from ssljax.data.smaller import smaller_jpeg
from ssljax.recipes import load_recipe
from ssljax.runs.checkpoint import Checkpoints
from ssljax.runs.setup import assemble
from ssljax.training import devices
from ssljax.training.state import init_state

RECIPE = "imagenet/simclr"
IMAGES = 16
CROPS = HostCrops((View(), View()), (224, 224))
QUALITY = 90  # at which these images have about the size of ImageNet's


def picture(seed: int, height: int = 375, width: int = 500) -> bytes:
    """Return a JPEG of noise with the 1/f spectrum of photographs."""
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = 1 / np.maximum(f, 1 / width)

    def noise() -> np.ndarray:
        phase = np.exp(2j * np.pi * rng.random(f.shape))
        plane = np.fft.irfft2(amplitude * phase, (height, width))
        return plane / plane.std()

    grey = noise()  # colours of a photograph vary together
    planes = np.stack([grey + 0.3 * noise() for _ in range(3)], axis=-1)
    pixels = np.clip(128 + 50 * planes, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def decoding(repeats: int = 10) -> dict[str, float]:
    """Measure images per second of processor time, which other load hardly changes."""
    pictures = [picture(seed) for seed in range(IMAGES)]
    copies = [smaller_jpeg(data, size=256, quality=QUALITY) for data in pictures]
    numbers = CROPS.draw(0, 0, batch_size=IMAGES)
    tasks: dict[str, Callable[[int], Any]] = {
        "images_per_core": lambda i: decode(pictures[i], size=256),
        "crops_per_core": lambda i: decode_crops(pictures[i], numbers[i], CROPS),
        "crops_of_copies_per_core": lambda i: decode_crops(
            copies[i], numbers[i], CROPS
        ),
    }
    rates: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats + 1):
        for name, task in tasks.items():  # in turns, for the load changes
            start = time.process_time()
            for i in range(IMAGES):
                task(i)
            rates[name].append(IMAGES / (time.process_time() - start))
    measured = {
        name: sum(map(len, files)) / len(files) / 1e3
        for name, files in (("kilobytes", pictures), ("kilobytes_of_copies", copies))
    }
    return measured | {name: float(np.median(r[1:])) for name, r in rates.items()}


def checkpoint(folder: Path) -> dict[str, float]:
    """Measure size and times of a checkpoint, with the code that training uses."""
    setup = assemble(
        methods.resolve(load_recipe(RECIPE)),
        image_shape=(256, 256, 3),
        num_classes=1000,
        examples=1_281_167,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    mesh = devices.make_mesh(count=1, batch_size=setup.config.batch_size)
    create = functools.partial(init_state, setup)
    abstract = devices.abstract(jax.eval_shape(create), devices.replicated(mesh))
    # Random bytes: a trained state compresses as badly.
    rng = np.random.default_rng(0)
    state = jax.tree.map(
        lambda x: rng.standard_normal(x.shape).astype(x.dtype), abstract
    )
    state = devices.place(state, devices.replicated(mesh))
    checkpoints = Checkpoints(folder / "checkpoints", keep=2)
    start = time.perf_counter()
    checkpoints.save(1, state, {"step": 1})
    blocked = time.perf_counter() - start
    checkpoints.wait()
    saved = time.perf_counter() - start
    start = time.perf_counter()
    found = checkpoints.restore_latest(abstract)
    restored = time.perf_counter() - start
    checkpoints.close()
    assert found is not None
    files = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return {
        "state_megabytes": sum(x.nbytes for x in jax.tree.leaves(state)) / 1e6,
        "files_megabytes": files / 1e6,
        "blocked_seconds": blocked,
        "saved_seconds": saved,
        "restored_seconds": restored,
    }


def main() -> int:
    """Measure decoding and checkpoints, and print the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    measured: dict[str, Any] = decoding()
    with tempfile.TemporaryDirectory() as folder:
        measured |= checkpoint(Path(folder))
    for name, value in measured.items():
        print(f"{name:<24} {value:10.1f}", flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(measured, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
