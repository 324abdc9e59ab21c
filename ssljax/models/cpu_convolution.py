"""Forms of a convolution and of its two gradients, and which of them suits a CPU.

`forward`, `input_gradient` and `kernel_gradient` take a form by shape alone, never by
timing, so that a run repeats bit by bit. The rules come from the tables in
docs/performance.md.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["Geometry", "Surroundings", "forward", "input_gradient", "kernel_gradient"]


class Geometry(NamedTuple):
    """Sizes of a convolution that its operands' shapes do not show."""

    image: tuple[int, int]
    kernel: tuple[int, int]
    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    """Zeros before and behind each axis of the image."""
    precision: Any = None

    @property
    def map(self) -> tuple[int, int]:
        """Height and width of the result."""
        high, wide = (
            (size + sum(pad) - kernel) // stride + 1
            for size, kernel, stride, pad in zip(
                self.image, self.kernel, self.strides, self.padding, strict=True
            )
        )
        return high, wide

    @property
    def axes(self) -> Any:
        """Of either axis: image, kernel, stride, padding and places of the kernel."""
        return zip(
            self.image,
            self.kernel,
            self.strides,
            self.padding,
            self.map,
            strict=True,
        )


class Surroundings(NamedTuple):
    """What of the program around a convolution decides its form."""

    devices: int = 1
    """Over which XLA may split the images."""
    mapped: bool = False
    """Mapped by `jax.vmap` over images and kernels: XLA's is a grouped convolution."""


# --- The rules ----------------------------------------------------------------------

# The gradient of a kernel sums over all pixels of all maps. XLA:CPU packs the whole sum
# at once, which for 64 channels drops from 74 to 27 GFLOP/s above 4096 pixels. About so
# many numbers of images and cotangents go into one sum ...
_NUMBERS_IN_A_SUM = 2**19
# ... but not fewer pixels, where the sums' own cost shows: 83 instead of 108 at 512.
_LEAST_PIXELS_IN_A_SUM = 1024
# More sums than this would take long to compile.
_MOST_SUMS = 32
# A 1x1 convolution's gradient is one product, 5 to 10 times as fast as XLA's form. Both
# cores have work when it is split into sums of this many pixels.
_PIXELS_IN_A_PRODUCT = 4096


def forward(
    x: jax.Array, w: jax.Array, geometry: Geometry, around: Surroundings
) -> jax.Array:
    """Convolve images ``[N, H, W, C]`` with a kernel ``[h, w, C, O]``."""
    if around.mapped:
        return dots_forward(x, w, geometry)
    return native(x, w, geometry)


def input_gradient(
    g: jax.Array, w: jax.Array, geometry: Geometry, around: Surroundings
) -> jax.Array:
    """Return the cotangent of the images, from that of the maps ``[N, H', W', O]``."""
    if g.dtype == jnp.bfloat16:
        return _in_float32(input_gradient, g, w, geometry, around)
    if around.mapped:
        return dots_input_gradient(g, w, geometry)
    return native_input_gradient(g, w, geometry)


def kernel_gradient(
    x: jax.Array, g: jax.Array, geometry: Geometry, around: Surroundings
) -> jax.Array:
    """Return the cotangent of the kernel ``[h, w, C, O]``."""
    if g.dtype == jnp.bfloat16:
        return _in_float32(kernel_gradient, x, g, geometry, around)
    if around.mapped:
        return dots_kernel_gradient(x, g, geometry)
    pixels = geometry.map[0] * geometry.map[1]
    if geometry.kernel == (1, 1):
        sums = len(x) * pixels // _PIXELS_IN_A_PRODUCT
        return dots_kernel_gradient(x, g, geometry, _divisor(len(x), sums, around))
    sums = min(
        (x.size + g.size) // _NUMBERS_IN_A_SUM,
        len(x) * pixels // _LEAST_PIXELS_IN_A_SUM,
        _MOST_SUMS,
    )
    return summed_kernel_gradient(x, g, geometry, _divisor(len(x), sums, around))


def _in_float32(
    gradient: Any, a: jax.Array, b: jax.Array, geometry: Geometry, around: Surroundings
) -> jax.Array:
    """Compute a gradient of bfloat16 operands in float32.

    XLA:CPU's backward convolutions are no faster in bfloat16, and this loses no digits.
    """
    a, b = a.astype(jnp.float32), b.astype(jnp.float32)
    return gradient(a, b, geometry, around).astype(jnp.bfloat16)


def _divisor(images: int, parts: int, around: Surroundings) -> int:
    """Return into how many equal parts to split, as close to that many as possible.

    Every part has the same number of images of each device.
    """
    own, rest = divmod(images, around.devices)
    if rest:
        return 1
    parts = max(1, parts // around.devices)
    possible = [d for d in range(1, 2 * parts + 1) if own % d == 0]
    return min(possible, key=lambda d: max(d / parts, parts / d))


# --- JAX's own forms ----------------------------------------------------------------


def native(x: Any, w: Any, geometry: Geometry) -> jax.Array:
    """Convolve by JAX's own operation."""
    return jax.lax.conv_general_dilated(
        x,
        w,
        geometry.strides,
        geometry.padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=geometry.precision,
    )


def native_input_gradient(g: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the cotangent of the images as JAX's own transpose does."""
    padding = [
        (kernel - before - 1, size + before - stride * (places - 1) - 1)
        for size, kernel, stride, (before, _), places in geometry.axes
    ]
    return jax.lax.conv_general_dilated(
        g,
        jax.lax.rev(w, (0, 1)),
        (1, 1),
        padding,
        lhs_dilation=geometry.strides,
        dimension_numbers=("NHWC", "HWOI", "NHWC"),
        precision=geometry.precision,
    )


def native_kernel_gradient(x: jax.Array, g: jax.Array, geometry: Geometry) -> jax.Array:
    """Return the cotangent of the kernel as JAX's own transpose does."""
    padding = [
        (before, stride * (places - 1) + kernel - size - before)
        for size, kernel, stride, (before, _), places in geometry.axes
    ]
    return jax.lax.conv_general_dilated(
        x,
        g,
        (1, 1),
        padding,
        rhs_dilation=geometry.strides,
        dimension_numbers=("CHWN", "IHWO", "HWNC"),
        precision=geometry.precision,
    )


# --- Other forms --------------------------------------------------------------------


def summed_kernel_gradient(
    x: jax.Array, g: jax.Array, geometry: Geometry, sums: int
) -> jax.Array:
    """Add the gradients of equal parts of the images."""
    x, g = _parted(x, sums), _parted(g, sums)
    parts = [native_kernel_gradient(x[:, i], g[:, i], geometry) for i in range(sums)]
    return functools.reduce(jnp.add, parts)


def dots_forward(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Multiply the patches of the images with the kernel."""
    flat = w.reshape(-1, w.shape[-1])
    return jnp.dot(_patches(x, geometry), flat, precision=geometry.precision)


def dots_input_gradient(g: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """Multiply the maps' cotangents with the kernel, and add what meets in a pixel."""
    flat = w.reshape(-1, w.shape[-1]).T
    patches = jnp.dot(g, flat, precision=geometry.precision)
    shape = (len(g), *geometry.image, w.shape[2])
    total = None
    for k, (i, j) in enumerate(np.ndindex(*geometry.kernel)):
        part = patches[..., k * shape[-1] : (k + 1) * shape[-1]]
        padding = [
            (at - before, size + before - stride * (places - 1) - at - 1, stride - 1)
            for at, (size, _, stride, (before, _), places) in zip(
                (i, j), geometry.axes, strict=True
            )
        ]
        zero = jnp.zeros((), part.dtype)
        part = jax.lax.pad(part, zero, [(0, 0, 0), *padding, (0, 0, 0)])
        total = part if total is None else total + part
    assert total is not None
    return total


def dots_kernel_gradient(
    x: jax.Array, g: jax.Array, geometry: Geometry, sums: int = 1
) -> jax.Array:
    """Multiply the patches of the images with the maps' cotangents, in several sums."""
    shape = (*geometry.kernel, x.shape[-1], g.shape[-1])
    patches = _parted(_patches(x, geometry), sums)
    w = jnp.einsum(
        "nshwp,nshwo->spo", patches, _parted(g, sums), precision=geometry.precision
    )
    return w.sum(axis=0).reshape(shape)


def _parted(images: jax.Array, parts: int) -> jax.Array:
    """Deal images out, ``[N, ...]`` to ``[N / parts, parts, ...]``.

    In turn, as consecutive images may all lie on one device.
    """
    return images.reshape(-1, parts, *images.shape[1:])


def _patches(x: jax.Array, geometry: Geometry) -> jax.Array:
    """Copy what the kernel sees from each place, ``[N, H', W', h w C]``."""
    (down, across), (high, wide) = geometry.strides, geometry.map
    x = jnp.pad(x, ((0, 0), *geometry.padding, (0, 0)))
    seen = [
        x[
            :,
            i : i + down * (high - 1) + 1 : down,
            j : j + across * (wide - 1) + 1 : across,
        ]
        for i, j in np.ndindex(*geometry.kernel)
    ]
    return jnp.concatenate(seen, axis=-1)
