"""Turn images of any type and number of channels into what can be displayed."""

import numpy as np


def channel_note(channels: int) -> str:
    """Say which channels are shown, where it is not all of them.

    >>> channel_note(3), channel_note(5)
    ('', 'channels 0, 1, 2 of 5')
    """
    if channels == 2:
        return "mean of 2 channels"
    return f"channels 0, 1, 2 of {channels}" if channels > 3 else ""


def displayable(images: np.ndarray) -> tuple[np.ndarray, str]:
    """Return floats in [0, 1], ``[n, h, w]`` or ``[n, h, w, 3]``, and the changes."""
    pixels, note = images.astype(np.float32), ""
    if images.dtype == np.uint8:
        pixels = pixels / 255.0
    finite = np.isfinite(pixels)
    if not finite.all():
        note += "\n(black: not finite)"
    low = float(pixels.min(initial=0.0, where=finite))
    high = float(pixels.max(initial=1.0, where=finite))
    if low < -0.05 or high > 1.05:
        pixels = (pixels - low) / (high - low)
        note += "\n(stretched)"
    pixels = np.where(finite, pixels, 0.0).clip(0.0, 1.0)
    channels = pixels.shape[-1]
    return (pixels[..., :3] if channels >= 3 else pixels.mean(axis=-1)), note
