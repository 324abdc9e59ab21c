"""Colour operations on a batch, each image with its own factor.

Images are planes ``[C, B, H, W]``: with the channel last, a vector register or a
TPU lane would hold three useful numbers. Per-image values are ``[B]``.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

JITTER = ("brightness", "contrast", "saturation", "hue")  # the codes 0 to 3 in `order`

# ITU-R 601-2 as in PIL; they sum to one, so that white stays white.
_LUMA = (0.299, 0.587, 0.114)


def luminance(planes: jax.Array) -> jax.Array:
    """Compute the grey value ``[B, H, W]`` of RGB planes, with ITU-R 601 weights.

    >>> round(float(luminance(jnp.ones((3, 1, 1, 1)))[0, 0, 0]), 6)
    1.0
    """
    red, green, blue = (weight * planes[i] for i, weight in enumerate(_LUMA))
    return red + green + blue


def adjust_brightness(planes: jax.Array, factor: jax.Array) -> jax.Array:
    """Multiply by a factor ``[B]`` and clip, as in torchvision (dm_pix adds).

    >>> grey = jnp.full((3, 1, 1, 1), 0.5)
    >>> adjust_brightness(grey, jnp.full(1, 1.5)).ravel().tolist()
    [0.75, 0.75, 0.75]
    """
    return _blend(planes, 0.0, factor)


def adjust_contrast(planes: jax.Array, factor: jax.Array) -> jax.Array:
    """Scale by ``[B]`` about the mean grey of each image, and clip.

    Without RGB every band is scaled about its own mean, which for a single band is
    torchvision's definition too.

    >>> x = jnp.array([0.25, 0.75]).reshape(1, 1, 1, 2)
    >>> adjust_contrast(x, jnp.array([0.5])).ravel().tolist()
    [0.375, 0.625]
    """
    return _blend(planes, _mean_grey(planes), factor)


def adjust_saturation(planes: jax.Array, factor: jax.Array) -> jax.Array:
    """Scale the RGB planes by ``[B]`` about the grey of each pixel, and clip.

    >>> red = jnp.array([1.0, 0.0, 0.0]).reshape(3, 1, 1, 1)
    >>> [round(v, 3) for v in adjust_saturation(red, jnp.zeros(1)).ravel().tolist()]
    [0.299, 0.299, 0.299]
    """
    return _blend(planes, luminance(planes)[None], factor)


def adjust_hue(planes: jax.Array, shift: jax.Array) -> jax.Array:
    """Shift the hue of RGB planes by ``[B]`` turns in HSV space.

    HSV itself is not computed. With value V, chroma D and hue H (in sixths of a turn),
    a channel is ``V - D clip(min(k, 4 - k), 0, 1)``, where ``k = (n + H) mod 6``
    with n = 5, 3, 1 for red, green, blue. So no sector is looked up.

    >>> red = jnp.array([1.0, 0.0, 0.0]).reshape(3, 1, 1, 1)
    >>> [round(v, 3) for v in adjust_hue(red, jnp.full(1, 1 / 3)).ravel().tolist()]
    [0.0, 1.0, 0.0]
    """
    red, green, blue = planes[0], planes[1], planes[2]
    value = jnp.maximum(jnp.maximum(red, green), blue)
    chroma = value - jnp.minimum(jnp.minimum(red, green), blue)
    # A grey pixel has chroma zero, so any finite hue gives the same result.
    inverse = 1 / jnp.where(chroma > 0, chroma, 1)
    hue = jnp.where(
        value == red,
        (green - blue) * inverse,
        jnp.where(
            value == green, 2 + (blue - red) * inverse, 4 + (red - green) * inverse
        ),
    )
    # Broadcast over n: stacked channels would not be vectorised on a CPU.
    n = jnp.array([5, 3, 1], planes.dtype)[:, None, None, None]
    k = n + (hue + 6 * shift[:, None, None])[None]
    k = k - 6 * jnp.floor(k / 6)
    return value[None] - chroma[None] * jnp.clip(jnp.minimum(k, 4 - k), 0, 1)


def to_grayscale(planes: jax.Array) -> jax.Array:
    """Replace the three channels of RGB planes by their grey.

    >>> to_grayscale(jnp.zeros((3, 2, 4, 4))).shape
    (3, 2, 4, 4)
    """
    return jnp.broadcast_to(luminance(planes)[None], planes.shape)


def solarize(planes: jax.Array, threshold: float) -> jax.Array:
    """Invert the values at or above the threshold, for any number of channels.

    >>> solarize(jnp.array([0.25, 0.75]), 0.5).tolist()
    [0.25, 0.25]
    """
    # Means of two bytes are often exactly 0.5, where the last bit, which depends on the
    # compiled program, would decide. Values that close count as at the threshold.
    return jnp.where(planes < threshold - 1e-6, planes, 1 - planes)


def jitter(
    planes: jax.Array, factors: Mapping[str, jax.Array], order: jax.Array
) -> jax.Array:
    """Apply brightness, contrast, saturation and hue, in each image's own order.

    There are four rounds, in each of which every image gets the operation that is next
    in its order. Brightness, contrast and saturation are one formula with three
    targets, so a round costs one blend and one hue shift, and no permutation is
    compiled on its own.

    Args:
        planes: ``[C, B, H, W]`` in [0, 1]; C = 3 where saturation or hue is given.
        factors: ``[B]`` for each operation to apply, by its name in ``JITTER``. Factor
            1, or hue shift 0, leaves an image unchanged.
        order: ``[B, 4]``, permutations of 0 to 3, the positions in ``JITTER``.

    Returns:
        The planes, same shape, in [0, 1].

    Source: torchvision ``ColorJitter``, which clips after each operation.

    >>> x = jnp.full((3, 1, 2, 2), 0.5)
    >>> float(jitter(x, {"brightness": jnp.full(1, 0.5)}, jnp.arange(4)[None]).max())
    0.25
    """

    def one_round(planes, code):
        return _jitter_round(planes, factors, code), None

    # A loop, because XLA does not fuse across its boundary: unrolled, it recomputes all
    # earlier rounds inside every later one, without vectorising (4 times slower on a
    # CPU).
    return jax.lax.scan(one_round, planes, order.T)[0]


def _jitter_round(
    planes: jax.Array, factors: Mapping[str, jax.Array], code: jax.Array
) -> jax.Array:
    """Apply to each image the operation of its code, if ``factors`` has that one."""
    turn = {name: code == JITTER.index(name) for name in factors}  # each [B]
    factor, target = jnp.ones(code.shape, planes.dtype), 0.0
    for name in (name for name in JITTER if name in factors and name != "hue"):
        factor = jnp.where(turn[name], factors[name], factor)
    if "contrast" in factors:
        target = _select(turn["contrast"], _mean_grey(planes), target)
    if "saturation" in factors:
        target = _select(turn["saturation"], luminance(planes)[None], target)
    result = _blend(planes, target, factor)
    if "hue" in factors:
        # A shift of zero is skipped: HSV and back loses the last bit.
        turning = turn["hue"] & (factors["hue"] != 0)
        result = _select(turning, adjust_hue(planes, factors["hue"]), result)
    return result


def _blend(
    planes: jax.Array, target: jax.Array | float, factor: jax.Array
) -> jax.Array:
    factor = factor[None, :, None, None]
    return jnp.clip(factor * planes + (1 - factor) * target, 0, 1)


def _mean_grey(planes: jax.Array) -> jax.Array:
    grey = luminance(planes)[None] if planes.shape[0] == 3 else planes
    return jnp.mean(grey, axis=(2, 3), keepdims=True)


def _select(
    chosen: jax.Array, then: jax.Array, otherwise: jax.Array | float
) -> jax.Array:
    return jnp.where(chosen[None, :, None, None], then, otherwise)
