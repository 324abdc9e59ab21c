"""The first images of a data set beside the views that augmentation makes of them."""

from collections.abc import Sequence

import jax
import numpy as np

from ssljax.data import Source
from ssljax.data.augment import make_views
from ssljax.data.host_crop import HostCrops
from ssljax.training.state import Setup

SHEET = 12
"""Images on the contact sheet."""
DRAWS = 3
"""Draws of all views of each."""


def draw_views(
    setup: Setup, source: Source, crops: HostCrops | None = None
) -> tuple[np.ndarray, list[np.ndarray], list[str]]:
    """Return a few images, the views of some draws, and a title for each view.

    Args:
        setup: has the views, their sizes and the seed.
        source: the training images.
        crops: cuts the views out of the original images; None takes those of the setup.

    Returns:
        uint8 ``[n, H, W, C]``, views of floats in [0, 1] ``[n, S, S, C]``, and titles.
    """
    rows = np.arange(min(SHEET, source.size))
    images, _ = source.take(rows)
    crops = setup.host_crops if crops is None else crops
    seed, views = setup.config.seed, []

    @jax.jit
    def draw(key, given):
        return make_views(key, given, setup.views, size=setup.view_sizes)

    for i in range(DRAWS):
        key, given = jax.random.fold_in(jax.random.key(seed), i), images
        if crops is not None:
            numbers = crops.draw(seed, i, batch_size=len(rows))
            given = source.read_crops(rows, numbers, crops).views
        views += [np.asarray(view) for view in draw(key, given)]
    titles = [
        f"view {i % len(setup.views) + 1}, draw {i // len(setup.views) + 1}"
        for i in range(len(views))
    ]
    return images, views, titles


def contact_sheet(setup: Setup, source: Source) -> np.ndarray:
    """Return the images and views of `draw_views` as one picture, see `as_picture`."""
    images, views, _ = draw_views(setup, source)
    return as_picture(images, views)


def as_picture(images: np.ndarray, views: Sequence[np.ndarray]) -> np.ndarray:
    """Return one picture: a row for each image, itself first, then its views.

    Args:
        images: uint8 ``[n, H, W, C]``.
        views: floats in [0, 1], each ``[n, S, S, C]``; sizes may differ.

    Returns:
        uint8 ``[n height, columns width, 3]``, in white where an image is smaller. Of
        other than one or three channels, the first is shown in grey.

    >>> as_picture(np.zeros((2, 4, 4, 3), np.uint8), [np.ones((2, 6, 6, 3))]).shape
    (12, 12, 3)
    """
    columns = [images]
    columns += [np.rint(255 * np.clip(v, 0, 1)).astype(np.uint8) for v in views]
    height, width = (max(c.shape[axis] for c in columns) for axis in (1, 2))
    picture = np.full((len(images), height, len(columns), width, 3), 255, np.uint8)
    for index, column in enumerate(columns):
        shown = column if column.shape[-1] == 3 else column[..., :1]
        _, h, w, _ = shown.shape
        picture[:, :h, index, :w] = shown
    return picture.reshape(len(images) * height, len(columns) * width, 3)
