"""Deterministic preprocessing: the evaluation's crop, and normalisation."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssljax.data.crop import crop_and_resize


def for_evaluation(
    images: jax.Array, *, size: int, crop_fraction: float | None = None
) -> jax.Array:
    """Crop the centre and resize for evaluation, without randomness.

    Images that already have the size are only scaled to [0, 1]. Of others the central
    square is resized with the antialiased triangle filter, whatever the views have.

    Args:
        images: ``[B, H, W, C]`` uint8.
        size: side of the result in pixels.
        crop_fraction: side of the square over the image's shorter side, in (0, 1];
            the default is 7/8 above 96 pixels (resize to 256, crop 224), else 1.

    Returns:
        ``[B, size, size, C]`` float32 in [0, 1].

    Raises:
        ValueError: if the images are not a uint8 batch or the fraction is out of range.

    >>> for_evaluation(jnp.full((1, 48, 64, 3), 255, jnp.uint8), size=32).shape
    (1, 32, 32, 3)
    """
    check_images(images, size)
    if crop_fraction is None:
        crop_fraction = default_crop_fraction(size)
    if not 0 < crop_fraction <= 1:
        raise ValueError(f"crop_fraction must be in (0, 1], got {crop_fraction}")
    batch, height, width, _ = images.shape
    if (height, width) == (size, size):
        return images.astype(jnp.float32) / 255
    side = max(1, round(crop_fraction * min(height, width)))
    box = jnp.array(
        [(height - side) // 2, (width - side) // 2, side, side], jnp.float32
    )
    boxes = jnp.broadcast_to(box[None], (batch, 4))
    return jnp.moveaxis(crop_and_resize(images, boxes, size=size), 0, -1)


def default_crop_fraction(size: int) -> float:
    """Return side of the evaluation's crop over the shorter side of the image.

    >>> default_crop_fraction(224), default_crop_fraction(96)
    (0.875, 1.0)
    """
    return 0.875 if size > 96 else 1.0


def normalize(
    images: jax.Array, mean: Sequence[float], std: Sequence[float]
) -> jax.Array:
    """Subtract the mean and divide by the standard deviation, per channel.

    Args:
        images: ``[..., C]`` float in [0, 1].
        mean: C numbers on the same scale, or one for all channels.
        std: C positive numbers, or one for all channels.

    Raises:
        ValueError: if the lengths do not match the channels or a deviation is not
            positive.

    >>> normalize(jnp.full((1, 1, 1, 3), 0.75), [0.5], [0.25]).ravel().tolist()
    [1.0, 1.0, 1.0]
    """
    channels = images.shape[-1]
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, channels):
            raise ValueError(
                f"{name} must have 1 or {channels} values, one per channel, "
                f"got {len(values)}"
            )
    if not all(value > 0 for value in std):
        raise ValueError(f"std must be positive, got {tuple(std)}")
    shape = (1,) * (images.ndim - 1) + (-1,)
    mean_, std_ = (jnp.asarray(v, images.dtype).reshape(shape) for v in (mean, std))
    return (images - mean_) / std_


def check_images(images: jax.Array, size: int) -> None:
    """Check that the images are a uint8 batch and the size is positive."""
    if images.ndim != 4 or images.dtype != jnp.uint8:
        raise ValueError(
            "images must be a uint8 batch [B, H, W, C], got "
            f"{images.dtype}{list(images.shape)}"
        )
    if size < 1:
        raise ValueError(f"size must be at least one pixel, got {size}")
