"""Gaussian blur, with a width of its own for every image of the batch."""

import jax
import jax.numpy as jnp

# Above this many taps two matmuls are cheaper than shifted copies.
_MOST_SHIFTED_TAPS = 5


def blur_taps(size: int) -> int:
    """Return the kernel size at an image size: odd, about a tenth of it.

    SimCLR's rule: 3 taps at 32 pixels, 9 at 96, 23 at 224.

    Args:
        size: side of the images in pixels.

    >>> [blur_taps(size) for size in (1, 16, 32, 64, 96, 224)]
    [1, 3, 3, 7, 9, 23]
    """
    return 2 * min(max(1, size // 20), size - 1) + 1


def gaussian_blur(planes: jax.Array, sigma: jax.Array, *, taps: int) -> jax.Array:
    """Blur with a separable Gaussian; borders are reflected without the edge pixel.

    Args:
        planes: ``[C, B, H, W]`` float.
        sigma: standard deviation for each image in pixels, ``[B]``, positive.
        taps: odd length of the kernel, at most ``2 min(H, W) - 1``.

    Returns:
        The blurred planes, same shape.

    Source: torchvision's ``gaussian_blur``. Not a vmapped convolution, which becomes a
    grouped one: about a hundred times slower on a CPU.

    >>> flat = gaussian_blur(jnp.ones((1, 1, 4, 4)), jnp.ones(1), taps=3)
    >>> bool(jnp.allclose(flat, 1.0))
    True
    """
    radius = taps // 2
    distance = jnp.arange(radius + 1, dtype=jnp.float32)[None]
    half = jnp.exp(-0.5 * (distance / sigma[:, None]) ** 2)  # [B, radius + 1]
    half = half / (half[:, :1] + 2 * jnp.sum(half[:, 1:], axis=1, keepdims=True))
    if taps <= _MOST_SHIFTED_TAPS:
        return _shift_and_add(_shift_and_add(planes, half, axis=2), half, axis=3)
    rows = _band_matrix(half, planes.shape[2])
    columns = _band_matrix(half, planes.shape[3])
    planes = jnp.einsum("bsh,cbhw->cbsw", rows, planes)
    return jnp.einsum("btw,cbsw->cbst", columns, planes)


def _shift_and_add(planes: jax.Array, half: jax.Array, *, axis: int) -> jax.Array:
    """Blur along one axis as a weighted sum of shifted copies."""
    radius, length = half.shape[1] - 1, planes.shape[axis]
    padding = [(radius, radius) if i == axis else (0, 0) for i in range(4)]
    padded = jnp.pad(planes, padding, mode="reflect")

    def shifted(offset):
        return jax.lax.slice_in_dim(
            padded, radius + offset, radius + offset + length, axis=axis
        )

    total = half[:, 0][None, :, None, None] * planes
    for d in range(1, radius + 1):
        weight = half[:, d][None, :, None, None]
        total = total + weight * (shifted(d) + shifted(-d))
    return total


def _band_matrix(half: jax.Array, length: int) -> jax.Array:
    """Build the matrix ``[B, length, length]`` that blurs along one axis."""
    i = jnp.arange(length)[:, None]
    j = jnp.arange(length)[None, :]
    # Reflection puts pixel j also at -j and at 2 (length - 1) - j, the edges apart.
    from_first = jnp.where(j > 0, i + j, -1)
    from_last = jnp.where(j < length - 1, 2 * (length - 1) - i - j, -1)
    band = jnp.zeros((half.shape[0], length, length), half.dtype)
    for d in range(half.shape[1]):
        direct, first, last = (
            (m == d).astype(half.dtype) for m in (abs(i - j), from_first, from_last)
        )
        hits = direct + first + last
        band = band + half[:, d][:, None, None] * hits[None]
    return band
