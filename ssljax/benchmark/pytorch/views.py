"""The PyTorch twin's input: the same views, made by the workers of its loader."""

import contextlib
import importlib
from collections.abc import Iterator, Sequence
from typing import Any

from ssljax.data import Source
from ssljax.data.blur import blur_taps
from ssljax.data.presets import View


def lightly_module(name: str) -> Any:
    """Return a module of lightly, None where it is not installed or does not load.

    >>> lightly_module("no_such_part") is None
    True
    """
    # A torchvision that was built for another PyTorch fails with a RuntimeError.
    with contextlib.suppress(ImportError, RuntimeError):
        return importlib.import_module(f"lightly.{name}")
    return None


def transform(
    view: View, size: int, mean: Sequence[float], std: Sequence[float]
) -> tuple[Any, str]:
    """Return the transform from a PIL image to a normalised view, and whose it is.

    lightly's blur has a radius where torchvision's has a kernel of a tenth of the
    image, and its crop is up to the whole image and bilinear; a view that crops less or
    is bicubic is torchvision's.

    Args:
        view: the distribution.
        size: side of the result in pixels.
        mean: per channel, in [0, 1].
        std: likewise.

    Raises:
        ImportError: if torchvision does not load.
    """
    lightly = lightly_module("transforms")
    lightly_crops = view.crop_scale[1] == 1.0 and view.interpolation == "bilinear"
    if lightly is not None and lightly_crops:
        made = lightly.BYOLView2Transform(
            input_size=size,
            cj_prob=view.jitter,
            cj_bright=view.brightness,
            cj_contrast=view.contrast,
            cj_sat=view.saturation,
            cj_hue=view.hue,
            min_scale=view.crop_scale[0],
            random_gray_scale=view.grayscale,
            gaussian_blur=view.blur,
            solarization_prob=view.solarize,
            sigmas=view.blur_sigma,
            hf_prob=view.flip,
            normalize={"mean": list(mean), "std": list(std)},
        )
        return made, "lightly's transforms"
    return _torchvision(view, size, mean, std), "torchvision's transforms"


def _torchvision(
    view: View, size: int, mean: Sequence[float], std: Sequence[float]
) -> Any:
    import torch  # pyright: ignore[reportMissingImports]
    from torchvision.transforms import (  # pyright: ignore[reportMissingImports]
        v2 as T,
    )

    jitter = T.ColorJitter(view.brightness, view.contrast, view.saturation, view.hue)
    blur = T.GaussianBlur(blur_taps(size), view.blur_sigma)
    threshold = 256 * view.solarize_threshold
    steps = [
        T.RandomResizedCrop(
            size,
            view.crop_scale,
            view.crop_ratio,
            interpolation=T.InterpolationMode[view.interpolation.upper()],
            antialias=True,
        ),
        T.RandomHorizontalFlip(view.flip),
        T.RandomApply([jitter], view.jitter) if view.jitter else None,
        T.RandomGrayscale(view.grayscale) if view.grayscale else None,
        T.RandomApply([blur], view.blur) if view.blur else None,
        T.RandomSolarize(threshold, view.solarize) if view.solarize else None,
        T.ToImage(),
        T.ToDtype(torch.float32, scale=True),
        T.Normalize(list(mean), list(std)),
    ]
    return T.Compose([step for step in steps if step is not None])


class Images:
    """A data set for PyTorch's loader: views and label of one image of a source.

    Args:
        source: the images.
        transforms: one for each view.
    """

    def __init__(self, source: Source, transforms: Sequence[Any]):
        self.source, self.transforms = source, tuple(transforms)

    def __len__(self) -> int:
        return self.source.size

    def __getitem__(self, index: int) -> tuple[list[Any], int]:
        from PIL import Image

        pixels, label = self.source.read(int(index))
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        return [make(image) for make in self.transforms], label


class Batches:
    """PyTorch's loader, as often as wanted for the same number of batches.

    Args:
        images: the data set.
        batch_size: images per batch.
        steps: batches per iteration. The workers read none beyond them, so that they
            are idle while the other program runs.
        workers: processes; 0 reads in this one.
        pinned: copy to memory from which a GPU copies while it computes.
    """

    def __init__(
        self, images: Images, *, batch_size: int, steps: int, workers: int, pinned: bool
    ):
        from torch.utils import data  # pyright: ignore[reportMissingImports]

        self.loader = data.DataLoader(
            images,
            batch_size=batch_size,
            sampler=data.RandomSampler(images, num_samples=steps * batch_size),
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=pinned,
            drop_last=True,
            # JAX has threads, which a forked process would have lost.
            multiprocessing_context="spawn" if workers else None,
        )

    def __iter__(self) -> Iterator[tuple[list[Any], Any]]:
        return iter(self.loader)
