"""Draw the crops that the host cuts out of the original images.

The device crops stored images, which all have one size. Photographs are cut before
they are resized, as in torchvision: the box is drawn here, in pixels of the original,
and only the crop is resized, once, to the size of the view.

The numbers of a row depend on seed, step, view and the row's place in the global batch
alone, so workers and processes may share the rows in any way.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ssljax.data.presets import View

LARGEST_STORED = 96
"""Side in pixels up to which images are cropped as they are stored."""

_ATTEMPTS = 10  # as in torchvision, which then falls back to a central box
_NUMBERS = 2 * _ATTEMPTS + 2  # areas, ratios, and the position
_STREAM = 1  # top word of Philox's counter; the order of the images has 0


class Box(NamedTuple):
    """A box in whole pixels of an upright image."""

    y: int
    x: int
    height: int
    width: int


@dataclass(frozen=True)
class HostCrops:
    """Which crops of an image to cut: one for each view.

    Attributes:
        views: their scales, ratios and filters; the device draws the rest.
        sizes: side of each view in pixels.

    >>> crops = HostCrops((View(), View()), (224, 96))
    >>> [box.height for box in crops.boxes(np.zeros((2, 22)), height=100, width=50)]
    [23, 23]
    """

    views: tuple[View, ...]
    sizes: tuple[int, ...]

    def draw(self, seed: int, step: int, *, batch_size: int) -> np.ndarray:
        """Draw the random numbers of a global batch.

        Args:
            seed: seed of the run.
            step: step of the run, counted from 0.
            batch_size: images per global batch.

        Returns:
            ``[batch_size, views, 22]`` float64, uniform on [0, 1).
        """
        numbers = [
            crop_numbers(seed, step, view=i, batch_size=batch_size)
            for i in range(len(self.views))
        ]
        return np.stack(numbers, axis=1)

    def boxes(self, numbers: np.ndarray, *, height: int, width: int) -> list[Box]:
        """Return the box of each view in one image.

        Args:
            numbers: the image's row of `draw`, ``[views, 22]``.
            height: height of the upright image in pixels.
            width: its width.
        """
        return [
            crop_box(
                row,
                height=height,
                width=width,
                scale=view.crop_scale,
                ratio=view.crop_ratio,
            )
            for row, view in zip(numbers, self.views, strict=True)
        ]

    def enlarged(self, sizes: Sequence[tuple[int, int]]) -> float:
        """Estimate the share of crops that are smaller than their view on both sides.

        Args:
            sizes: width and height of a sample of images.

        >>> HostCrops((View(),), (224,)).enlarged([(100, 100)])
        1.0
        """
        counts = Counter(sizes)
        draws = max(20, 4000 // len(counts))
        numbers, small = self.draw(0, 0, batch_size=draws), 0
        for (width, height), count in counts.items():
            for row in numbers:
                boxes = self.boxes(row, height=height, width=width)
                small += count * sum(
                    max(box.height, box.width) < size
                    for box, size in zip(boxes, self.sizes, strict=True)
                )
        return small / (len(sizes) * draws * len(self.sizes))


def crop_numbers(seed: int, step: int, *, view: int, batch_size: int) -> np.ndarray:
    """Draw the uniform numbers behind one view's boxes of a global batch.

    Raw Philox words, because numpy guarantees that stream but not what a Generator
    makes of it, and a resumed run must see the same crops under a later numpy.

    Args:
        seed: seed of the run.
        step: step of the run.
        view: number of the view.
        batch_size: images per global batch.

    Returns:
        ``[batch_size, 22]`` float64 on [0, 1).

    >>> crop_numbers(0, 5, view=1, batch_size=3).shape
    (3, 22)
    """
    key = np.array([seed, step], np.uint64)
    counter = np.array([0, 0, view, _STREAM], np.uint64)
    words = np.random.Philox(key=key, counter=counter).random_raw(batch_size * _NUMBERS)
    return (words >> np.uint64(11)).reshape(batch_size, _NUMBERS) * 2.0**-53


def crop_box(
    numbers: Sequence[float] | np.ndarray,
    *,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> Box:
    """Place a box as torchvision's ``RandomResizedCrop`` does.

    The area is uniform, the aspect ratio log-uniform, and the sides are rounded to
    whole pixels. Of ten attempts the first that fits is used, at a uniform position; if
    none fits, the largest central box whose ratio is allowed.

    Args:
        numbers: 22 numbers on [0, 1).
        height: height of the image in pixels.
        width: width of the image in pixels.
        scale: smallest and largest share of the area.
        ratio: smallest and largest width / height.

    Source:
        torchvision 0.21, ``transforms.RandomResizedCrop.get_params``.

    >>> crop_box([0.5] * 22, height=375, width=500, scale=(1, 1), ratio=(1.0, 1.0))
    Box(y=0, x=62, height=375, width=375)
    """
    numbers = [float(number) for number in numbers]
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for area, log_ratio in zip(
        numbers[:_ATTEMPTS], numbers[_ATTEMPTS : 2 * _ATTEMPTS], strict=True
    ):
        pixels = (scale[0] + (scale[1] - scale[0]) * area) * height * width
        aspect = math.exp(low + (high - low) * log_ratio)
        w, h = round(math.sqrt(pixels * aspect)), round(math.sqrt(pixels / aspect))
        if 1 <= w <= width and 1 <= h <= height:
            y = int(numbers[-2] * (height - h + 1))
            x = int(numbers[-1] * (width - w + 1))
            return Box(y, x, h, w)
    h, w = height, width
    if width / height < ratio[0]:
        h = max(1, min(height, round(width / ratio[0])))
    elif width / height > ratio[1]:
        w = max(1, min(width, round(height * ratio[1])))
    return Box((height - h) // 2, (width - w) // 2, h, w)
