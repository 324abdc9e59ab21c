"""Make random views of images, on the device inside the training step.

Parameters are drawn first (`sample`), then deterministic kernels apply them to the
whole batch (`apply`), so that each half can be tested, logged and replayed alone.
Nothing here depends on how the batch is laid out over devices.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from ssljax.data.blur import blur_taps, gaussian_blur
from ssljax.data.colour import JITTER, jitter, solarize, to_grayscale
from ssljax.data.crop import crop_and_resize, planes_of_crops, sample_boxes
from ssljax.data.preprocess import check_images, for_evaluation, normalize
from ssljax.data.presets import View, preset

__all__ = [
    "View",
    "apply",
    "for_evaluation",
    "make_views",
    "normalize",
    "preset",
    "sample",
    "skipped_operations",
]

# One constant per random quantity, never renumbered: a new quantity takes the next
# number and leaves the random numbers of the others unchanged.
_STREAMS = {
    "box": 0,
    "flip": 1,
    "jitter": 2,
    "brightness": 3,
    "contrast": 4,
    "saturation": 5,
    "hue": 6,
    "order": 7,
    "grayscale": 8,
    "blur": 9,
    "sigma": 10,
    "solarize": 11,
}
_NEEDS_RGB = ("saturation", "hue", "grayscale")


def make_views(
    key: jax.Array,
    images: jax.Array | Sequence[jax.Array],
    views: Sequence[View],
    *,
    size: int | Sequence[int],
    rows: tuple[jax.Array | int, int] | None = None,
) -> tuple[jax.Array, ...]:
    """Make one batch of each view of the same images.

    The same key and the same global batch give the same views on any number of
    devices. View i does not depend on the other views.

    Args:
        key: random key of this step.
        images: the global batch, ``[B, H, W, C]`` uint8, or some rows of it. Where the
            host has cropped the originals, a sequence of one ``[B, size, size, C]``
            uint8 for each view; these are not cropped again.
        views: distributions, one for each result.
        size: side of the views in pixels, one for all or one for each (multi-crop).
        rows: ``(first, total)`` if the images are only the rows from ``first`` on of a
            global batch of ``total``. They get the same views as in the whole batch.

    Returns:
        One ``[B, size, size, C]`` float32 array in [0, 1] for each view.

    Raises:
        ValueError: as `apply`, or if the numbers of sizes and views differ.

    >>> images = jnp.zeros((4, 40, 40, 3), jnp.uint8)
    >>> first, second = make_views(
    ...     jax.random.key(0), images, preset("byol", image_size=32), size=32)
    >>> second.shape
    (4, 32, 32, 3)
    """
    sizes = [size] * len(views) if isinstance(size, int) else list(size)
    cropped = isinstance(images, Sequence)
    given = list(images) if isinstance(images, Sequence) else [images] * len(views)
    for each, side in zip(given, sizes, strict=True):
        check_images(each, side)

    def parameters(i: int, view: View) -> dict[str, jax.Array]:
        batch, height, width, channels = given[i].shape
        first, total = (0, batch) if rows is None else rows
        of_batch = sample(
            jax.random.fold_in(key, i),
            view,
            batch=total,
            height=height,
            width=width,
            channels=channels,
        )
        if rows is None:
            return of_batch
        # Drawn for the whole batch, which is cheap, so that a row's numbers do not
        # depend on how the batch is cut.
        return {
            name: jax.lax.dynamic_slice_in_dim(values, first, batch)
            for name, values in of_batch.items()
        }

    return tuple(
        apply(given[i], parameters(i, view), view, size=side, cropped=cropped)
        for i, (view, side) in enumerate(zip(views, sizes, strict=True))
    )


def sample(
    key: jax.Array, view: View, *, batch: int, height: int, width: int, channels: int
) -> dict[str, jax.Array]:
    """Draw the parameters of one view of a batch; the images are not needed.

    Args:
        key: random key of this view.
        view: the distribution.
        batch: number of images B.
        height: height of the images in pixels.
        width: width of the images in pixels.
        channels: channels of the images; unless 3, operations on RGB are switched off.

    Returns:
        Arrays with leading axis B: ``box`` ``[B, 4]`` (y, x, h, w in pixels);
        ``flip``, ``jitter``, ``grayscale``, ``blur``, ``solarize`` bool ``[B]``;
        ``brightness``, ``contrast``, ``saturation`` factors, ``hue`` shift in turns and
        ``sigma`` in output pixels, float32 ``[B]``; ``order`` int32 ``[B, 4]``, a
        permutation of (0 brightness, 1 contrast, 2 saturation, 3 hue).

    >>> key = jax.random.key(0)
    >>> drawn = sample(key, View(), batch=8, height=32, width=32, channels=3)
    >>> drawn["box"].shape, bool(drawn["blur"].any())
    ((8, 4), False)
    """
    skipped = skipped_operations(view, channels=channels)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(_STREAMS)))
    # One vmapped draw compiles in a fraction of the time of one draw per stream.
    uniforms = jax.vmap(lambda k: jax.random.uniform(k, (batch,), jnp.float32))(keys)

    def uniform(name, low=0.0, high=1.0):
        return low + (high - low) * uniforms[_STREAMS[name]]

    def happens(name):
        probability = 0.0 if name in skipped else getattr(view, name)
        return uniform(name) < probability

    def factor(name):
        strength = 0.0 if name in skipped else getattr(view, name)
        return uniform(name, max(0.0, 1.0 - strength), 1.0 + strength)

    turn = 0.0 if "hue" in skipped else view.hue
    ranks = jax.random.uniform(
        keys[_STREAMS["order"]], (batch, len(JITTER)), jnp.float32
    )
    return {
        "box": sample_boxes(
            keys[_STREAMS["box"]],
            batch=batch,
            height=height,
            width=width,
            scale=view.crop_scale,
            ratio=view.crop_ratio,
        ),
        "flip": happens("flip"),
        "jitter": happens("jitter"),
        "brightness": factor("brightness"),
        "contrast": factor("contrast"),
        "saturation": factor("saturation"),
        "hue": uniform("hue", -turn, turn),
        "order": jnp.argsort(ranks, axis=1),
        "grayscale": happens("grayscale"),
        "blur": happens("blur"),
        "sigma": uniform("sigma", *view.blur_sigma),
        "solarize": happens("solarize"),
    }


def apply(
    images: jax.Array,
    parameters: dict[str, jax.Array],
    view: View,
    *,
    size: int,
    cropped: bool = False,
) -> jax.Array:
    """Apply drawn parameters: crop, flip, jitter, grayscale, blur, solarize.

    Args:
        images: ``[B, H, W, C]`` uint8; any C, see `skipped_operations`.
        parameters: as from `sample`.
        view: decides at trace time which operations are compiled. An operation of
            probability zero costs nothing, whatever its ``parameters``.
        size: side of the result in pixels.
        cropped: the images are crops already, ``[B, size, size, C]``; the boxes of
            ``parameters`` are not used.

    Returns:
        ``[B, size, size, C]`` float32 in [0, 1].

    Raises:
        ValueError: if the images are not a uint8 batch, crops have another size, or the
            parameters were drawn for another batch size.

    >>> key, view = jax.random.key(0), View()
    >>> drawn = sample(key, view, batch=2, height=48, width=40, channels=1)
    >>> apply(jnp.zeros((2, 48, 40, 1), jnp.uint8), drawn, view, size=32).shape
    (2, 32, 32, 1)
    """
    check_images(images, size)
    batch, _, _, channels = images.shape
    if parameters["box"].shape != (batch, 4):
        raise ValueError(
            f"parameters must be drawn for this batch of {batch}, got boxes of shape "
            f"{parameters['box'].shape}"
        )
    skipped = skipped_operations(view, channels=channels)
    flip = parameters["flip"] if view.flip > 0 else None
    if cropped:
        if images.shape[1:3] != (size, size):
            raise ValueError(
                f"crops must be {size} x {size} pixels, as the view, got "
                f"{images.shape[1]} x {images.shape[2]}"
            )
        planes = planes_of_crops(images, flip=flip)
    else:
        planes = crop_and_resize(
            images,
            parameters["box"],
            size=size,
            flip=flip,
            interpolation=view.interpolation,
        )
    # A batched program has no branch per image: without jitter, factors are neutral.
    factors = {
        name: jnp.where(parameters["jitter"], parameters[name], float(name != "hue"))
        for name in JITTER
        if view.jitter > 0 and getattr(view, name) > 0 and name not in skipped
    }
    if factors:
        planes = jitter(planes, factors, parameters["order"])
    if view.grayscale > 0 and "grayscale" not in skipped:
        planes = _where(parameters["grayscale"], to_grayscale(planes), planes)
    if view.blur > 0:
        blurred = gaussian_blur(planes, parameters["sigma"], taps=blur_taps(size))
        planes = _where(parameters["blur"], blurred, planes)
    if view.solarize > 0:
        inverted = solarize(planes, view.solarize_threshold)
        planes = _where(parameters["solarize"], inverted, planes)
    # Resampling weights sum to one only up to rounding, so white may exceed 1.
    return jnp.clip(jnp.moveaxis(planes, 0, -1), 0, 1)


def skipped_operations(view: View, *, channels: int) -> tuple[str, ...]:
    """List the operations of the view that are skipped for images without RGB.

    Brightness, contrast (about each band's mean), blur and solarize work for any
    number of channels. Saturation, hue and grayscale need three.

    Args:
        view: the distribution.
        channels: channels of the images; 3 means RGB.

    >>> skipped_operations(View(hue=0.0), channels=13)
    ('saturation', 'grayscale')
    """
    if channels == 3:
        return ()
    return tuple(
        name
        for name in _NEEDS_RGB
        if getattr(view, name) > 0 and (name not in JITTER or view.jitter > 0)
    )


def _where(flag: jax.Array, then: jax.Array, otherwise: jax.Array) -> jax.Array:
    return jnp.where(flag[None, :, None, None], then, otherwise)
