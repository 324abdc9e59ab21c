"""Random resized crops: draw the boxes, and resample them as two matmuls.

Gathers do not use the matrix units of an accelerator. A crop is therefore
``Wy @ image @ Wx^T``, with one pair of small weight matrices per image.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp

from ssljax.data.presets import Interpolation

_ATTEMPTS = 10  # as in torchvision, which then falls back to a central box


def sample_boxes(
    key: jax.Array,
    *,
    batch: int,
    height: int,
    width: int,
    scale: tuple[float, float],
    ratio: tuple[float, float],
) -> jax.Array:
    """Draw boxes as torchvision's ``RandomResizedCrop`` does.

    The area and the log aspect ratio are uniform and the sides rounded to whole pixels.
    Of ten attempts the first that fits is used, at a uniform position; if none fits,
    the largest central box whose ratio is allowed.

    Args:
        key: random key.
        batch: number of boxes B.
        height: height of the images in pixels.
        width: width of the images in pixels.
        scale: smallest and largest share of the area.
        ratio: smallest and largest width / height.

    Returns:
        ``[B, 4]`` float32 ``(y, x, h, w)``, whole numbers of pixels.

    >>> sample_boxes(jax.random.key(0), batch=2, height=8, width=8,
    ...              scale=(1.0, 1.0), ratio=(1.0, 1.0)).tolist()
    [[0.0, 0.0, 8.0, 8.0], [0.0, 0.0, 8.0, 8.0]]
    """
    # All attempts are drawn at once: a loop would take as long as its slowest image.
    u = jax.random.uniform(key, (batch, 2 * _ATTEMPTS + 2), jnp.float32)
    area = (scale[0] + (scale[1] - scale[0]) * u[:, :_ATTEMPTS]) * (height * width)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    log_ratio = low + (high - low) * u[:, _ATTEMPTS : 2 * _ATTEMPTS]
    aspect = jnp.exp(log_ratio)
    w = jnp.round(jnp.sqrt(area * aspect))  # [B, attempts]
    h = jnp.round(jnp.sqrt(area / aspect))
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    first = jnp.arange(_ATTEMPTS)[None] == jnp.argmax(fits, axis=1)[:, None]
    found = jnp.any(fits, axis=1)
    fallback = _central_box(height, width, ratio)
    h = jnp.where(found, jnp.sum(jnp.where(first, h, 0), axis=1), fallback[2])
    w = jnp.where(found, jnp.sum(jnp.where(first, w, 0), axis=1), fallback[3])

    y = jnp.minimum(jnp.floor(u[:, -2] * (height - h + 1)), height - h)
    x = jnp.minimum(jnp.floor(u[:, -1] * (width - w + 1)), width - w)
    y, x = jnp.where(found, y, fallback[0]), jnp.where(found, x, fallback[1])
    return jnp.stack([y, x, h, w], axis=1).astype(jnp.float32)


def resize_weights(
    start: jax.Array,
    length: jax.Array,
    *,
    source: int,
    target: int,
    flip: jax.Array | None = None,
    interpolation: Interpolation = "bilinear",
) -> jax.Array:
    """Compute the weights of antialiased resampling along one axis.

    A filter whose support grows with the reduction, as in PIL, in
    ``torchvision.transforms.Resize`` (its default, ``antialias=True``) and in
    ``jax.image.scale_and_translate``: a triangle, or PIL's cubic (a = -0.5). As in
    torchvision, and unlike the last, the box is cut out first, so that pixels outside
    it have no influence.

    Args:
        start: first pixel of each box, ``[B]``.
        length: pixels in each box, ``[B]``.
        source: pixels along this axis of the images.
        target: pixels along this axis of the output.
        flip: images whose outputs are reversed, ``[B]`` bool, or None for none.
        interpolation: ``bilinear`` or ``bicubic``.

    Returns:
        ``[B, target, source]``, the type of ``start``; every row sums to one. Bicubic
        weights may be negative.

    Source: Pillow, ``src/libImaging/Resample.c``.

    >>> resize_weights(jnp.zeros(1), jnp.full(1, 2.0), source=3, target=4)[0].tolist()
    [[1.0, 0.0, 0.0], [0.75, 0.25, 0.0], [0.25, 0.75, 0.0], [0.0, 1.0, 0.0]]
    """
    start, length = start[:, None, None], length[:, None, None]
    output = jnp.arange(target, dtype=start.dtype)[None, :, None]
    if flip is not None:
        output = jnp.where(flip[:, None, None], target - 1 - output, output)
    pixel = jnp.arange(source, dtype=start.dtype)[None, None, :] + 0.5  # centres
    step = length / target
    position = start + (output + 0.5) * step
    distance = jnp.abs(position - pixel) / jnp.maximum(step, 1)
    weights = _FILTERS[interpolation](distance)
    # The box is at least one pixel wide, so that no row has only zero weights.
    inside = jnp.abs(pixel - start - length / 2) <= jnp.maximum(length, 1) / 2
    weights = jnp.where(inside, weights, 0)
    return weights / jnp.sum(weights, axis=2, keepdims=True)


def crop_and_resize(
    images: jax.Array,
    boxes: jax.Array,
    *,
    size: int,
    flip: jax.Array | None = None,
    interpolation: Interpolation = "bilinear",
) -> jax.Array:
    """Cut one box out of each image, resize it to a square and optionally flip it.

    Args:
        images: ``[B, H, W, C]`` uint8.
        boxes: ``[B, 4]`` float ``(y, x, h, w)`` in pixels.
        size: side of the result.
        flip: images to flip left-right, ``[B]`` bool, or None for none.
        interpolation: ``bilinear`` or ``bicubic``.

    Returns:
        Planes ``[C, B, size, size]``, float32 (float64 under
        ``jax.enable_x64``) in [0, 1].

    >>> image = jnp.full((1, 6, 6, 3), 255, jnp.uint8)
    >>> crop_and_resize(image, jnp.array([[1.0, 2.0, 3.0, 4.0]]), size=2).shape
    (3, 1, 2, 2)
    """
    _, height, width, _ = images.shape
    real = jnp.result_type(float)  # float64 under enable_x64, for exact comparisons
    y, x, h, w = (boxes[:, i].astype(real) for i in range(4))
    weights = partial(resize_weights, target=size, interpolation=interpolation)
    rows = weights(y, h, source=height)
    columns = weights(x, w, source=width, flip=flip)
    # Scaled after the products: the integers 0 to 255 are exact in bfloat16, which a
    # TPU's products use by default; fractions are not.
    pixels = images.astype(real)
    if interpolation == "bicubic":
        # A cubic overshoots at edges, and PIL clips after each axis: first the columns,
        # Pillow 13 at times first the rows. It matters only near black and white.
        narrowed = jnp.einsum("btw,bhwc->cbht", columns, pixels)
        planes = jnp.einsum("bsh,cbht->cbst", rows, jnp.clip(narrowed, 0, 255))
    else:
        planes = jnp.einsum(
            "btw,bswc->cbst", columns, jnp.einsum("bsh,bhwc->bswc", rows, pixels)
        )
    return jnp.clip(planes / 255, 0, 1)


def planes_of_crops(crops: jax.Array, *, flip: jax.Array | None = None) -> jax.Array:
    """Return images that are cropped already as planes, and optionally flip them.

    Args:
        crops: ``[B, size, size, C]`` uint8.
        flip: images to flip left-right, ``[B]`` bool, or None for none.

    Returns:
        Planes as from `crop_and_resize`, ``[C, B, size, size]``.

    >>> planes_of_crops(jnp.full((1, 2, 2, 3), 255, jnp.uint8)).shape
    (3, 1, 2, 2)
    """
    if flip is not None:
        crops = jnp.where(flip[:, None, None, None], crops[:, :, ::-1], crops)
    return jnp.moveaxis(crops, -1, 0).astype(jnp.result_type(float)) / 255


def _triangle(distance: jax.Array) -> jax.Array:
    return jnp.maximum(0, 1 - distance)


def _cubic(distance: jax.Array) -> jax.Array:
    """Evaluate Keys' cubic with a = -0.5, which is zero from a distance of two on."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return jnp.where(distance < 1, near, jnp.where(distance < 2, far, 0))


_FILTERS = {"bilinear": _triangle, "bicubic": _cubic}


def _central_box(
    height: int, width: int, ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Return the largest central box whose aspect ratio is allowed, as (y, x, h, w)."""
    h, w = height, width
    if width / height < ratio[0]:
        h = max(1, min(height, round(width / ratio[0])))
    elif width / height > ratio[1]:
        w = max(1, min(width, round(height * ratio[1])))
    return (height - h) // 2, (width - w) // 2, h, w
