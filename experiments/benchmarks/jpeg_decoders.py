"""Decoders of JPEG beside each other: images per second and core.

Command:  python experiments/benchmarks/jpeg_decoders.py [--json FILE] [--rounds 7]
          pip install simplejpeg PyTurboJPEG imagecodecs    # those that take part;
          PyTurboJPEG needs libturbojpeg 3, TURBOJPEG=FILE names it
Time:     about a minute on one core
Result:   two lines per decoder: images/s of decoding alone, and of two views of 224
          pixels cut out of the original with Pillow; then those of this package. All
          on one core, in rounds in which every decoder takes its turn; medians

The images are 500x375 noise with the spectrum of photographs, quality 90. What is timed
is a decoder's work on one image, as a reader's thread does it.
"""

import argparse
import io
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from ssljax.data.augment import View
from ssljax.data.decode import decode
from ssljax.data.decode_crops import decode_crops
from ssljax.data.host_crop import HostCrops
from ssljax.runs.environment import this_launch
from ssljax.runs.files import write_json

HEIGHT, WIDTH, COUNT = 375, 500, 48
CROPS = HostCrops((View(), View()), (224, 224))

Decoder = Callable[[bytes], np.ndarray]


def photographs(count: int) -> list[bytes]:
    """Return JPEGs of coloured noise whose amplitude falls as 1 / frequency."""
    rng = np.random.default_rng(0)
    y, x = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None]
    fall = 1 / np.maximum(np.hypot(y, x), 1 / WIDTH)
    encoded = []
    for _ in range(count):
        planes = []
        for _ in range(3):
            noise = rng.normal(size=(HEIGHT, WIDTH // 2 + 1, 2)) @ np.array([1, 1j])
            plane = np.fft.irfft2(noise * fall, (HEIGHT, WIDTH))
            planes.append(128 + 50 * plane / plane.std())
        grey = sum(planes) / 3
        # Colours of photographs vary less than their brightness.
        pixels = np.stack([0.7 * grey + 0.3 * plane for plane in planes], axis=-1)
        buffer = io.BytesIO()
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        image.save(buffer, "JPEG", quality=90)
        encoded.append(buffer.getvalue())
    return encoded


def decoders() -> tuple[dict[str, Decoder], dict[str, str]]:
    """Return the decoders that are installed, and why the others are not there."""
    found: dict[str, Decoder] = {"Pillow": lambda data: decode(data, size=None)}
    missing: dict[str, str] = {}

    def add(name: str, make: Callable[[], Decoder]) -> None:
        try:
            found[name] = make()
        except (ImportError, RuntimeError, OSError) as error:
            missing[name] = str(error).splitlines()[0]

    def simplejpeg() -> Decoder:
        module = import_module("simplejpeg")
        return lambda data: module.decode_jpeg(data, colorspace="RGB")

    def turbojpeg() -> Decoder:
        module = import_module("turbojpeg")
        decoder = module.TurboJPEG(os.environ.get("TURBOJPEG") or None)
        return lambda data: decoder.decode(data, pixel_format=module.TJPF_RGB)

    def imagecodecs() -> Decoder:
        return import_module("imagecodecs").jpeg8_decode

    add("simplejpeg", simplejpeg)
    add("PyTurboJPEG", turbojpeg)
    add("imagecodecs", imagecodecs)
    return found, missing


def cut(pixels: np.ndarray, numbers: np.ndarray) -> list[np.ndarray]:
    """Cut the views out of decoded pixels, with Pillow's resampling."""
    views = []
    boxes = CROPS.boxes(numbers, height=HEIGHT, width=WIDTH)
    for (y, x, h, w), size in zip(boxes, CROPS.sizes, strict=True):
        part = Image.fromarray(pixels[y : y + h, x : x + w])
        resized = part.resize((size, size), Image.Resampling.BILINEAR)
        views.append(np.asarray(resized))
    return views


def works(images: list[bytes]) -> dict[str, Callable[[int], Any]]:
    """Return what is timed, by name, as functions of the number of the image."""
    numbers = CROPS.draw(0, 0, batch_size=len(images))
    tasks: dict[str, Callable[[int], Any]] = {}
    found, _ = decoders()
    for name, decoder in found.items():
        tasks[f"{name}: decode"] = lambda i, decoder=decoder: decoder(images[i])
        tasks[f"{name}: two views"] = lambda i, decoder=decoder: cut(
            decoder(images[i]), numbers[i]
        )
    tasks["ssljax: two views of the original"] = lambda i: decode_crops(
        images[i], numbers[i], CROPS
    )
    tasks["ssljax: stored image of 256"] = lambda i: decode(images[i], size=256)
    return tasks


def main() -> None:
    parser = argparse.ArgumentParser(description="decoders of JPEG beside each other")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    images = photographs(COUNT)
    found, missing = decoders()
    for name, decoder in found.items():
        gap = np.abs(decoder(images[0]).astype(int) - decode(images[0], size=None))
        print(f"{name}: largest difference from Pillow {gap.max()}")
    tasks = works(images)
    rates: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(options.rounds):
        for name, task in tasks.items():
            start = time.process_time()
            for i in range(COUNT):
                task(i)
            rates[name].append(COUNT / (time.process_time() - start))
    table = {name: statistics.median(values) for name, values in rates.items()}
    size = sum(map(len, images)) / COUNT / 1000
    print(f"{COUNT} images of {WIDTH}x{HEIGHT}, {size:.0f} kB each; images/s and core")
    for name, rate in table.items():
        spread = f"{min(rates[name]):.0f} to {max(rates[name]):.0f}"
        print(f"{name:36} {rate:6.0f}   ({spread})")
    for name, why in missing.items():
        print(f"{name:36} not here: {why}")
    if options.json is not None:
        record = {
            "made": this_launch(["python", *sys.argv]),
            "libjpeg_turbo_of_pillow": features.version("libjpeg_turbo"),
            "kilobytes": size,
            "images_per_second_and_core": table,
            "rounds": rates,
            "missing": missing,
            "load": os.getloadavg()[0],
        }
        write_json(options.json, record)


if __name__ == "__main__":
    main()
